//! The one file that knows minijinja's parser and syntax tree, whose version is pinned: [`parse`] makes a [`Node`] of a text, lists
//! what it reads with its places, and refuses what the plan language does not have.

use minijinja::machinery::ast::{self, BinOpKind, UnaryOpKind};
use minijinja::machinery::{Token, parse_expr, tokenize};
use minijinja::value::{Value, ValueKind};

use crate::expr::codes;
use crate::expr::compare::Comparison;
use crate::expr::filter::Filter;
use crate::expr::guard::mark_guards;
use crate::expr::node::{Argument, Key, Node, Operator, Read, What};
use crate::expr::reference::{Guard, Root};
use crate::expr::usage::{filter_used, problem, step_misread, test_used, unknown_name};
use crate::finding::Finding;
use crate::source::Span;

/// Brackets may be nested this deep; the parser would stand 70. As many `not`, `-` and `else` may there be in all.
const DEEPEST: usize = 32;
/// An expression has at most this many signs and operator words: each may nest the tree one deeper.
const MOST_SIGNS: usize = 160;
/// The dots of a path nest no deeper than this; further ones are counted as signs.
const PATH: usize = 16;
/// An expression has at most this many names, texts, numbers and signs.
const MOST_TOKENS: usize = 4_096;
/// An expression has at most this many bytes.
const LONGEST: usize = 64 * 1024;

/// An expression as meant.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) node: Node,
    /// In written order.
    pub(crate) reads: Vec<Read>,
}

/// The expression that a text is, or all that is wrong with it; places are bytes of the text.
pub(crate) fn parse(text: &str) -> Result<Parsed, Vec<Finding>> {
    within_limits(text).map_err(|finding| vec![*finding])?;
    let tree = parse_expr(text).map_err(|error| vec![unreadable(text, &error)])?;
    let mut reader = Reader { text, reads: Vec::new(), findings: Vec::new() };
    let node = reader.node(&tree);
    reader.findings.extend(reader.reads.iter().filter_map(step_misread));
    if !reader.findings.is_empty() {
        return Err(reader.findings);
    }
    let mut reads = reader.reads;
    mark_guards(&node, &mut reads);
    Ok(Parsed { node, reads })
}

/// The parser recurses, and so do we: whatever could nest too deep is refused before anyone recurses into it.
fn within_limits(text: &str) -> Result<(), Box<Finding>> {
    let too = |what: &str, at: usize| {
        let span = Span::new(at, (at + 1).min(text.len()));
        let finding = problem(codes::TOO_LARGE, span, format!("the expression {what}"));
        Err(Box::new(finding.help("give parts of it names in a step's `outputs`, or in a `flow.set` step")))
    };
    if text.len() > LONGEST {
        return too("is longer than 64 KiB", 0);
    }
    let (mut depth, mut prefixes, mut signs, mut path) = (0_usize, 0_usize, 0_usize, 0_usize);
    for (count, token) in tokenize(text, true, Default::default()).enumerate() {
        let Ok((token, span)) = token else { return Ok(()) };
        match token {
            Token::Dot => {
                path += 1;
                signs += usize::from(path > PATH);
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => (depth, path) = (depth + 1, 0),
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                (depth, path) = (depth.saturating_sub(1), PATH)
            }
            Token::Ident("not" | "else") | Token::Minus => (prefixes, path) = (prefixes + 1, 0),
            Token::Ident("and" | "or" | "if" | "in" | "is") => (signs, path) = (signs + 1, 0),
            Token::Ident(_) | Token::Int(_) | Token::Int128(_) => {}
            Token::Comma | Token::Colon | Token::Str(_) | Token::String(_) | Token::Float(_) => path = 0,
            _ => (signs, path) = (signs + 1, 0),
        }
        let at = span.start_offset as usize;
        if depth > DEEPEST || prefixes > DEEPEST {
            return too("is nested deeper than 32", at);
        }
        if signs > MOST_SIGNS || count >= MOST_TOKENS {
            return too("has more than 160 signs or 4,096 words", at);
        }
    }
    Ok(())
}

/// The parser's own error.
fn unreadable(text: &str, error: &minijinja::Error) -> Finding {
    let range = error.range().unwrap_or(0..text.len());
    let end =
        (range.end.min(text.len())..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    // At the end of the text there is nothing to underline but its last character.
    let latest = range.start.min(end.saturating_sub(1));
    let start = (0..=latest).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let finding =
        problem(codes::UNREADABLE, Span::new(start, end), format!("this is not an expression: {why}"));
    if text.contains("{{") || text.contains("}}") {
        finding.help("braces stand around the whole expression or not at all")
    } else {
        finding
    }
}

/// Walks minijinja's tree and makes ours.
struct Reader<'t> {
    text: &'t str,
    reads: Vec<Read>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn node(&mut self, tree: &ast::Expr<'_>) -> Node {
        let at = self.span_of(tree);
        let what = match tree {
            ast::Expr::Const(constant) => self.constant(constant.value.clone(), at),
            ast::Expr::Var(_) | ast::Expr::GetAttr(_) | ast::Expr::GetItem(_) => self.access(tree, at),
            ast::Expr::UnaryOp(unary) => match unary.op {
                UnaryOpKind::Not => What::Not(self.boxed(&unary.expr)),
                UnaryOpKind::Neg => What::Negative(self.boxed(&unary.expr)),
            },
            ast::Expr::BinOp(binary) => self.binary(binary, at),
            ast::Expr::IfExpr(choice) => match &choice.false_expr {
                Some(otherwise) => {
                    let then = self.boxed(&choice.true_expr);
                    What::If(self.boxed(&choice.test_expr), then, self.boxed(otherwise))
                }
                None => self.refused(
                    at,
                    "an `if` without `else` has no value when it does not hold",
                    "add `else …`",
                ),
            },
            ast::Expr::Filter(filter) => self.filter(filter, at),
            ast::Expr::Test(test) => self.test(test, at),
            ast::Expr::List(list) => What::List(list.items.iter().map(|item| self.node(item)).collect()),
            ast::Expr::Map(map) => What::Map(
                map.keys
                    .iter()
                    .zip(&map.values)
                    .map(|(key, value)| (self.node(key), self.node(value)))
                    .collect(),
            ),
            ast::Expr::Call(call) => self.call(call, at),
            ast::Expr::Compare(_) => self.refused(
                at,
                "a chain of comparisons is not part of the language",
                "write `a < b and b < c`, or `b is within([a, c])`",
            ),
            ast::Expr::Slice(_) => self.refused(
                at,
                "a slice is not part of the language",
                "use `| first`, `| last` or a subscript",
            ),
            ast::Expr::Tuple(_) => {
                self.refused(at, "a tuple is not part of the language", "write a list: `[a, b]`")
            }
        };
        Node { at, what }
    }

    fn boxed(&mut self, tree: &ast::Expr<'_>) -> Box<Node> {
        Box::new(self.node(tree))
    }

    fn refused(&mut self, at: Span, message: &str, help: &str) -> What {
        self.findings.push(problem(codes::NOT_IN_LANGUAGE, at, message).help(help));
        What::Constant(Value::from(()))
    }

    fn constant(&mut self, value: Value, at: Span) -> What {
        let fits = i64::try_from(value.clone()).is_ok() || u64::try_from(value.clone()).is_ok();
        let finite = f64::try_from(value.clone()).is_ok_and(f64::is_finite);
        if value.kind() == ValueKind::Number && !(if value.is_integer() { fits } else { finite }) {
            return self.refused(
                at,
                "this number does not fit 64 bits",
                "put it in quotes and use `| decimal`",
            );
        }
        What::Constant(value)
    }

    fn binary(&mut self, binary: &ast::BinOp<'_>, at: Span) -> What {
        if matches!(binary.op, BinOpKind::Sub) && self.is_hyphenated(binary) {
            let text = self.text.get(at.range()).unwrap_or_default();
            let message = format!("`{text}` is a subtraction here");
            self.findings.push(
                problem(codes::UNKNOWN_NAME, at, message).help("names are written with `_`, never with `-`"),
            );
            return What::Constant(Value::from(()));
        }
        let (left, right) = (self.boxed(&binary.left), self.boxed(&binary.right));
        match binary.op {
            BinOpKind::ScAnd => What::And(left, right),
            BinOpKind::ScOr => What::Or(left, right),
            BinOpKind::Concat => What::Concat(left, right),
            BinOpKind::Eq => What::Compare(Comparison::Equal, left, right),
            BinOpKind::Ne => What::Compare(Comparison::Different, left, right),
            BinOpKind::Lt => What::Compare(Comparison::Less, left, right),
            BinOpKind::Lte => What::Compare(Comparison::AtMost, left, right),
            BinOpKind::Gt => What::Compare(Comparison::More, left, right),
            BinOpKind::Gte => What::Compare(Comparison::AtLeast, left, right),
            BinOpKind::In => What::Compare(Comparison::In, left, right),
            BinOpKind::Add => What::Arithmetic(Operator::Plus, left, right),
            BinOpKind::Sub => What::Arithmetic(Operator::Minus, left, right),
            BinOpKind::Mul => What::Arithmetic(Operator::Times, left, right),
            BinOpKind::Div => What::Arithmetic(Operator::Divided, left, right),
            BinOpKind::FloorDiv => What::Arithmetic(Operator::Whole, left, right),
            BinOpKind::Rem => What::Arithmetic(Operator::Remainder, left, right),
            BinOpKind::Pow => What::Arithmetic(Operator::Power, left, right),
        }
    }

    /// Whether this subtraction was meant as a name with a `-` in it: `steps.my-step.outputs`.
    fn is_hyphenated(&self, binary: &ast::BinOp<'_>) -> bool {
        let mut right = &binary.right;
        while let ast::Expr::GetAttr(attribute) = right {
            right = &attribute.expr;
        }
        let (left_end, right_start) =
            (self.span_of(&binary.left).range().end, self.span_of(right).range().start);
        let unknown = matches!(right, ast::Expr::Var(variable) if root_named(variable.id).is_none());
        unknown
            && matches!(binary.left, ast::Expr::GetAttr(_))
            && self.text.get(left_end..right_start) == Some("-")
    }

    /// A variable with all that is accessed of it. Constant keys make a path; what follows the first computed one does not.
    fn access(&mut self, tree: &ast::Expr<'_>, at: Span) -> What {
        match tree {
            ast::Expr::Var(variable) => self.variable(variable.id, at),
            ast::Expr::GetAttr(attribute) => {
                let key_at =
                    Span::new((at.end as usize).saturating_sub(attribute.name.len()), at.end as usize);
                let base = self.node(&attribute.expr);
                self.keyed(base, Node { at: key_at, what: What::Constant(Value::from(attribute.name)) }, at)
            }
            ast::Expr::GetItem(item) => {
                let base = self.node(&item.expr);
                let key = match &item.subscript_expr {
                    // `rows[-1]` is a constant, but a sign and a number to the parser.
                    negative @ ast::Expr::UnaryOp(_) => match negative.as_const() {
                        Some(value) => Node { at: self.span_of(negative), what: What::Constant(value) },
                        None => self.node(negative),
                    },
                    other => self.node(other),
                };
                self.keyed(base, key, at)
            }
            _ => What::Constant(Value::from(())),
        }
    }

    fn variable(&mut self, name: &str, at: Span) -> What {
        let Some(root) = root_named(name) else {
            self.findings.push(unknown_name(name, at));
            return What::Constant(Value::from(()));
        };
        self.reads.push(Read { root, keys: Vec::new(), at, guard: Guard::Bare });
        What::Path(self.reads.len() - 1)
    }

    /// `base[key]`
    fn keyed(&mut self, base: Node, key: Node, at: Span) -> What {
        let What::Path(index) = base.what else {
            return What::Index(Box::new(base), Box::new(key));
        };
        let constant = match &key.what {
            What::Constant(value) if value.as_str().is_some() || value.is_integer() => Some(value.clone()),
            _ => None,
        };
        let Some(read) = self.reads.get_mut(index) else { return What::Path(index) };
        if read.root == Root::Steps
            && read.keys.is_empty()
            && constant.as_ref().is_none_or(|key| key.as_str().is_none())
        {
            self.findings.push(
                problem(codes::COMPUTED_STEP, key.at, "a step must be named, it cannot be chosen by a value")
                    .help("write its name: `steps.restore.outputs`"),
            );
            // Nothing more is to be said about this read.
            let named = |name: &str| Key { value: Value::from(name), at: key.at };
            read.keys = vec![named("?"), named("outputs")];
            return What::Constant(Value::from(()));
        }
        match constant {
            Some(value) => {
                read.keys.push(Key { value, at: key.at });
                read.at = at;
                What::Path(index)
            }
            None => What::Index(Box::new(base), Box::new(key)),
        }
    }

    fn filter(&mut self, filter: &ast::Filter<'_>, at: Span) -> What {
        let input = match &filter.expr {
            Some(expr) => self.boxed(expr),
            None => Box::new(Node { at, what: What::Constant(Value::from(())) }),
        };
        let name_at = self.name_after(input.at, filter.name);
        let mut arguments = self.arguments(&filter.args, name_at);
        if filter.name == "default" {
            return match (arguments.pop(), arguments.is_empty()) {
                (Some(Argument { name: None, value }), true) => What::Default(input, Box::new(value)),
                _ => {
                    let finding =
                        problem(codes::ARGUMENTS, name_at, "the filter `default` takes one argument");
                    self.findings.push(finding.help("for example `params.note | default('none')`"));
                    input.what
                }
            };
        }
        match filter_used(filter.name, name_at, &arguments) {
            Ok(filter) => What::Filter(filter, input, arguments),
            Err(finding) => {
                self.findings.push(*finding);
                input.what
            }
        }
    }

    fn test(&mut self, test: &ast::Test<'_>, at: Span) -> What {
        let input = self.boxed(&test.expr);
        let name_at = self.name_after(input.at, test.name);
        let arguments = self.arguments(&test.args, name_at);
        match test.name {
            "defined" if arguments.is_empty() => return What::Defined(input),
            "undefined" if arguments.is_empty() => {
                return What::Not(Box::new(Node { at, what: What::Defined(input) }));
            }
            _ => {}
        }
        match test_used(test.name, name_at, &arguments) {
            Ok(test) => What::Test(test, input, arguments),
            Err(finding) => {
                self.findings.push(*finding);
                input.what
            }
        }
    }

    fn arguments(&mut self, arguments: &[ast::CallArg<'_>], at: Span) -> Vec<Argument> {
        let mut found = Vec::new();
        for argument in arguments {
            let (name, value) = match argument {
                ast::CallArg::Pos(value) => (None, value),
                ast::CallArg::Kwarg(name, value) => (Some((*name).to_owned()), value),
                ast::CallArg::PosSplat(_) | ast::CallArg::KwargSplat(_) => {
                    self.refused(
                        at,
                        "`*` before an argument is not part of the language",
                        "give the arguments one by one",
                    );
                    continue;
                }
            };
            found.push(Argument { name, value: self.node(value) });
        }
        found
    }

    fn call(&mut self, call: &ast::Call<'_>, at: Span) -> What {
        let name = match &call.expr {
            ast::Expr::Var(variable) => variable.id,
            ast::Expr::GetAttr(attribute) => attribute.name,
            _ => "",
        };
        let help = match Filter::named(name) {
            Some(_) => format!("there is a filter: `… | {name}`"),
            None => "use a filter: `… | length`".to_owned(),
        };
        self.refused(at, "there are no functions and no methods in the plan language", &help)
    }

    /// Where the name of a filter or test stands, which follows what it is applied to.
    fn name_after(&self, input: Span, name: &str) -> Span {
        let from = input.end as usize;
        let start = self.text.get(from..).and_then(|rest| rest.find(name)).map_or(from, |at| from + at);
        Span::new(start, start + name.len())
    }

    /// The bytes of a part. The parser's spans begin too early where a comparison, a test or a choice is concerned.
    fn span_of(&self, tree: &ast::Expr<'_>) -> Span {
        let own = tree.span();
        let start = match tree {
            ast::Expr::BinOp(binary) => self.span_of(&binary.left).start,
            ast::Expr::Compare(compare) => self.span_of(&compare.expr).start,
            ast::Expr::IfExpr(choice) => self.span_of(&choice.true_expr).start,
            ast::Expr::Test(test) => self.span_of(&test.expr).start,
            ast::Expr::Filter(filter) => {
                filter.expr.as_ref().map_or(own.start_offset, |expr| self.span_of(expr).start)
            }
            ast::Expr::GetAttr(attribute) => self.span_of(&attribute.expr).start,
            ast::Expr::GetItem(item) => self.span_of(&item.expr).start,
            ast::Expr::Call(call) => self.span_of(&call.expr).start,
            ast::Expr::Slice(slice) => self.span_of(&slice.expr).start,
            ast::Expr::UnaryOp(unary) if !self.begins_with(own.start_offset, &["not", "-"]) => {
                self.span_of(&unary.expr).start
            }
            _ => own.start_offset,
        };
        self.balanced(start as usize, own.end_offset as usize)
    }

    fn begins_with(&self, at: u32, words: &[&str]) -> bool {
        self.text.get(at as usize..).is_some_and(|rest| words.iter().any(|word| rest.starts_with(word)))
    }

    /// Brackets around the leftmost part are not in its span: `(a or b) and c` would begin at `a`.
    fn balanced(&self, mut start: usize, end: usize) -> Span {
        let count =
            |start: usize, sign: char| self.text.get(start..end).map_or(0, |part| part.matches(sign).count());
        while count(start, ')') > count(start, '(') {
            match self.text.get(..start).and_then(|before| before.rfind('(')) {
                Some(at) => start = at,
                None => break,
            }
        }
        Span::new(start, end)
    }
}

fn root_named(name: &str) -> Option<Root> {
    Root::ALL.into_iter().find(|root| root.as_str() == name)
}
