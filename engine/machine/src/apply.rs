//! Recording: [`Machine::apply`] takes one event and changes what the machine remembers. It evaluates nothing and decides nothing.
//!
//! An event that names a step which the plan does not have (it was taken out, and that was accepted) changes nothing.

use std::sync::Arc;

use drydock_plan::expr::Datum;
use drydock_plan::name::Name;
use serde_json::{Map, Value, json};

use crate::attempt::LiveKey;
use crate::event::{Listed, Outcome, Reopened, RunEvent, RunStatus, Status, Verdict};
use crate::exit::Exit;
use crate::machine::{Machine, Phase, RunHead, SittingSpan};
use crate::moment::Moment;
use crate::state::{Attempt, Instance, Judged, Parked};

impl Machine {
    /// Record what happened at this moment.
    pub fn apply(&mut self, at: Moment, event: &RunEvent) {
        self.now = self.now.max(at);
        match event {
            RunEvent::RunStarted { run, digest, .. } => {
                self.head = Some(RunHead { run: run.clone(), started_at: at });
                self.digest = Some(digest.clone());
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
                };
                self.start_attempt(step, key.as_ref(), attempt);
            }
            RunEvent::Noted { step, key, n, check, value } => {
                self.with_live(step, key.as_ref(), *n, *check, |attempt| attempt.notes.push(value.clone()));
            }
            RunEvent::CancelAsked { step, key, n, check, why } => {
                self.with_live(step, key.as_ref(), *n, *check, |attempt| attempt.cancel = Some((at, *why)));
            }
            RunEvent::AttemptUnclear { step, key, n, check, error } => {
                self.with_live(step, key.as_ref(), *n, *check, |attempt| {
                    attempt.unclear = Some(error.clone())
                });
            }
            RunEvent::Reconciled { step, key, n, check, verdict } => {
                self.with_live(step, key.as_ref(), *n, *check, |attempt| {
                    attempt.ask_at =
                        if let Verdict::Busy(after) = verdict { Some(at.plus(*after)) } else { None };
                });
            }
            RunEvent::Parked { step, key, n, message, unknown } => {
                let parked = Parked { message: message.clone(), unknown: *unknown };
                let check =
                    self.find(step, key.as_deref()).and_then(|live| self.instance(live).live()?.check);
                self.with_live(step, key.as_ref(), *n, check, |attempt| attempt.parked = Some(parked));
            }
            RunEvent::Approved { .. } => {}
            RunEvent::AttemptEnded { step, key, n, check, outcome, added } => {
                self.end_attempt(at, step, key.as_ref(), (*n, *check), outcome, added.as_ref());
            }
            RunEvent::Judged { step, key, check, name, ok, expected, found } => {
                let judged =
                    Judged { name: name.clone(), ok: *ok, expected: expected.clone(), found: found.clone() };
                let Some(live) = self.find(step, key.as_deref()) else { return };
                let instance = self.instance_mut(live);
                instance.tries += u32::from(!judged.ok);
                if let Some(slot) =
                    (*check as usize).checked_sub(1).and_then(|at| instance.judged.get_mut(at))
                {
                    *slot = Some(judged);
                }
            }
            RunEvent::RetryScheduled { step, key, at_ms, error } => {
                if let Some(live) = self.find(step, key.as_deref()) {
                    let instance = self.instance_mut(live);
                    instance.retry_at = Some(*at_ms);
                    instance.error = Some(error.clone());
                    self.waiting.insert(live);
                }
            }
            RunEvent::StepEnded { step, key, status, error, why } => {
                self.end_step(step, key.as_ref(), *status, error.clone(), why.clone());
            }
            RunEvent::Stopping { step } => self.stopping = self.by_name.get(step).copied(),
            RunEvent::Interrupted { level } => self.interrupts = *level,
            RunEvent::FinallyStarted { status } => self.phase = Phase::Finally(*status),
            RunEvent::RunEnded { status, exit, summary, outputs, warnings } => {
                self.status = *status;
                self.exit = Some(*exit);
                self.summary = Some(summary.clone());
                self.outputs.clone_from(outputs);
                self.warnings.clone_from(warnings);
            }
            RunEvent::SittingEnded { exit } => self.end_sitting(at, *exit),
        }
    }

    fn begin_sitting(&mut self, at: Moment, n: u32, digest: Option<&drydock_plan::name::Digest>) {
        self.sitting = n;
        self.sittings.push(SittingSpan { n, started_at: at, ended_at: None, exit: None });
        self.phase = Phase::Body;
        self.status = RunStatus::Running;
        self.exit = None;
        self.stopping = None;
        self.interrupts = 0;
        if let Some(digest) = digest {
            self.digest = Some(digest.clone());
        }
        // What the last sitting asked of its attempts, and of people about them, died with it.
        let live = self.steps.iter_mut().flat_map(|step| &mut step.instances).filter_map(Instance::live_mut);
        for attempt in live {
            (attempt.cancel, attempt.unclear, attempt.ask_at) = (None, None, None);
            if attempt.parked.as_ref().is_some_and(|parked| parked.unknown) {
                attempt.parked = None;
            }
        }
    }

    fn end_sitting(&mut self, at: Moment, exit: Exit) {
        self.phase = Phase::Over(exit);
        self.exit = Some(exit);
        if exit == Exit::Waits {
            self.status = RunStatus::Waiting;
        }
        if let Some(sitting) = self.sittings.last_mut() {
            sitting.ended_at = Some(at);
            sitting.exit = Some(exit);
        }
    }

    pub(crate) fn instance_mut(&mut self, key: LiveKey) -> &mut Instance {
        &mut self.steps[key.step.ix()].instances[key.instance as usize]
    }

    /// Change the live attempt that these names mean; anything else is from a plan that has changed since.
    fn with_live(
        &mut self,
        step: &Name,
        key: Option<&Arc<str>>,
        n: u32,
        check: Option<u32>,
        change: impl FnOnce(&mut Attempt),
    ) {
        let Some(live) = self.find(step, key.map(AsRef::as_ref)) else { return };
        if let Some(attempt) = self.instance_mut(live).live_mut()
            && (attempt.n, attempt.check) == (n, check)
        {
            change(attempt);
        }
    }

    fn list(&mut self, step: &Name, items: &[Listed]) {
        let Some(&ix) = self.by_name.get(step) else { return };
        let validations = self.plan.step(ix).validate.len();
        let state = &mut self.steps[ix.ix()];
        state.listed = true;
        state.instances = items
            .iter()
            .map(|listed| Instance {
                key: Some(listed.key.clone()),
                item: Some(listed.item.clone()),
                item_datum: Some(Datum::from_json(&listed.item)),
                judged: vec![None; validations],
                ..Instance::default()
            })
            .collect();
    }

    fn start_attempt(&mut self, step: &Name, key: Option<&Arc<str>>, attempt: Attempt) {
        let Some(live) = self.find(step, key.map(AsRef::as_ref)) else { return };
        self.ready.remove(&live);
        self.waiting.remove(&live);
        self.live.insert(live);
        let instance = self.instance_mut(live);
        instance.retry_at = None;
        instance.progress = None;
        instance.attempts.push(attempt);
    }

    fn end_attempt(
        &mut self,
        at: Moment,
        step: &Name,
        key: Option<&Arc<str>>,
        (n, check): (u32, Option<u32>),
        outcome: &Outcome,
        added: Option<&Value>,
    ) {
        let Some(live) = self.find(step, key.map(AsRef::as_ref)) else { return };
        let instance = self.instance_mut(live);
        let Some(attempt) = instance.live_mut().filter(|attempt| (attempt.n, attempt.check) == (n, check))
        else {
            return;
        };
        attempt.outcome = Some(outcome.clone());
        attempt.ended_at = Some(at);
        attempt.parked = None;
        match outcome {
            Outcome::Succeeded(outputs) if check.is_none() => {
                let all = with_added(outputs, added);
                instance.body_datum = (!all.is_null()).then(|| Datum::from_json(&all));
                instance.body = Some(all);
                instance.tries = 0;
            }
            Outcome::Partly(progress) => instance.progress = Some(progress.clone()),
            Outcome::Failed(_) => instance.tries += 1,
            Outcome::Succeeded(_) | Outcome::Cancelled | Outcome::Lost => {}
        }
        self.live.remove(&live);
    }

    fn end_step(
        &mut self,
        step: &Name,
        key: Option<&Arc<str>>,
        status: Status,
        error: Option<crate::event::Failure>,
        why: Option<String>,
    ) {
        let Some(&ix) = self.by_name.get(step) else { return };
        if let Some(key) = key {
            let Some(live) = self.find(step, Some(key)) else { return };
            self.ready.remove(&live);
            self.waiting.remove(&live);
            let instance = self.instance_mut(live);
            (instance.status, instance.error, instance.why) = (Some(status), error, why);
            instance.retry_at = None;
            return;
        }
        let foreach = self.plan.step(ix).foreach.is_some();
        let state = &mut self.steps[ix.ix()];
        (state.status, state.error, state.why) = (Some(status), error.clone(), why.clone());
        if foreach {
            state.outputs = state.listed.then(|| Datum::from_json(&foreach_outputs(&state.instances)));
        } else if let Some(instance) = state.instances.first_mut() {
            (instance.status, instance.error, instance.why) = (Some(status), error, why);
            instance.retry_at = None;
            state.outputs =
                if matches!(status, Status::Succeeded) { instance.body_datum.clone() } else { None };
            let live = LiveKey { step: ix, instance: 0 };
            self.ready.remove(&live);
            self.waiting.remove(&live);
        }
        for dependent in self.dependents[ix.ix()].clone() {
            let open = &mut self.steps[dependent.ix()].open_needs;
            *open = open.saturating_sub(1);
        }
    }

    /// Make a step, or one instance of it, count as not ended; `fresh`: as never begun.
    fn reopen(&mut self, reopened: &Reopened) {
        let Some(&ix) = self.by_name.get(&reopened.step) else { return };
        let foreach = self.plan.step(ix).foreach.is_some();
        let state = &mut self.steps[ix.ix()];
        (state.status, state.error, state.why, state.outputs) = (None, None, None, None);
        if reopened.fresh && foreach && reopened.key.is_none() {
            (state.listed, state.instances) = (false, Vec::new());
        }
        let chosen = reopened.key.as_deref();
        for (at, instance) in state.instances.iter_mut().enumerate() {
            if chosen.is_some() && instance.key.as_deref() != chosen {
                continue;
            }
            (instance.status, instance.error, instance.why, instance.retry_at) = (None, None, None, None);
            instance.tries = 0;
            instance.judged.iter_mut().for_each(|judged| *judged = None);
            if reopened.fresh {
                (instance.body, instance.body_datum, instance.progress) = (None, None, None);
            }
            if let Ok(instance) = u32::try_from(at) {
                self.ready.remove(&LiveKey { step: ix, instance });
                self.waiting.remove(&LiveKey { step: ix, instance });
            }
        }
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
    instances
        .iter()
        .map(|instance| {
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
        })
        .collect()
}
