//! A plan that changed under a run, and what of the change comes too late: [`TooLate`]. What was done already stays as it was done, so
//! what defined it must stay, too; a change there would be shown and have no effect, or would leave one half of a run done by one plan
//! and the other by another.

use std::collections::BTreeSet;
use std::sync::Arc;

use drydock_plan::change::{Change, Part, changes_of};
use drydock_plan::model::{Step, StepIx};
use drydock_plan::name::Name;

use crate::attempt::instance_name;
use crate::event::Status;
use crate::machine::{Machine, Sitting};
use crate::state::{Instance, StepState};

/// What was done of a step, so that its change comes too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It, or these instances of it, succeeded.
    Succeeded,
    /// It, or these instances of it, were skipped.
    Skipped,
    /// Its body succeeded, and is left alone.
    Body,
    /// Its list was asked for, and is not asked for again.
    Listed,
    /// An attempt has begun and not ended: its server is asked about what it was.
    Begun,
    /// It has undone these steps, and would not have.
    Undid(Vec<Name>),
}

/// A change of a step that comes too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLate {
    /// The step.
    pub step: Name,
    /// The step's name, or those of the instances that it is about; `a, b and 12 more`.
    pub of: String,
    /// What was done of it.
    pub done: Done,
    /// What changed; `None` where the step was taken out.
    pub changes: Option<Vec<Change>>,
    /// The new step that is what the removed one was: it may only have been renamed.
    pub renamed: Option<Name>,
}

impl TooLate {
    /// Whether running the step again would make the change count.
    pub fn can_be_redone(&self) -> bool {
        self.changes.is_some() && !matches!(self.done, Done::Begun | Done::Undid(_))
    }
}

/// What a sitting takes up as never begun.
struct Fresh(BTreeSet<(Name, Option<Arc<str>>)>);

impl Fresh {
    fn of(machine: &Machine, sitting: &Sitting) -> Self {
        let (_, steps) = machine.taken_up(sitting);
        let fresh = steps.into_iter().filter(|reopened| reopened.fresh);
        Self(fresh.map(|reopened| (reopened.step, reopened.key)).collect())
    }

    fn step(&self, step: &Name) -> bool {
        self.0.contains(&(step.clone(), None))
    }

    fn instance(&self, step: &Name, key: Option<&Arc<str>>) -> bool {
        self.step(step) || key.is_some() && self.0.contains(&(step.clone(), key.cloned()))
    }
}

impl Machine {
    /// The changes that come too late for the run as it stands, when it goes on as `now` (the same events, folded into the changed
    /// plan) in this sitting; in written order. What the sitting does again may change, and so may what was left out of the run.
    pub fn too_late(&self, now: &Machine, sitting: &Sitting) -> Vec<TooLate> {
        let (was_fresh, fresh) = (Fresh::of(self, sitting), Fresh::of(now, sitting));
        let mut found = Vec::new();
        for ix in self.plan.indices().filter(|ix| !self.left_out.contains(ix)) {
            let step = self.plan.step(ix);
            let Some(&new_ix) = now.by_name.get(&step.id) else {
                let again = was_fresh.step(&step.id);
                found.extend(self.removed(ix, again, now));
                found.extend(self.not_undone(ix, &[], &was_fresh, &fresh, now));
                continue;
            };
            let new = now.plan.step(new_ix);
            let changes = changes_of((&self.plan, step), (&now.plan, new));
            if changes.is_empty() {
                continue;
            }
            found.extend(self.changed(ix, &changes, &fresh));
            let undone: Vec<Name> = new.undoes.iter().map(|ix| now.plan.step(*ix).id.clone()).collect();
            found.extend(self.not_undone(ix, &undone, &was_fresh, &fresh, now).map(|late| TooLate {
                changes: Some(changes.iter().filter(|change| change.part == Part::Undoes).cloned().collect()),
                ..late
            }));
        }
        found
    }

    /// A step that was taken out.
    fn removed(&self, ix: StepIx, fresh: bool, now: &Machine) -> Option<TooLate> {
        let (step, state) = (self.plan.step(ix), &self.steps[ix.ix()]);
        let done = if state.has_live() {
            Done::Begun
        } else if fresh {
            return None;
        } else {
            let settled = |wanted| state.instances.iter().any(|instance| instance.status == Some(wanted));
            if settled(Status::Succeeded) || state.status == Some(Status::Succeeded) {
                Done::Succeeded
            } else if state.instances.iter().any(|instance| instance.body.is_some()) {
                Done::Body
            } else if settled(Status::Skipped) || state.status == Some(Status::Skipped) {
                Done::Skipped
            } else {
                return None;
            }
        };
        let of = self.names(step, state, |instance| match done {
            Done::Begun => instance.live().is_some(),
            Done::Succeeded => instance.status == Some(Status::Succeeded),
            Done::Skipped => instance.status == Some(Status::Skipped),
            _ => instance.body.is_some(),
        });
        let is_new = |other: &&Step| !self.by_name.contains_key(&other.id);
        let twin = now
            .plan
            .steps
            .iter()
            .filter(is_new)
            .find(|other| changes_of((&self.plan, step), (&now.plan, other)).is_empty());
        let renamed = twin.map(|twin| twin.id.clone());
        Some(TooLate { step: step.id.clone(), of, done, changes: None, renamed })
    }

    /// A step that is there still, and differs.
    fn changed(&self, ix: StepIx, changes: &[Change], fresh: &Fresh) -> Vec<TooLate> {
        let (step, state) = (self.plan.step(ix), &self.steps[ix.ix()]);
        let mut found: Vec<TooLate> = Vec::new();
        let mut late = |done: Done, counts: &dyn Fn(&Part) -> bool, which: &dyn Fn(&Instance) -> bool| {
            let changes: Vec<Change> = changes
                .iter()
                .filter(|change| counts(&change.part))
                .filter(|change| {
                    !found.iter().any(|late| late.changes.iter().flatten().any(|told| told == *change))
                })
                .cloned()
                .collect();
            if !changes.is_empty() && (state.instances.is_empty() || state.instances.iter().any(which)) {
                let of = self.names(step, state, which);
                found.push(TooLate {
                    step: step.id.clone(),
                    of,
                    done,
                    changes: Some(changes),
                    renamed: None,
                });
            }
        };
        if state.has_live() {
            // An open question to a validation's server is asked again as it is now: it only reads.
            let open = |instance: &Instance| instance.live().is_some_and(|attempt| attempt.check.is_none());
            late(Done::Begun, &|part| *part == Part::Call, &open);
        }
        if fresh.step(&step.id) {
            return found;
        }
        let stays = |instance: &Instance| !fresh.instance(&step.id, instance.key.as_ref());
        let whole = matches!(state.status, Some(Status::Succeeded | Status::Skipped));
        // What it waits for still counts for instances that are to come.
        let of_settled = |part: &Part| *part != Part::Undoes && (whole || *part != Part::Order);
        for (status, done) in [(Status::Succeeded, Done::Succeeded), (Status::Skipped, Done::Skipped)] {
            let none = state.instances.is_empty() && state.status != Some(status);
            if !none {
                late(done, &of_settled, &|instance| stays(instance) && instance.status == Some(status));
            }
        }
        if step.foreach.is_some() && state.listed && !whole && !state.instances.is_empty() {
            late(Done::Listed, &|part| *part == Part::Foreach, &|_| true);
        }
        let body = |instance: &Instance| {
            let open =
                instance.status.is_none_or(|status| !matches!(status, Status::Succeeded | Status::Skipped));
            stays(instance) && open && instance.body.is_some()
        };
        let owed = state.instances.iter().any(|instance| instance.owes_outputs);
        // Validations that held before the process died are not asked again.
        let held = |at: usize| {
            let holds = |instance: &Instance| {
                let judged = instance.judged.get(at).and_then(Option::as_ref);
                instance.status.is_none() && judged.is_some_and(|judged| judged.ok)
            };
            state.instances.iter().any(|instance| stays(instance) && holds(instance))
        };
        let of_body = |part: &Part| match part {
            Part::Call | Part::Foreach => true,
            Part::Outputs => !owed,
            Part::Validation(at) => held(*at),
            Part::Order | Part::When | Part::Undoes => false,
        };
        late(Done::Body, &of_body, &body);
        found
    }

    /// A step of `finally` that has undone others, and as it is now would not have: they would count as done again.
    fn not_undone(
        &self,
        ix: StepIx,
        undoes: &[Name],
        was_fresh: &Fresh,
        fresh: &Fresh,
        now: &Machine,
    ) -> Option<TooLate> {
        let step = self.plan.step(ix);
        if !self.may_have_run(ix) {
            return None;
        }
        let names = step.undoes.iter().map(|undone| self.plan.step(*undone).id.clone());
        let lost: Vec<Name> = names
            .filter(|name| !undoes.contains(name) && was_fresh.step(name) && !fresh.step(name))
            .filter(|name| now.by_name.contains_key(name))
            .collect();
        (!lost.is_empty()).then(|| TooLate {
            step: step.id.clone(),
            of: step.id.to_string(),
            done: Done::Undid(lost),
            changes: None,
            renamed: None,
        })
    }

    /// The step's name, or those of the instances that are meant.
    fn names(&self, step: &Step, state: &StepState, which: impl Fn(&Instance) -> bool) -> String {
        const MOST: usize = 3;
        if step.foreach.is_none() || state.instances.iter().all(&which) {
            return step.id.to_string();
        }
        let meant: Vec<String> = state
            .instances
            .iter()
            .filter(|instance| which(instance))
            .map(|instance| instance_name(&step.id, instance.key.as_deref()))
            .collect();
        let more = meant.len().saturating_sub(MOST);
        let shown = meant[..meant.len() - more].join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    }
}

impl std::fmt::Display for TooLate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { of, done, changes, renamed, .. } = self;
        let several = of.contains(", ");
        match done {
            Done::Succeeded => write!(f, "{of} {} succeeded", if several { "have" } else { "has" })?,
            Done::Skipped => write!(f, "{of} {} skipped", if several { "were" } else { "was" })?,
            Done::Body => write!(f, "the body of {of} has succeeded and is left alone")?,
            Done::Listed => write!(f, "the list of {of} was asked for and is not asked for again")?,
            Done::Begun if several => write!(f, "{of} have attempts that have not ended")?,
            Done::Begun => write!(f, "{of} has an attempt that has not ended")?,
            Done::Undid(steps) => {
                let steps: Vec<&str> = steps.iter().map(Name::as_str).collect();
                write!(f, "{of} has undone {}", steps.join(", "))?;
            }
        }
        match (changes, renamed) {
            (Some(changes), _) => {
                f.write_str(", and the step is changed:")?;
                changes.iter().try_for_each(|change| write!(f, "\n    {change}"))
            }
            (None, Some(name)) => {
                write!(
                    f,
                    ", and the step was taken out of the plan; `{name}` is what it was: a step keeps its name"
                )
            }
            (None, None) => f.write_str(", and the step was taken out of the plan"),
        }
    }
}
