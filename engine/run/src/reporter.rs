//! Who listens to a run: [`Reporter`]. Reporters only listen; what they hear is durable.

use drydock_machine::{AttemptRef, Exit, Moment, RunEvent, RunStatus};
use drydock_step::Sample;

/// Hears what happened.
pub trait Reporter: Send {
    /// Something happened, and is durable.
    fn event(&mut self, seq: u64, at: Moment, event: &RunEvent);

    /// Something about a running attempt that is shown and not kept; may be lost.
    fn sample(&mut self, _attempt: &AttemptRef, _sample: &Sample) {}

    /// The process leaves the run; nothing follows.
    fn end(&mut self, _status: RunStatus, _exit: Exit) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&mut self, _: u64, _: Moment, _: &RunEvent) {}
}
