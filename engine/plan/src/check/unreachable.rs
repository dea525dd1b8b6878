//! Steps that can never run: [`never_run`].

use crate::codes;
use crate::expr::{Expr, Ref, Root, Scope, Truth, guards};
use crate::finding::{Finding, Findings};
use crate::model::{OnFailure, Step};
use crate::params::Params;

use super::table::StepTable;

/// The statuses that a step can have when one that needs it is asked for its condition.
const MET: [&str; 2] = ["succeeded", "skipped"];
/// Those that it can have besides where its failure is ignored.
const IGNORED: [&str; 2] = ["failed", "partial"];

/// Found: steps whose `when` can never be true, by itself or because it waits for the success of a step that never runs.
pub(super) fn never_run(
    steps: &[Option<Step>],
    table: &StepTable<'_>,
    params: &Params,
    findings: &mut Findings,
) {
    let mut never = vec![false; steps.len()];
    for &number in &table.order {
        let Some((step, when)) = steps[number].as_ref().and_then(|step| Some((step, step.when.as_ref()?)))
        else {
            continue;
        };
        let when = &when.expr;
        if when.refs().is_empty() {
            // That it is always the same is found already.
            never[number] = matches!(when.truth(&Scope::default()), Ok(Truth::False));
            continue;
        }
        let needed = Needed { steps, table, number };
        let lost = guards(when).into_iter().find_map(|guard| {
            let other = table.number(guard.step.as_str())?;
            never[other].then_some(other)
        });
        let can_hold =
            when.can_hold(&|reference| params.words_of(reference).or_else(|| needed.statuses(reference)));
        if let Some(other) = lost {
            findings.push(never_succeeds(step, when, other, table));
        } else if can_hold {
            continue;
        } else if when.can_hold(&|reference| params.words_of(reference)) {
            findings.push(blocked(when, table, number));
        } else {
            findings.push(contradiction(step, when));
        }
        never[number] = true;
    }
}

/// What is known of the steps that a step needs when its condition is asked.
struct Needed<'a> {
    steps: &'a [Option<Step>],
    table: &'a StepTable<'a>,
    number: usize,
}

impl Needed<'_> {
    /// The statuses that a step may have which is needed by the one that reads it.
    fn statuses(&self, reference: &Ref) -> Option<Vec<String>> {
        let [name, part] = reference.path.as_slice() else { return None };
        if reference.root != Root::Steps || part.text != "status" {
            return None;
        }
        let other = self.table.number(&name.text)?;
        if !self.table.needs[self.number].contains(&other) {
            return None;
        }
        let ignored = self.steps[other].as_ref()?.on_failure == OnFailure::Ignore;
        let more = IGNORED.iter().filter(|_| ignored);
        Some(MET.iter().chain(more).map(|word| (*word).to_owned()).collect())
    }
}

fn contradiction(step: &Step, when: &Expr) -> Finding {
    let message = format!("`{}` never runs: its condition contradicts itself", step.id);
    Finding::error(codes::NEVER_RUNS, when.place(), message)
        .label("never true")
        .help("correct it, or remove the step")
}

fn never_succeeds(step: &Step, when: &Expr, other: usize, table: &StepTable<'_>) -> Finding {
    let name = table.steps[other].name;
    let message =
        format!("`{}` never runs: it waits for the success of `{}`, which never runs", step.id, name.value);
    Finding::warning(codes::NEVER_RUNS, when.place(), message)
        .label("never true")
        .help("correct the condition of the one or of the other")
        .related(name.place, "always skipped")
}

fn blocked(when: &Expr, table: &StepTable<'_>, number: usize) -> Finding {
    let name = table.steps[number].name;
    let message = format!("`{}` never runs: it needs the step whose failure it waits for", name.value);
    Finding::error(codes::NEVER_RUNS, when.place(), message)
        .label("a step starts only when those that it needs have succeeded")
        .help("say `on_failure: ignore` at the needed step, or move this one to `finally`")
}
