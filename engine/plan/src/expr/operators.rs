//! What operators and filters make of values: [`worked_out`], and how much of that one expression may do: [`Fuel`].

use std::cell::Cell;

use minijinja::Value;

use crate::expr::codes;
use crate::expr::compare::{Class, class_words};
use crate::expr::engine::{Refusal, calculated, filtered};
use crate::expr::filter::Filter;
use crate::expr::filtering::{LONGEST_TEXT, text_of};
use crate::expr::node::{Argument, Node, Operator, What};
use crate::expr::walk::{Fault, Found};
use crate::source::Span;

/// How much one expression may still do: one for each part, for each byte of text and each item of a list that a filter takes or
/// gives.
pub(crate) struct Fuel(Cell<usize>);

impl Fuel {
    /// As much as an expression begins with.
    pub(crate) fn full() -> Self {
        Self(Cell::new(64 << 20))
    }

    /// Use this much of it for the part at `at`.
    pub(crate) fn spend(&self, amount: usize, at: Span) -> Result<(), Fault> {
        let rest = self.0.get().checked_sub(amount);
        self.0.set(rest.unwrap_or(0));
        rest.map(drop).ok_or_else(|| out_of_fuel(at))
    }
}

/// The parts whose values an operator or filter needs, in the order in which [`worked_out`] takes them.
pub(crate) fn operands(node: &Node) -> Vec<&Node> {
    match &node.what {
        What::Arithmetic(_, a, b) | What::Concat(a, b) => vec![a, b],
        What::Negative(a) => vec![a],
        What::Filter(_, input, arguments) => {
            std::iter::once(&**input).chain(arguments.iter().map(|argument| &argument.value)).collect()
        }
        _ => Vec::new(),
    }
}

/// What an operator or filter gives for the values of its [`operands`].
pub(crate) fn worked_out(node: &Node, values: Vec<Value>, fuel: &Fuel) -> Result<Found, Fault> {
    let value = match &node.what {
        What::Arithmetic(operator, ..) => {
            check_numbers(*operator, node, &values)?;
            let [a, b] = pair(values);
            calculated(*operator, a, b).map_err(|refusal| refused(node.at, refusal))?
        }
        What::Negative(_) => {
            check_numbers(Operator::Minus, node, &values)?;
            let [value, _] = pair(values);
            calculated(Operator::Minus, Value::from(0), value).map_err(|refusal| refused(node.at, refusal))?
        }
        What::Filter(filter, _, arguments) => return through(filter, node, values, arguments, fuel),
        _ => {
            let mut text = String::new();
            for (part, value) in operands(node).into_iter().zip(&values) {
                text.push_str(&text_of(value).map_err(|why| no_text(part.at, &why))?);
            }
            fuel.spend(text.len(), node.at)?;
            Value::from(text)
        }
    };
    let too_long = value.as_str().is_some_and(|text| text.len() > LONGEST_TEXT);
    if too_long { Err(out_of_fuel(node.at)) } else { Ok(Found::Value(value, false)) }
}

/// What a filter gives for its input, the first of `values`, and its arguments, the others.
fn through(
    filter: &Filter,
    node: &Node,
    values: Vec<Value>,
    arguments: &[Argument],
    fuel: &Fuel,
) -> Result<Found, Fault> {
    let input = values.first().cloned().unwrap_or_default();
    if !filter.takes.is_empty() && !Class::of(&input).is_some_and(|class| filter.takes.contains(&class)) {
        let takes: Vec<&str> = filter.takes.iter().map(|class| class.words()).collect();
        let message = format!("`{}` takes {}, not {}", filter.name, takes.join(" or "), class_words(&input));
        let fault = Fault::new(codes::REFUSED, node.at, message);
        return Err(fault.help(format!("for example `{}`", filter.example)));
    }
    let (mut positional, mut named) = (Vec::new(), Vec::new());
    let names = std::iter::once(None).chain(arguments.iter().map(|argument| argument.name.clone()));
    for (value, name) in values.into_iter().zip(names) {
        fuel.spend(weight(&value), node.at)?;
        match name {
            Some(name) => named.push((name, value)),
            None => positional.push(value),
        }
    }
    let value = filtered(filter.name, positional, named).map_err(|refusal| refused(node.at, refusal))?;
    fuel.spend(weight(&value), node.at)?;
    if value.is_undefined() {
        let fault =
            Fault::new(codes::NOTHING_THERE, node.at, format!("`{}` finds nothing here", filter.name));
        return Ok(Found::Nothing(fault.help("add `| default(…)`")));
    }
    Ok(Found::Value(value, false))
}

fn weight(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.len().unwrap_or(1), str::len)
}

fn check_numbers(operator: Operator, node: &Node, values: &[Value]) -> Result<(), Fault> {
    for (part, value) in operands(node).into_iter().zip(values) {
        if Class::of(value) != Some(Class::Number) {
            let message = format!("`{}` takes numbers, not {}", operator.sign(), class_words(value));
            let help = "texts are joined with `~`; text becomes a number with `| int`";
            return Err(Fault::new(codes::REFUSED, part.at, message).help(help));
        }
    }
    Ok(())
}

/// The first two values.
pub(crate) fn pair(values: Vec<Value>) -> [Value; 2] {
    let mut values = values.into_iter();
    [values.next().unwrap_or_default(), values.next().unwrap_or_default()]
}

/// A value that cannot stand inside a text.
pub(crate) fn no_text(at: Span, why: &str) -> Fault {
    Fault::new(codes::NO_TEXT, at, why).help("use `| json` or `| join(', ')`")
}

/// A condition that is neither true nor false.
pub(crate) fn not_a_truth(at: Span, value: &Value) -> Fault {
    Fault::new(codes::NOT_A_TRUTH, at, format!("a condition is true or false, not {}", class_words(value)))
        .help("write a comparison, such as `… > 0` or `… != ''`")
}

/// Values that cannot be compared.
pub(crate) fn incomparable(at: Span, why: String) -> Fault {
    Fault::new(codes::INCOMPARABLE, at, why)
        .help("compare like with like: numbers, texts, decimals; `| int`, `| string` and `| decimal` convert")
}

fn out_of_fuel(at: Span) -> Fault {
    Fault::new(codes::FUEL, at, "this expression works on more data than one expression may")
        .help("let a step do the work")
}

/// What minijinja refused.
pub(crate) fn refused(at: Span, refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Fuel => out_of_fuel(at),
        Refusal::Words(words) => Fault::new(codes::REFUSED, at, words),
    }
}
