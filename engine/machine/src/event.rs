//! What happened in a run, as the journal keeps it and reporters hear it: [`RunEvent`].

use std::sync::Arc;

use drydock_plan::duration::Millis;
use drydock_plan::model::Purpose;
use drydock_plan::name::{Digest, Name};
use drydock_plan::rendered::Rendered;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::Exit;
use crate::moment::Moment;

/// How a step, or an instance of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its body and all validations succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// Its `when` was false, or it was left out.
    Skipped,
    /// Something that it needs failed or was blocked.
    Blocked,
    /// A stop or an interrupt kept it from starting or from ending.
    Cancelled,
    /// Some instances of a foreach succeeded and some did not.
    Partial,
}

impl Status {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
            Self::Partial => "partial",
        }
    }
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// It is going on, or its process died.
    Running,
    /// It waits for somebody's answer.
    Waiting,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It was interrupted.
    Interrupted,
    /// It was given up and closed.
    Abandoned,
}

impl RunStatus {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure: `process.exit`, `timeout`, `validation`; `retry.errors` names these.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What it happened to, where that is more than a line: the statement that a server refused, up to 2,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the kind says that it may pass by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
}

impl Failure {
    /// A failure that will not pass by itself.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), help: None, detail: None, transient: false }
    }
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, with these outputs; `null` when they are not known.
    Succeeded(Value),
    /// It failed.
    Failed(Failure),
    /// It was asked to stop, and did.
    Cancelled,
    /// Nothing of it was done before its process died; it is not counted.
    Lost,
    /// A part was done; the next attempt goes on from here.
    Partly(Value),
}

/// What a returned attempt says; the machine makes an [`Outcome`] of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It was done, with these outputs.
    Outputs(Value),
    /// It waits for a person's answer to this message.
    Waits(String),
    /// It failed.
    Failed(Failure),
    /// It was asked to stop, and did.
    Cancelled,
    /// Nobody knows what it did: the server must be asked.
    Unclear(Failure),
}

/// What asking the server about a begun attempt gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was done, with these outputs.
    Done(Value),
    /// Nothing of it was done.
    NotDone,
    /// A part was done.
    Partly(Value),
    /// Still going on: ask again after this time.
    Busy(Millis),
    /// Nobody can say, and why.
    Unknown(String),
}

/// Why an attempt was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelWhy {
    /// It took longer than its `timeout`.
    Timeout,
    /// The run was interrupted.
    Interrupt,
}

/// An instance that a new sitting takes up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopened {
    /// The step.
    pub step: Name,
    /// One instance of it; `None` for the whole step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// Whether it counts as never begun: what its body did is done again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
}

/// One instance of a foreach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its key.
    pub key: Arc<str>,
    /// Its item.
    pub item: Value,
}

/// One thing that happened. Steps are named as in the plan; `n` and `check` as in [`AttemptRef`](crate::AttemptRef).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant's doc names its fields")]
pub enum RunEvent {
    /// The first of a run: what it executes.
    RunStarted {
        run: Arc<str>,
        plan: Name,
        purpose: Purpose,
        digest: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        params: IndexMap<Name, Value>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<Name>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skip: Vec<Name>,
    },
    /// A process began to work on the run; `n` counts from 1. `digest` is there when changes were accepted.
    SittingStarted {
        n: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// The sitting takes these up again.
    ReopenedSteps { steps: Vec<Reopened> },
    /// A foreach's list was asked for.
    ForeachListed { step: Name, items: Vec<Listed> },
    /// An attempt begins, with these inputs; `from` is what an earlier one had done in part.
    AttemptStarted {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        n: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<u32>,
        inputs: Arc<IndexMap<String, Rendered>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Value>,
    },
    /// An attempt noted something.
    Noted {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        n: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<u32>,
        value: Value,
    },
    /// An attempt was asked to stop.
    CancelAsked {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        n: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<u32>,
        why: CancelWhy,
    },
    /// Nobody knows what an attempt did; the server will be asked.
    AttemptUnclear {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        n: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<u32>,
        error: Failure,
    },
    /// The server was asked about an attempt.
    Reconciled {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        n: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<u32>,
        verdict: Verdict,
    },
    /// An attempt waits for somebody: for an approval, or (`unknown`) for what to do about it.
    Parked {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        n: u32,
        message: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unknown: bool,
    },
    /// Somebody approved a waiting step.
    Approved {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        by: String,
        reason: String,
    },
    /// An attempt ended. `added` are the values of the step's own `outputs`.
    AttemptEnded {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        n: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<u32>,
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        added: Option<Value>,
    },
    /// A validation was judged.
    Judged {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        check: u32,
        name: Arc<str>,
        ok: bool,
        expected: String,
        found: String,
    },
    /// A step will be tried again at this time.
    RetryScheduled {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        at_ms: Moment,
        error: Failure,
    },
    /// A step, or an instance of a foreach (`key`), ended.
    StepEnded {
        step: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        status: Status,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Failure>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Nothing new starts any more, because this step failed.
    Stopping { step: Name },
    /// Somebody interrupted: 1 asks, 2 insists.
    Interrupted { level: u32 },
    /// The steps of `finally` begin; the status that they see.
    FinallyStarted { status: RunStatus },
    /// The run ended.
    RunEnded {
        status: RunStatus,
        exit: Exit,
        summary: String,
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        outputs: IndexMap<Name, Value>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// The process leaves the run, ended or not.
    SittingEnded { exit: Exit },
}

/// The names of all events, for readers that meet one they do not know.
pub const EVENT_NAMES: &[&str] = &[
    "run_started",
    "sitting_started",
    "reopened_steps",
    "foreach_listed",
    "attempt_started",
    "noted",
    "cancel_asked",
    "attempt_unclear",
    "reconciled",
    "parked",
    "approved",
    "attempt_ended",
    "judged",
    "retry_scheduled",
    "step_ended",
    "stopping",
    "interrupted",
    "finally_started",
    "run_ended",
    "sitting_ended",
];
