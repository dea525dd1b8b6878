//! What the composition root gives a run: [`World`], everything that a library may not reach for by itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drydock_plan::rendered::Rendered;
use drydock_plan::requests::Requests;
use drydock_step::{Registry, StepError};
use serde_json::Value;

use crate::bound::Bound;
use crate::journal::crash::CrashAt;
use crate::probing::Probed;
use crate::shown::DryRun;

/// Milliseconds since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The value of an environment variable.
pub type Variable = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Reads a requests file, as strictly as `check` does.
pub type RequestsFiles = Arc<dyn Fn(&Path) -> Result<Requests, StepError> + Send + Sync>;

/// A plan that a step runs, to be looked at.
pub struct InnerPlan<'p> {
    /// The step, with its key.
    pub step: &'p str,
    /// The plan's file.
    pub plan: &'p Path,
    /// The values of its parameters, as far as they are known.
    pub params: Rendered,
    /// Whether and how servers are asked.
    pub probe: Probed,
    /// Whether steps before it change something.
    pub follows: bool,
}

/// Runs plans inside plans.
#[async_trait]
pub trait Subplans: Send + Sync {
    /// What running a plan as a part of another would do.
    ///
    /// # Errors
    /// When there is no such plan, something is wrong with it, or it would run itself.
    async fn dry_run_plan(&self, inner: InnerPlan<'_>) -> Result<DryRun, StepError>;

    /// Run a plan to its end under this run id as a part of `step`, or resume that run; its outputs. Returns early when `cancelled` does.
    ///
    /// # Errors
    /// With the exit and the summary of the run that did not succeed.
    async fn run_plan(
        &self,
        id: &str,
        step: &str,
        plan: &Path,
        params: Value,
        cancelled: crate::children::CancelSignal,
    ) -> Result<Value, StepError>;
}

/// Everything from outside.
pub struct World {
    /// The clock.
    pub clock: Clock,
    /// The kinds.
    pub registry: Registry,
    /// Variables that secrets are read from.
    pub variable: Variable,
    /// The whole environment, which children inherit.
    pub environment: Vec<(OsString, OsString)>,
    /// How to start the reaper: ourselves, with `__reaper`.
    pub reaper: Vec<OsString>,
    /// Where to abort, for tests.
    pub crash: Option<CrashAt>,
    /// Where to die around an attempt, for tests.
    pub kill: Option<KillAt>,
    /// The codes of findings that keep no step from being begun.
    pub forced_past: Vec<String>,
    /// Reads requests files.
    pub requests: RequestsFiles,
    /// Runs plans inside plans.
    pub subplans: Arc<dyn Subplans>,
}

/// A place around a step's attempt at which the process dies, so that anyone can rehearse a kill: `DRYDOCK_KILL_AT=STEP:begun`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillAt {
    /// The step, with its key where one instance is meant.
    pub step: String,
    /// When.
    pub phase: KillPhase,
}

/// The phase of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillPhase {
    /// The attempt is in the journal and nothing of it was done.
    Begun,
    /// This note of it, counted from 1, is in the journal, and nothing that follows from it was done.
    Noted(u32),
    /// It was done and nothing of that is in the journal.
    Done,
}

impl KillAt {
    /// The value of the variable.
    ///
    /// # Errors
    /// In words, when it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad =
            || format!("DRYDOCK_KILL_AT={text}: write STEP:begun, STEP:noted, STEP:notedN or STEP:done");
        let (step, phase) = text.rsplit_once(':').ok_or_else(bad)?;
        let phase = match phase {
            "begun" => KillPhase::Begun,
            "done" => KillPhase::Done,
            "noted" => KillPhase::Noted(1),
            _ => match phase.strip_prefix("noted").and_then(|n| n.parse().ok()) {
                Some(n) if n > 0 => KillPhase::Noted(n),
                _ => return Err(bad()),
            },
        };
        if step.is_empty() { Err(bad()) } else { Ok(Self { step: step.to_owned(), phase }) }
    }

    /// Die, if this is the place: a step of this name or an instance of it, first attempt of the body.
    pub(crate) fn strike(this: Option<&Self>, instance: &str, n: u32, phase: KillPhase) {
        let meant =
            |kill: &Self| instance == kill.step || instance.split('[').next() == Some(kill.step.as_str());
        if this.is_some_and(|kill| kill.phase == phase && n == 1 && meant(kill)) {
            std::process::abort();
        }
    }
}

/// One run, as its attempts need to know it.
pub struct RunSite {
    /// Its id.
    pub run: Arc<str>,
    /// Its folder in the state folder.
    pub folder: PathBuf,
    /// When it started, in milliseconds since 1970.
    pub run_started_ms: i64,
    /// Which of its sittings this is, from 1.
    pub sitting: u32,
    /// Who works on it and where, `user@host`.
    pub by: Arc<str>,
    /// The folder of the plan file.
    pub plan_folder: Arc<PathBuf>,
    /// The folder of the environment file, which its relative paths are relative to.
    pub environment_folder: PathBuf,
    /// What it is bound to, where a saved dry run is executed.
    pub bound: Option<Arc<Bound>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_die_at_are_read() {
        for (text, phase) in [
            ("a:begun", KillPhase::Begun),
            ("a:noted", KillPhase::Noted(1)),
            ("a:noted12", KillPhase::Noted(12)),
            ("a:done", KillPhase::Done),
        ] {
            assert_eq!(KillAt::parse(text), Ok(KillAt { step: "a".into(), phase }));
        }
        for text in ["a", ":begun", "a:soon", "a:noted0", "a:noted-1", "a:notedx"] {
            let error = KillAt::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("DRYDOCK_KILL_AT={text}: write STEP:begun")), "{error}");
        }
    }
}
