//! The beginning of a sitting: of a new run, or of one that is taken up again.

use std::collections::BTreeSet;

use drydock_plan::catalog::Effect;
use drydock_plan::model::{Plan, StepIx};
use serde_json::Value;

use crate::attempt::LiveKey;
use crate::event::{Outcome, Reopened, RunEvent, RunStatus, Status};
use crate::machine::{Assume, Emitter, Machine, Phase, RunHead, Sitting};

impl Machine {
    pub(crate) fn begin(&mut self, head: RunHead, sitting: Sitting, out: &mut Emitter) {
        let fresh = self.head.is_none();
        let died_in_finally = self.phase_before_death();
        if fresh {
            self.emit(out, self.run_started(&head, &sitting));
        }
        self.abandoning = sitting.abandon;
        self.assume = sitting
            .assume
            .iter()
            .filter_map(|((step, key), assume)| Some(((*self.by_name.get(step)?, key.clone()), *assume)))
            .collect();
        self.emit(out, RunEvent::SittingStarted { n: self.sitting + 1, digest: sitting.accepted.clone() });
        if fresh {
            self.leave_out(&sitting, out);
        } else {
            let steps = self.reopenings(&sitting, died_in_finally);
            if !steps.is_empty() {
                self.emit(out, RunEvent::ReopenedSteps { steps });
            }
        }
        self.rebuild();
        if let Some(status) = died_in_finally {
            self.emit(out, RunEvent::FinallyStarted { status });
        }
        self.settle_lost_attempts(out);
    }

    fn run_started(&self, head: &RunHead, sitting: &Sitting) -> RunEvent {
        RunEvent::RunStarted {
            run: head.run.clone(),
            plan: self.plan.name.clone(),
            purpose: self.plan.purpose,
            digest: self.plan.digest.clone(),
            environment: self.plan.environment.as_ref().map(|environment| environment.name.clone()),
            params: self.plan.params.clone(),
            only: sitting.only.clone(),
            skip: sitting.skip.clone(),
        }
    }

    /// Where the last sitting died while it was running `finally` after a body that succeeded: the status that `finally` saw.
    fn phase_before_death(&self) -> Option<RunStatus> {
        match self.phase {
            Phase::Finally(RunStatus::Succeeded) => Some(RunStatus::Succeeded),
            _ => None,
        }
    }

    /// Steps that were not chosen end as skipped.
    fn leave_out(&mut self, sitting: &Sitting, out: &mut Emitter) {
        let plan = self.plan.clone();
        for step in &plan.steps {
            let why = if sitting.skip.contains(&step.id) {
                "left out by --skip"
            } else if !step.finally && !sitting.only.is_empty() && !sitting.only.contains(&step.id) {
                "not chosen by --only"
            } else {
                continue;
            };
            let event = RunEvent::StepEnded {
                step: step.id.clone(),
                key: None,
                status: Status::Skipped,
                error: None,
                why: Some(why.to_owned()),
            };
            self.emit(out, event);
        }
    }

    /// What a new sitting takes up again: what failed, was blocked or cancelled; what was undone; what was asked for; `finally`.
    fn reopenings(&self, sitting: &Sitting, died_in_finally: Option<RunStatus>) -> Vec<Reopened> {
        let plan = &self.plan;
        let mut fresh: BTreeSet<StepIx> = BTreeSet::new();
        for ix in plan.indices().filter(|ix| self.steps[ix.ix()].status == Some(Status::Succeeded)) {
            for undone in &plan.step(ix).undoes {
                self.add_with_dependents(*undone, &mut fresh);
            }
        }
        let mut chosen_instances = Vec::new();
        for (step, key) in &sitting.redo {
            let Some(&ix) = self.by_name.get(step) else { continue };
            if key.is_some() {
                chosen_instances.push(Reopened { step: step.clone(), key: key.clone(), fresh: true });
                for dependent in &self.dependents[ix.ix()] {
                    self.add_with_dependents(*dependent, &mut fresh);
                }
            } else {
                self.add_with_dependents(ix, &mut fresh);
            }
        }
        let mut reopened = Vec::new();
        for ix in plan.indices() {
            let step = plan.step(ix).id.clone();
            let state = &self.steps[ix.ix()];
            if plan.step(ix).finally {
                if died_in_finally.is_none()
                    && (state.status.is_some() || state.instances.iter().any(|i| i.begun()))
                {
                    reopened.push(Reopened { step, key: None, fresh: true });
                }
            } else if fresh.contains(&ix) {
                reopened.push(Reopened { step, key: None, fresh: true });
            } else {
                reopened.extend(self.unfinished(plan, ix));
            }
        }
        reopened.extend(chosen_instances);
        reopened
    }

    /// What of a step has not succeeded.
    fn unfinished(&self, plan: &Plan, ix: StepIx) -> Vec<Reopened> {
        let step = &plan.step(ix).id;
        let state = &self.steps[ix.ix()];
        let again = |status: Option<Status>| {
            matches!(status, Some(Status::Failed | Status::Cancelled | Status::Blocked | Status::Partial))
        };
        if plan.step(ix).foreach.is_some() && state.listed {
            let open = state.instances.iter().filter(|instance| again(instance.status));
            return open
                .map(|instance| Reopened { step: step.clone(), key: instance.key.clone(), fresh: false })
                .collect();
        }
        if again(state.status) {
            vec![Reopened { step: step.clone(), key: None, fresh: false }]
        } else {
            Vec::new()
        }
    }

    /// A step and all that need it, directly or through others.
    fn add_with_dependents(&self, ix: StepIx, set: &mut BTreeSet<StepIx>) {
        let mut open = vec![ix];
        while let Some(ix) = open.pop() {
            if set.insert(ix) {
                open.extend(self.dependents[ix.ix()].iter().copied());
            }
        }
    }

    /// The sets that follow from the recorded facts.
    fn rebuild(&mut self) {
        self.ready.clear();
        self.waiting.clear();
        self.live.clear();
        self.dirty = self.plan.indices().collect();
        for ix in self.plan.indices() {
            let open =
                self.plan.step(ix).needs.iter().filter(|need| self.steps[need.ix()].status.is_none()).count();
            self.steps[ix.ix()].open_needs = u32::try_from(open).unwrap_or(u32::MAX);
            for (at, instance) in self.steps[ix.ix()].instances.iter().enumerate() {
                let live = LiveKey { step: ix, instance: u32::try_from(at).unwrap_or(u32::MAX) };
                if instance.live().is_some() {
                    self.live.insert(live);
                } else if instance.retry_at.is_some() && instance.status.is_none() {
                    self.waiting.insert(live);
                }
            }
        }
    }

    /// Attempts of a former sitting that need not be asked about: those that only read, and those that somebody has decided.
    fn settle_lost_attempts(&mut self, out: &mut Emitter) {
        let lost: Vec<LiveKey> = self.live.iter().copied().collect();
        for live in lost {
            let Some(attempt) = self.instance(live).live() else { continue };
            if attempt.parked.is_some() || attempt.sitting == self.sitting {
                continue;
            }
            let key = self.instance(live).key.clone();
            let assumed =
                self.assume.get(&(live.step, key)).or_else(|| self.assume.get(&(live.step, None))).copied();
            match assumed {
                Some(Assume::Redo) => self.lose(live, out),
                Some(Assume::Done) => {
                    self.assume_done(live, out);
                }
                None if self.only_reads(live) => self.lose(live, out),
                None => {}
            }
        }
    }

    fn lose(&mut self, live: LiveKey, out: &mut Emitter) {
        self.end_live(live, Outcome::Lost, None, out);
        self.dirty.insert(live.step);
    }

    fn assume_done(&mut self, live: LiveKey, out: &mut Emitter) {
        if self.instance(live).live().is_some_and(|attempt| attempt.check.is_some()) {
            return self.lose(live, out);
        }
        self.end_live(live, Outcome::Succeeded(Value::Null), None, out);
        self.dirty.insert(live.step);
    }

    /// Whether the live attempt's kind cannot have changed anything.
    fn only_reads(&self, live: LiveKey) -> bool {
        let Some(attempt) = self.instance(live).live() else { return false };
        let step = self.plan.step(live.step);
        if attempt.check.is_some() {
            return true;
        }
        match step.call.effect {
            Effect::Reads => true,
            Effect::Writes => false,
            Effect::ByInput(input) => attempt
                .inputs
                .get(input)
                .and_then(|value| value.plain())
                .is_some_and(|value| value.as_str() == Some("reads")),
        }
    }
}
