//! After the body: its validations one after the other, retries, and the end of the step.

use drydock_plan::duration::Millis;
use drydock_plan::expr::{Datum, Judged, Scope, Truth};
use drydock_plan::model::{Backoff, Retry, RetryOn};

use super::failure_of;
use crate::attempt::LiveKey;
use crate::event::{Failure, Outcome, RunEvent, Status};
use crate::machine::{Emitter, Machine};
use crate::state::Attempt;

impl Machine {
    /// Go on after the body: the next validation that has not held yet, or the end.
    pub(super) fn advance(&mut self, live: LiveKey, out: &mut Emitter) {
        let plan = self.plan.clone();
        let step = plan.step(live.step);
        if !self.may_go_on(live) || !self.pays_outputs(live, out) {
            return;
        }
        while let Some(at) = self.next_validation(live) {
            if self.leaving() && !step.finally {
                return self.end_instance(live, Status::Cancelled, None, Some("it was not validated"), out);
            }
            let check = u32::try_from(at + 1).unwrap_or(u32::MAX);
            let Some(call) = &step.validate[at].call else {
                if self.judge(live, check, None, out) {
                    continue;
                }
                return;
            };
            if !self.has_slot(live.step) {
                self.agenda.ready.insert(live);
                return;
            }
            let own = self.instance(live).body_datum.clone();
            return match self.inputs_of(&call.with, live, own.as_ref()) {
                Ok(inputs) => self.start(live, Some(check), inputs, out),
                Err(error) => self.end_instance(live, Status::Failed, Some(failure_of(&error)), None, out),
            };
        }
        self.end_instance(live, Status::Succeeded, None, None, out);
    }

    /// The index of the first validation that has not held yet. What held under another name, before the plan was changed, does
    /// not count.
    fn next_validation(&self, live: LiveKey) -> Option<usize> {
        let asked = self.plan.step(live.step).validate.iter();
        let mut pairs = asked.zip(&self.instance(live).judged);
        pairs.position(|(validation, judged)| {
            judged.as_ref().is_none_or(|judged| !judged.ok || judged.name != validation.name)
        })
    }

    /// Render the step's own `outputs` where its body succeeded and they could not be rendered then; `false` when they still cannot.
    fn pays_outputs(&mut self, live: LiveKey, out: &mut Emitter) -> bool {
        let instance = self.instance(live);
        let Some(outputs) = instance.body.clone().filter(|_| instance.owes_outputs) else { return true };
        let body = |attempt: &&Attempt| {
            attempt.check.is_none() && matches!(attempt.outcome, Some(Outcome::Succeeded(_)))
        };
        let Some(n) = instance.attempts.iter().rev().find(body).map(|attempt| attempt.n) else { return true };
        let (step, key) = (self.plan.step(live.step).id.clone(), instance.key.clone());
        match self.added_outputs(live, &outputs) {
            Ok(added) => {
                let outcome = Outcome::Succeeded(outputs);
                self.emit(out, RunEvent::AttemptEnded { step, key, n, check: None, outcome, added });
                true
            }
            Err(failure) => {
                self.end_instance(live, Status::Failed, Some(failure), None, out);
                false
            }
        }
    }

    /// Judge a validation; where it does not hold, the step is tried again or fails.
    pub(super) fn judge(
        &mut self,
        live: LiveKey,
        check: u32,
        result: Option<&Datum>,
        out: &mut Emitter,
    ) -> bool {
        let plan = self.plan.clone();
        let step = plan.step(live.step);
        let at = (check as usize).checked_sub(1);
        let Some(validation) = at.and_then(|at| step.validate.get(at)) else { return true };
        let view = self.view(validation.assert.steps_read());
        let instance = self.instance(live);
        let scope = view.scope(self, instance.item_datum.as_ref());
        let scope = Scope { result, outputs: instance.body_datum.as_ref(), ..scope };
        let (ok, expected, found) = match validation.assert.judged(&scope) {
            Ok(Judged { ok, expected, found }) => (ok == Truth::True, expected, found),
            Err(error) => (false, validation.assert.text().to_owned(), error.message),
        };
        let name = validation.name.clone();
        let message = format!("validation \"{name}\" does not hold: expected {expected}, found {found}");
        let (step, key) = (step.id.clone(), instance.key.clone());
        self.emit(out, RunEvent::Judged { step, key, check, name, ok, expected, found });
        if !ok {
            self.retry_or_fail(live, Failure::new("validation", message), out);
        }
        ok
    }

    /// The live attempt failed.
    pub(super) fn failed(&mut self, live: LiveKey, failure: Failure, out: &mut Emitter) {
        if self.end_live(live, Outcome::Failed(failure.clone()), None, out) {
            self.retry_or_fail(live, failure, out);
        }
    }

    pub(super) fn retry_or_fail(&mut self, live: LiveKey, failure: Failure, out: &mut Emitter) {
        if !self.may_go_on(live) {
            return;
        }
        let plan = self.plan.clone();
        let step = plan.step(live.step);
        let tries = self.instance(live).tries;
        let allowed = tries < step.retry.attempts && step.retry.errors.iter().any(|on| covers(on, &failure));
        if allowed && (step.finally || !self.leaving()) && !self.was_interrupted(live) {
            let key = self.instance(live).key.clone();
            let at_ms = out.now.plus(delay(&step.retry, tries));
            self.emit(out, RunEvent::RetryScheduled { step: step.id.clone(), key, at_ms, error: failure });
        } else {
            self.end_instance(live, Status::Failed, Some(failure), None, out);
        }
    }
}

/// Whether a class of errors has this failure in it.
fn covers(on: &RetryOn, failure: &Failure) -> bool {
    match on {
        RetryOn::Any => true,
        RetryOn::Transient => failure.transient,
        RetryOn::Timeout => failure.code == "timeout",
        RetryOn::Validation => failure.code == "validation",
        RetryOn::Code(code) => failure.code == *code,
    }
}

/// How long to wait after so many tries.
fn delay(retry: &Retry, tries: u32) -> Millis {
    let base = retry.delay.0;
    let grown = match retry.backoff {
        Backoff::None => base,
        Backoff::Linear => base.saturating_mul(u64::from(tries)),
        Backoff::Exponential => {
            base.saturating_mul(1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX))
        }
    };
    Millis(retry.max_delay.map_or(grown, |max| grown.min(max.0)))
}
