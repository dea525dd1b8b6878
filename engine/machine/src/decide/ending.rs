//! The end of attempts, instances and steps.

use drydock_plan::model::{OnFailure, StepIx};
use serde_json::Value;

use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{Failure, Outcome, RunEvent, Status};
use crate::machine::{Emitter, Machine, Phase};

impl Machine {
    /// The instance whose live attempt this is.
    pub(crate) fn live_key(&self, attempt: &AttemptRef) -> Option<LiveKey> {
        let live = self.find(&attempt.step, attempt.key.as_deref())?;
        let found = self.instance(live).live()?;
        ((found.n, found.check) == (attempt.n, attempt.check)).then_some(live)
    }

    /// End the live attempt of an instance; whether its outcome counts. Where it does not (the step was taken up as never begun, or
    /// has ended without waiting for it), the step is looked at again.
    #[must_use]
    pub(crate) fn end_live(
        &mut self,
        live: LiveKey,
        outcome: Outcome,
        added: Option<Value>,
        out: &mut Emitter,
    ) -> bool {
        let Some(AttemptRef { step, key, n, check }) = self.live_attempt(live) else { return false };
        let instance = self.instance(live);
        let counts = instance.status.is_none() && instance.live().is_some_and(|attempt| !attempt.stale);
        self.emit(out, RunEvent::AttemptEnded { step, key, n, check, outcome, added });
        if !counts {
            self.agenda.dirty.insert(live.step);
        }
        // What it undoes may have waited for its former attempt.
        self.agenda.dirty.extend(&self.plan.step(live.step).undoes);
        counts
    }

    /// End an instance, and with its last one the step.
    pub(crate) fn end_instance(
        &mut self,
        live: LiveKey,
        status: Status,
        error: Option<Failure>,
        why: Option<&str>,
        out: &mut Emitter,
    ) {
        let step = self.plan.step(live.step).id.clone();
        let key = self.instance(live).key.clone();
        let foreach = key.is_some();
        let why = why.map(str::to_owned);
        self.emit(out, RunEvent::StepEnded { step, key, status, error, why });
        if foreach {
            self.stop_after(live.step, status, out);
            self.end_foreach_if_all_ended(live.step, out);
        } else {
            self.step_ended(live.step, status, out);
        }
    }

    /// End a step that has no instance to end.
    pub(crate) fn end_step_itself(
        &mut self,
        ix: StepIx,
        status: Status,
        error: Option<Failure>,
        why: Option<&str>,
        out: &mut Emitter,
    ) {
        let step = self.plan.step(ix).id.clone();
        self.emit(out, RunEvent::StepEnded { step, key: None, status, error, why: why.map(str::to_owned) });
        self.step_ended(ix, status, out);
    }

    /// End all of a step that has not ended; not before an attempt of it that is still alive.
    pub(crate) fn end_what_is_open(
        &mut self,
        ix: StepIx,
        status: Status,
        error: Option<&Failure>,
        why: Option<&str>,
        out: &mut Emitter,
    ) {
        let state = &self.steps[ix.ix()];
        if state.has_live() {
            return;
        }
        if !state.listed || state.instances.is_empty() {
            return self.end_step_itself(ix, status, error.cloned(), why, out);
        }
        for live in self.keys_of(ix) {
            if self.instance(live).status.is_none() {
                self.end_instance(live, status, error.cloned(), why, out);
            }
        }
    }

    fn end_foreach_if_all_ended(&mut self, ix: StepIx, out: &mut Emitter) {
        let state = &self.steps[ix.ix()];
        if state.open_instances > 0 {
            return;
        }
        let instances = &state.instances;
        let count = |wanted| instances.iter().filter(|instance| instance.status == Some(wanted)).count();
        let failed = count(Status::Failed);
        let worst =
            [Status::Failed, Status::Blocked, Status::Cancelled].into_iter().find(|bad| count(*bad) > 0);
        let status = match (worst, count(Status::Succeeded)) {
            (None, 0) => Status::Skipped,
            (None, _) => Status::Succeeded,
            (Some(worst), 0) => worst,
            (Some(_), _) => Status::Partial,
        };
        let error = instances.iter().find_map(|instance| {
            let error = instance.error.as_ref().filter(|_| instance.status == Some(Status::Failed))?;
            let key = instance.key.as_deref().unwrap_or_default();
            let message = format!("{failed} of {} failed; {key}: {}", instances.len(), error.message);
            Some(Failure { message, ..error.clone() })
        });
        let why = match status {
            Status::Skipped | Status::Blocked | Status::Cancelled => {
                instances.iter().find_map(|instance| instance.why.clone())
            }
            _ => None,
        };
        self.end_step_itself(ix, status, error, why.as_deref(), out);
    }

    fn step_ended(&mut self, ix: StepIx, status: Status, out: &mut Emitter) {
        self.stop_after(ix, status, out);
        // A dependent has something to decide with its last need, or with the first that did not end well.
        let bad = !matches!(status, Status::Succeeded | Status::Skipped);
        let ripe = self.dependents[ix.ix()]
            .iter()
            .filter(|dependent| bad || self.steps[dependent.ix()].open_needs == 0);
        self.agenda.dirty.extend(ripe);
    }

    /// A failure under `on_failure: stop` in the body lets nothing new start.
    fn stop_after(&mut self, ix: StepIx, status: Status, out: &mut Emitter) {
        let stops = status == Status::Failed
            && self.plan.step(ix).on_failure == OnFailure::Stop
            && self.phase == Phase::Body
            && self.stopping.is_none();
        if stops {
            let step = self.plan.step(ix).id.clone();
            self.emit(out, RunEvent::Stopping { step });
        }
    }
}
