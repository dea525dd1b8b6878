//! What a preflight finds, made of a failure: [`hindrance`].

use drydock_step::{Preflight, PreflightFinding, StepError};

/// The failure with which the step would end.
pub(super) fn hindrance(error: StepError) -> PreflightFinding {
    PreflightFinding { code: error.code, fatal: true, message: error.message, help: error.help }
}

/// A preflight that learned nothing but what stands in the way. What may pass by itself until the step begins does not.
pub(super) fn found(hindrances: impl IntoIterator<Item = StepError>) -> Preflight {
    let lasting = hindrances.into_iter().filter(|error| !error.transient);
    Preflight { findings: lasting.map(hindrance).collect(), ..Preflight::default() }
}
