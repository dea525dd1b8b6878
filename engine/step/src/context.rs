//! What an attempt may use of the world: [`Ctx`], which the engine fills through [`Host`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drydock_plan::requests::Requests;
use serde_json::Value;

use crate::at_work::AtWork;
use crate::child::{ChildEnd, ChildSpec};
use crate::error::StepError;
use crate::target::Connection;

/// Something about a running attempt that is shown and never journalled.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// How far it is.
    Progress {
        /// Done, in `unit`s.
        done: u64,
        /// Of this many, when that is known.
        of: Option<u64>,
        /// `bytes`, `percent`, `points`.
        unit: &'static str,
        /// What it is doing.
        phase: String,
    },
    /// A line of text from a server or a program.
    Log(String),
}

/// What the engine gives an attempt. Implemented by the engine alone.
#[async_trait]
pub trait Host: Send + Sync {
    /// The time in milliseconds since 1970, UTC.
    fn now_ms(&self) -> i64;

    /// Keep a value in the journal; returns when it is durable.
    async fn note(&self, value: Value) -> Result<(), StepError>;

    /// Show something.
    fn sample(&self, sample: Sample);

    /// Whether the attempt has been asked to stop.
    fn is_cancelled(&self) -> bool;

    /// Returns when the attempt is asked to stop.
    async fn cancelled(&self);

    /// Start a program in a group of its own and wait for its end. When the attempt is asked to stop, the group is asked to end and,
    /// after a grace time, killed.
    async fn spawn(&self, spec: ChildSpec) -> Result<ChildEnd, StepError>;

    /// A new connection to a target of the plan.
    async fn connect(&self, target: &str) -> Result<Arc<dyn Connection>, StepError>;

    /// Run another plan to its end as part of this run; its outputs. A run of it that was begun by an earlier attempt is resumed.
    async fn run_plan(&self, plan: &Path, params: Value) -> Result<Value, StepError>;

    /// The requests of a requests file, read as `check` reads it. `path` is absolute or relative to the runner's folder.
    async fn read_requests(&self, path: &Path) -> Result<Requests, StepError>;

    /// Where the artifact store of the run's own scratch lies: a folder that lives as long as the run.
    fn scratch(&self) -> &Path;
}

/// What one attempt has: who it is, its targets, its earlier notes, and the [`Host`]'s services.
#[derive(Clone)]
pub struct Ctx {
    /// The run's id.
    pub run: Arc<str>,
    /// The plan's name.
    pub plan: Arc<str>,
    /// Digest over the plan, the environment and every file that they name.
    pub digest: Arc<str>,
    /// The environment's name; nothing where none was given.
    pub environment: Option<Arc<str>>,
    /// The step with its key, `recover_vectors[agent_7f3a]`.
    pub step: Arc<str>,
    /// The attempt, `run/step[key]/n`.
    pub attempt: Arc<str>,
    /// The target's name in the plan.
    pub target: Option<Arc<str>>,
    /// The folder of the plan file, absolute.
    pub folder: Arc<PathBuf>,
    /// When the run started, in milliseconds since 1970.
    pub run_started_ms: i64,
    /// Which of its sittings this is, from 1: a run that was interrupted has several.
    pub sitting: u32,
    /// Who works on it and where, `user@host`.
    pub by: Arc<str>,
    /// What earlier tries of this step, and this one before a crash, noted, in order.
    pub notes: Arc<Vec<Value>>,
    /// The engine.
    pub host: Arc<dyn Host>,
}

impl Ctx {
    /// A new connection to the step's target.
    ///
    /// # Errors
    /// `internal` when the kind takes no target, or why it cannot connect.
    pub async fn connection(&self) -> Result<Arc<dyn Connection>, StepError> {
        let name = self
            .target
            .as_deref()
            .ok_or_else(|| StepError::internal("a kind without target asked for its target"))?;
        self.host.connect(name).await
    }

    /// The time in milliseconds since 1970, UTC.
    pub fn now_ms(&self) -> i64 {
        self.host.now_ms()
    }

    /// Keep a value in the journal; returns when it is durable.
    ///
    /// # Errors
    /// When the journal cannot be written: end the attempt then.
    pub async fn note(&self, value: Value) -> Result<(), StepError> {
        self.host.note(value).await
    }

    /// Show how far the attempt is.
    pub fn progress(&self, done: u64, of: Option<u64>, unit: &'static str, phase: impl Into<String>) {
        self.host.sample(Sample::Progress { done, of, unit, phase: phase.into() });
    }

    /// Show a line of text.
    pub fn log(&self, line: impl Into<String>) {
        self.host.sample(Sample::Log(line.into()));
    }

    /// Returns when the attempt is asked to stop.
    pub async fn cancelled(&self) {
        self.host.cancelled().await;
    }

    /// Start a program and wait for its end.
    ///
    /// # Errors
    /// `process.start` when it cannot be started, `cancelled` when the attempt was asked to stop.
    pub async fn spawn(&self, spec: ChildSpec) -> Result<ChildEnd, StepError> {
        self.host.spawn(spec).await
    }

    /// The result of `work`, or `cancelled` as soon as the attempt is asked to stop.
    ///
    /// # Errors
    /// Those of `work`, or `cancelled`.
    pub async fn or_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, StepError>> + Send,
    ) -> Result<T, StepError> {
        tokio::select! {
            result = work => result,
            () = self.cancelled() => Err(StepError::cancelled()),
        }
    }
}

#[async_trait]
impl AtWork for Ctx {
    fn notes(&self) -> &[Value] {
        &self.notes
    }

    fn now_ms(&self) -> i64 {
        self.host.now_ms()
    }

    async fn note(&self, value: Value) -> Result<(), StepError> {
        self.host.note(value).await
    }

    fn progress(&self, done: u64, of: Option<u64>, unit: &'static str, phase: &str) {
        Self::progress(self, done, of, unit, phase);
    }

    fn log(&self, line: &str) {
        Self::log(self, line);
    }
}
