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

    /// End the live attempt of an instance.
    pub(crate) fn end_live(
        &mut self,
        live: LiveKey,
        outcome: Outcome,
        added: Option<Value>,
        out: &mut Emitter,
    ) {
        let Some(AttemptRef { step, key, n, check }) = self.live_attempt(live) else { return };
        self.emit(out, RunEvent::AttemptEnded { step, key, n, check, outcome, added });
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
        why: Option<String>,
        out: &mut Emitter,
    ) {
        let step = self.plan.step(ix).id.clone();
        self.emit(out, RunEvent::StepEnded { step, key: None, status, error, why });
        self.step_ended(ix, status, out);
    }

    fn end_foreach_if_all_ended(&mut self, ix: StepIx, out: &mut Emitter) {
        let instances = &self.steps[ix.ix()].instances;
        if instances.iter().any(|instance| instance.status.is_none()) {
            return;
        }
        let count =
            |wanted: Status| instances.iter().filter(|instance| instance.status == Some(wanted)).count();
        let (succeeded, failed, cancelled) =
            (count(Status::Succeeded), count(Status::Failed), count(Status::Cancelled));
        let status = match (succeeded, failed, cancelled) {
            (0, 0, 0) => Status::Skipped,
            (_, 0, 0) => Status::Succeeded,
            (0, 0, _) => Status::Cancelled,
            (0, _, _) => Status::Failed,
            _ => Status::Partial,
        };
        let error = instances.iter().find_map(|instance| {
            let error = instance.error.as_ref().filter(|_| instance.status == Some(Status::Failed))?;
            let key = instance.key.as_deref().unwrap_or_default();
            let message = format!("{failed} of {} failed; {key}: {}", instances.len(), error.message);
            Some(Failure { message, ..error.clone() })
        });
        self.end_step_itself(ix, status, error, None, out);
    }

    fn step_ended(&mut self, ix: StepIx, status: Status, out: &mut Emitter) {
        self.stop_after(ix, status, out);
        // A dependent has something to decide with its last need, or with the first that did not end well.
        let bad = !matches!(status, Status::Succeeded | Status::Skipped);
        let ripe = self.dependents[ix.ix()]
            .iter()
            .copied()
            .filter(|dependent| bad || self.steps[dependent.ix()].open_needs == 0);
        self.dirty.extend(ripe);
    }

    /// A failure under `on_failure: stop` in the body lets nothing new start.
    fn stop_after(&mut self, ix: StepIx, status: Status, out: &mut Emitter) {
        let stops = matches!(status, Status::Failed | Status::Partial)
            && self.plan.step(ix).on_failure == OnFailure::Stop
            && self.phase == Phase::Body
            && self.stopping.is_none();
        if stops {
            let step = self.plan.step(ix).id.clone();
            self.emit(out, RunEvent::Stopping { step });
        }
    }
}
