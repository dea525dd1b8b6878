//! What findings weigh in the order of a plan: [`weighed`], and each cause once: [`causes`].

use std::collections::HashSet;

use drydock_plan::model::{Call, OnFailure, Plan, Step, StepIx};
use drydock_step::Effect;

use crate::shown::{DryFinding, Severity};

/// What is behind a finding that a step before may mend.
const UNLESS: &str = "; unless a step before it changes that";

/// What was found about a step, or about the plan that it runs: it speaks against the run only where no step before changes that.
pub(crate) fn weighed(plan: &Plan, step: &Step, mut findings: Vec<DryFinding>) -> Vec<DryFinding> {
    for found in findings.iter_mut().filter(|found| found.finding.fatal) {
        // A server that does not answer may be one that a program of the plan starts; a folder of the runner one that it makes.
        let changes = may_change(plan, step, |before| {
            let elsewhere = before.target.is_none() && !found.asked;
            elsewhere || (before.target.is_some() && before.target == found.target)
        });
        if changes {
            mended(found);
        }
    }
    findings
}

/// Whether what a step finds now may be otherwise when it runs, because a step that it needs writes where that counts; or whether nobody
/// minds when it fails.
fn may_change(plan: &Plan, step: &Step, counts: impl Fn(&Call) -> bool) -> bool {
    if step.finally || step.on_failure == OnFailure::Ignore {
        return true;
    }
    let mut open: Vec<StepIx> = step.needs.clone();
    let mut seen: HashSet<StepIx> = HashSet::new();
    while let Some(ix) = open.pop() {
        if !seen.insert(ix) {
            continue;
        }
        let before = plan.step(ix);
        if before.call.effect != Effect::Reads && counts(&before.call) {
            return true;
        }
        open.extend(before.needs.iter().copied());
    }
    false
}

/// The same finding, now that a step before may mend what it says.
fn mended(found: &mut DryFinding) {
    found.severity = if found.answered { Severity::Warning } else { Severity::Unknown };
    found.finding.fatal = false;
    found.finding.message.push_str(UNLESS);
}

/// Each cause once, with the steps that it was found by, where it was found first. A server that does not answer is one cause for all steps
/// that ask it, also for those that might find it mended.
pub(crate) fn causes(findings: impl IntoIterator<Item = DryFinding>) -> Vec<DryFinding> {
    let bare = |found: &DryFinding| found.finding.message.trim_end_matches(UNLESS).to_owned();
    let mut causes: Vec<DryFinding> = Vec::new();
    for found in findings {
        let same = causes.iter_mut().find(|cause| {
            (&cause.target, &cause.finding.code, &cause.finding.help, bare(cause))
                == (&found.target, &found.finding.code, &found.finding.help, bare(&found))
                && (cause.finding.fatal == found.finding.fatal || !(cause.answered || found.answered))
        });
        let Some(cause) = same else {
            causes.push(found);
            continue;
        };
        let new: Vec<String> = std::iter::once(found.step)
            .chain(found.also)
            .filter(|step| *step != cause.step && !cause.also.contains(step))
            .collect();
        cause.also.extend(new);
        if found.finding.fatal && !cause.finding.fatal {
            (cause.severity, cause.finding) = (found.severity, found.finding);
        }
    }
    causes
}
