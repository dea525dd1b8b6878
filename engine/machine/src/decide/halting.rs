//! What may not go on: after a failure that stops the run, after an interrupt, when the run is closed.

use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{CancelWhy, Outcome, RunEvent, RunStatus, Status};
use crate::machine::{Emitter, Machine, Phase};

impl Machine {
    /// Why nothing new starts.
    pub(super) fn halt_words(&self) -> String {
        match self.stopping {
            _ if self.abandoning => "the run is being closed".to_owned(),
            _ if self.interrupts > 0 => "the run was interrupted".to_owned(),
            Some(ix) => format!("{} failed", self.plan.step(ix).id),
            None => String::new(),
        }
    }

    /// Somebody interrupted. The steps of `finally` run all the same; those that run then are asked to stop by who insists.
    pub(super) fn interrupted(&mut self, out: &mut Emitter) {
        let level = self.interrupts + 1;
        self.emit(out, RunEvent::Interrupted { level });
        if !self.at_work || level == 1 && matches!(self.phase, Phase::Finally(_)) {
            return;
        }
        for live in self.agenda.live.clone() {
            let attempt = self.instance(live).live();
            let asks = attempt.is_some_and(|attempt| attempt.cancel.is_none() && attempt.runs(self.sitting));
            if let Some(AttemptRef { step, key, n, check }) = self.live_attempt(live).filter(|_| asks) {
                self.emit(out, RunEvent::CancelAsked { step, key, n, check, why: CancelWhy::Interrupt });
            }
        }
    }

    /// Whether the sitting may end by waiting for somebody. A failed, interrupted or closed run waits for nobody: its `finally` has
    /// to run.
    pub(super) fn may_wait(&self) -> bool {
        match self.phase {
            Phase::Body => !self.halted(),
            Phase::Finally(status) => status == RunStatus::Succeeded && !self.leaving(),
            Phase::New | Phase::Over(_) => false,
        }
    }

    /// End what has not begun, and, where the run is being left, whatever waits.
    pub(super) fn cancel_what_may_not_go_on(&mut self, out: &mut Emitter) {
        if self.may_wait() {
            return;
        }
        let words = self.halt_words();
        if self.phase == Phase::Body {
            let leaving = self.leaving();
            let idle = |live: &LiveKey| leaving || !self.instance(*live).begun();
            let mut idle: Vec<LiveKey> = self.agenda.ready.iter().copied().filter(idle).collect();
            idle.extend(self.agenda.waiting.iter().filter(|_| leaving));
            for live in idle {
                let error = self.instance(live).error.clone();
                self.end_instance(live, Status::Cancelled, error, Some(&words), out);
            }
        }
        for live in self.agenda.resting.clone() {
            self.drop_question(live, &words, out);
        }
    }

    /// A step that waits for an approval is cancelled. One of which nobody knows what it did is not forgotten.
    fn drop_question(&mut self, live: LiveKey, words: &str, out: &mut Emitter) {
        let parked = self.instance(live).live().and_then(|attempt| attempt.parked.as_ref());
        if parked.is_some_and(|parked| !parked.unknown) && self.end_live(live, Outcome::Cancelled, None, out)
        {
            let words = if words.is_empty() { "the run waits for nobody any more" } else { words };
            self.end_instance(live, Status::Cancelled, None, Some(words), out);
        }
    }

    /// Steps whose attempt was left without an answer end as cancelled; the attempt itself stays open for the next sitting.
    pub(super) fn end_what_was_left(&mut self, out: &mut Emitter) {
        let why = "it is not known what it did; that is asked when the run is resumed";
        for live in self.agenda.resting.clone() {
            let state = &self.steps[live.step.ix()];
            if state.status.is_some() {
                continue;
            } else if !state.listed {
                self.end_step_itself(live.step, Status::Cancelled, None, Some(why), out);
            } else if self.instance(live).status.is_none() {
                self.end_instance(live, Status::Cancelled, None, Some(why), out);
            }
        }
    }
}
