//! What may happen in a run, said slowly and without cleverness: [`Reference`]. It keeps only who ended how and what runs, looks at
//! everything anew each time, and shares no code with the machine.

use std::collections::BTreeMap;

use drydock_machine::{Exit, RunStatus, Status};
use drydock_plan::model::{OnFailure, Step, StepIx};

use crate::random_plans::{Condition, Drawn, Fate};

/// What has become of the needs of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// One has not ended.
    pub(crate) open: bool,
    /// One failed or was blocked.
    pub(crate) bad: bool,
    /// One was cancelled.
    pub(crate) cancelled: bool,
}

impl Needs {
    pub(crate) fn met(self) -> bool {
        self == Self::default()
    }
}

/// One instance of a step, or the step itself where it is no foreach.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    pub(crate) status: Option<Status>,
    /// Whether an attempt was made since it was taken up.
    pub(crate) begun: bool,
    /// Whether an attempt has not ended.
    pub(crate) live: bool,
    /// When it is tried again.
    pub(crate) retry_at: Option<i64>,
}

/// The facts of a run, as far as the rules of order need them.
#[derive(Debug)]
pub(crate) struct Reference<'a> {
    pub(crate) drawn: &'a Drawn,
    /// How each step ended.
    pub(crate) ended: Vec<Option<Status>>,
    /// Instances by key; `None` where the list of a foreach is not known.
    pub(crate) parts: Vec<Option<BTreeMap<Option<String>, Part>>>,
    /// Steps of which something had ended well before this sitting, and stays so.
    pub(crate) earlier: Vec<bool>,
    /// How many attempts of each step take a slot.
    pub(crate) running: Vec<usize>,
    /// Steps that a former attempt to undo may still undo.
    pub(crate) held: Vec<bool>,
    pub(crate) finally: Option<RunStatus>,
    pub(crate) stopping: Option<StepIx>,
    pub(crate) leaving: bool,
    pub(crate) abandoning: bool,
}

impl Reference<'_> {
    pub(crate) fn step(&self, ix: usize) -> &Step {
        &self.drawn.plan.steps[ix]
    }

    pub(crate) fn needs(&self, ix: usize) -> Needs {
        let mut needs = Needs::default();
        for need in &self.step(ix).needs {
            let ignored = self.step(need.ix()).on_failure == OnFailure::Ignore;
            match self.ended[need.ix()] {
                Some(Status::Succeeded | Status::Skipped) => {}
                Some(Status::Failed | Status::Partial) if ignored => {}
                Some(Status::Cancelled) => needs.cancelled = true,
                Some(_) => needs.bad = true,
                None => needs.open = true,
            }
        }
        needs
    }

    /// Whether a step may be kept from being done: by a stop or an interrupt, or, in the `finally` of a run that did not succeed,
    /// because nobody is waited for.
    pub(crate) fn is_halted(&self, ix: usize) -> bool {
        let saw_failure = self.finally.is_some_and(|saw| saw != RunStatus::Succeeded);
        self.leaving || self.stopping.is_some() || self.step(ix).finally && saw_failure
    }

    /// Whether an attempt of this part may begin now, slots aside.
    pub(crate) fn may_start(&self, ix: usize, part: &Part) -> bool {
        let step = self.step(ix);
        let its_time = step.finally == self.finally.is_some();
        let held_back = !step.finally && (self.leaving || self.stopping.is_some() && !part.begun);
        let free = part.status.is_none() && !part.live && self.needs(ix).met();
        its_time && free && !held_back && !self.held[ix]
    }

    /// Whether one more attempt of this step would be too many.
    pub(crate) fn is_full(&self, ix: usize) -> bool {
        let own = self.step(ix).foreach.as_ref().and_then(|foreach| foreach.max_parallel);
        self.running.iter().sum::<usize>() >= self.drawn.plan.max_parallel as usize
            || own.is_some_and(|own| self.running[ix] >= own as usize)
    }

    /// Whether the condition of a step, or of one item, holds.
    pub(crate) fn holds(&self, ix: usize, key: Option<&str>) -> bool {
        match self.drawn.when[ix] {
            Condition::Always => true,
            Condition::Never => false,
            Condition::Succeeded(need) => self.ended[need.ix()] == Some(Status::Succeeded),
            Condition::RunFailed => self.finally != Some(RunStatus::Succeeded),
            Condition::Item => match (key, &self.drawn.items[ix]) {
                (Some(key), Some(items)) => items[key],
                _ => true,
            },
        }
    }

    /// How one instance may end in a run that nobody halts, once it may begin.
    pub(crate) fn ends(&self, ix: usize, name: &str) -> &'static [Status] {
        match self.drawn.fates[name] {
            Fate::Good => &[Status::Succeeded],
            Fate::Invalid if self.step(ix).validate.is_empty() => &[Status::Succeeded],
            Fate::Bad | Fate::Invalid => &[Status::Failed],
            Fate::Flaky => &[Status::Succeeded, Status::Failed],
        }
    }

    /// How a foreach ends whose instances ended so.
    pub(crate) fn ends_together(instances: &[Status]) -> Status {
        let any = |wanted| instances.contains(&wanted);
        match (any(Status::Succeeded), any(Status::Failed), any(Status::Blocked), any(Status::Cancelled)) {
            (true, false, false, false) => Status::Succeeded,
            (true, ..) => Status::Partial,
            (false, true, ..) => Status::Failed,
            (false, false, true, _) => Status::Blocked,
            (false, false, false, true) => Status::Cancelled,
            _ if instances.is_empty() => Status::Succeeded,
            _ => Status::Skipped,
        }
    }

    /// Whether a run that was never cut could have ended with this step as it is, the others being as they are; else why not.
    pub(crate) fn could_end_so(&self, ix: usize, left_out: bool) -> Result<(), String> {
        let (step, status) = (self.step(ix), self.ended[ix].ok_or("it has not ended")?);
        let needs = self.needs(ix);
        let right = match status {
            _ if left_out => status == Status::Skipped,
            Status::Blocked => needs.bad,
            Status::Cancelled => needs.cancelled || needs.met() && self.is_halted(ix),
            // A need whose failure is ignored is tried again by a resume; who went on after its failure has gone on.
            _ if self.earlier[ix] => true,
            _ if !needs.met() => false,
            _ if self.drawn.when[ix] == Condition::Item => true,
            Status::Skipped => !self.holds(ix, None),
            _ => self.holds(ix, None),
        };
        if right {
            Ok(())
        } else {
            Err(format!("{} cannot have ended {status:?}: {:?}", step.id, self.needs(ix)))
        }
    }

    /// With what a run exits that ended so.
    pub(crate) fn exit(&self, is_validation: impl Fn(usize) -> bool) -> Exit {
        let fails = |ix: &usize| {
            let instances = self.parts[*ix].iter().flatten();
            let failed = instances.clone().any(|(_, part)| part.status == Some(Status::Failed));
            let failed = failed || self.ended[*ix] == Some(Status::Failed);
            failed && self.step(*ix).on_failure != OnFailure::Ignore
        };
        let first = self.stopping.map(StepIx::ix).or_else(|| (0..self.ended.len()).find(fails));
        match first {
            _ if self.abandoning => Exit::Done,
            _ if self.leaving => Exit::Interrupted,
            Some(ix) if is_validation(ix) => Exit::ValidationFailed,
            Some(_) => Exit::StepFailed,
            None => Exit::Done,
        }
    }
}
