//! How a run ends: status, exit code, warnings, and the summary that people read.

use drydock_plan::model::{OnFailure, Purpose, StepIx};

use crate::event::{Failure, RunStatus, Status};
use crate::exit::Exit;
use crate::machine::Machine;
use crate::moment::Moment;

impl Machine {
    /// Whether a step failed, or instances of it did: those that only were cancelled in part have not.
    fn has_failed(&self, ix: StepIx) -> bool {
        let state = &self.steps[ix.ix()];
        match state.status {
            Some(Status::Failed) => true,
            Some(Status::Partial) => state.error.is_some(),
            _ => false,
        }
    }

    /// The steps whose failure fails the run: the one that stopped it first, then in written order.
    fn failing(&self) -> Vec<StepIx> {
        let failed =
            |ix: &StepIx| self.has_failed(*ix) && self.plan.step(*ix).on_failure != OnFailure::Ignore;
        let mut steps: Vec<StepIx> = self.plan.indices().filter(failed).collect();
        steps.sort_by_key(|ix| (self.stopping != Some(*ix), *ix));
        steps
    }

    /// How the run stands when nothing more happens in this sitting.
    pub(crate) fn final_status(&self) -> RunStatus {
        if self.abandoning {
            RunStatus::Abandoned
        } else if self.interrupts > 0 {
            RunStatus::Interrupted
        } else if self.failing().is_empty() {
            RunStatus::Succeeded
        } else {
            RunStatus::Failed
        }
    }

    /// The exit code for a final status.
    pub(crate) fn final_exit(&self, status: RunStatus) -> Exit {
        match status {
            // A restore that took too long is a good restore; a drill that did has found out what it was for.
            RunStatus::Succeeded if self.plan.drill && self.too_long().is_some() => Exit::ObjectiveMissed,
            RunStatus::Succeeded | RunStatus::Abandoned => Exit::Done,
            RunStatus::Interrupted => Exit::Interrupted,
            RunStatus::Waiting => Exit::Waits,
            RunStatus::Running | RunStatus::Failed => {
                match self.failing().first().and_then(|ix| self.failure_of(*ix)) {
                    Some(failure) if failure.code == "validation" => Exit::ValidationFailed,
                    Some(failure) if failure.code == "objective.missed" => Exit::ObjectiveMissed,
                    _ => Exit::StepFailed,
                }
            }
        }
    }

    fn failure_of(&self, ix: StepIx) -> Option<&Failure> {
        self.steps[ix.ix()].error.as_ref()
    }

    /// One sentence about the run, for notifications and the last line on the screen: how it ended and where, how many steps ended how,
    /// and what went wrong without failing it.
    pub(crate) fn summary_text(&self, status: RunStatus) -> String {
        let count = |wanted: Status| self.steps.iter().filter(|step| step.status == Some(wanted)).count();
        let mut text = format!("{} {}", self.plan.name, status.as_str());
        let failing = self.failing();
        if let Some(ix) = failing.first() {
            let why =
                self.failure_of(*ix).map_or("for no recorded reason", |failure| failure.message.as_str());
            text.push_str(&format!(" at {}: {why}", self.plan.step(*ix).id));
        }
        let mut counts: Vec<String> = Vec::new();
        if failing.len() > 1 {
            counts.push(format!("{} failed", failing.len()));
        }
        let others = [Status::Succeeded, Status::Skipped, Status::Blocked, Status::Cancelled];
        let others = others.into_iter().filter(|wanted| count(*wanted) > 0);
        counts.extend(others.map(|wanted| format!("{} {}", count(wanted), wanted.as_str())));
        if !counts.is_empty() {
            text.push_str(&format!("; {}", counts.join(", ")));
        }
        self.warning_texts().iter().for_each(|warning| text.push_str(&format!("; warning: {warning}")));
        text
    }

    /// When the system was back: with the end of the step that the plan names for it; now, where it names none or that has not ended.
    fn restored_at(&self) -> Moment {
        let named = self.plan.objectives.restored_by.map(|ix| &self.steps[ix.ix()]);
        let back = named.filter(|step| step.status == Some(Status::Succeeded));
        let attempts = back.into_iter().flat_map(|step| &step.instances).flat_map(|one| &one.attempts);
        attempts.filter_map(|attempt| attempt.ended_at).max().unwrap_or(self.now)
    }

    /// What went wrong without failing the run.
    pub(crate) fn warning_texts(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for ix in self.plan.indices() {
            let step = self.plan.step(ix);
            if step.on_failure == OnFailure::Ignore && self.has_failed(ix) {
                let why = self.failure_of(ix).map_or("", |failure| failure.message.as_str());
                warnings.push(format!("{} failed and was ignored: {why}", step.id));
            }
        }
        warnings.extend(self.too_long());
        warnings
    }

    /// That a restore took longer than its objective allows, in words.
    fn too_long(&self) -> Option<String> {
        let rto = self.plan.objectives.rto.filter(|_| self.plan.purpose == Purpose::Restore)?;
        let took = self.restored_at().since(self.head.as_ref()?.started_at);
        (took > rto).then(|| format!("it took {took}, longer than the recovery time objective of {rto}"))
    }
}
