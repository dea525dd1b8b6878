//! Which instances something is to be done about, and when: [`Agenda`], kept beside what it follows from so that no input looks at
//! all steps.

use std::collections::BTreeSet;

use drydock_plan::duration::Millis;
use drydock_plan::model::StepIx;

use crate::attempt::LiveKey;
use crate::moment::Moment;

/// How long an attempt that was asked to stop may take to answer.
pub(crate) const CANCEL_GRACE: Millis = Millis(30_000);

/// Instances by what is to be done about them, in written order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agenda {
    /// With an attempt that has not ended.
    pub(crate) live: BTreeSet<LiveKey>,
    /// Of those: about whose attempt nothing is done in this sitting. They take no slot.
    pub(crate) resting: BTreeSet<LiveKey>,
    /// May start when a slot is free.
    pub(crate) ready: BTreeSet<LiveKey>,
    /// Wait for their next try.
    pub(crate) waiting: BTreeSet<LiveKey>,
    /// When something is due for whom.
    pub(crate) alarms: BTreeSet<(Moment, LiveKey)>,
    /// Steps to look at again.
    pub(crate) dirty: BTreeSet<StepIx>,
}

impl Agenda {
    /// How many attempts take a slot of the run.
    pub(crate) fn taken(&self) -> usize {
        self.live.len() - self.resting.len()
    }

    /// Whether nothing runs, nothing may start, and nothing waits for its time.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.is_empty() && self.waiting.is_empty() && self.live.len() == self.resting.len()
    }
}
