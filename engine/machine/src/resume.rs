//! The beginning of a sitting: of a new run, or of one that is taken up again.

use std::collections::BTreeSet;
use std::sync::Arc;

use drydock_plan::catalog::Effect;
use drydock_plan::model::{OnFailure, StepIx};

use crate::attempt::LiveKey;
use crate::event::{Outcome, Reopened, RunEvent, RunStatus, Status};
use crate::machine::{Assume, Emitter, Machine, RunHead, Sitting};

impl Machine {
    pub(crate) fn begin(&mut self, head: RunHead, sitting: Sitting, out: &mut Emitter) {
        let new = self.head.is_none();
        if self.at_work || self.is_closed(&sitting) {
            return;
        }
        let (body_done, steps) = self.taken_up(&sitting);
        if new {
            self.emit(out, self.run_started(&head, &sitting));
        }
        self.emit(out, RunEvent::SittingStarted { n: self.sitting + 1, digest: sitting.accepted.clone() });
        self.at_work = true;
        self.abandoning = sitting.abandon;
        self.remember_answers(&sitting);
        if new {
            self.leave_out(&sitting, out);
        } else if !steps.is_empty() {
            self.emit(out, RunEvent::ReopenedSteps { steps });
        }
        self.rebuild();
        if body_done && self.plan.steps.iter().any(|step| step.finally) {
            self.emit(out, RunEvent::FinallyStarted { status: self.final_status() });
        }
        self.settle_lost_attempts(out);
    }

    /// What a new sitting takes up again, and whether all of the body is done and stays so.
    pub(crate) fn taken_up(&self, sitting: &Sitting) -> (bool, Vec<Reopened>) {
        let redoes_body = self.redone(sitting).any(|(ix, _)| !self.plan.step(ix).finally);
        let body_done = self.body_ended_well() && !redoes_body;
        (body_done, self.reopenings(sitting, body_done))
    }

    /// Whether the run has ended for good: a new sitting has nothing to do unless it is told to do something again.
    fn is_closed(&self, sitting: &Sitting) -> bool {
        match self.status {
            RunStatus::Succeeded => self.redone(sitting).next().is_none(),
            RunStatus::Abandoned => true,
            _ => false,
        }
    }

    /// Whether all steps of the body have ended well: then only `finally` is left to do, and what it undid stays undone.
    fn body_ended_well(&self) -> bool {
        self.plan.indices().filter(|ix| !self.plan.step(*ix).finally).all(|ix| {
            match self.steps[ix.ix()].status {
                Some(Status::Succeeded | Status::Skipped) => true,
                Some(Status::Failed | Status::Partial) => self.plan.step(ix).on_failure == OnFailure::Ignore,
                _ => false,
            }
        })
    }

    /// What a sitting is told to do again, as far as there is such a step or instance.
    fn redone<'a>(&'a self, sitting: &'a Sitting) -> impl Iterator<Item = (StepIx, Option<&'a Arc<str>>)> {
        sitting.redo.iter().filter_map(|(step, key)| {
            let ix = *self.by_name.get(step)?;
            key.as_ref().is_none_or(|key| self.find(step, Some(key)).is_some()).then_some((ix, key.as_ref()))
        })
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

    /// What was said about attempts of which nobody may know what they did. Who wants a step done again says so about them, too.
    fn remember_answers(&mut self, sitting: &Sitting) {
        let redone = sitting.redo.iter().map(|selected| (selected, Assume::Redo));
        let assumed = sitting.assume.iter().map(|(selected, assume)| (selected, *assume));
        let answers = redone.chain(assumed);
        self.assume = answers
            .filter_map(|((step, key), answer)| Some(((*self.by_name.get(step)?, key.clone()), answer)))
            .collect();
    }

    /// Steps that were not chosen end as skipped.
    fn leave_out(&mut self, sitting: &Sitting, out: &mut Emitter) {
        for ix in self.left_out.clone() {
            let step = self.plan.step(ix).id.clone();
            let skipped = sitting.skip.contains(&step);
            let why = if skipped { "left out by --skip" } else { "not chosen by --only" };
            let (status, why) = (Status::Skipped, Some(why.to_owned()));
            self.emit(out, RunEvent::StepEnded { step, key: None, status, error: None, why });
        }
    }

    /// What a new sitting takes up again: what failed, was blocked or cancelled; what was undone; what was asked for; `finally`.
    /// Where the last sitting died or waits in the `finally` of a body that succeeded, that is gone on with as it stands.
    fn reopenings(&self, sitting: &Sitting, body_done: bool) -> Vec<Reopened> {
        let fresh = self.done_again(sitting, body_done);
        let goes_on = body_done && self.finally_saw == Some(RunStatus::Succeeded);
        let mut reopened = Vec::new();
        for ix in self.plan.indices() {
            let (step, state) = (self.plan.step(ix), &self.steps[ix.ix()]);
            let touched = state.status.is_some() || state.begun() || step.foreach.is_some() && state.listed;
            let again = fresh.contains(&ix) || step.finally && !goes_on && !self.left_out.contains(&ix);
            let unfinished = self.is_unfinished(ix) && (step.finally || !body_done);
            if again && touched || unfinished {
                reopened.push(Reopened { step: step.id.clone(), key: None, fresh: again });
            }
            if !again {
                let chosen = self.redone(sitting).filter(|(chosen, _)| *chosen == ix);
                let chosen =
                    chosen.map(|(_, key)| Reopened { step: step.id.clone(), key: key.cloned(), fresh: true });
                reopened.extend(chosen);
            }
        }
        reopened
    }

    /// The steps that count as never begun: those that were undone, those that are to be done again, and all that need one of them.
    /// What the run was started without stays out of it, unless it is named itself.
    fn done_again(&self, sitting: &Sitting, body_done: bool) -> BTreeSet<StepIx> {
        let mut fresh = BTreeSet::new();
        let undoers = self.undoers.iter().filter(|ix| !body_done && self.may_have_run(**ix));
        for undone in undoers.flat_map(|ix| &self.plan.step(*ix).undoes) {
            self.add_with_dependents(*undone, &mut fresh);
        }
        let mut named = BTreeSet::new();
        for (ix, key) in self.redone(sitting) {
            if key.is_none() {
                named.insert(ix);
                self.add_with_dependents(ix, &mut fresh);
            } else {
                for dependent in &self.dependents[ix.ix()] {
                    self.add_with_dependents(*dependent, &mut fresh);
                }
            }
        }
        fresh.retain(|ix| named.contains(ix) || !self.left_out.contains(ix));
        fresh
    }

    /// Whether a step did something, as far as anybody knows. A step that failed to undo another may have undone it in part.
    pub(crate) fn may_have_run(&self, ix: StepIx) -> bool {
        let instances = &self.steps[ix.ix()].instances;
        let attempts =
            instances.iter().flat_map(|instance| instance.attempts.iter().skip(instance.former_attempts));
        attempts.into_iter().any(|attempt| attempt.outcome != Some(Outcome::Lost))
            || instances.iter().any(|instance| instance.live().is_some())
    }

    /// Whether anything of a step has ended without success.
    fn is_unfinished(&self, ix: StepIx) -> bool {
        let again = |status: Option<Status>| {
            matches!(status, Some(Status::Failed | Status::Cancelled | Status::Blocked | Status::Partial))
        };
        let state = &self.steps[ix.ix()];
        again(state.status) || state.instances.iter().any(|instance| again(instance.status))
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

    /// What follows from the recorded facts.
    fn rebuild(&mut self) {
        self.agenda.ready.clear();
        self.agenda.dirty = self.plan.indices().collect();
        for ix in self.plan.indices() {
            let is_open = |need: &&StepIx| self.steps[need.ix()].status.is_none();
            let open = self.plan.step(ix).needs.iter().filter(is_open).count();
            self.steps[ix.ix()].open_needs = u32::try_from(open).unwrap_or(u32::MAX);
        }
    }

    /// Attempts of a former sitting that need not be asked about: those that only read, and questions to people that nobody asks any
    /// more. Every other is asked about before its step goes on, whatever was said about it: who says `redo` may not know that the
    /// server has done it since.
    fn settle_lost_attempts(&mut self, out: &mut Emitter) {
        for live in self.agenda.live.clone() {
            let Some(attempt) = self.instance(live).live() else { continue };
            let outcome = match &attempt.parked {
                Some(parked) if attempt.stale && !parked.unknown => Outcome::Cancelled,
                None if self.only_reads(live) => Outcome::Lost,
                _ => continue,
            };
            if self.end_live(live, outcome, None, out) {
                self.agenda.dirty.insert(live.step);
            }
        }
    }

    /// Whether the live attempt's kind cannot have changed anything.
    pub(crate) fn only_reads(&self, live: LiveKey) -> bool {
        let Some(attempt) = self.instance(live).live() else { return false };
        let says_so = |input: &str| {
            let said = attempt.inputs.get(input).and_then(|value| value.plain());
            said.is_some_and(|value| value.as_str() == Some("reads"))
        };
        match self.plan.step(live.step).call.effect {
            _ if attempt.check.is_some() => true,
            Effect::Reads => true,
            Effect::Writes => false,
            Effect::ByInput(input) => says_so(input),
        }
    }
}
