//! Deciding: what an input means. Each file takes one stage of a step's life; every fact goes through `emit`.

mod ending;
mod halting;
mod listing;
mod proving;
mod returned;
mod settle;
mod start;
mod timers;

use std::sync::Arc;

use drydock_plan::expr::EvalError;
use drydock_plan::name::Name;

use crate::event::{Failure, Outcome, RunEvent};
use crate::machine::{Emitter, Input, Machine};

impl Machine {
    pub(crate) fn decide(&mut self, input: Input, out: &mut Emitter) {
        match input {
            Input::Begin(head, sitting) => self.begin(head, sitting, out),
            Input::Approved { step, key, by, reason } => self.approve(step, key, by, reason, out),
            _ if !self.at_work => {}
            Input::Returned(attempt, ended) => self.returned(&attempt, ended, out),
            Input::Reconciled(attempt, verdict) => self.reconciled(&attempt, verdict, out),
            Input::Noted(attempt, value) => {
                if self.live_key(&attempt).is_some() {
                    let (step, key) = (attempt.step, attempt.key);
                    self.emit(out, RunEvent::Noted { step, key, n: attempt.n, check: attempt.check, value });
                }
            }
            Input::Interrupt => self.interrupted(out),
            Input::Tick => {}
        }
        if self.at_work {
            self.settle(out);
        }
    }

    /// Record an approval; nothing when the step does not wait for one. In a sitting the step goes on; between sittings what it
    /// gives is recorded, and the next sitting goes on from there.
    fn approve(&mut self, step: Name, key: Option<Arc<str>>, by: String, reason: String, out: &mut Emitter) {
        let Some(live) = self.find(&step, key.as_deref()) else { return };
        let parked = self.instance(live).live().and_then(|attempt| attempt.parked.as_ref());
        if parked.is_none_or(|parked| parked.unknown) {
            return;
        }
        let outputs = serde_json::json!({ "by": by, "reason": reason });
        self.emit(out, RunEvent::Approved { step, key, by, reason });
        if self.at_work {
            self.succeeded(live, outputs, out);
        } else {
            let added = self.added_outputs(live, &outputs).ok().flatten();
            let _ = self.end_live(live, Outcome::Succeeded(outputs), added, out);
        }
    }

    /// Whether nothing new may start in the body.
    pub(crate) fn halted(&self) -> bool {
        self.stopping.is_some() || self.leaving()
    }

    /// Whether even what has begun is not gone on with.
    pub(crate) fn leaving(&self) -> bool {
        self.interrupts > 0 || self.abandoning
    }
}

/// An error of evaluation as a failure of the step.
fn failure_of(error: &EvalError) -> Failure {
    Failure { help: error.help.clone(), ..Failure::new(error.code.0, error.message.clone()) }
}

/// A value that only a dry run may not know yet.
fn not_yet(steps: &[Name]) -> Failure {
    let names: Vec<&str> = steps.iter().map(Name::as_str).collect();
    Failure::new("internal", format!("a value was asked for before {} had ended", names.join(", ")))
}
