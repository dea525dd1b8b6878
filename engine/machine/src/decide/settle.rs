//! After every input: everything that follows from it, until nothing more does.

use drydock_plan::name::Name;
use indexmap::IndexMap;
use serde_json::Value;

use crate::event::{RunEvent, RunStatus};
use crate::exit::Exit;
use crate::machine::{Emitter, Machine, Phase};

impl Machine {
    pub(super) fn settle(&mut self, out: &mut Emitter) {
        while self.at_work {
            self.timers(out);
            while let Some(ix) = self.agenda.dirty.pop_first() {
                self.consider(ix, out);
            }
            self.cancel_what_may_not_go_on(out);
            // One start at a time: the first that fails may mean that the next must not begin.
            if !self.agenda.dirty.is_empty() || self.start_next(out) {
                continue;
            }
            if !self.agenda.is_quiet() {
                return;
            }
            self.next_phase(out);
        }
    }

    fn next_phase(&mut self, out: &mut Emitter) {
        if !self.agenda.resting.is_empty() {
            if self.may_wait() {
                return self.emit(out, RunEvent::SittingEnded { exit: Exit::Waits });
            }
            self.end_what_was_left(out);
            if !self.agenda.dirty.is_empty() {
                return;
            }
        }
        let is_open = |ix| self.plan.step(ix).finally && self.steps[ix.ix()].status.is_none();
        let finally: Vec<_> = self.plan.indices().filter(|ix| is_open(*ix)).collect();
        if self.phase == Phase::Body && !finally.is_empty() {
            let status = self.final_status();
            self.emit(out, RunEvent::FinallyStarted { status });
            self.agenda.dirty.extend(finally);
            return;
        }
        self.finish(out);
    }

    fn finish(&mut self, out: &mut Emitter) {
        let mut status = self.final_status();
        let mut outputs = IndexMap::new();
        let mut trouble = None;
        if status == RunStatus::Succeeded {
            match self.plan_outputs() {
                Ok(all) => outputs = all,
                Err(error) => (status, trouble) = (RunStatus::Failed, Some(error)),
            }
        }
        let exit = self.final_exit(status);
        let mut summary = self.summary_text(status);
        let mut warnings = self.warning_texts();
        if let Some(error) = trouble {
            summary.push_str(&format!("; {error}"));
            warnings.push(error);
        }
        self.emit(out, RunEvent::RunEnded { status, exit, summary, outputs, warnings });
        self.emit(out, RunEvent::SittingEnded { exit });
    }

    /// The values of the plan's own `outputs`, or why one has none.
    fn plan_outputs(&self) -> Result<IndexMap<Name, Value>, String> {
        let mut outputs = IndexMap::new();
        for (name, template) in &self.plan.outputs {
            let view = self.view(&template.steps_read());
            let value = template
                .render(&view.scope(self, None))
                .map_err(|error| format!("output {name} of the plan: {}", error.message))?;
            outputs.insert(name.clone(), value.shown());
        }
        Ok(outputs)
    }
}
