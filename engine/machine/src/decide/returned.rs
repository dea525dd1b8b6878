//! What a returned or reconciled attempt means: outputs, validations, retries, questions.

use drydock_plan::duration::Millis;
use drydock_plan::expr::{Judged as Judgement, Scope, Truth};
use drydock_plan::model::{Backoff, OnUnknown, Retry, RetryOn};
use serde_json::{Map, Value};

use super::start::failure_of;
use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{CancelWhy, Ended, Failure, Outcome, RunEvent, Status, Verdict};
use crate::machine::{Assume, Emitter, Machine, Phase};

impl Machine {
    pub(super) fn returned(&mut self, attempt: &AttemptRef, ended: Ended, out: &mut Emitter) {
        let Some(live) = self.live_key(attempt) else { return };
        match ended {
            Ended::Outputs(outputs) => self.succeeded(live, (attempt.n, attempt.check), outputs, out),
            Ended::Waits(message) => self.park(live, message, false, out),
            Ended::Failed(failure) => self.failed(live, failure, out),
            Ended::Cancelled => self.stopped(live, out),
            Ended::Unclear(error) => {
                let AttemptRef { step, key, n, check } = attempt.clone();
                self.emit(out, RunEvent::AttemptUnclear { step, key, n, check, error });
            }
        }
    }

    pub(super) fn reconciled(&mut self, attempt: &AttemptRef, verdict: Verdict, out: &mut Emitter) {
        let Some(live) = self.live_key(attempt) else { return };
        let AttemptRef { step, key, n, check } = attempt.clone();
        self.emit(out, RunEvent::Reconciled { step, key, n, check, verdict: verdict.clone() });
        match verdict {
            Verdict::Done(outputs) => self.succeeded(live, (n, check), outputs, out),
            Verdict::NotDone => self.not_done(live, out),
            Verdict::Partly(progress) => {
                self.end_live(live, Outcome::Partly(progress), None, out);
                self.again(live, out);
            }
            Verdict::Busy(_) => {}
            Verdict::Unknown(why) => self.unknown(live, why, out),
        }
    }

    /// Nobody can say what an attempt did.
    pub(super) fn unknown(&mut self, live: LiveKey, why: String, out: &mut Emitter) {
        let key = self.instance(live).key.clone();
        let assumed =
            self.assume.get(&(live.step, key)).or_else(|| self.assume.get(&(live.step, None))).copied();
        let decision = assumed.or(match self.plan.step(live.step).on_unknown {
            OnUnknown::Ask => None,
            OnUnknown::Redo => Some(Assume::Redo),
            OnUnknown::Done => Some(Assume::Done),
        });
        match decision {
            _ if self.abandoning => {
                let message = format!("nobody knows what it did: {why}");
                self.end_live(live, Outcome::Failed(Failure::new("unknown", message)), None, out);
                self.end_instance(live, Status::Cancelled, None, Some("the run was closed"), out);
            }
            Some(Assume::Redo) => self.not_done(live, out),
            Some(Assume::Done) => {
                let Some(attempt) = self.live_attempt(live) else { return };
                self.succeeded(live, (attempt.n, attempt.check), Value::Null, out);
            }
            None => self.park(live, why, true, out),
        }
    }

    fn park(&mut self, live: LiveKey, message: String, unknown: bool, out: &mut Emitter) {
        let Some(AttemptRef { step, key, n, .. }) = self.live_attempt(live) else { return };
        self.emit(out, RunEvent::Parked { step, key, n, message, unknown });
    }

    /// The attempt was asked to stop and did.
    fn stopped(&mut self, live: LiveKey, out: &mut Emitter) {
        match self.instance(live).live().and_then(|attempt| attempt.cancel) {
            Some((_, CancelWhy::Timeout)) => self.failed(live, self.timeout_failure(live), out),
            Some((_, CancelWhy::Interrupt)) => {
                self.end_live(live, Outcome::Cancelled, None, out);
                self.end_instance(live, Status::Cancelled, None, Some("the run was interrupted"), out);
            }
            None => self.failed(live, Failure::new("cancelled", "it was cancelled by somebody else"), out),
        }
    }

    fn timeout_failure(&self, live: LiveKey) -> Failure {
        let timeout = self.plan.step(live.step).timeout.unwrap_or_default();
        Failure::new("timeout", format!("it took longer than its timeout of {timeout}"))
    }

    /// Nothing of a begun attempt was done.
    pub(super) fn not_done(&mut self, live: LiveKey, out: &mut Emitter) {
        let Some(attempt) = self.instance(live).live() else { return };
        match (attempt.cancel, attempt.unclear.clone()) {
            (Some((_, CancelWhy::Timeout)), _) => self.failed(live, self.timeout_failure(live), out),
            (Some((_, CancelWhy::Interrupt)), _) => self.stopped(live, out),
            (None, Some(failure)) => self.failed(live, failure, out),
            (None, None) => {
                self.end_live(live, Outcome::Lost, None, out);
                self.again(live, out);
            }
        }
    }

    /// Go on with an instance whose attempt ended without ending it.
    pub(super) fn again(&mut self, live: LiveKey, out: &mut Emitter) {
        let of_finally = self.plan.step(live.step).finally;
        if of_finally && self.phase == Phase::Body {
            return;
        }
        if self.leaving() && !of_finally {
            let words = self.halt_words();
            self.end_instance(live, Status::Cancelled, None, Some(&words), out);
        } else {
            self.ready.insert(live);
        }
    }

    /// An attempt succeeded: of the body, or of a validation, which is then judged.
    pub(super) fn succeeded(
        &mut self,
        live: LiveKey,
        (_, check): (u32, Option<u32>),
        outputs: Value,
        out: &mut Emitter,
    ) {
        let Some(check) = check else { return self.body_succeeded(live, outputs, out) };
        let result = drydock_plan::expr::Datum::from_json(&outputs);
        self.end_live(live, Outcome::Succeeded(outputs), None, out);
        if self.judge(live, check, Some(&result), out) {
            self.advance(live, out);
        }
    }

    fn body_succeeded(&mut self, live: LiveKey, outputs: Value, out: &mut Emitter) {
        let plan = self.plan.clone();
        let step = plan.step(live.step);
        let own = (!outputs.is_null()).then(|| drydock_plan::expr::Datum::from_json(&outputs));
        let mut added = Map::new();
        let mut trouble = None;
        for (name, template) in &step.outputs {
            let view = self.view(&template.steps_read());
            let scope = view.scope(self, self.instance(live).item_datum.as_ref());
            match template.render(&Scope { outputs: own.as_ref(), ..scope }) {
                Ok(value) => drop(added.insert(name.to_string(), value.shown())),
                Err(error) => trouble = Some(failure_of(&error)),
            }
        }
        let added = (!added.is_empty()).then_some(Value::Object(added));
        self.end_live(live, Outcome::Succeeded(outputs), added, out);
        match trouble {
            Some(failure) => self.end_instance(live, Status::Failed, Some(failure), None, out),
            None => self.advance(live, out),
        }
    }

    /// Go on after the body: the next validation that has not held yet, or the end.
    pub(super) fn advance(&mut self, live: LiveKey, out: &mut Emitter) {
        let plan = self.plan.clone();
        let step = plan.step(live.step);
        if step.finally && self.phase == Phase::Body {
            return;
        }
        loop {
            let held =
                |judged: &Option<crate::state::Judged>| judged.as_ref().is_some_and(|judged| judged.ok);
            let Some(at) = self.instance(live).judged.iter().position(|judged| !held(judged)) else {
                return self.end_instance(live, Status::Succeeded, None, None, out);
            };
            if self.leaving() && !step.finally {
                return self.end_instance(live, Status::Cancelled, None, Some("it was not validated"), out);
            }
            let check = u32::try_from(at + 1).unwrap_or(u32::MAX);
            match &step.validate[at].call {
                Some(call) => {
                    let own = self.instance(live).body_datum.clone();
                    return match self.inputs_of(&call.with, live, own.as_ref()) {
                        Ok(inputs) => self.start(live, Some(check), inputs, out),
                        Err(error) => {
                            self.end_instance(live, Status::Failed, Some(failure_of(&error)), None, out)
                        }
                    };
                }
                None if self.judge(live, check, None, out) => {}
                None => return,
            }
        }
    }

    /// Judge a validation; where it does not hold, the step is tried again or fails.
    fn judge(
        &mut self,
        live: LiveKey,
        check: u32,
        result: Option<&drydock_plan::expr::Datum>,
        out: &mut Emitter,
    ) -> bool {
        let plan = self.plan.clone();
        let step = plan.step(live.step);
        let validation = &step.validate[check as usize - 1];
        let view = self.view(validation.assert.steps_read());
        let instance = self.instance(live);
        let key = instance.key.clone();
        let scope = view.scope(self, instance.item_datum.as_ref());
        let scope = Scope { result, outputs: instance.body_datum.as_ref(), ..scope };
        let (ok, expected, found) = match validation.assert.judged(&scope) {
            Ok(Judgement { ok, expected, found }) => (ok == Truth::True, expected, found),
            Err(error) => (false, validation.assert.text().to_owned(), error.message),
        };
        let failure = Failure::new(
            "validation",
            format!("validation \"{}\" does not hold: expected {expected}, found {found}", validation.name),
        );
        self.emit(
            out,
            RunEvent::Judged {
                step: step.id.clone(),
                key,
                check,
                name: validation.name.clone(),
                ok,
                expected,
                found,
            },
        );
        if !ok {
            self.retry_or_fail(live, failure, out);
        }
        ok
    }

    /// The live attempt failed.
    pub(super) fn failed(&mut self, live: LiveKey, failure: Failure, out: &mut Emitter) {
        self.end_live(live, Outcome::Failed(failure.clone()), None, out);
        self.retry_or_fail(live, failure, out);
    }

    fn retry_or_fail(&mut self, live: LiveKey, failure: Failure, out: &mut Emitter) {
        let plan = self.plan.clone();
        let step = plan.step(live.step);
        let of_finally = step.finally;
        if of_finally && self.phase == Phase::Body {
            return;
        }
        let tries = self.instance(live).tries;
        let allowed = tries < step.retry.attempts && step.retry.errors.iter().any(|on| covers(on, &failure));
        if allowed && (of_finally || !self.leaving()) {
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
