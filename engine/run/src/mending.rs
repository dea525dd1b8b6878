//! What findings weigh in the order of a plan: [`weighed`], and each cause once: [`causes`].

use std::collections::{HashMap, HashSet};

use drydock_plan::model::{OnFailure, Plan, Step, StepIx};
use drydock_plan::name::Name;
use drydock_step::{Access, Effect, Touch};

use crate::shown::{DryFinding, Severity};

/// What is behind a finding that a step before may mend.
const UNLESS: &str = "; unless a step before it changes that";

/// What no step of a plan changes, whatever it does to the server: versions, and what a point is made of.
const SETTLED: &[&str] = &["ef.point", "qdrant.version", "sqlserver.3169"];

/// What is said of files, chains, places and room: a step that works on something else of the same server changes none of it.
const OF_ITS_OWN: &[&str] = &[
    "artifact.absent",
    "artifact.damaged",
    "restore.beyond",
    "restore.chain",
    "restore.exists",
    "restore.mark",
    "restore.other_set",
    "sqlserver.1834",
    "sqlserver.3104",
    "sqlserver.3182",
    "sqlserver.3187",
    "sqlserver.3201",
    "sqlserver.3241",
    "sqlserver.3257",
    "sqlserver.5133",
    "sqlserver.unseen",
];

/// The kind of targets that are asked to start and stop what others work with.
const REQUESTS: &str = "http";

/// How what a server's backup writes is called.
const BACKUPS: &str = "backups in ";

/// What each step touches.
pub(crate) type Touched = HashMap<Name, Vec<Touch>>;

/// What was found about a step, or about the plan that it runs: it speaks against the run only where no step before changes that.
pub(crate) fn weighed(
    plan: &Plan,
    touched: &Touched,
    step: &Step,
    mut findings: Vec<DryFinding>,
) -> Vec<DryFinding> {
    for found in findings.iter_mut().filter(|found| found.finding.fatal) {
        let is_settled = SETTLED.contains(&found.finding.code.as_str());
        let changes =
            may_change(plan, step, |before| !is_settled && changes(plan, touched, (before, step), found));
        if changes {
            mended(found);
        }
    }
    findings
}

/// Whether a step may change what was found about one that comes after it.
fn changes(plan: &Plan, touched: &Touched, (before, step): (&Step, &Step), found: &DryFinding) -> bool {
    let is_requests = |target: &Name| plan.targets.get(target).is_some_and(|target| target.kind == REQUESTS);
    match (&before.call.target, &found.target) {
        // A server that does not answer may be one that a program of the plan starts; a folder of the runner one that it makes.
        (None, _) => !found.asked,
        // Whom requests are sent to may start another one of them, and is not started by a request to itself.
        (Some(by), Some(of)) if !found.answered && is_requests(by) && is_requests(of) => by != of,
        (Some(by), Some(of)) if by == of => {
            !OF_ITS_OWN.contains(&found.finding.code.as_str())
                || reaches(touched.get(&before.id), touched.get(&step.id), by)
        }
        (Some(_), Some(of)) => writes_there(touched.get(&before.id), touched.get(&step.id), of, found),
        (Some(_), None) => false,
    }
}

/// Whether a step of one target also writes into another: what it brings into a store, and the backups that a server writes where a store
/// lies, of which only the server's environment says how it finds the place.
fn writes_there(by: Option<&Vec<Touch>>, of: Option<&Vec<Touch>>, target: &Name, found: &DryFinding) -> bool {
    let (Some(by), Some(of)) = (by, of) else { return false };
    let of_store = found.finding.code.starts_with("artifact.");
    by.iter().filter(|touch| touch.access != Access::Reads).any(|touch| {
        let is_there = touch.target.as_deref() == Some(target.as_str());
        (is_there && of.iter().any(|own| own.meets(touch)))
            || (of_store && touch.resource.starts_with(BACKUPS))
    })
}

/// Whether what a step does on a target may reach what another one works on there: it writes the same thing or something unknown, destroys
/// something, which makes room, or works on the whole server.
fn reaches(by: Option<&Vec<Touch>>, of: Option<&Vec<Touch>>, target: &Name) -> bool {
    let (Some(by), Some(of)) = (by, of) else { return true };
    let on = |touch: &&Touch| touch.target.as_deref() == Some(target.as_str());
    let whole = ["?", "database master"];
    by.iter().filter(on).any(|touch| match touch.access {
        Access::Reads => false,
        Access::Destroys => true,
        Access::Writes => {
            whole.contains(&touch.resource.as_str()) || of.iter().filter(on).any(|own| own.meets(touch))
        }
    })
}

/// Whether what a step finds now may be otherwise when it runs, because a step that it needs writes where that counts; or whether nobody
/// minds when it fails.
fn may_change(plan: &Plan, step: &Step, counts: impl Fn(&Step) -> bool) -> bool {
    if step.finally || step.on_failure == OnFailure::Ignore {
        return true;
    }
    let before = needed(plan, step).into_iter().map(|ix| plan.step(ix));
    before.into_iter().any(|before| before.call.effect != Effect::Reads && counts(before))
}

/// Every step that a step needs, directly or through others.
pub(crate) fn needed(plan: &Plan, step: &Step) -> HashSet<StepIx> {
    let mut open: Vec<StepIx> = step.needs.clone();
    let mut seen: HashSet<StepIx> = HashSet::new();
    while let Some(ix) = open.pop() {
        if seen.insert(ix) {
            open.extend(plan.step(ix).needs.iter().copied());
        }
    }
    seen
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
