//! Recording: [`Machine::apply`] takes one event and changes what the machine remembers. It evaluates nothing and decides nothing.
//!
//! An event that names a step which the plan does not have (it was taken out, and that was accepted) changes nothing.

use std::sync::Arc;

use drydock_plan::expr::Datum;
use drydock_plan::name::{Digest, Name};
use serde_json::{Map, Value, json};

use crate::attempt::LiveKey;
use crate::event::{Failure, Listed, Outcome, Reopened, RunEvent, RunStatus, Status, Verdict};
use crate::exit::Exit;
use crate::machine::{Machine, Phase, RunHead, SittingSpan};
use crate::moment::Moment;
use crate::state::{Attempt, Instance, Judged, Parked};

/// How often somebody interrupts before the process leaves at once.
const LEAVES_AT: u32 = 3;

impl Machine {
    /// Record what happened at this moment.
    pub fn apply(&mut self, at: Moment, event: &RunEvent) {
        let at = at.max(self.now);
        self.now = at;
        match event {
            RunEvent::RunStarted { run, digest, only, skip, .. } => {
                self.head = Some(RunHead { run: run.clone(), started_at: at });
                self.digest = Some(digest.clone());
                let plan = &self.plan;
                self.left_out = plan.indices().filter(|ix| is_left_out(plan.step(*ix), only, skip)).collect();
            }
            RunEvent::SittingStarted { n, digest } => self.begin_sitting(at, *n, digest.as_ref()),
            RunEvent::ReopenedSteps { steps } => steps.iter().for_each(|reopened| self.reopen(reopened)),
            RunEvent::ForeachListed { step, items } => self.list(step, items),
            RunEvent::AttemptStarted { step, key, n, check, inputs, from } => {
                let attempt = Attempt {
                    n: *n,
                    check: *check,
                    sitting: self.sitting,
                    inputs: inputs.clone(),
                    from: from.clone(),
                    started_at: at,
                    ended_at: None,
                    outcome: None,
                    notes: Vec::new(),
                    cancel: None,
                    unclear: None,
                    ask_at: None,
                    parked: None,
                    left: false,
                    stale: false,
                };
                self.with_instance(step, key.as_ref(), |instance| {
                    instance.retry_at = None;
                    instance.attempts.push(attempt);
                });
            }
            RunEvent::Noted { step, key, n, check, value } => {
                self.with_live(step, key.as_ref(), *n, *check, |attempt| attempt.notes.push(value.clone()));
            }
            RunEvent::CancelAsked { step, key, n, check, why } => {
                self.with_live(step, key.as_ref(), *n, *check, |attempt| attempt.cancel = Some((at, *why)));
            }
            RunEvent::AttemptUnclear { step, key, n, check, error } => {
                let unclear = Some(error.clone());
                self.with_live(step, key.as_ref(), *n, *check, |attempt| attempt.unclear = unclear);
            }
            RunEvent::Reconciled { step, key, n, check, verdict } => {
                let ask_at = if let Verdict::Busy(after) = verdict { Some(at.plus(*after)) } else { None };
                self.with_live(step, key.as_ref(), *n, *check, |attempt| attempt.ask_at = ask_at);
            }
            RunEvent::Parked { step, key, n, message, unknown } => {
                let parked = Parked { message: message.clone(), unknown: *unknown };
                self.with_instance(step, key.as_ref(), |instance| {
                    if let Some(attempt) = instance.live_mut().filter(|attempt| attempt.n == *n) {
                        attempt.parked = Some(parked);
                    }
                });
            }
            RunEvent::Approved { .. } => {}
            RunEvent::AttemptEnded { step, key, n, check, outcome, added } => {
                let gives = self.by_name.get(step).is_some_and(|ix| !self.plan.step(*ix).outputs.is_empty());
                self.with_instance(step, key.as_ref(), |instance| {
                    let ended = end_attempt(instance, at, (*n, *check), outcome);
                    match outcome {
                        Outcome::Succeeded(outputs)
                            if check.is_none() && (ended || instance.owes_outputs) =>
                        {
                            set_body(instance, outputs, added.as_ref(), gives);
                        }
                        _ => {}
                    }
                });
            }
            RunEvent::Judged { step, key, check, name, ok, expected, found } => {
                let judged =
                    Judged { name: name.clone(), ok: *ok, expected: expected.clone(), found: found.clone() };
                self.with_instance(step, key.as_ref(), |instance| judge(instance, *check, judged));
            }
            RunEvent::RetryScheduled { step, key, at_ms, error } => {
                self.with_instance(step, key.as_ref(), |instance| {
                    (instance.retry_at, instance.error) = (Some(*at_ms), Some(error.clone()));
                });
            }
            RunEvent::StepEnded { step, key, status, error, why } => {
                let end = End { status: *status, error: error.clone(), why: why.clone() };
                self.end_step(step, key.as_ref(), end);
            }
            RunEvent::Stopping { step } => self.stopping = self.by_name.get(step).copied(),
            RunEvent::Interrupted { level } => self.interrupt(*level),
            RunEvent::FinallyStarted { status } => {
                (self.phase, self.finally_saw) = (Phase::Finally(*status), Some(*status));
            }
            RunEvent::RunEnded { status, exit, summary, outputs, warnings } => {
                self.status = *status;
                self.exit = Some(*exit);
                self.summary = Some(summary.clone());
                self.outputs.clone_from(outputs);
                self.warnings.clone_from(warnings);
                self.finally_saw = None;
            }
            RunEvent::SittingEnded { exit } => self.end_sitting(at, *exit),
        }
    }

    fn begin_sitting(&mut self, at: Moment, n: u32, digest: Option<&Digest>) {
        self.sitting = n;
        self.sittings.push(SittingSpan { n, started_at: at, ended_at: None, exit: None });
        (self.phase, self.finally_saw) = (Phase::Body, None);
        (self.status, self.exit, self.summary) = (RunStatus::Running, None, None);
        self.outputs.clear();
        self.warnings.clear();
        self.stopping = None;
        self.interrupts = 0;
        if let Some(digest) = digest {
            self.digest = Some(digest.clone());
        }
        // What the last sitting asked of its attempts, and of people about them, died with it.
        let live = self.steps.iter_mut().flat_map(|step| &mut step.instances).filter_map(Instance::live_mut);
        for attempt in live {
            (attempt.cancel, attempt.unclear, attempt.ask_at, attempt.left) = (None, None, None, false);
            if attempt.parked.as_ref().is_some_and(|parked| parked.unknown) {
                attempt.parked = None;
            }
        }
        self.refresh_all();
    }

    fn end_sitting(&mut self, at: Moment, exit: Exit) {
        self.phase = Phase::Over(exit);
        self.at_work = false;
        self.exit = Some(exit);
        if exit == Exit::Waits {
            self.status = RunStatus::Waiting;
        }
        if let Some(sitting) = self.sittings.last_mut() {
            sitting.ended_at = Some(at);
            sitting.exit = Some(exit);
        }
    }

    /// Who insists no longer waits for attempts that do not answer; the third time the process leaves with everything as it stands.
    fn interrupt(&mut self, level: u32) {
        self.interrupts = level;
        if level < 2 {
            return;
        }
        let sitting = self.sitting;
        for live in self.agenda.live.clone() {
            if let Some(attempt) = self.instance_mut(live).live_mut() {
                attempt.left |= attempt.cancel.is_some() || attempt.is_asked_about(sitting);
            }
            self.refresh(live);
        }
        if level >= LEAVES_AT {
            (self.phase, self.at_work) = (Phase::Over(Exit::Interrupted), false);
        }
    }

    /// Change the instance that these names mean; anything else is from a plan that has changed since.
    fn with_instance(
        &mut self,
        step: &Name,
        key: Option<&Arc<str>>,
        change: impl FnOnce(&mut Instance),
    ) -> Option<LiveKey> {
        let live = self.find(step, key.map(AsRef::as_ref))?;
        change(self.instance_mut(live));
        self.refresh(live);
        Some(live)
    }

    /// Change the live attempt that these names mean.
    fn with_live(
        &mut self,
        step: &Name,
        key: Option<&Arc<str>>,
        n: u32,
        check: Option<u32>,
        change: impl FnOnce(&mut Attempt),
    ) {
        self.with_instance(step, key, |instance| {
            let live = instance.live_mut().filter(|attempt| (attempt.n, attempt.check) == (n, check));
            live.map(change);
        });
    }

    fn list(&mut self, step: &Name, items: &[Listed]) {
        let Some(&ix) = self.by_name.get(step) else { return };
        if self.plan.step(ix).foreach.is_none() {
            return;
        }
        self.forget(ix);
        let validations = self.plan.step(ix).validate.len();
        self.steps[ix.ix()].list(items, validations);
    }

    fn end_step(&mut self, step: &Name, key: Option<&Arc<str>>, end: End) {
        let Some(&ix) = self.by_name.get(step) else { return };
        let foreach = self.plan.step(ix).foreach.is_some();
        let ended = self.with_instance(step, key, |instance| {
            (instance.status, instance.error, instance.why) =
                (Some(end.status), end.error.clone(), end.why.clone());
            instance.retry_at = None;
        });
        let state = &mut self.steps[ix.ix()];
        state.open_instances = state.open_instances.saturating_sub(u32::from(ended.is_some()));
        if key.is_some() {
            return;
        }
        state.outputs = match state.instances.first() {
            _ if foreach => state.listed.then(|| Datum::from_json(&foreach_outputs(&state.instances))),
            Some(instance) if end.status == Status::Succeeded => instance.body_datum.clone(),
            _ => None,
        };
        (state.status, state.error, state.why) = (Some(end.status), end.error, end.why);
        for dependent in &self.dependents[ix.ix()] {
            let open = &mut self.steps[dependent.ix()].open_needs;
            *open = open.saturating_sub(1);
        }
    }

    /// Make a step, or one instance of it, count as not ended; `fresh`: as never begun. What succeeded or was skipped stays so,
    /// unless it is to be fresh.
    fn reopen(&mut self, reopened: &Reopened) {
        let Some(&ix) = self.by_name.get(&reopened.step) else { return };
        let (foreach, fresh) = (self.plan.step(ix).foreach.is_some(), reopened.fresh);
        // What the run was started without is taken up only when it is named: from then on it belongs to the run.
        self.left_out.remove(&ix);
        let state = &mut self.steps[ix.ix()];
        (state.status, state.error, state.why, state.outputs) = (None, None, None, None);
        if fresh && foreach && reopened.key.is_none() {
            state.listed = false;
        }
        for instance in &mut state.instances {
            let chosen = reopened.key.is_none() || instance.key == reopened.key;
            if chosen && (fresh || !matches!(instance.status, Some(Status::Succeeded | Status::Skipped))) {
                instance.reopen(fresh);
            }
        }
        state.count_open();
        for live in self.keys_of(ix) {
            self.refresh(live);
        }
    }
}

/// How a step or an instance ended.
struct End {
    status: Status,
    error: Option<Failure>,
    why: Option<String>,
}

/// Whether a run that was started with `--only` and `--skip` leaves a step out.
fn is_left_out(step: &drydock_plan::model::Step, only: &[Name], skip: &[Name]) -> bool {
    skip.contains(&step.id) || !step.finally && !only.is_empty() && !only.contains(&step.id)
}

/// End the live attempt; whether it was this one, and its outcome counts.
fn end_attempt(
    instance: &mut Instance,
    at: Moment,
    (n, check): (u32, Option<u32>),
    outcome: &Outcome,
) -> bool {
    let Some(attempt) = instance.live_mut().filter(|attempt| (attempt.n, attempt.check) == (n, check)) else {
        return false;
    };
    attempt.outcome = Some(outcome.clone());
    attempt.ended_at = Some(at);
    attempt.parked = None;
    if attempt.stale {
        return false;
    }
    let cut_short = attempt.cancel.is_some() || attempt.unclear.is_some();
    match outcome {
        Outcome::Failed(_) => instance.tries += 1,
        // Cut short by its timeout or a lost connection it was a try; by a crash it was none.
        Outcome::Partly(progress) => {
            instance.progress = Some(progress.clone());
            instance.tries += u32::from(cut_short);
        }
        Outcome::Succeeded(_) | Outcome::Cancelled | Outcome::Lost => {}
    }
    true
}

/// The body has succeeded; `gives`: the step has `outputs` of its own. It owes them when they could not be rendered, and the event
/// is said again, with them, once they can.
fn set_body(instance: &mut Instance, outputs: &Value, added: Option<&Value>, gives: bool) {
    let all = with_added(outputs, added);
    instance.body_datum = (!all.is_null()).then(|| Datum::from_json(&all));
    instance.body = Some(all);
    instance.tries = 0;
    instance.owes_outputs = gives && added.is_none() && !outputs.is_null();
}

fn judge(instance: &mut Instance, check: u32, judged: Judged) {
    instance.tries = if judged.ok { 0 } else { instance.tries + 1 };
    if let Some(slot) = (check as usize).checked_sub(1).and_then(|at| instance.judged.get_mut(at)) {
        *slot = Some(judged);
    }
}

/// A body's outputs with the step's own values added.
fn with_added(outputs: &Value, added: Option<&Value>) -> Value {
    match (outputs, added) {
        (Value::Object(outputs), Some(Value::Object(added))) => {
            Value::Object(outputs.clone().into_iter().chain(added.clone()).collect::<Map<_, _>>())
        }
        (Value::Null, Some(added)) if added.as_object().is_some_and(|added| !added.is_empty()) => {
            added.clone()
        }
        (outputs, _) => outputs.clone(),
    }
}

/// `steps.x.outputs` of a foreach: `[{key, item, status, outputs}]`.
fn foreach_outputs(instances: &[Instance]) -> Value {
    let entry = |instance: &Instance| {
        let mut entry = json!({
            "key": instance.key,
            "item": instance.item,
            "status": instance.status.map(Status::as_str),
        });
        if instance.status == Some(Status::Succeeded)
            && let (Some(body), Some(entry)) = (&instance.body, entry.as_object_mut())
            && !body.is_null()
        {
            entry.insert("outputs".to_owned(), body.clone());
        }
        entry
    };
    instances.iter().map(entry).collect()
}
