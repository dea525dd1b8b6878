//! Judging an assertion: not only whether it holds, but what it expected and what was found: [`judged`].

use minijinja::Value;

use crate::expr::compare::{Comparison, ends};
use crate::expr::datum::rendered_of;
use crate::expr::evaluation::{Clear, Evaluation};
use crate::expr::node::{Node, What};
use crate::expr::scope::{Judged, Truth};
use crate::expr::walk::{Fault, Found};
use crate::name::Name;

/// The longest value that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

/// Judge the condition `node` of the expression `text`.
pub(crate) fn judged(evaluation: &Evaluation<'_>, node: &Node, text: &str) -> Result<Judged, Fault> {
    let ok = evaluation.truth(node)?;
    let (expected, found) = match &node.what {
        What::Not(part) => {
            let inner = judged(evaluation, part, text)?;
            (format!("not {}", inner.expected), inner.found)
        }
        What::And(left, right) => match evaluation.truth(left)? {
            Truth::True if ok == Truth::True => both(evaluation, left, right, text, " and ")?,
            Truth::True => sides(judged(evaluation, right, text)?),
            Truth::After(_) if ok == Truth::False => sides(judged(evaluation, right, text)?),
            _ => sides(judged(evaluation, left, text)?),
        },
        What::Or(left, right) => match (&ok, evaluation.truth(left)?) {
            (Truth::True, Truth::True) => sides(judged(evaluation, left, text)?),
            (Truth::True, _) => sides(judged(evaluation, right, text)?),
            (Truth::False, _) => both(evaluation, left, right, text, " or ")?,
            (after, _) => (source(node, text), shown_truth(after)),
        },
        What::Compare(comparison, left, right) => compared(evaluation, *comparison, left, right)?,
        What::Defined(asked) => {
            let found = match evaluation.found(asked)? {
                Found::Value(value, _) => shown(&value),
                Found::After(after) => shown_truth(&Truth::After(after)),
                Found::Nothing(_) => "nothing".to_owned(),
            };
            ("a value".to_owned(), found)
        }
        What::Test(test, input, arguments) => {
            let expected = match arguments.first() {
                Some(band) if test.name == "within" => between(&evaluation.clear(&band.value)?),
                _ => source(node, text).get(input.at.range().len()..).unwrap_or_default().trim().to_owned(),
            };
            (expected, shown_clear(&evaluation.clear(input)?))
        }
        _ => ("true".to_owned(), shown_truth(&ok)),
    };
    Ok(Judged { ok, expected, found })
}

fn sides(judged: Judged) -> (String, String) {
    (judged.expected, judged.found)
}

fn both(
    evaluation: &Evaluation<'_>,
    left: &Node,
    right: &Node,
    text: &str,
    between: &str,
) -> Result<(String, String), Fault> {
    let (left, right) = (judged(evaluation, left, text)?, judged(evaluation, right, text)?);
    let found =
        if left.found == right.found { left.found } else { format!("{}, {}", left.found, right.found) };
    Ok((format!("{}{between}{}", left.expected, right.expected), found))
}

/// A constant is what was expected, on whichever side it stands.
fn compared(
    evaluation: &Evaluation<'_>,
    comparison: Comparison,
    left: &Node,
    right: &Node,
) -> Result<(String, String), Fault> {
    let constant = |node: &Node| matches!(node.what, What::Constant(_));
    let (comparison, left, right) = match comparison.mirrored() {
        Some(mirrored) if constant(left) && !constant(right) => (mirrored, right, left),
        _ => (comparison, left, right),
    };
    let expected = shown_clear(&evaluation.clear(right)?);
    let expected = match comparison {
        Comparison::Equal => expected,
        Comparison::Different => format!("anything but {expected}"),
        Comparison::Less => format!("less than {expected}"),
        Comparison::AtMost => format!("at most {expected}"),
        Comparison::More => format!("more than {expected}"),
        Comparison::AtLeast => format!("at least {expected}"),
        Comparison::In => format!("one of {expected}"),
    };
    Ok((expected, shown_clear(&evaluation.clear(left)?)))
}

fn between(band: &Clear) -> String {
    match band {
        Clear::Value(band) => match ends(band) {
            Ok((low, high)) => format!("between {} and {}", shown(&low), shown(&high)),
            Err(why) => why,
        },
        after => shown_clear(after),
    }
}

fn source(node: &Node, text: &str) -> String {
    text.get(node.at.range()).unwrap_or(text).to_owned()
}

fn shown_clear(value: &Clear) -> String {
    match value {
        Clear::Value(value) => shown(value),
        Clear::After(after) => shown_truth(&Truth::After(after.clone())),
    }
}

fn shown_truth(truth: &Truth) -> String {
    match truth {
        Truth::True => "true".to_owned(),
        Truth::False => "false".to_owned(),
        Truth::After(after) => {
            let names: Vec<&str> = after.iter().map(Name::as_str).collect();
            format!("(known after {})", names.join(", "))
        }
    }
}

/// A value for people: text as it is, unless nobody would see it; secrets as `***`.
fn shown(value: &Value) -> String {
    let text = match rendered_of(value).map(|rendered| rendered.shown()) {
        Ok(serde_json::Value::String(text)) if !text.is_empty() && text.trim() == text => text,
        Ok(json) => json.to_string(),
        Err(_) => "no value".to_owned(),
    };
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
