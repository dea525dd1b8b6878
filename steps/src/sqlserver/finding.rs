//! Findings of a preflight, worded like the errors that they prevent: [`fatal`], [`warning`].

use drydock_step::{PreflightFinding, StepError};

/// What keeps a step from working.
pub(super) fn fatal(code: &str, message: impl Into<String>, help: impl Into<String>) -> PreflightFinding {
    PreflightFinding { code: code.into(), fatal: true, message: message.into(), help: Some(help.into()) }
}

/// What is worth knowing.
pub(super) fn warning(code: &str, message: impl Into<String>, help: impl Into<String>) -> PreflightFinding {
    PreflightFinding { fatal: false, ..fatal(code, message, help) }
}

/// An error that was found beforehand.
pub(super) fn found(error: StepError) -> PreflightFinding {
    PreflightFinding { code: error.code, fatal: true, message: error.message, help: error.help }
}
