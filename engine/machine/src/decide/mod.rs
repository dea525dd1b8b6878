//! Deciding: what an input means. Each file takes one stage of a step's life; every fact goes through `emit`.

mod instance;
mod returned;
mod start;
mod timers;

mod settle;

pub(crate) use timers::CANCEL_GRACE;

use crate::event::{Outcome, RunEvent};
use crate::exit::Exit;
use crate::machine::{Emitter, Input, Machine, Phase};

impl Machine {
    pub(crate) fn decide(&mut self, input: Input, out: &mut Emitter) {
        match (input, self.phase) {
            (Input::Begin(head, sitting), _) => self.begin(head, sitting, out),
            (Input::Approved { step, key, by, reason }, phase) => {
                let recorded = self.approve(step, key, by, reason, out);
                if recorded.is_none() || matches!(phase, Phase::Over(Exit::Waits)) {
                    return;
                }
            }
            (_, Phase::New | Phase::Over(_)) => return,
            (Input::Returned(attempt, ended), _) => self.returned(&attempt, ended, out),
            (Input::Reconciled(attempt, verdict), _) => self.reconciled(&attempt, verdict, out),
            (Input::Noted(attempt, value), _) => {
                if self.live_key(&attempt).is_some() {
                    let (step, key) = (attempt.step, attempt.key);
                    self.emit(out, RunEvent::Noted { step, key, n: attempt.n, check: attempt.check, value });
                }
            }
            (Input::Interrupt, _) => {
                let level = self.interrupts + 1;
                self.emit(out, RunEvent::Interrupted { level });
            }
            (Input::Tick, _) => {}
        }
        self.timers(out);
        self.settle(out);
    }

    /// Record an approval; nothing when the step does not wait for one. In a sitting, the step goes on at once.
    fn approve(
        &mut self,
        step: drydock_plan::name::Name,
        key: Option<std::sync::Arc<str>>,
        by: String,
        reason: String,
        out: &mut Emitter,
    ) -> Option<()> {
        let live = self.find(&step, key.as_deref())?;
        let attempt = self.instance(live).live()?;
        let n = attempt.n;
        attempt.parked.as_ref().filter(|parked| !parked.unknown)?;
        let outputs = serde_json::json!({ "by": by, "reason": reason });
        self.emit(out, RunEvent::Approved { step, key, by, reason });
        if matches!(self.phase, Phase::Over(_)) {
            self.end_live(live, Outcome::Succeeded(outputs), None, out);
        } else {
            self.succeeded(live, (n, None), outputs, out);
        }
        Some(())
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
