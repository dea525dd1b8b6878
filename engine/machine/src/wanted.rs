//! What the world should do in this state: [`Machine::wanted`]. A fresh run and a resumed one ask the same question.

use drydock_plan::duration::Millis;

use crate::attempt::LiveKey;
use crate::decide::CANCEL_GRACE;
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
    /// What the world should be doing now.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        if let Phase::Over(exit) = self.phase {
            wanted.ended = Some(exit);
            return wanted;
        }
        let mut wake =
            |at: Moment| wanted.wake_at = Some(wanted.wake_at.map_or(at, |other: Moment| other.min(at)));
        for live in &self.live {
            let Some(attempt) = self.instance(*live).live() else { continue };
            if attempt.parked.is_some() || self.is_left(*live) {
                continue;
            }
            if attempt.sitting < self.sitting || attempt.unclear.is_some() {
                match attempt.ask_at.filter(|at| *at > self.now) {
                    Some(at) => wake(at),
                    None => wanted.reconcile.push(*live),
                }
                continue;
            }
            wanted.start.push(*live);
            match (attempt.cancel, self.plan.step(live.step).timeout) {
                (Some((asked, _)), _) => {
                    wanted.cancel.push(*live);
                    wake(asked.plus(CANCEL_GRACE));
                }
                (None, Some(timeout)) => wake(attempt.started_at.plus(timeout)),
                (None, None) => {}
            }
        }
        for live in &self.waiting {
            wake(self.instance(*live).retry_at.unwrap_or(self.now.plus(Millis(0))));
        }
        wanted
    }
}
