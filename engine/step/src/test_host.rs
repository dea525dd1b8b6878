//! An honest engine for the tests of kinds: [`TestHost`] keeps notes, starts real programs, tells real time (the paused one of a test's
//! runtime where there is one) and answers with what the test gave it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use drydock_plan::finding::Findings;
use drydock_plan::requests::Requests;
use drydock_plan::source::SourceFile;
use drydock_plan::syntax::requests_file::requests_of;
use drydock_plan::syntax::yaml;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::child::{ChildEnd, ChildOutput, ChildSpec};
use crate::context::{Ctx, Host, Sample};
use crate::error::StepError;
use crate::inputs::Given;
use crate::kind::{Ended, Kind, OwnedGiven, Reconciled};
use crate::target::{Connection, Settings, TargetKind};
use crate::touch::{Action, Touch};

/// When a test begins, in milliseconds since 1970: 2026-01-01T00:00:00Z.
pub const TEST_BEGINS_MS: i64 = 1_767_225_600_000;

/// A target kind and the settings that it connects with.
type Server = (Arc<dyn TargetKind>, Map<String, Value>);

/// A host that lives in a test.
pub struct TestHost {
    folder: PathBuf,
    begun: Instant,
    cancel: watch::Sender<bool>,
    notes: Mutex<Vec<Value>>,
    samples: Mutex<Vec<Sample>>,
    targets: BTreeMap<String, Arc<dyn Connection>>,
    servers: BTreeMap<String, Server>,
    attempt: String,
    requests: BTreeMap<PathBuf, String>,
    plans: BTreeMap<PathBuf, Value>,
}

impl TestHost {
    /// A host whose plan lies in this folder, which is its scratch too.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            begun: Instant::now(),
            cancel: watch::Sender::new(false),
            notes: Mutex::default(),
            samples: Mutex::default(),
            targets: BTreeMap::new(),
            servers: BTreeMap::new(),
            attempt: "r1/step/1".into(),
            requests: BTreeMap::new(),
            plans: BTreeMap::new(),
        }
    }

    /// With a target of this name.
    #[must_use]
    pub fn target(mut self, name: &str, connection: Arc<dyn Connection>) -> Self {
        self.targets.insert(name.to_owned(), connection);
        self
    }

    /// With a target of this name that is connected to anew each time, with these settings.
    #[must_use]
    pub fn server(mut self, name: &str, kind: Arc<dyn TargetKind>, settings: Map<String, Value>) -> Self {
        self.servers.insert(name.to_owned(), (kind, settings));
        self
    }

    /// Whose attempts have this id, `run/step[key]/n`, instead of `r1/step/1`.
    #[must_use]
    pub fn attempt(mut self, attempt: &str) -> Self {
        attempt.clone_into(&mut self.attempt);
        self
    }

    /// With these notes of earlier attempts.
    #[must_use]
    pub fn noted(self, notes: Vec<Value>) -> Self {
        Self { notes: Mutex::new(notes), ..self }
    }

    /// With a requests file under this path, relative to the plan's folder.
    #[must_use]
    pub fn requests(mut self, path: &str, text: impl Into<String>) -> Self {
        self.requests.insert(self.folder.join(path), text.into());
        self
    }

    /// With a plan under this path that gives these outputs.
    #[must_use]
    pub fn plan(mut self, path: &str, outputs: Value) -> Self {
        self.plans.insert(self.folder.join(path), outputs);
        self
    }

    /// The context of its attempt on a target.
    pub fn ctx(self: &Arc<Self>, target: Option<&str>) -> Ctx {
        let (step, _) = self.attempt.rsplit_once('/').unwrap_or((&self.attempt, ""));
        let (run, step) = step.split_once('/').unwrap_or((step, "step"));
        Ctx {
            run: run.into(),
            plan: "plan".into(),
            digest: "sha256:0d5c".into(),
            environment: Some("test".into()),
            step: step.into(),
            attempt: self.attempt.as_str().into(),
            target: target.map(Into::into),
            folder: Arc::new(self.folder.clone()),
            run_started_ms: TEST_BEGINS_MS,
            sitting: 1,
            by: "tester@runner".into(),
            notes: Arc::new(self.notes()),
            host: self.clone(),
        }
    }

    /// Asks attempts to stop.
    pub fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// What was noted.
    pub fn notes(&self) -> Vec<Value> {
        held(&self.notes).clone()
    }

    /// What was shown.
    pub fn samples(&self) -> Vec<Sample> {
        held(&self.samples).clone()
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Host for TestHost {
    fn now_ms(&self) -> i64 {
        TEST_BEGINS_MS + i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX / 2)
    }

    async fn note(&self, value: Value) -> Result<(), StepError> {
        held(&self.notes).push(value);
        Ok(())
    }

    fn sample(&self, sample: Sample) {
        held(&self.samples).push(sample);
    }

    fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    async fn cancelled(&self) {
        // The sender lives in `self`, so that the wait only ends when somebody asks.
        let _ = self.cancel.subscribe().wait_for(|asked| *asked).await;
    }

    async fn spawn(&self, spec: ChildSpec) -> Result<ChildEnd, StepError> {
        tokio::select! {
            ended = run_program(spec) => ended,
            () = self.cancelled() => Err(StepError::cancelled()),
        }
    }

    async fn connect(&self, target: &str) -> Result<Arc<dyn Connection>, StepError> {
        if let Some((kind, values)) = self.servers.get(target) {
            let (values, folder) = (values.clone(), self.folder.clone());
            return kind.connect(Settings { values, folder, attempt: self.attempt.clone() }).await;
        }
        let found = self.targets.get(target).cloned();
        found.ok_or_else(|| StepError::internal(format!("the test has no target `{target}`")))
    }

    async fn run_plan(&self, plan: &Path, _params: Value) -> Result<Value, StepError> {
        let found = self.plans.get(plan).cloned();
        found.ok_or_else(|| StepError::new("plan.file", format!("there is no plan {}", plan.display())))
    }

    async fn read_requests(&self, path: &Path) -> Result<Requests, StepError> {
        let refused = |why: String| StepError::new("http.file", why);
        let found = self.requests.get(path);
        let text = found.ok_or_else(|| refused(format!("there is no file {}", path.display())))?;
        let (source, mut findings) = (SourceFile::new("requests", text.as_str()), Findings::new());
        let node = yaml::read(&source, 0, &mut findings);
        let requests = node.map(|node| requests_of(&node, &source, &mut findings));
        match (requests, findings.into_sorted().first()) {
            (Some(requests), None) => Ok(requests),
            (_, first) => Err(refused(first.map_or_else(String::new, |finding| finding.message.clone()))),
        }
    }

    fn scratch(&self) -> &Path {
        &self.folder
    }
}

async fn run_program(spec: ChildSpec) -> Result<ChildEnd, StepError> {
    let failed = |error: std::io::Error| StepError::new("process.start", error.to_string());
    let (program, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| StepError::new("process.start", "the command line is empty"))?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).envs(spec.env.iter().cloned()).current_dir(&spec.cwd);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    command.process_group(0);
    if let ChildOutput::File(path) = &spec.stdout {
        command.stdout(std::fs::File::create(path).map_err(failed)?);
    }
    let mut child = command.spawn().map_err(failed)?;
    let group = Group(child.id());
    let (input, output, error) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut input) = input {
            // A program may end without having read its input.
            let _ = input.write_all(&spec.stdin).await;
        }
    };
    let read = async {
        let Some(mut output) = output else { return (Vec::new(), false) };
        let mut kept = Vec::new();
        let mut piece = Vec::with_capacity(64 * 1024);
        while let Ok(1..) = output.read_buf(&mut piece).await {
            match &spec.stdout {
                ChildOutput::Kept { .. } => kept.append(&mut piece),
                ChildOutput::Piped(pipe) => {
                    if !pipe.put(std::mem::take(&mut piece).into()).await {
                        break;
                    }
                }
                ChildOutput::File(_) | ChildOutput::Dropped => {}
            }
            piece.clear();
        }
        let truncated = match spec.stdout {
            ChildOutput::Kept { limit } => {
                let longer = kept.len() > limit;
                kept.truncate(limit);
                longer
            }
            _ => false,
        };
        (kept, truncated)
    };
    let listen = async {
        let mut errors = Vec::new();
        if let Some(mut error) = error {
            let _ = error.read_to_end(&mut errors).await;
        }
        errors
    };
    let ((stdout, truncated), errors, status, ()) = tokio::join!(read, listen, child.wait(), feed);
    let status = status.map_err(failed)?;
    drop(group);
    Ok(ChildEnd {
        code: status.code(),
        signal: signal_of(status),
        stdout,
        truncated,
        stderr: String::from_utf8_lossy(&errors).into_owned(),
    })
}

/// The group of a program; killed when this is dropped, as a run does it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.filter(|_| cfg!(unix)) {
            let kill = std::process::Command::new("kill")
                .args(["-KILL", "--", &format!("-{leader}")])
                .stderr(Stdio::null())
                .status();
            drop(kill);
        }
    }
}

#[cfg(unix)]
fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal_of(_status: std::process::ExitStatus) -> Option<i32> {
    None
}

/// Inputs as a plan's `with` gives them: what looks like a hole is one, and it is filled with the secret's own name in angle brackets.
pub fn given(with: Value) -> OwnedGiven {
    let with: IndexMap<String, crate::Rendered> = serde_json::from_value(with).unwrap_or_default();
    OwnedGiven { with: Arc::new(with), fill: Some(Arc::new(|name| Some(format!("<{name}>")))) }
}

/// What a kind does with these inputs.
///
/// # Errors
/// Those of the kind.
pub async fn execute(kind: &dyn Kind, ctx: &Ctx, with: Value) -> Result<Ended, StepError> {
    kind.execute(ctx, given(with), None).await
}

/// What a kind says about an attempt with these inputs that was lost.
///
/// # Errors
/// Those of the kind.
pub async fn reconcile(kind: &dyn Kind, ctx: &Ctx, with: Value) -> Result<Reconciled, StepError> {
    kind.reconcile(ctx, given(with)).await
}

/// Whether a kind takes these inputs together.
///
/// # Errors
/// What it has against them.
pub fn judge(kind: &dyn Kind, with: Value) -> Result<(), StepError> {
    let with = given(with).with;
    kind.judge(&Given { with: &with, fill: None })
}

/// What a dry run shows of a kind with these inputs on the target `t`.
///
/// # Errors
/// When the inputs do not fit.
pub fn actions(kind: &dyn Kind, with: Value) -> Result<Vec<Action>, StepError> {
    let with = given(with).with;
    kind.actions(Some("t"), &Given { with: &with, fill: None }, &Value::Null)
}

/// What a kind with these inputs touches on the target `t`.
///
/// # Errors
/// When the inputs do not fit.
pub fn touches(kind: &dyn Kind, with: Value) -> Result<Vec<Touch>, StepError> {
    let with = given(with).with;
    kind.touches(Some("t"), &Given { with: &with, fill: None })
}
