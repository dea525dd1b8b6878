//! Beginning, going on with and closing runs: what `run`, `resume`, `abandon` and `approve` share. Main type: [`Session`].

mod ahead;
mod confirm;
mod drill;
mod inner;
mod difference;
mod saved_file;
mod reviewed;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use drydock_machine::{Exit, Input, Machine, RunHead, RunStatus, Sitting as Begin};
use drydock_plan::model::Plan;
use drydock_run::attempts::Executor;
use drydock_run::bound::Bound;
use drydock_run::children::CancelSignal;
use drydock_run::journal::{Journal, Journaled, RealDisk};
use drydock_run::message::Message;
use drydock_run::services::Services;
use drydock_run::sitting::{Sitting, SittingEnd};
use drydock_run::state::{Reviewed, RunLock, Start, StateDir, StateError};
use drydock_run::world::{RunSite, World};
use drydock_step::{Registry, StepError};

use crate::args::Common;
use crate::load::{self, Loaded};
use crate::outside::Outside;
use crate::reporters;

pub(crate) use self::difference::file_difference;
pub(crate) use self::inner::Above;
use self::inner::InnerPlans;
pub(crate) use self::reviewed::{as_shown, changed_files, clock_of, differs};
pub(crate) use self::saved_file::{SavedRun, read, text_of, too_old};

/// What every command that works on runs has.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) common: Common,
    pub(crate) outside: Outside,
    pub(crate) state: StateDir,
    /// The servers that a destructive run in a protected environment was confirmed for, by their own names.
    pub(crate) confirmed: Vec<String>,
    /// The codes of findings that keep nothing from being begun.
    pub(crate) forced_past: Vec<String>,
    /// Whether what is run is a drill.
    pub(crate) drill: bool,
    /// The saved dry run that is executed.
    pub(crate) reviewed: Option<Arc<Reviewed>>,
}

/// Why a run could not be worked on: an exit, and words for it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Whether a program that reads standard output has been told already.
    pub(crate) said: bool,
}

impl Refusal {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, said: false }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        let exit = match &error {
            StateError::Io { .. } => Exit::Journal,
            StateError::Exists(_)
            | StateError::Locked(_)
            | StateError::Damaged { .. }
            | StateError::Newer { .. } => Exit::Locked,
            StateError::Absent { .. } | StateError::BadId(_) => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

/// A run that is there, folded into a machine.
pub(crate) struct Folded {
    pub(crate) machine: Machine,
    pub(crate) journaled: Journaled,
    pub(crate) len: u64,
}

impl Folded {
    /// Refused, where the journal tells of something that this build does not know: what is decided on half of what happened is
    /// decided wrongly.
    pub(crate) fn refuse_unknown(&self, id: &str) -> Result<(), Refusal> {
        let Some((_, name, _)) = self.journaled.unknown.first() else { return Ok(()) };
        let message = format!("the journal of run {id} has an event `{name}` that this build does not know");
        Err(Refusal::new(Exit::Locked, message).help("go on with the version of Drydock that wrote it"))
    }

    /// The names of events that this build does not know, each once.
    pub(crate) fn unknown_events(&self) -> BTreeSet<&str> {
        self.journaled.unknown.iter().map(|(_, name, _)| name.as_str()).collect()
    }
}

/// All kinds of this build.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    drydock_steps::register(&mut registry);
    registry
}

impl Session {
    pub(crate) fn new(common: Common, outside: Outside) -> Self {
        let state = StateDir::at(outside.folder().join(&common.state_dir));
        Self {
            common,
            outside,
            state,
            confirmed: Vec::new(),
            forced_past: Vec::new(),
            drill: false,
            reviewed: None,
        }
    }

    /// The same, confirmed for these servers.
    pub(crate) fn confirmed<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Self {
        Self { confirmed: names.into_iter().cloned().collect(), ..self.clone() }
    }

    /// The same, forced past findings of these codes.
    pub(crate) fn forcing(&self, codes: &[String]) -> Self {
        Self { forced_past: codes.to_vec(), ..self.clone() }
    }

    /// The same, for a drill or none.
    pub(crate) fn drilling(&self, drill: bool) -> Self {
        Self { drill, ..self.clone() }
    }

    /// The same, bound to what was reviewed, or to nothing.
    pub(crate) fn reviewing(&self, reviewed: Option<Arc<Reviewed>>) -> Self {
        Self { reviewed, ..self.clone() }
    }

    /// What the run is bound to.
    pub(crate) fn bound(&self) -> Option<Arc<Bound>> {
        self.reviewed.as_ref().map(|reviewed| Arc::new(reviewed.steps.clone()))
    }

    /// The run that was named, or the newest.
    pub(crate) fn run_id(&self, named: Option<String>) -> Result<String, Refusal> {
        if let Some(id) = named {
            return Ok(id);
        }
        let mut newest: Option<(drydock_machine::Moment, String)> = None;
        for id in self.state.run_ids()? {
            let began = match self.state.ends(&id) {
                Ok(Some(ends)) => Some(ends.first.0),
                _ => {
                    self.state.journal(&id).ok().and_then(|(read, _)| read.events.first().map(|(at, _)| *at))
                }
            };
            if let Some(at) = began
                && newest.as_ref().is_none_or(|(newest, _)| at >= *newest)
            {
                newest = Some((at, id));
            }
        }
        let none =
            || Refusal::new(Exit::Usage, format!("there is no run in {}", self.state.root().display()));
        newest.map(|(_, id)| id).ok_or_else(none)
    }

    /// The plan of a run as its sources have it.
    pub(crate) fn plan_of_sources(&self, id: &str, start: &Start) -> Result<Plan, Refusal> {
        let sources = self.state.sources(id)?;
        load::kept_plan(start, &sources, registry().catalog(), &self.outside).ok_or_else(|| {
            Refusal::new(Exit::Internal, format!("the sources of run {id} do not give a plan any more"))
                .help("they were written by another version of Drydock: use that one")
        })
    }

    /// A run's journal, folded.
    pub(crate) fn fold(&self, id: &str, plan: Arc<Plan>) -> Result<Folded, Refusal> {
        let (journaled, len) = self.state.journal(id)?;
        let mut machine = Machine::new(plan);
        for (at, event) in &journaled.events {
            machine.apply(*at, event);
        }
        Ok(Folded { machine, journaled, len })
    }

    /// How a run stands, from its sources and its journal alone.
    pub(crate) fn folded(&self, id: &str) -> Result<Folded, Refusal> {
        let start = self.state.start(id)?;
        let plan = Arc::new(self.plan_of_sources(id, &start)?);
        self.fold(id, plan)
    }

    /// What is kept of a plan that was read: what it was started with, and the bytes of its sources.
    fn kept(&self, loaded: &Loaded) -> (Start, Vec<Vec<u8>>) {
        let (names, bytes) = loaded.sources().into_iter().unzip();
        let (plan, environment) = (loaded.path.clone(), loaded.environment.clone());
        let start = Start::new(plan, environment, loaded.given.clone(), names);
        let reviewed = self.reviewed.as_deref().cloned();
        let (confirmed, forced_past) = (self.confirmed.clone(), self.forced_past.clone());
        (Start { confirmed, forced_past, reviewed, ..start }, bytes)
    }

    /// Keep what a run goes on with from now on, its changes accepted.
    pub(crate) fn accept(&self, id: &str, plan: &Plan, loaded: &Loaded) -> Result<(), Refusal> {
        let (start, bytes) = self.kept(loaded);
        Ok(self.state.accept(&RealDisk, id, &plan.digest, &start, &bytes)?)
    }

    /// The journal of a run that is gone on with.
    pub(crate) fn reopen(&self, folder: &Path, folded: &Folded) -> Result<Journal, Refusal> {
        let crash = self.outside.crash().map_err(|message| Refusal::new(Exit::Usage, message))?;
        Journal::reopen(&RealDisk, folder, &folded.journaled, folded.len, crash)
            .map_err(|error| Refusal::new(Exit::Journal, error.to_string()))
    }

    /// Everything from outside, for the engine.
    pub(crate) fn world(&self, environment: Option<&Path>, above: &Above) -> Result<World, Refusal> {
        let usage = |message| Refusal::new(Exit::Usage, message);
        Ok(World {
            clock: self.outside.clock.clone(),
            registry: registry(),
            variable: self.outside.variable.clone(),
            environment: self.outside.environment.clone(),
            reaper: self.outside.reaper(),
            crash: self.outside.crash().map_err(usage)?,
            kill: self.outside.kill().map_err(usage)?,
            forced_past: self.forced_past.clone(),
            requests: Arc::new(load::requests),
            subplans: Arc::new(InnerPlans {
                session: self.clone(),
                environment: environment.map(Path::to_owned),
                above: above.clone(),
            }),
        })
    }

    /// Make the folder of a new run; it counts with its first batch.
    pub(crate) fn create(&self, id: &str, loaded: &Loaded) -> Result<(PathBuf, RunLock, Journal), Refusal> {
        let (start, bytes) = self.kept(loaded);
        let (folder, lock) = self.state.create_run(&RealDisk, id, &start, &bytes)?;
        let crash = self.outside.crash().map_err(|message| Refusal::new(Exit::Usage, message))?;
        let journal = Journal::create(&RealDisk, &folder, id, crash)
            .map_err(|error| Refusal::new(Exit::Journal, error.to_string()))?;
        Ok((folder, lock, journal))
    }

    /// Work on a run until this sitting is over.
    pub(crate) fn sit(
        &self,
        machine: &mut Machine,
        journal: Journal,
        at: &At,
        begin: Begin,
    ) -> Result<Exit, Refusal> {
        let runtime = runtime()?;
        let world = Arc::new(self.world(at.environment.as_deref(), &at.above)?);
        let now = drydock_machine::Moment((self.outside.clock)());
        let head = machine.head().cloned().unwrap_or(RunHead { run: at.id.as_str().into(), started_at: now });
        let site = RunSite {
            run: head.run.clone(),
            folder: at.folder.clone(),
            run_started_ms: head.started_at.0,
            sitting: machine.next_sitting(),
            by: self.outside.by().into(),
            plan_folder: Arc::new(folder_of(&at.plan)),
            environment_folder: at.environment.as_deref().map_or_else(|| folder_of(&at.plan), folder_of),
            bound: self.bound(),
        };
        let services = Services::new(world, machine.plan().clone(), site);
        if let Some(refusal) = missing_secrets(&runtime.block_on(services.missing_secrets())) {
            runtime.shutdown_background();
            return Err(refusal);
        }
        let executor = Executor::new(services.clone(), runtime.handle().clone());
        let mut listeners =
            if at.nested { Vec::new() } else { reporters::for_options(&self.common, &self.outside, &at.id) };
        let (outbox, inbox) = mpsc::channel();
        if !at.nested {
            listen_for_signals(&runtime, outbox.clone());
        }
        if let Some(signal) = at.cancelled.clone() {
            let outbox = outbox.clone();
            runtime.spawn(async move {
                signal.asked().await;
                let _ = outbox.send(Message::Interrupt);
            });
        }
        let end = Sitting::new(machine, journal, executor, &mut listeners, (outbox, inbox))
            .run(Input::Begin(head, begin));
        let (status, exit, refusal) = match end {
            SittingEnd::Over(exit) => (machine.status(), exit, None),
            SittingEnd::Left => (RunStatus::Interrupted, Exit::Interrupted, None),
            SittingEnd::Journal(error) => {
                let refusal = Refusal::new(Exit::Journal, error.to_string())
                    .help(format!("make room or mend the disk, then `drydock resume {}`", at.id));
                (RunStatus::Running, Exit::Journal, Some(refusal))
            }
        };
        listeners.iter_mut().for_each(|listener| listener.end(status, exit));
        runtime.block_on(services.close());
        runtime.shutdown_background();
        refusal.map_or(Ok(exit), Err)
    }
}

/// A source of a secret that cannot be asked is found before the first step.
fn missing_secrets(missing: &[(String, StepError)]) -> Option<Refusal> {
    let (_, first) = missing.first()?;
    let messages: Vec<&str> = missing.iter().map(|(_, error)| error.message.as_str()).collect();
    let refusal = Refusal::new(Exit::CannotSucceed, messages.join("\n       "));
    Some(match &first.help {
        Some(help) => refusal.help(help.clone()),
        None => refusal,
    })
}

/// Where a run is worked on.
pub(crate) struct At {
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
    pub(crate) plan: PathBuf,
    pub(crate) environment: Option<PathBuf>,
    /// Part of another run: it tells nobody, and stops when that run does.
    pub(crate) nested: bool,
    pub(crate) cancelled: Option<CancelSignal>,
    /// The plans that run it, and itself.
    pub(crate) above: Above,
}

pub(crate) fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The runtime that attempts run on; the loop has the calling thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Refusal> {
    // A second provider or none at all would be a fault of this build; a provider that is installed already is fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal::new(Exit::Internal, format!("cannot start the runtime: {error}")))
}

/// Ctrl-C and SIGTERM become messages.
fn listen_for_signals(runtime: &tokio::runtime::Runtime, outbox: mpsc::Sender<Message>) {
    runtime.spawn(async move {
        #[cfg(unix)]
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        loop {
            #[cfg(unix)]
            let heard = async {
                match &mut terminate {
                    Some(terminate) => tokio::select! {
                        result = tokio::signal::ctrl_c() => result.is_ok(),
                        signal = terminate.recv() => signal.is_some(),
                    },
                    None => tokio::signal::ctrl_c().await.is_ok(),
                }
            }
            .await;
            #[cfg(not(unix))]
            let heard = tokio::signal::ctrl_c().await.is_ok();
            if !heard || outbox.send(Message::Interrupt).is_err() {
                return;
            }
        }
    });
}
