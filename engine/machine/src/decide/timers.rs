//! What the passing of time means: timeouts, cancels that are not answered, retries that are due.

use drydock_plan::duration::Millis;

use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{CancelWhy, Failure, RunEvent};
use crate::machine::{Emitter, Machine};

/// How long an attempt that was asked to stop may take to answer.
pub(crate) const CANCEL_GRACE: Millis = Millis(30_000);

impl Machine {
    pub(super) fn timers(&mut self, out: &mut Emitter) {
        let due: Vec<LiveKey> = self.waiting.iter().copied().filter(|live| self.is_due(*live, out)).collect();
        for live in due {
            self.waiting.remove(&live);
            self.ready.insert(live);
        }
        let late: Vec<(LiveKey, bool)> =
            self.live.iter().filter_map(|live| Some((*live, self.is_late(*live, out)?))).collect();
        for (live, asked) in late {
            let Some(AttemptRef { step, key, n, check }) = self.live_attempt(live) else { continue };
            let event = if asked {
                let error = Failure::new(
                    "cancel",
                    format!("it did not answer for {CANCEL_GRACE} after it was asked to stop"),
                );
                RunEvent::AttemptUnclear { step, key, n, check, error }
            } else {
                RunEvent::CancelAsked { step, key, n, check, why: CancelWhy::Timeout }
            };
            self.emit(out, event);
        }
    }

    fn is_due(&self, live: LiveKey, out: &Emitter) -> bool {
        self.instance(live).retry_at.is_some_and(|at| at <= out.now)
    }

    /// `Some(false)` for an attempt past its timeout, `Some(true)` for one that was asked to stop and does not answer.
    fn is_late(&self, live: LiveKey, out: &Emitter) -> Option<bool> {
        let attempt = self.instance(live).live()?;
        if attempt.parked.is_some() || attempt.unclear.is_some() || attempt.sitting < self.sitting {
            return None;
        }
        match attempt.cancel {
            Some((asked, _)) => (asked.plus(CANCEL_GRACE) <= out.now).then_some(true),
            None => {
                let timeout = self.plan.step(live.step).timeout?;
                (attempt.started_at.plus(timeout) <= out.now).then_some(false)
            }
        }
    }
}
