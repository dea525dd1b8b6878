//! The engine's milliseconds as the recovery formats' [`Time`].

use drydock_recovery::Time;
use drydock_step::{Ctx, StepError};

/// The time that an attempt is told.
///
/// # Errors
/// `internal`, when the clock is beyond the years that a time can be written in.
pub(super) fn now(ctx: &Ctx) -> Result<Time, StepError> {
    let ms = ctx.now_ms();
    Time::from_timestamp_millis(ms).ok_or_else(|| StepError::internal(format!("the clock says {ms} ms")))
}
