//! A plan as it was written, every part with its place and nothing resolved: [`PlanFile`].

use crate::codes;
use crate::duration::Millis;
use crate::finding::{Finding, Findings};
use crate::model::{Objectives, OnFailure, OnUnfinished, OnUnknown, ParamType, Purpose, Retry};
use crate::name::Name;
use crate::source::Place;

use super::fields::{Fields, Spanned, named};
use super::keys::{OBJECTIVES, PARAM, PLAN, STEP, VALIDATION};
use super::retry::retry;
use super::tree::{Entry, Node};

/// A plan as it was written.
#[derive(Debug)]
pub struct PlanFile<'n> {
    /// Its name, when it has one.
    pub name: Option<Spanned<Name>>,
    /// What it is for.
    pub purpose: Purpose,
    /// In its author's words.
    pub description: Option<String>,
    /// Its parameters.
    pub params: Vec<ParamWritten<'n>>,
    /// Its targets.
    pub targets: Vec<TargetWritten<'n>>,
    /// What it must keep to; `restored_by` stands beside it, as a name.
    pub objectives: Objectives,
    /// The step with whose end the system is back.
    pub restored_by: Option<Spanned<&'n str>>,
    /// How many attempts may run at once.
    pub max_parallel: Option<u32>,
    /// What to do about a run that died.
    pub on_unfinished: Option<OnUnfinished>,
    /// The body's steps, then those of `finally`.
    pub steps: Vec<StepWritten<'n>>,
    /// What it gives.
    pub outputs: &'n [Entry],
}

/// A declared parameter.
#[derive(Debug)]
pub struct ParamWritten<'n> {
    /// Its name.
    pub name: Spanned<Name>,
    /// Its type.
    pub shape: Spanned<ParamType>,
    /// Whether a run must be given a value.
    pub required: bool,
    /// The value when none is given.
    pub default: Option<&'n Entry>,
    /// The values that it may have, with the place of the whole list.
    pub one_of: Option<&'n Entry>,
    /// What the whole text must match.
    pub pattern: Option<Spanned<&'n str>>,
    /// The smallest value.
    pub min: Option<&'n Entry>,
    /// The largest value.
    pub max: Option<&'n Entry>,
}

/// A declared target.
#[derive(Debug)]
pub struct TargetWritten<'n> {
    /// Its name.
    pub name: Spanned<Name>,
    /// Its target kind.
    pub kind: Spanned<&'n str>,
}

/// A step.
#[derive(Debug)]
pub struct StepWritten<'n> {
    /// Its name as written, which may be no name (that is found already).
    pub name: Spanned<&'n str>,
    /// Whether it stands in `finally`.
    pub finally: bool,
    /// In its author's words.
    pub description: Option<String>,
    /// The call that it makes.
    pub call: CallWritten<'n>,
    /// The names of the steps that it waits for.
    pub needs: Vec<Spanned<&'n str>>,
    /// The condition.
    pub when: Option<&'n Entry>,
    /// The list of a foreach.
    pub foreach: Option<&'n Entry>,
    /// The key of its instances.
    pub key: Option<&'n Entry>,
    /// How many instances at once.
    pub max_parallel: Option<Spanned<u32>>,
    /// When to try again.
    pub retry: Retry,
    /// The longest attempt.
    pub timeout: Option<Millis>,
    /// What must hold.
    pub validate: Vec<ValidationWritten<'n>>,
    /// What its failure means.
    pub on_failure: OnFailure,
    /// What to do about an unknown attempt, and where that is said.
    pub on_unknown: Option<Spanned<OnUnknown>>,
    /// Values added to its outputs.
    pub outputs: &'n [Entry],
    /// Steps that it undoes.
    pub undoes: Vec<Spanned<&'n str>>,
    /// Where `undoes` stands.
    pub undoes_place: Option<Place>,
}

/// A call of a kind.
#[derive(Debug)]
pub struct CallWritten<'n> {
    /// The kind's name.
    pub uses: Option<Spanned<&'n str>>,
    /// The target's name.
    pub target: Option<Spanned<&'n str>>,
    /// Its inputs.
    pub with: &'n [Entry],
    /// Where `with` stands.
    pub with_place: Option<Place>,
}

/// A validation.
#[derive(Debug)]
pub struct ValidationWritten<'n> {
    /// Its name.
    pub name: Option<Spanned<&'n str>>,
    /// The call.
    pub call: CallWritten<'n>,
    /// The condition.
    pub assert: Option<&'n Entry>,
}

impl<'n> PlanFile<'n> {
    /// The plan that this document is. What is wrong is found, and what can be read is.
    pub fn of(node: &'n Node, findings: &mut Findings) -> Self {
        let top = node.map().and_then(|entries| entries.first()).map_or(node.place, |entry| entry.key_place);
        let Some(fields) = Fields::of(node, top, &PLAN, findings) else { return Self::empty() };
        super::file::version(&fields, findings);
        let (objectives, restored_by) = objectives(&fields, findings);
        let mut steps = Vec::new();
        for (key, finally) in [("steps", false), ("finally", true)] {
            for entry in fields.entries(key, findings) {
                steps.extend(step(entry, finally, findings));
            }
        }
        Self {
            name: fields.name("name", findings),
            purpose: match fields.one_of("purpose", findings).map(|word| word.value) {
                Some("backup") => Purpose::Backup,
                Some("restore") => Purpose::Restore,
                _ => Purpose::Maintenance,
            },
            description: fields.text("description", findings).map(|text| text.value.to_owned()),
            params: fields
                .entries("params", findings)
                .iter()
                .filter_map(|entry| param(entry, findings))
                .collect(),
            targets: fields
                .entries("targets", findings)
                .iter()
                .filter_map(|entry| target(entry, findings))
                .collect(),
            objectives,
            restored_by,
            max_parallel: fields.positive("max_parallel", findings).map(|number| number.value),
            on_unfinished: fields.one_of("on_unfinished", findings).map(|word| match word.value {
                "resume" => OnUnfinished::Resume,
                "abandon" => OnUnfinished::Abandon,
                _ => OnUnfinished::Refuse,
            }),
            steps,
            outputs: fields.entries("outputs", findings),
        }
    }

    fn empty() -> Self {
        Self {
            name: None,
            purpose: Purpose::Maintenance,
            description: None,
            params: Vec::new(),
            targets: Vec::new(),
            objectives: Objectives::default(),
            restored_by: None,
            max_parallel: None,
            on_unfinished: None,
            steps: Vec::new(),
            outputs: &[],
        }
    }
}

fn objectives<'n>(fields: &Fields<'n>, findings: &mut Findings) -> (Objectives, Option<Spanned<&'n str>>) {
    let Some(entry) = fields.entry("objectives") else { return Default::default() };
    let Some(fields) = Fields::of(&entry.value, entry.key_place, &OBJECTIVES, findings) else {
        return Default::default();
    };
    let objectives = Objectives {
        rpo: fields.duration("rpo", findings).map(|duration| duration.value),
        rto: fields.duration("rto", findings).map(|duration| duration.value),
        restored_by: None,
    };
    (objectives, fields.text("restored_by", findings))
}

fn param<'n>(entry: &'n Entry, findings: &mut Findings) -> Option<ParamWritten<'n>> {
    let name = named(&entry.key, entry.key_place, findings);
    let fields = Fields::of(&entry.value, entry.key_place, &PARAM, findings)?;
    fields.text("description", findings);
    let shape = fields.one_of("type", findings);
    let written = ParamWritten {
        name: Spanned::new(name?, entry.key_place),
        shape: match shape {
            Some(word) => Spanned::new(ParamType::parse(word.value)?, word.place),
            None => return None,
        },
        required: fields.boolean("required", findings).unwrap_or(false),
        default: fields.entry("default"),
        one_of: fields.entry("enum").filter(|_| !fields.items("enum", findings).is_empty()),
        pattern: fields.text("pattern", findings),
        min: fields.entry("min"),
        max: fields.entry("max"),
    };
    Some(written)
}

fn target<'n>(entry: &'n Entry, findings: &mut Findings) -> Option<TargetWritten<'n>> {
    let name = named(&entry.key, entry.key_place, findings);
    let Some(kind) = entry.value.text() else {
        findings.push(
            Finding::error(
                codes::WRONG_TYPE,
                entry.value_place(),
                format!("the target `{}` must be the name of a target kind", entry.key),
            )
            .label(format!("this is {}", entry.value.words()))
            .help("write for example `sql: sqlserver`; the server itself stands in the environment file"),
        );
        return None;
    };
    Some(TargetWritten {
        name: Spanned::new(name?, entry.key_place),
        kind: Spanned::new(kind, entry.value.place),
    })
}

fn step<'n>(entry: &'n Entry, finally: bool, findings: &mut Findings) -> Option<StepWritten<'n>> {
    named(&entry.key, entry.key_place, findings);
    let fields = Fields::of(&entry.value, entry.key_place, &STEP, findings)?;
    let items = fields.items("validate", findings);
    Some(StepWritten {
        name: Spanned::new(&entry.key, entry.key_place),
        finally,
        description: fields.text("description", findings).map(|text| text.value.to_owned()),
        call: call(&fields, findings),
        needs: fields.names("needs", findings),
        when: fields.expression("when", findings),
        foreach: fields.expression("foreach", findings),
        key: fields.expression("key", findings),
        max_parallel: fields.positive("max_parallel", findings),
        retry: fields.entry("retry").map_or_else(Retry::default, |entry| retry(entry, findings)),
        timeout: timeout(&fields, findings),
        validate: items
            .iter()
            .filter_map(|item| validation(item, fields.entry("validate")?.key_place, findings))
            .collect(),
        on_failure: match fields.one_of("on_failure", findings).map(|word| word.value) {
            Some("continue") => OnFailure::Continue,
            Some("ignore") => OnFailure::Ignore,
            _ => OnFailure::Stop,
        },
        on_unknown: fields.one_of("on_unknown", findings).map(|word| {
            let value = match word.value {
                "redo" => OnUnknown::Redo,
                "done" => OnUnknown::Done,
                _ => OnUnknown::Ask,
            };
            Spanned::new(value, word.place)
        }),
        outputs: fields.entries("outputs", findings),
        undoes: fields.names("undoes", findings),
        undoes_place: fields.entry("undoes").map(|entry| entry.key_place),
    })
}

/// The longest attempt, which must be longer than nothing.
fn timeout(fields: &Fields<'_>, findings: &mut Findings) -> Option<Millis> {
    let timeout = fields.duration("timeout", findings)?;
    if timeout.value == Millis(0) {
        findings.push(
            Finding::error(codes::WRONG_TYPE, timeout.place, "`timeout` must be longer than nothing")
                .label("every attempt would take too long")
                .help("write for example `timeout: 2h`, or leave it out"),
        );
    }
    Some(timeout.value)
}

fn call<'n>(fields: &Fields<'n>, findings: &mut Findings) -> CallWritten<'n> {
    CallWritten {
        uses: fields.text("uses", findings),
        target: fields.text("target", findings),
        with: fields.entries("with", findings),
        with_place: fields.entry("with").map(|entry| entry.key_place),
    }
}

fn validation<'n>(node: &'n Node, at: Place, findings: &mut Findings) -> Option<ValidationWritten<'n>> {
    let at = node.map().and_then(|entries| entries.first()).map_or(at, |entry| entry.key_place);
    let fields = Fields::of(node, at, &VALIDATION, findings)?;
    Some(ValidationWritten {
        name: fields.text("name", findings),
        call: call(&fields, findings),
        assert: fields.expression("assert", findings),
    })
}
