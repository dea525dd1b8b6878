//! The shape of an expression, found without values, and what its shapes say cannot be right: [`Inference`].

use crate::expr::codes;
use crate::expr::compare::{Class, Comparison};
use crate::expr::datum::json_of;
use crate::expr::filter::ResultShape;
use crate::expr::node::{Argument, Node, Operator, What};
use crate::expr::reference::Ref;
use crate::finding::{Finding, Findings};
use crate::owned_shape::{Lookup, OwnedShape};
use crate::source::{Place, Span};
use crate::suggest::nearest;

/// What is known of the shapes of references, without values.
pub trait Shapes {
    /// The shape of what this reference reads; [`OwnedShape::Any`] where nothing is known.
    fn shape_of(&self, reference: &Ref) -> OwnedShape;
}

/// One walk over an expression.
pub(crate) struct Inference<'a> {
    pub(crate) shapes: &'a dyn Shapes,
    pub(crate) refs: &'a [Ref],
    /// The place of bytes of the expression's text.
    pub(crate) place: &'a dyn Fn(Span) -> Place,
    pub(crate) findings: &'a mut Findings,
}

impl Inference<'_> {
    /// The shape of a part.
    pub(crate) fn shape(&mut self, node: &Node) -> OwnedShape {
        match &node.what {
            What::Constant(value) => {
                json_of(value).map_or(OwnedShape::Any, |json| OwnedShape::of_value(&json))
            }
            What::Path(index) => {
                self.refs.get(*index).map_or(OwnedShape::Any, |reference| self.shapes.shape_of(reference))
            }
            What::Index(base, key) => self.indexed(base, key),
            What::Not(part) => {
                self.condition(part);
                OwnedShape::Boolean
            }
            What::And(left, right) | What::Or(left, right) => {
                self.condition(left);
                self.condition(right);
                OwnedShape::Boolean
            }
            What::If(condition, then, otherwise) => {
                self.condition(condition);
                let then = self.shape(then);
                then.or(self.shape(otherwise))
            }
            What::Compare(comparison, left, right) => {
                self.compared(node, *comparison, left, right);
                OwnedShape::Boolean
            }
            What::Arithmetic(operator, a, b) => self.arithmetic(*operator, a, b),
            What::Negative(part) => self.number("-", part),
            What::Concat(a, b) => {
                for part in [a, b] {
                    let shape = self.shape(part);
                    if matches!(class_of(&shape), Some(Class::List | Class::Map | Class::Null)) {
                        self.wrong_type(
                            part.at,
                            format!("`~` joins texts and numbers, not {}", shape.words()),
                            "use `| json`",
                        );
                    }
                }
                OwnedShape::Text
            }
            What::Default(asked, otherwise) => {
                let asked = self.shape(asked);
                asked.or(self.shape(otherwise))
            }
            What::Defined(asked) => {
                self.shape(asked);
                OwnedShape::Boolean
            }
            What::Filter(filter, input, arguments) => {
                let shape = self.shape(input);
                self.arguments(arguments);
                if !filter.takes.is_empty()
                    && class_of(&shape).is_some_and(|class| !filter.takes.contains(&class))
                {
                    let takes: Vec<&str> = filter.takes.iter().map(|class| class.words()).collect();
                    let message =
                        format!("`{}` takes {}, not {}", filter.name, takes.join(" or "), shape.words());
                    self.wrong_type(input.at, message, &format!("for example `{}`", filter.example));
                }
                match filter.result {
                    ResultShape::Is(result) => OwnedShape::from(&result),
                    ResultShape::Same => shape,
                    ResultShape::Item => shape.item().unwrap_or(OwnedShape::Any),
                }
            }
            What::Test(test, input, arguments) => {
                self.tested(test.name, input, arguments);
                OwnedShape::Boolean
            }
            What::List(items) => {
                let shapes: Vec<OwnedShape> = items.iter().map(|item| self.shape(item)).collect();
                OwnedShape::list(OwnedShape::common(shapes))
            }
            What::Map(entries) => self.map(entries),
        }
    }

    /// A part that must be true or false.
    pub(crate) fn condition(&mut self, node: &Node) {
        let shape = self.shape(node);
        if class_of(&shape).is_some_and(|class| class != Class::Boolean) {
            let message = format!("a condition is true or false, this is {}", shape.words());
            self.wrong_type(node.at, message, "write a comparison, such as `… > 0` or `… != ''`");
        }
    }

    fn wrong_type(&mut self, at: Span, message: String, help: &str) {
        self.findings.push(Finding::error(codes::WRONG_TYPE, (self.place)(at), message).help(help));
    }

    fn arguments(&mut self, arguments: &[Argument]) {
        for argument in arguments {
            self.shape(&argument.value);
        }
    }

    fn indexed(&mut self, base: &Node, key: &Node) -> OwnedShape {
        let base = self.shape(base);
        self.shape(key);
        let constant = match &key.what {
            What::Constant(value) => Some(value.to_string()),
            _ => None,
        };
        match (constant, &base) {
            (Some(name), _) => match base.field(&name) {
                Lookup::Found(shape) => shape,
                _ => OwnedShape::Any,
            },
            (None, OwnedShape::Map(of) | OwnedShape::List(of)) => (**of).clone(),
            _ => OwnedShape::Any,
        }
    }

    fn map(&mut self, entries: &[(Node, Node)]) -> OwnedShape {
        let mut fields = Vec::new();
        for (key, value) in entries {
            self.shape(key);
            let shape = self.shape(value);
            match &key.what {
                What::Constant(name) => {
                    fields.push(crate::owned_shape::OwnedField {
                        name: name.to_string(),
                        shape,
                        required: true,
                    });
                }
                _ => return OwnedShape::Map(Box::new(OwnedShape::Any)),
            }
        }
        OwnedShape::Record(fields)
    }

    fn number(&mut self, sign: &str, node: &Node) -> OwnedShape {
        let shape = self.shape(node);
        if class_of(&shape).is_some_and(|class| class != Class::Number) {
            let help = "texts are joined with `~`; text becomes a number with `| int`";
            self.wrong_type(node.at, format!("`{sign}` takes numbers, not {}", shape.words()), help);
        }
        if shape == OwnedShape::Integer { shape } else { OwnedShape::Number }
    }

    fn arithmetic(&mut self, operator: Operator, a: &Node, b: &Node) -> OwnedShape {
        let shapes = [self.number(operator.sign(), a), self.number(operator.sign(), b)];
        let whole = shapes.iter().all(|shape| *shape == OwnedShape::Integer);
        let stays_whole = !matches!(operator, Operator::Divided | Operator::Power);
        if whole && stays_whole { OwnedShape::Integer } else { OwnedShape::Number }
    }

    fn tested(&mut self, name: &str, input: &Node, arguments: &[Argument]) {
        let shape = self.shape(input);
        for argument in arguments {
            let given = self.shape(&argument.value);
            if name == "within"
                && matches!(class_of(&given), Some(class) if !matches!(class, Class::List | Class::Map))
            {
                let message = format!("a band is {{low, high}} or [low, high], not {}", given.words());
                self.wrong_type(
                    argument.value.at,
                    message,
                    "for example `result.n is within({'low': 1, 'high': 5})`",
                );
            }
        }
        if matches!(name, "startingwith" | "endingwith")
            && class_of(&shape).is_some_and(|class| class != Class::Text)
        {
            self.wrong_type(
                input.at,
                format!("`{name}` asks about text, not {}", shape.words()),
                "use `| string`",
            );
        }
    }

    fn compared(&mut self, node: &Node, comparison: Comparison, left: &Node, right: &Node) {
        let (a, b) = (self.shape(left), self.shape(right));
        match &right.what {
            // Each item is compared by itself, so that a word that nothing can be is found among others.
            What::List(items) if comparison == Comparison::In && matches!(a, OwnedShape::OneOf(_)) => {
                for item in items {
                    let shape = self.shape(item);
                    self.equality(item, &a, &shape);
                }
            }
            _ => self.comparison(node, comparison, &a, &b),
        }
    }

    fn comparison(&mut self, node: &Node, comparison: Comparison, a: &OwnedShape, b: &OwnedShape) {
        if comparison == Comparison::In {
            if let (Some(item), OwnedShape::List(_)) = (b.item(), b) {
                self.equality(node, a, &item);
            }
            return;
        }
        let (Some(left), Some(right)) = (class_of(a), class_of(b)) else {
            return;
        };
        if left == right && comparison.is_order() && !matches!(left, Class::Number | Class::Text) {
            self.wrong_type(
                node.at,
                format!("{} has no order", left.words()),
                "compare numbers, texts or times",
            );
        } else {
            self.equality(node, a, b);
        }
    }

    /// Things that can never be equal, or never be compared.
    fn equality(&mut self, node: &Node, a: &OwnedShape, b: &OwnedShape) {
        let decimal_and_number =
            |a: &OwnedShape, b: &OwnedShape| *a == OwnedShape::Decimal && class_of(b) == Some(Class::Number);
        let finding = |message: String| Finding::error(codes::NEVER_EQUAL, (self.place)(node.at), message);
        let found = match (class_of(a), class_of(b)) {
            _ if decimal_and_number(a, b) || decimal_and_number(b, a) => {
                let finding = finding(
                    "a decimal, which may be longer than 64 bits, is compared with a number".to_owned(),
                );
                Some(finding.help("put the number in quotes: texts of digits are compared by their value"))
            }
            (Some(left), Some(right)) if left != right && left != Class::Null && right != Class::Null => {
                let finding = finding(format!("{} is compared with {}", a.words(), b.words()));
                Some(finding.help("bring both to one type: `| int`, `| string`"))
            }
            _ => match (a, b) {
                (OwnedShape::OneOf(all), OwnedShape::OneOf(text))
                | (OwnedShape::OneOf(text), OwnedShape::OneOf(all))
                    if text.len() == 1 && all.len() > 1 && !all.iter().any(|one| text.contains(one)) =>
                {
                    let finding =
                        finding(format!("this is one of `{}`, never `{}`", all.join("`, `"), text.concat()));
                    Some(match nearest(&text.concat(), all.iter().map(String::as_str)) {
                        Some(near) => finding.help(format!("did you mean `'{near}'`?")),
                        None => finding,
                    })
                }
                _ => None,
            },
        };
        if let Some(finding) = found {
            self.findings.push(finding);
        }
    }
}

/// The class of all values of a shape; `None` where they are of several, or nothing is known.
fn class_of(shape: &OwnedShape) -> Option<Class> {
    match shape {
        OwnedShape::Any | OwnedShape::OfInput(_) | OwnedShape::Band => None,
        OwnedShape::Null => Some(Class::Null),
        OwnedShape::Boolean => Some(Class::Boolean),
        OwnedShape::Integer | OwnedShape::Number => Some(Class::Number),
        OwnedShape::List(_) => Some(Class::List),
        OwnedShape::Map(_) | OwnedShape::Record(_) => Some(Class::Map),
        OwnedShape::Either(a, b) => class_of(a).filter(|class| class_of(b) == Some(*class)),
        text => text.is_text().then_some(Class::Text),
    }
}
