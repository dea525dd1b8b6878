//! What a condition leaves open where it holds: [`narrowed`]. A condition that leaves nothing never holds, and two that leave different
//! things of the same value never hold together.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Value;

use crate::expr::compare::Comparison;
use crate::expr::node::{Node, What};

/// The values that are left of one part of a condition, each written so that different ones differ.
#[derive(Debug, Clone, PartialEq)]
enum Left {
    /// These alone.
    Only(BTreeSet<String>),
    /// All but these.
    AllBut(BTreeSet<String>),
}

impl Left {
    fn one(value: impl Into<String>) -> Self {
        Self::Only(BTreeSet::from([value.into()]))
    }

    fn truth(holds: bool) -> Self {
        Self::one(if holds { "true" } else { "false" })
    }

    fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(a.intersection(b).cloned().collect()),
            (Self::Only(a), Self::AllBut(b)) => Self::Only(a.difference(b).cloned().collect()),
            (Self::AllBut(a), Self::Only(b)) => Self::Only(b.difference(&a).cloned().collect()),
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a.union(b).cloned().collect()),
        }
    }

    fn or(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(a.union(b).cloned().collect()),
            (Self::Only(a), Self::AllBut(b)) => Self::AllBut(b.difference(&a).cloned().collect()),
            (Self::AllBut(a), Self::Only(b)) => Self::AllBut(a.difference(b).cloned().collect()),
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a.intersection(b).cloned().collect()),
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Only(values) if values.is_empty())
    }
}

/// What is left of the parts of a condition, by their texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Narrowed(BTreeMap<String, Left>);

impl Narrowed {
    /// What is left where both hold; `None` where they never do.
    pub(crate) fn and(mut self, other: Self) -> Option<Self> {
        for (part, left) in other.0 {
            let both = match self.0.remove(&part) {
                Some(own) => own.and(&left),
                None => left,
            };
            if both.is_nothing() {
                return None;
            }
            self.0.insert(part, both);
        }
        Some(self)
    }

    /// What is left where at least one holds.
    fn or(self, mut other: Self) -> Self {
        let common = |(part, left): (String, Left)| {
            let other = other.0.remove(&part)?;
            Some((part, left.or(&other)))
        };
        Self(self.0.into_iter().filter_map(common).collect())
    }
}

/// Knows which texts the reference of this number can be, where that is known.
pub(crate) type Known<'a> = &'a dyn Fn(usize) -> Option<Vec<String>>;

/// What is left where the condition `node` of the expression `text` is true (`holds`) or false; `None` where it never is.
pub(crate) fn narrowed(node: &Node, holds: bool, text: &str, known: Known<'_>) -> Option<Narrowed> {
    let part = |node, holds| narrowed(node, holds, text, known);
    match &node.what {
        What::Not(inner) => part(inner, !holds),
        What::And(a, b) | What::Or(a, b) if matches!(node.what, What::And(..)) == holds => {
            part(a, holds)?.and(part(b, holds)?)
        }
        What::And(a, b) | What::Or(a, b) => match (part(a, holds), part(b, holds)) {
            (Some(a), Some(b)) => Some(a.or(b)),
            (a, b) => a.or(b),
        },
        What::Constant(value) if value.kind() == minijinja::value::ValueKind::Bool => {
            (value.is_true() == holds).then(Narrowed::default)
        }
        What::Compare(comparison, a, b) => compared(*comparison, a, b, holds, text, known),
        What::Defined(asked) => leaf(format!("{} is defined", source(asked, text)), Left::truth(holds), None),
        _ => leaf(source(node, text), Left::truth(holds), None),
    }
}

fn compared(
    comparison: Comparison,
    a: &Node,
    b: &Node,
    holds: bool,
    text: &str,
    known: Known<'_>,
) -> Option<Narrowed> {
    let universe = |node: &Node| match node.what {
        What::Path(index) => known(index),
        _ => None,
    };
    let one = |node: &Node, value: String, equal: bool| {
        let values = BTreeSet::from([value]);
        leaf(
            source(node, text),
            if equal { Left::Only(values) } else { Left::AllBut(values) },
            universe(node),
        )
    };
    let ordered = |less: bool| {
        let of = format!("{} < {}", source(a, text), source(b, text));
        leaf(of, Left::truth(less), None)
    };
    let at_most = |at_most: bool| {
        let of = format!("{} <= {}", source(a, text), source(b, text));
        leaf(of, Left::truth(at_most), None)
    };
    match comparison {
        Comparison::Equal | Comparison::Different => {
            let equal = (comparison == Comparison::Equal) == holds;
            match (written(a), written(b)) {
                (None, Some(value)) => one(a, value, equal),
                (Some(value), None) => one(b, value, equal),
                _ => leaf(format!("{} == {}", source(a, text), source(b, text)), Left::truth(equal), None),
            }
        }
        Comparison::In => match &b.what {
            What::List(items) if written(a).is_none() => {
                match items.iter().map(written).collect::<Option<BTreeSet<_>>>() {
                    Some(values) => {
                        let left = if holds { Left::Only(values) } else { Left::AllBut(values) };
                        leaf(source(a, text), left, universe(a))
                    }
                    None => {
                        leaf(format!("{} in {}", source(a, text), source(b, text)), Left::truth(holds), None)
                    }
                }
            }
            _ => leaf(format!("{} in {}", source(a, text), source(b, text)), Left::truth(holds), None),
        },
        Comparison::Less => ordered(holds),
        Comparison::AtLeast => ordered(!holds),
        Comparison::AtMost => at_most(holds),
        Comparison::More => at_most(!holds),
    }
}

/// One part, of which this is left among what it can be.
fn leaf(part: impl Into<String>, left: Left, universe: Option<Vec<String>>) -> Option<Narrowed> {
    let left = match universe {
        Some(all) => left.and(&Left::Only(all.iter().map(|text| shown_text(text)).collect())),
        None => left,
    };
    (!left.is_nothing()).then(|| Narrowed(BTreeMap::from([(part.into(), left)])))
}

/// A text, a number or a truth that is written out; numbers by their value.
fn written(node: &Node) -> Option<String> {
    let What::Constant(value) = &node.what else { return None };
    match value.kind() {
        minijinja::value::ValueKind::String => value.as_str().map(shown_text),
        minijinja::value::ValueKind::Bool => Some(value.is_true().to_string()),
        minijinja::value::ValueKind::Number => whole(value),
        _ => None,
    }
}

/// Whole numbers alone: what two broken ones have in common is nobody's business.
fn whole(value: &Value) -> Option<String> {
    i64::try_from(value.clone()).ok().map(|number| number.to_string())
}

fn shown_text(text: &str) -> String {
    format!("'{text}'")
}

/// The text of a part.
fn source<'t>(node: &Node, text: &'t str) -> &'t str {
    text.get(node.at.range()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::ast::parse;

    fn of(text: &str) -> Option<Narrowed> {
        let status = vec!["succeeded".to_owned(), "failed".to_owned()];
        let parsed = parse(text).unwrap();
        let known = |index: usize| (parsed.reads[index].name(1) == Some("status")).then(|| status.clone());
        narrowed(&parsed.node, true, text, &known)
    }

    #[track_caller]
    fn check_never(text: &str, never: bool) {
        assert_eq!(of(text).is_none(), never, "{text}");
    }

    #[track_caller]
    fn check_together(a: &str, b: &str, possible: bool) {
        let both = of(a).unwrap().and(of(b).unwrap());
        assert_eq!(both.is_some(), possible, "{a} / {b}");
    }

    #[test]
    fn what_contradicts_itself_is_never_true() {
        check_never("params.a == 'x' and params.a == 'y'", true);
        check_never("params.a in ['x', 'z'] and params.a == 'y'", true);
        check_never("params.full and not params.full", true);
        check_never("params.n > 3 and params.n <= 3", true);
        check_never("not (params.a == 'x' or params.a != 'x')", true);
        check_never("params.b and false", true);
        check_never("params.n == 1 and params.n == 2", true);
        check_never("steps.a.status == 'blocked'", true);
        check_never("steps.a.status != 'failed' and steps.a.status != 'succeeded'", true);
        check_never("params.a is defined and params.a is undefined", true);
    }

    #[test]
    fn what_may_hold_is_left_alone() {
        check_never("params.a == 'x' or params.a == 'y'", false);
        check_never("params.a != 'x' and params.a != 'y'", false);
        check_never("params.a == 'x' and params.b == 'y'", false);
        check_never("(params.a == 'x' or params.b) and params.a == 'y'", false);
        check_never("params.n > 3 and params.n >= 3", false);
        check_never("steps.a.status == 'failed' or steps.a.status == 'blocked'", false);
        check_never("params.a == params.b and params.a != 'x'", false);
        check_never("params.b or false", false);
        check_never("params.a in params.all and params.a == 'x'", false);
    }

    #[test]
    fn conditions_exclude_each_other_where_they_leave_nothing() {
        check_together("params.kind == 'full'", "params.kind == 'log'", false);
        check_together("params.kind == 'full'", "params.kind != 'full'", false);
        check_together("params.kind == 'full' and params.b", "params.kind in ['log', 'diff']", false);
        check_together("params.b", "not params.b", false);
        check_together("params.n  < 3", "params.n >= 3", false);
        check_together("params.kind == 'full'", "params.b", true);
        check_together("params.n > 3", "params.n < 9", true);
    }
}
