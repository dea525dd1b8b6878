//! Why an attempt failed: [`StepError`], with a code that retries and people can act on.

use serde::{Deserialize, Serialize};

/// The failure of an attempt, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// What kind of failure, such as `process.exit`, `http.status`, `sqlserver.3201`, `timeout`. `retry.errors` names these.
    pub code: String,
    /// What happened, one sentence without a full stop, with the server's own words where there are some.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What it happened to, where that is more than a line: the statement that a server refused. A run masks it and cuts it to 2,000
    /// characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the kind says that it may pass by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// Whether nobody knows what the attempt did: it must be reconciled before anything else (a lost connection in the middle).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

impl StepError {
    /// A failure that will not pass by itself.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            help: None,
            detail: None,
            transient: false,
            unknown: false,
        }
    }

    /// A failure that may pass by itself.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { transient: true, ..Self::new(code, message) }
    }

    /// A failure after which nobody knows what was done.
    pub fn unknown(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { unknown: true, ..Self::new(code, message) }
    }

    /// A fault of Drydock itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("internal", message)
            .help("this is a fault of Drydock; please report it with the run's journal")
    }

    /// The attempt was asked to stop, and did.
    pub fn cancelled() -> Self {
        Self::new("cancelled", "it was cancelled")
    }

    /// With what it happened to. Passwords that no secret of the plan is have to be taken out before.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
