//! [`PausePart`]: that nobody wrote while a point was made.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the application and the stores said of themselves before the first derived store was fixed, and after the mark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PauseEvidence {
    /// The application's answer before: `enabled`, `in_flight`, and `expires_at` of the lease.
    pub before: Value,
    /// Its answer after the mark.
    pub after: Value,
    /// What was asked of the stores before, where something was.
    #[serde(default)]
    pub watermarks_before: Value,
    /// The same question's answer after the mark.
    #[serde(default)]
    pub watermarks_after: Value,
}

/// The pause of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausePart {
    /// When the lease would have ended by itself, by the application's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}
