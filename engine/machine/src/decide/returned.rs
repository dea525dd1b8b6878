//! What a returned or reconciled attempt means: outputs, what is not known, the end of an attempt.

use drydock_plan::expr::{Datum, Scope};
use drydock_plan::model::OnUnknown;
use serde_json::{Map, Value};

use super::failure_of;
use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{CancelWhy, Ended, Failure, Outcome, RunEvent, Status, Verdict};
use crate::machine::{Assume, Emitter, Machine};

impl Machine {
    pub(super) fn returned(&mut self, attempt: &AttemptRef, ended: Ended, out: &mut Emitter) {
        let Some(live) = self.live_key(attempt) else { return };
        match ended {
            Ended::Outputs(outputs) => self.succeeded(live, outputs, out),
            Ended::Failed(failure) => self.failed(live, failure, out),
            Ended::Cancelled => self.stopped(live, out),
            // Who was given up on cannot begin to wait, and need not say again that nobody knows.
            _ if !self.instance(live).live().is_some_and(|attempt| attempt.runs(self.sitting)) => {}
            Ended::Waits(message) => self.park(live, message, false, out),
            Ended::Unclear(error) => self.unclear(live, error, out),
        }
    }

    /// The server's answer; passed over where it was not asked.
    pub(super) fn reconciled(&mut self, attempt: &AttemptRef, verdict: Verdict, out: &mut Emitter) {
        let Some(live) = self.live_key(attempt) else { return };
        let found = self.instance(live).live();
        let asked = found.is_some_and(|found| found.left || found.is_asked_about(self.sitting));
        if !asked {
            return;
        }
        let AttemptRef { step, key, n, check } = attempt.clone();
        self.emit(out, RunEvent::Reconciled { step, key, n, check, verdict: verdict.clone() });
        match verdict {
            Verdict::Done(outputs) => self.succeeded(live, outputs, out),
            Verdict::NotDone => self.not_done(live, out),
            Verdict::Partly(progress) => self.partly_done(live, progress, out),
            Verdict::Busy(_) => {}
            Verdict::Unknown(why) => self.unknown(live, why, out),
        }
    }

    /// Nobody knows what an attempt of this sitting did: the server is asked, unless it can only have read.
    pub(super) fn unclear(&mut self, live: LiveKey, error: Failure, out: &mut Emitter) {
        let Some(AttemptRef { step, key, n, check }) = self.live_attempt(live) else { return };
        self.emit(out, RunEvent::AttemptUnclear { step, key, n, check, error });
        if self.only_reads(live) {
            self.not_done(live, out);
        }
    }

    /// Nobody can say what an attempt did. Taken as not done, it is a try that `retry` decides about, as any other: `on_unknown:
    /// redo` says what is true, not how often to try.
    fn unknown(&mut self, live: LiveKey, why: String, out: &mut Emitter) {
        let instance = self.instance(live);
        if instance.live().is_none_or(|attempt| attempt.left) {
            return;
        }
        let key = instance.key.clone();
        let assumed =
            self.assume.get(&(live.step, key)).or_else(|| self.assume.get(&(live.step, None))).copied();
        let decision = assumed.or(match self.plan.step(live.step).on_unknown {
            OnUnknown::Ask => None,
            OnUnknown::Redo => Some(Assume::Redo),
            OnUnknown::Done => Some(Assume::Done),
        });
        match decision {
            Some(Assume::Redo) => self.not_done(live, out),
            Some(Assume::Done) => self.succeeded(live, Value::Null, out),
            None if self.abandoning => {
                let failure = Failure::new("unknown", format!("nobody knows what it did: {why}"));
                if self.end_live(live, Outcome::Failed(failure), None, out) {
                    self.end_instance(live, Status::Cancelled, None, Some("the run was closed"), out);
                }
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
                if self.end_live(live, Outcome::Cancelled, None, out) {
                    self.end_instance(live, Status::Cancelled, None, Some("the run was interrupted"), out);
                }
            }
            None => self.failed(live, Failure::new("cancelled", "it was cancelled by somebody else"), out),
        }
    }

    fn timeout_failure(&self, live: LiveKey) -> Failure {
        let timeout = self.plan.step(live.step).timeout.unwrap_or_default();
        Failure::new("timeout", format!("it took longer than its timeout of {timeout}"))
    }

    /// Whether the last attempt was asked to stop because somebody interrupted.
    pub(super) fn was_interrupted(&self, live: LiveKey) -> bool {
        let asked = self.instance(live).attempts.last().and_then(|attempt| attempt.cancel);
        matches!(asked, Some((_, CancelWhy::Interrupt)))
    }

    /// Why an attempt of this sitting did not get to its end: `None` where its process died.
    fn cut_short_by(&self, live: LiveKey) -> Option<Failure> {
        let attempt = self.instance(live).live()?;
        match attempt.cancel {
            Some((_, CancelWhy::Timeout)) => Some(self.timeout_failure(live)),
            _ => attempt.unclear.clone(),
        }
    }

    /// Nothing of a begun attempt was done.
    pub(crate) fn not_done(&mut self, live: LiveKey, out: &mut Emitter) {
        if self.was_interrupted(live) {
            return self.stopped(live, out);
        }
        match self.cut_short_by(live) {
            Some(failure) => self.failed(live, failure, out),
            None => {
                if self.end_live(live, Outcome::Lost, None, out) {
                    self.again(live, out);
                }
            }
        }
    }

    /// A part of a begun attempt was done. Where its timeout or a lost connection cut it short, `retry` decides whether it goes on
    /// from there now; a resume does in any case.
    fn partly_done(&mut self, live: LiveKey, progress: Value, out: &mut Emitter) {
        let cut_short = self.cut_short_by(live);
        if !self.end_live(live, Outcome::Partly(progress), None, out) {
            return;
        }
        match cut_short {
            _ if self.was_interrupted(live) => {
                self.end_instance(live, Status::Cancelled, None, Some("the run was interrupted"), out);
            }
            Some(failure) => self.retry_or_fail(live, failure, out),
            None => self.again(live, out),
        }
    }

    /// Go on with an instance whose attempt ended without ending it.
    pub(super) fn again(&mut self, live: LiveKey, out: &mut Emitter) {
        if !self.may_go_on(live) {
            return;
        }
        if self.leaving() && !self.plan.step(live.step).finally {
            let words = self.halt_words();
            self.end_instance(live, Status::Cancelled, None, Some(&words), out);
        } else {
            self.agenda.ready.insert(live);
        }
    }

    /// An attempt succeeded: of the body, or of a validation, which is then judged.
    pub(super) fn succeeded(&mut self, live: LiveKey, outputs: Value, out: &mut Emitter) {
        let Some(check) = self.instance(live).live().and_then(|attempt| attempt.check) else {
            return self.body_succeeded(live, outputs, out);
        };
        let result = Datum::from_json(&outputs);
        if self.end_live(live, Outcome::Succeeded(outputs), None, out)
            && self.judge(live, check, Some(&result), out)
        {
            self.advance(live, out);
        }
    }

    fn body_succeeded(&mut self, live: LiveKey, outputs: Value, out: &mut Emitter) {
        // Outputs that cannot be rendered fail the step where it goes on, as they do in a later sitting.
        let added = self.added_outputs(live, &outputs).ok().flatten();
        if self.end_live(live, Outcome::Succeeded(outputs), added, out) {
            self.advance(live, out);
        }
    }

    /// The values of the step's own `outputs`, where it has any. Where those of the body are not known, what follows from them is
    /// not known either, and left out.
    pub(super) fn added_outputs(&self, live: LiveKey, outputs: &Value) -> Result<Option<Value>, Failure> {
        let step = self.plan.step(live.step);
        let own = (!outputs.is_null()).then(|| Datum::from_json(outputs));
        let mut added = Map::new();
        for (name, template) in &step.outputs {
            let view = self.view(&template.steps_read());
            let scope = view.scope(self, self.instance(live).item_datum.as_ref());
            match template.render(&Scope { outputs: own.as_ref(), ..scope }) {
                Ok(value) => drop(added.insert(name.to_string(), value.shown())),
                Err(_) if own.is_none() => {}
                Err(error) => return Err(failure_of(&error)),
            }
        }
        Ok((!added.is_empty()).then_some(Value::Object(added)))
    }
}
