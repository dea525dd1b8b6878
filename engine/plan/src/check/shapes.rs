//! What expressions see before anything has run: the shapes of parameters, steps, items and answers: [`Known`].

use std::collections::HashMap;

use crate::catalog::KindShape;
use crate::expr::{Ref, Root, Segment, Shapes};
use crate::owned_shape::{Lookup, OwnedField, OwnedShape};
use crate::params::Params;

/// The statuses of a step.
const STATUSES: [&str; 6] = ["succeeded", "failed", "skipped", "blocked", "cancelled", "partial"];
/// The statuses of a run.
const RUN_STATUSES: [&str; 6] = ["running", "waiting", "succeeded", "failed", "interrupted", "abandoned"];

/// The shapes that are known while one place is looked at.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// The parameters.
    pub(super) params: &'a Params,
    /// The outputs of each step by its name, as far as it has been looked at.
    pub(super) steps: &'a StepShapes,
    /// The item of a foreach.
    pub(super) item: Option<&'a OwnedShape>,
    /// A validation's answer.
    pub(super) result: Option<&'a OwnedShape>,
    /// The step's own outputs.
    pub(super) outputs: Option<&'a OwnedShape>,
}

/// The shapes of `steps.x.outputs`, by step.
#[derive(Debug, Default)]
pub(super) struct StepShapes {
    outputs: HashMap<String, OwnedShape>,
    kinds: HashMap<&'static str, OwnedShape>,
}

/// A name that leads nowhere.
#[derive(Debug, PartialEq)]
pub(super) struct Miss<'r> {
    /// What it was looked for in: `steps.a.outputs`.
    pub(super) within: String,
    /// The name.
    pub(super) segment: &'r Segment,
    /// The names that there are; `None` where there can be none.
    pub(super) there: Option<Vec<String>>,
    /// What it was looked for in is.
    pub(super) shape: OwnedShape,
}

/// The first parts of a reference as they would be written: `steps.a.outputs[0].key`.
pub(super) fn written(reference: &Ref, parts: usize) -> String {
    let mut text = reference.root.as_str().to_owned();
    for segment in &reference.path[..parts] {
        if segment.text.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{}]", segment.text));
        } else if segment.text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            text.push_str(&format!(".{}", segment.text));
        } else {
            text.push_str(&format!("['{}']", segment.text));
        }
    }
    text
}

impl StepShapes {
    /// Remember a step's outputs.
    pub(super) fn insert(&mut self, step: &str, shape: OwnedShape) {
        self.outputs.insert(step.to_owned(), shape);
    }

    /// The outputs of a kind, with what depends on an input put in by `input`.
    pub(super) fn of_kind(&mut self, kind: &KindShape, input: &dyn Fn(&str) -> OwnedShape) -> OwnedShape {
        let shape = self.kinds.entry(kind.name).or_insert_with(|| OwnedShape::from(&kind.outputs));
        if names_an_input(shape) { with_inputs(shape, input) } else { shape.clone() }
    }
}

fn names_an_input(shape: &OwnedShape) -> bool {
    match shape {
        OwnedShape::OfInput(_) => true,
        OwnedShape::List(of) | OwnedShape::Map(of) => names_an_input(of),
        OwnedShape::Record(fields) => fields.iter().any(|field| names_an_input(&field.shape)),
        OwnedShape::Either(a, b) => names_an_input(a) || names_an_input(b),
        _ => false,
    }
}

fn with_inputs(shape: &OwnedShape, input: &dyn Fn(&str) -> OwnedShape) -> OwnedShape {
    match shape {
        OwnedShape::OfInput(name) => input(name),
        OwnedShape::List(of) => OwnedShape::List(Box::new(with_inputs(of, input))),
        OwnedShape::Map(of) => OwnedShape::Map(Box::new(with_inputs(of, input))),
        OwnedShape::Either(a, b) => {
            OwnedShape::Either(Box::new(with_inputs(a, input)), Box::new(with_inputs(b, input)))
        }
        OwnedShape::Record(fields) => OwnedShape::Record(
            fields
                .iter()
                .map(|field| OwnedField { shape: with_inputs(&field.shape, input), ..field.clone() })
                .collect(),
        ),
        other => other.clone(),
    }
}

/// `{key, item, status, outputs}` for each instance of a foreach.
pub(super) fn instances(item: OwnedShape, outputs: OwnedShape) -> OwnedShape {
    OwnedShape::List(Box::new(OwnedShape::Record(vec![
        field("key", OwnedShape::Text),
        field("item", item),
        field("status", words(&STATUSES)),
        field("outputs", outputs),
    ])))
}

pub(super) fn field(name: &str, shape: OwnedShape) -> OwnedField {
    OwnedField { name: name.to_owned(), shape, required: true }
}

fn words(words: &[&str]) -> OwnedShape {
    OwnedShape::OneOf(words.iter().map(|word| (*word).to_owned()).collect())
}

fn run() -> OwnedShape {
    OwnedShape::Record(vec![
        field("id", OwnedShape::Text),
        field("started_at", OwnedShape::Datetime),
        field("plan", OwnedShape::Text),
        field("purpose", words(&["backup", "restore", "maintenance"])),
        field("status", words(&RUN_STATUSES)),
        field("summary", OwnedShape::Text),
    ])
}

impl Known<'_> {
    /// What a reference leads to, or where it leads nowhere. Steps and parameters that do not exist are `Any`: they are found elsewhere.
    pub(super) fn look_up<'r>(&self, reference: &'r Ref) -> Result<OwnedShape, Miss<'r>> {
        let path = reference.path.as_slice();
        match reference.root {
            Root::Params => match path {
                [] => Ok(OwnedShape::Any),
                [name, rest @ ..] => {
                    if let Some(words) = self.params.words_of(reference) {
                        return Ok(OwnedShape::OneOf(words));
                    }
                    let shape = self
                        .params
                        .declared
                        .get(name.text.as_str())
                        .map(|param| OwnedShape::from(&param.shape.shape()));
                    walk(shape.unwrap_or(OwnedShape::Any), reference, rest)
                }
            },
            Root::Steps => match path {
                [_, part, rest @ ..] if part.text == "outputs" => {
                    let Some(shape) = self.steps.outputs.get(&path[0].text) else {
                        return Ok(OwnedShape::Any);
                    };
                    walk_ref(shape, reference, rest)
                }
                [_, part, rest @ ..] if part.text == "status" => walk(words(&STATUSES), reference, rest),
                _ => Ok(OwnedShape::Any),
            },
            Root::Run => walk(run(), reference, path),
            Root::Item => self.item.map_or(Ok(OwnedShape::Any), |shape| walk_ref(shape, reference, path)),
            Root::Result => self.result.map_or(Ok(OwnedShape::Any), |shape| walk_ref(shape, reference, path)),
            Root::Outputs => {
                self.outputs.map_or(Ok(OwnedShape::Any), |shape| walk_ref(shape, reference, path))
            }
            Root::Env => Ok(OwnedShape::Text),
        }
    }
}

fn walk<'r>(shape: OwnedShape, reference: &'r Ref, rest: &'r [Segment]) -> Result<OwnedShape, Miss<'r>> {
    walk_ref(&shape, reference, rest)
}

/// Follow the rest of a path, without copying more of the shape than the last part.
fn walk_ref<'r>(shape: &OwnedShape, reference: &'r Ref, rest: &'r [Segment]) -> Result<OwnedShape, Miss<'r>> {
    let Some((segment, further)) = rest.split_first() else { return Ok(shape.clone()) };
    let miss = |there| {
        let before = reference.path.len() - rest.len();
        Err(Miss { within: written(reference, before), segment, there, shape: shape.clone() })
    };
    match shape.field(&segment.text) {
        Lookup::Found(found) => walk_ref(&found, reference, further),
        Lookup::Missing(there) => miss(Some(there)),
        Lookup::NoFields => miss(None),
    }
}

impl Shapes for Known<'_> {
    fn shape_of(&self, reference: &Ref) -> OwnedShape {
        self.look_up(reference).unwrap_or(OwnedShape::Any)
    }
}
