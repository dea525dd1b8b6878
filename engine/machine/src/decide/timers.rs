//! What the passing of time means: timeouts, cancels that are not answered, retries that are due.

use crate::agenda::CANCEL_GRACE;
use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{CancelWhy, Failure, RunEvent};
use crate::machine::{Emitter, Machine};

impl Machine {
    pub(super) fn timers(&mut self, out: &mut Emitter) {
        while let Some(&(at, live)) = self.agenda.alarms.first()
            && at <= out.now
        {
            self.agenda.alarms.pop_first();
            self.instance_mut(live).alarm = None;
            self.ring(live, out);
        }
    }

    fn ring(&mut self, live: LiveKey, out: &mut Emitter) {
        if self.agenda.waiting.remove(&live) {
            return self.again(live, out);
        }
        let Some(attempt) = self.instance(live).live().filter(|attempt| attempt.runs(self.sitting)) else {
            return;
        };
        if attempt.cancel.is_some() {
            let words = format!("it did not answer for {CANCEL_GRACE} after it was asked to stop");
            self.unclear(live, Failure::new("cancel", words), out);
        } else if let Some(AttemptRef { step, key, n, check }) = self.live_attempt(live) {
            self.emit(out, RunEvent::CancelAsked { step, key, n, check, why: CancelWhy::Timeout });
        }
    }
}
