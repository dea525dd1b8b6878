//! What a machine remembers of steps: [`StepState`], [`Instance`], [`Attempt`]. Changed by `apply` alone.

use std::sync::Arc;

use drydock_plan::expr::Datum;
use drydock_plan::rendered::Rendered;
use indexmap::IndexMap;
use serde_json::Value;

use crate::event::{CancelWhy, Failure, Outcome, Status};
use crate::moment::Moment;

/// One step.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepState {
    /// How it ended.
    pub(crate) status: Option<Status>,
    /// Why, when it ended without an instance that tells.
    pub(crate) error: Option<Failure>,
    /// Why it was skipped, blocked or cancelled.
    pub(crate) why: Option<String>,
    /// Whether the list of its foreach is known. A step without foreach has one instance from the start.
    pub(crate) listed: bool,
    /// Its instances.
    pub(crate) instances: Vec<Instance>,
    /// Its outputs as expressions see them, once it has ended well.
    pub(crate) outputs: Option<Datum>,
    /// How many of its needs have not ended yet.
    pub(crate) open_needs: u32,
}

/// One instance of a step: of a foreach, or the only one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instance {
    pub(crate) key: Option<Arc<str>>,
    pub(crate) item: Option<Value>,
    pub(crate) item_datum: Option<Datum>,
    pub(crate) status: Option<Status>,
    pub(crate) error: Option<Failure>,
    pub(crate) why: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
    /// The body's outputs, once it has succeeded; `null` when they are not known.
    pub(crate) body: Option<Value>,
    pub(crate) body_datum: Option<Datum>,
    /// What became of each validation.
    pub(crate) judged: Vec<Option<Judged>>,
    /// Tries of the body or of a validation that count against `retry.attempts`, since it was last taken up.
    pub(crate) tries: u32,
    /// When it is tried again.
    pub(crate) retry_at: Option<Moment>,
    /// What the next attempt goes on from.
    pub(crate) progress: Option<Value>,
}

/// The verdict on one validation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) name: Arc<str>,
    pub(crate) ok: bool,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// One attempt of a body or a validation.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) n: u32,
    pub(crate) check: Option<u32>,
    pub(crate) sitting: u32,
    pub(crate) inputs: Arc<IndexMap<String, Rendered>>,
    pub(crate) from: Option<Value>,
    pub(crate) started_at: Moment,
    pub(crate) ended_at: Option<Moment>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) notes: Vec<Value>,
    pub(crate) cancel: Option<(Moment, CancelWhy)>,
    /// Set when nobody knows what it did.
    pub(crate) unclear: Option<Failure>,
    /// When the server is to be asked again.
    pub(crate) ask_at: Option<Moment>,
    /// Set while it waits for somebody.
    pub(crate) parked: Option<Parked>,
}

/// What a waiting attempt waits for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parked {
    pub(crate) message: String,
    /// Whether the question is what to do about an unknown outcome.
    pub(crate) unknown: bool,
}

impl Instance {
    /// The attempt that has not ended: the last one, if any.
    pub(crate) fn live(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.outcome.is_none())
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut().filter(|attempt| attempt.outcome.is_none())
    }

    /// The number of the next attempt of the body or of this validation.
    pub(crate) fn next_n(&self, check: Option<u32>) -> u32 {
        self.attempts
            .iter()
            .filter(|attempt| attempt.check == check)
            .map(|attempt| attempt.n)
            .max()
            .unwrap_or(0)
            + 1
    }

    /// Whether anything was ever attempted.
    pub(crate) fn begun(&self) -> bool {
        !self.attempts.is_empty()
    }
}
