//! The attempt that a target works for: [`AtWork`], what a [`Ctx`](crate::Ctx) is to those who know no more of it.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::StepError;

/// An attempt, as far as long work inside a target needs it: what it may keep in the journal and what it may tell.
#[async_trait]
pub trait AtWork: Send + Sync {
    /// What earlier tries of the step, and this one before a crash, noted, in order.
    fn notes(&self) -> &[Value];

    /// The time in milliseconds since 1970, UTC.
    fn now_ms(&self) -> i64;

    /// Keep a value in the journal; returns when it is durable.
    ///
    /// # Errors
    /// When the journal cannot be written: end the attempt then.
    async fn note(&self, value: Value) -> Result<(), StepError>;

    /// Show how far the attempt is.
    fn progress(&self, done: u64, of: Option<u64>, unit: &'static str, phase: &str);

    /// Show a line of text.
    fn log(&self, line: &str);
}
