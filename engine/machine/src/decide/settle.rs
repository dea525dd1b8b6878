//! After every input: everything that follows from it, until nothing more does.

use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{CancelWhy, Outcome, RunEvent, RunStatus, Status};
use crate::exit::Exit;
use crate::machine::{Emitter, Machine, Phase};

impl Machine {
    pub(super) fn settle(&mut self, out: &mut Emitter) {
        loop {
            while let Some(ix) = self.dirty.pop_first() {
                self.consider(ix, out);
            }
            self.cancel_what_may_not_go_on(out);
            if self.dirty.is_empty() {
                self.start_ready(out);
            }
            if !self.dirty.is_empty() {
                continue;
            }
            if matches!(self.phase, Phase::New | Phase::Over(_)) || !self.is_quiet() {
                return;
            }
            self.next_phase(out);
        }
    }

    /// Nothing runs, nothing may start, nothing waits for its time.
    fn is_quiet(&self) -> bool {
        self.ready.is_empty()
            && self.waiting.is_empty()
            && self.live.iter().all(|live| self.is_parked(*live) || self.is_left(*live))
    }

    fn is_parked(&self, live: LiveKey) -> bool {
        self.instance(live).live().is_some_and(|attempt| attempt.parked.is_some())
    }

    /// Whether somebody insisted while this attempt did not answer: the next sitting asks the server about it.
    pub(crate) fn is_left(&self, live: LiveKey) -> bool {
        self.interrupts >= 2
            && self
                .instance(live)
                .live()
                .is_some_and(|attempt| attempt.cancel.is_some() || attempt.unclear.is_some())
    }

    /// Under a stop: instances that have not begun. Under an interrupt: whatever runs or waits as well.
    fn cancel_what_may_not_go_on(&mut self, out: &mut Emitter) {
        let in_finally = matches!(self.phase, Phase::Finally(_));
        if in_finally && self.interrupts < 2 || !in_finally && !self.halted() {
            return;
        }
        let words = self.halt_words();
        let leaving = self.leaving();
        let ready: Vec<LiveKey> =
            self.ready.iter().copied().filter(|live| leaving || !self.instance(*live).begun()).collect();
        for live in ready {
            self.end_instance(live, Status::Cancelled, None, Some(&words), out);
        }
        let parked: Vec<LiveKey> =
            self.live.iter().copied().filter(|live| self.may_be_dropped(*live)).collect();
        for live in parked {
            self.end_live(live, Outcome::Cancelled, None, out);
            self.end_instance(live, Status::Cancelled, None, Some(&words), out);
        }
        if !leaving {
            return;
        }
        for live in self.waiting.iter().copied().collect::<Vec<_>>() {
            let error = self.instance(live).error.clone();
            self.end_instance(live, Status::Cancelled, error, Some(&words), out);
        }
        for live in self.live.iter().copied().collect::<Vec<_>>() {
            let running = self
                .instance(live)
                .live()
                .is_some_and(|attempt| attempt.cancel.is_none() && attempt.sitting == self.sitting);
            if running && !self.is_parked(live) && self.interrupts > 0 {
                let Some(AttemptRef { step, key, n, check }) = self.live_attempt(live) else { continue };
                self.emit(out, RunEvent::CancelAsked { step, key, n, check, why: CancelWhy::Interrupt });
            }
        }
    }

    /// A step that waits for an approval may be cancelled; one of which nobody knows what it did may not be forgotten.
    fn may_be_dropped(&self, live: LiveKey) -> bool {
        self.instance(live)
            .live()
            .and_then(|attempt| attempt.parked.as_ref())
            .is_some_and(|parked| !parked.unknown)
    }

    fn next_phase(&mut self, out: &mut Emitter) {
        if self.live.iter().any(|live| self.is_parked(*live)) {
            return self.emit(out, RunEvent::SittingEnded { exit: Exit::Waits });
        }
        self.end_what_was_left(out);
        let open_finally =
            self.plan.indices().any(|ix| self.plan.step(ix).finally && self.steps[ix.ix()].status.is_none());
        if self.phase == Phase::Body && open_finally {
            let status = self.final_status();
            self.emit(out, RunEvent::FinallyStarted { status });
            self.dirty.extend(self.plan.indices().filter(|ix| self.plan.step(*ix).finally));
            return;
        }
        self.finish(out);
    }

    /// Steps whose attempt was left without an answer end as cancelled; the attempt itself stays open for the next sitting.
    fn end_what_was_left(&mut self, out: &mut Emitter) {
        for live in self.live.iter().copied().filter(|live| self.is_left(*live)).collect::<Vec<_>>() {
            if self.instance(live).status.is_none() {
                self.end_instance(
                    live,
                    Status::Cancelled,
                    None,
                    Some("it did not answer before the run was left"),
                    out,
                );
            }
        }
        while let Some(ix) = self.dirty.pop_first() {
            self.consider(ix, out);
        }
    }

    fn finish(&mut self, out: &mut Emitter) {
        let mut status = self.final_status();
        let mut outputs = indexmap::IndexMap::new();
        let mut warnings = self.warning_texts();
        if status == RunStatus::Succeeded {
            let plan = self.plan.clone();
            for (name, template) in &plan.outputs {
                let view = self.view(&template.steps_read());
                match template.render(&view.scope(self, None)) {
                    Ok(value) => drop(outputs.insert(name.clone(), value.shown())),
                    Err(error) => {
                        status = RunStatus::Failed;
                        warnings.push(format!("output {name} of the plan: {}", error.message));
                    }
                }
            }
        }
        let exit = self.final_exit(status);
        let summary = self.summary_text(status);
        self.emit(out, RunEvent::RunEnded { status, exit, summary, outputs, warnings });
        self.emit(out, RunEvent::SittingEnded { exit });
    }
}
