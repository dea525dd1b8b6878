//! Steps that replace what was there, after which nothing is asked: [`unproved`].

use crate::catalog::{Effect, Reach, Touched};
use crate::codes;
use crate::finding::{Finding, Findings};
use crate::model::Step;

use super::table::StepTable;

/// What the names of kinds end in that look at what is there and fail where it is not what it must be, whatever else they do.
const LOOKS: [&str; 7] = ["verify", "count", "recall", "reconcile", "scenario", "query", "wait"];
/// What the names of kinds end in that take something away.
const TAKE_AWAY: [&str; 3] = ["drop", "stop", "prune"];
/// What the names of kinds end in that restore.
const RESTORE: [&str; 3] = ["restore", "load", "recover"];

/// Found, in a plan that restores: steps that replace something and are not followed by a validation, their own or another step's.
pub(super) fn unproved(
    steps: &[Option<Step>],
    touched: &[Vec<Touched>],
    table: &StepTable<'_>,
    findings: &mut Findings,
) {
    let looks: Vec<bool> = steps.iter().map(|step| step.as_ref().is_none_or(looks)).collect();
    let in_finally = steps
        .iter()
        .zip(&looks)
        .any(|(step, looks)| *looks && step.as_ref().is_some_and(|step| step.finally));
    let mut is_followed = vec![in_finally; steps.len()];
    for &step in table.order.iter().rev() {
        if looks[step] || is_followed[step] {
            table.needs[step].iter().for_each(|needed| is_followed[*needed] = true);
        }
    }
    for (number, step) in steps.iter().enumerate() {
        let Some(step) = step.as_ref().filter(|step| step.validate.is_empty() && !is_followed[number]) else {
            continue;
        };
        if !takes_away(step) && touched[number].iter().any(|touch| touch.reach == Reach::Destroys) {
            findings.push(nobody_looks(number, table));
        }
    }
}

/// Whether a step leaves nothing behind that could be proved.
pub(super) fn takes_away(step: &Step) -> bool {
    TAKE_AWAY.contains(&word_of(step))
}

/// Whether a step puts something in the place of what was there.
pub(super) fn restores(step: &Step) -> bool {
    RESTORE.contains(&word_of(step))
}

/// What a kind does, as its name says.
fn word_of(step: &Step) -> &str {
    step.call.kind.rsplit('.').next().unwrap_or_default()
}

/// Whether a step looks at something and can fail over it.
fn looks(step: &Step) -> bool {
    let family = step.call.kind.split('.').next().unwrap_or_default();
    let asks = match family {
        // A person looks.
        "flow" => word_of(step) == "approve",
        // A program or another plan may.
        "process" | "plan" => true,
        _ => LOOKS.contains(&word_of(step)) || step.call.effect == Effect::Reads && !answers_anyway(step),
    };
    asks || !step.validate.is_empty()
}

/// Whether a step that only reads has an answer whatever it finds there.
fn answers_anyway(step: &Step) -> bool {
    matches!(word_of(step), "select" | "ping" | "history" | "archive")
}

fn nobody_looks(number: usize, table: &StepTable<'_>) -> Finding {
    let name = table.steps[number].name;
    let message = format!("nothing proves what `{}` has put in the place of what was there", name.value);
    Finding::warning(codes::NOT_PROVED, name.place, message)
        .label("no `validate`, and no later step that looks")
        .help("add a `validate` to it, or a step that needs it and looks, such as one that counts, verifies or recalls")
}
