//! A written value beside the shape that it must have: [`fit`]. Inputs of kinds and settings of targets differ in what they make of the
//! parts, and say so by [`Parts`].

use indexmap::IndexMap;

use crate::finding::{Code, Finding, Findings};
use crate::owned_shape::OwnedShape;
use crate::secret;
use crate::shape::{Field, Shape};
use crate::source::Place;
use crate::suggest::nearest;
use crate::syntax::fields::{deprecated, list};
use crate::syntax::tree::{Entry, Node, Value};

/// What is made of a value and its parts.
pub(crate) trait Parts {
    /// What comes out.
    type Out;
    /// What the values are called: `input`, `setting`.
    const WHAT: &'static str;
    /// How a secret comes here, for a source of one where none can stand.
    const SECRET_HELP: &'static str;
    /// Where a missing part is added, with a space before it.
    const UNDER: &'static str;
    /// The code of an unknown key, a missing one, and a value of another shape.
    const CODES: [Code; 3];

    /// A value that is taken as a whole, whatever its shape; `None` to look at its shape.
    fn whole(&mut self, at: &At<'_>, findings: &mut Findings) -> Option<Option<Self::Out>>;
    /// A scalar.
    fn scalar(&mut self, at: &At<'_>, findings: &mut Findings) -> Option<Self::Out>;
    /// A list of parts.
    fn list(parts: Vec<Self::Out>) -> Self::Out;
    /// A mapping of parts.
    fn map(parts: IndexMap<String, Self::Out>) -> Self::Out;
}

/// A value, and what is wanted where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// The value.
    pub(crate) node: &'a Node,
    /// Where to point at it.
    pub(crate) place: Place,
    /// What it is called in messages, with its back-ticks.
    pub(crate) name: &'a str,
    /// What it must look like.
    pub(crate) shape: &'a Shape,
    /// The field that it belongs to.
    pub(crate) field: &'a Field,
}

/// The mapping `entries`, which stands at `at`, beside the fields that it may have. Missing fields are found at `missing_at`, for
/// `owner`, such as `` `sqlserver.restore` ``.
pub(crate) fn fit_fields<P: Parts>(
    parts: &mut P,
    entries: &[Entry],
    fields: &[Field],
    owner: &str,
    missing_at: Place,
    findings: &mut Findings,
) -> IndexMap<String, P::Out> {
    let mut made = IndexMap::with_capacity(entries.len());
    for entry in entries {
        let Some(field) = fields.iter().find(|field| field.name == &*entry.key) else {
            findings.push(unknown::<P>(entry, fields, owner));
            continue;
        };
        if let Some(instead) = field.deprecated {
            findings.push(deprecated(entry, owner, P::WHAT, instead));
        }
        let name = format!("`{}`", field.name);
        let at =
            At { node: &entry.value, place: entry.value_place(), name: &name, shape: &field.shape, field };
        if let Some(part) = fit(parts, &at, findings) {
            made.insert(entry.key.to_string(), part);
        }
    }
    for field in
        fields.iter().filter(|field| field.required && !entries.iter().any(|entry| &*entry.key == field.name))
    {
        findings.push(
            Finding::error(
                P::CODES[1],
                missing_at,
                format!("{owner} needs the {} `{}`", P::WHAT, field.name),
            )
            .label(format!("`{}` is missing", field.name))
            .help(format!("add `{}: …`{}: {}", field.name, P::UNDER, field.shape.words())),
        );
    }
    made
}

fn unknown<P: Parts>(entry: &Entry, fields: &[Field], owner: &str) -> Finding {
    let message = format!("{owner} has no {} `{}`", P::WHAT, entry.key);
    let finding = Finding::error(P::CODES[0], entry.key_place, message).label("unknown");
    match nearest(&entry.key, fields.iter().map(|field| field.name)) {
        Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
        None if fields.is_empty() => finding.help(format!("it takes no {}s", P::WHAT)),
        None => finding.help(format!("its {}s are {}", P::WHAT, list(fields.iter().map(|field| field.name)))),
    }
}

/// A band's mapping, when its parts are looked at one by one.
const BAND: Shape = Shape::Record(&[
    Field::required("low", Shape::Any, "The least."),
    Field::required("high", Shape::Any, "The most."),
]);

/// A value beside its shape.
pub(crate) fn fit<P: Parts>(parts: &mut P, at: &At<'_>, findings: &mut Findings) -> Option<P::Out> {
    if let Some(whole) = parts.whole(at, findings) {
        return whole;
    }
    match (&at.node.value, at.shape) {
        (Value::List(_) | Value::Map(_), Shape::Either(a, b)) => either(parts, at, a, b, findings),
        (Value::List(items), Shape::List(of)) => items_of(parts, at, items, of, findings),
        (Value::List(items), Shape::Any | Shape::Band) => items_of(parts, at, items, &Shape::Any, findings),
        (Value::Map(entries), Shape::Record(fields)) => {
            Some(P::map(fit_fields(parts, entries, fields, at.name, at.place, findings)))
        }
        (Value::Map(_), Shape::Band) => fit(parts, &At { shape: &BAND, ..*at }, findings),
        (Value::Map(entries), Shape::Map(of)) => entries_of(parts, at, entries, of, findings),
        (Value::Map(entries), Shape::Any) => entries_of(parts, at, entries, &Shape::Any, findings),
        (Value::List(_) | Value::Map(_), _) => {
            let finding = wrong::<P>(at, format!("this is {}", at.node.words()));
            findings.push(if secret::looks_like_one(at.node) {
                finding.help(P::SECRET_HELP)
            } else {
                finding
            });
            None
        }
        _ => parts.scalar(at, findings),
    }
}

fn items_of<P: Parts>(
    parts: &mut P,
    at: &At<'_>,
    items: &[Node],
    of: &Shape,
    findings: &mut Findings,
) -> Option<P::Out> {
    let name = format!("an item of {}", at.name);
    let place =
        |item: &Node| if item.place.span.start == item.place.span.end { at.place } else { item.place };
    let made = items.iter().filter_map(|item| {
        fit(parts, &At { node: item, place: place(item), name: &name, shape: of, ..*at }, findings)
    });
    Some(P::list(made.collect()))
}

fn entries_of<P: Parts>(
    parts: &mut P,
    at: &At<'_>,
    entries: &[Entry],
    of: &Shape,
    findings: &mut Findings,
) -> Option<P::Out> {
    let mut made = IndexMap::with_capacity(entries.len());
    for entry in entries {
        let name = format!("`{}`", entry.key);
        let part = At { node: &entry.value, place: entry.value_place(), name: &name, shape: of, ..*at };
        if let Some(part) = fit(parts, &part, findings) {
            made.insert(entry.key.to_string(), part);
        }
    }
    Some(P::map(made))
}

/// The first of two shapes that fits. Where neither does, what is wrong deepest in the value is told.
fn either<P: Parts>(
    parts: &mut P,
    at: &At<'_>,
    a: &Shape,
    b: &Shape,
    findings: &mut Findings,
) -> Option<P::Out> {
    let mut found = Vec::new();
    for shape in [a, b] {
        let mut trial = Findings::new();
        let made = fit(parts, &At { shape, ..*at }, &mut trial);
        if !trial.has_errors() {
            findings.extend(trial);
            return made;
        }
        found.push(trial);
    }
    match found.into_iter().find(|trial| trial.iter().all(|finding| finding.place != at.place)) {
        Some(deeper) => findings.extend(deeper),
        None => findings.push(wrong::<P>(at, format!("this is {}", at.node.words()))),
    }
    None
}

/// The finding for a value of another shape.
pub(crate) fn wrong<P: Parts>(at: &At<'_>, label: impl Into<String>) -> Finding {
    Finding::error(P::CODES[2], at.place, format!("{} must be {}", at.name, at.shape.words())).label(label)
}

/// The finding for a plain value that does not have its shape.
pub(crate) fn wrong_value<P: Parts>(at: &At<'_>) -> Option<Finding> {
    OwnedShape::from(at.shape).check_value(&at.node.json()).err()?;
    let finding = wrong::<P>(at, format!("this is {}", at.node.words()));
    let instead = |finding: Finding, words: &str, text: String| {
        finding.help(format!("{words}: `{text}`")).suggestion(text)
    };
    Some(match (at.shape, &at.node.value) {
        (Shape::OneOf(words), Value::Text(text)) => match nearest(&text.text, words.iter().copied()) {
            Some(near) => {
                finding.label("none of them").help(format!("did you mean `{near}`?")).suggestion(near)
            }
            None => finding.label("none of them"),
        },
        (Shape::Duration, Value::Number(number)) => instead(finding, "write a unit", format!("{number}s")),
        (Shape::Size, Value::Number(number)) => instead(finding, "write a unit", format!("{number}B")),
        (Shape::Duration | Shape::Size | Shape::Datetime | Shape::Decimal | Shape::Url, Value::Text(_)) => {
            finding.label("this is none")
        }
        (Shape::Boolean, Value::Text(text)) => match &*text.text.to_lowercase() {
            "yes" | "on" | "true" => {
                instead(finding, "only `true` and `false` are flags; write", "true".to_owned())
            }
            "no" | "off" | "false" => {
                instead(finding, "only `true` and `false` are flags; write", "false".to_owned())
            }
            _ => finding,
        },
        (Shape::Integer | Shape::Number, Value::Text(text)) if text.text.parse::<f64>().is_ok() => {
            instead(finding, "remove the quotes", text.text.to_string())
        }
        (Shape::List(_), Value::Text(text)) => {
            instead(finding, "write a list", format!("[\"{}\"]", text.text))
        }
        (
            Shape::Text | Shape::Path | Shape::Url | Shape::Decimal | Shape::OneOf(_),
            Value::Number(_) | Value::Boolean(_),
        ) => instead(finding, "put it in quotes", format!("\"{}\"", at.node.json())),
        _ => finding,
    })
}
