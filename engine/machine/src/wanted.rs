//! What the world should do in this state: [`Machine::wanted`]. A fresh run and a resumed one ask the same question.

use std::ops::Bound;

use crate::attempt::LiveKey;
use crate::exit::Exit;
use crate::machine::{Machine, Phase};
use crate::moment::Moment;

/// What the world should be doing now. What is already being done stays in the lists until it has been answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Attempts to be executing.
    pub start: Vec<LiveKey>,
    /// Attempts to ask the server about.
    pub reconcile: Vec<LiveKey>,
    /// Attempts to be asked to stop.
    pub cancel: Vec<LiveKey>,
    /// When to wake the machine at the latest.
    pub wake_at: Option<Moment>,
    /// With what this sitting is over.
    pub ended: Option<Exit>,
}

impl Machine {
    /// What the world should be doing now. It costs as much as there are attempts alive: ask once a batch of inputs.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        if let Phase::Over(exit) = self.phase {
            wanted.ended = Some(exit);
            return wanted;
        }
        for live in &self.agenda.live {
            let Some(attempt) = self.instance(*live).live() else { continue };
            if attempt.is_asked_about(self.sitting) {
                if attempt.ask_at.is_none_or(|at| at <= self.now) {
                    wanted.reconcile.push(*live);
                }
            } else if attempt.runs(self.sitting) {
                wanted.start.push(*live);
                wanted.cancel.extend(attempt.cancel.map(|_| *live));
            }
        }
        // What is due already has been decided about: it waits for a slot or an answer.
        let last = LiveKey { step: drydock_plan::model::StepIx(u32::MAX), instance: u32::MAX };
        let later = (Bound::Excluded((self.now, last)), Bound::Unbounded);
        wanted.wake_at = self.agenda.alarms.range(later).next().map(|(at, _)| *at);
        wanted
    }
}
