//! The state folder, `.drydock`: a folder a run with its journal, its lock and its sources. Main type: [`StateDir`].

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use drydock_machine::RunEvent;
use drydock_plan::name::Digest;
use serde::{Deserialize, Serialize};

use crate::bound::Bound;
use crate::journal::{Damage, Disk, Ends, Journaled, RealDisk, read};

/// The version of `start.json`.
const START_VERSION: u32 = 1;

/// The state folder.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

/// What a run was started with, kept beside its journal so that it can be taken up again from nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The format's version.
    pub version: u32,
    /// The plan file, absolute.
    pub plan: PathBuf,
    /// The environment file, absolute.
    pub environment: Option<PathBuf>,
    /// What was given for parameters, as it was given.
    pub given: Given,
    /// The sources that were read, in the order of the files under `sources/`.
    pub sources: Vec<String>,
    /// The servers, by their own names, that a destructive run in a protected environment was confirmed for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirmed: Vec<String>,
    /// The codes of findings that keep no step from being begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced_past: Vec<String>,
    /// The saved dry run that it executes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<Reviewed>,
}

/// A saved dry run that a run executes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reviewed {
    /// The name under which it may be executed once.
    pub id: String,
    /// When it was made, in milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// By whom and where, `user@host`.
    pub by: String,
    /// What each step is bound to.
    pub steps: Bound,
}

/// What was given for a run's parameters. Secrets are never among it: they are given as sources, not as values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The values of `-p`, as written.
    pub flags: Vec<String>,
    /// The name and text of the file of `--params`.
    pub file: Option<(String, String)>,
    /// The variables `DRYDOCK_PARAM_…`, by name.
    pub variables: BTreeMap<String, String>,
    /// Whether it is a drill.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
}

impl Start {
    /// With the version that this build writes.
    pub fn new(plan: PathBuf, environment: Option<PathBuf>, given: Given, sources: Vec<String>) -> Self {
        Self {
            version: START_VERSION,
            plan,
            environment,
            given,
            sources,
            confirmed: Vec::new(),
            forced_past: Vec::new(),
            reviewed: None,
        }
    }
}

/// Why the state folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system said no.
    #[error("{what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A run of this id is there already.
    #[error("run {0} is there already")]
    Exists(String),
    /// There is no run of this id.
    #[error("there is no run {id} in {}", root.display())]
    Absent {
        /// The id.
        id: String,
        /// The state folder.
        root: PathBuf,
    },
    /// Another process works on it.
    #[error("another process works on run {0}")]
    Locked(String),
    /// Its journal cannot be trusted.
    #[error("the journal of run {run} is refused: {damage}")]
    Damaged {
        /// The run.
        run: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A newer Drydock started it.
    #[error(
        "run {run} was started by a newer Drydock: its start.json has version {found}, this build reads up to version {START_VERSION}"
    )]
    Newer {
        /// The run.
        run: String,
        /// The version that it says.
        found: u32,
    },
    /// It is no id of a run.
    #[error("`{0}` is no id of a run: only letters, digits, `-` and `_` may be in it, 64 at most")]
    BadId(String),
}

/// A run's folder, locked for this process: the kernel frees it when the process ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl StateDir {
    /// The state folder at this path; it is made, with its own `.gitignore`, when the first run needs it.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A run's folder.
    ///
    /// # Errors
    /// When the id is none.
    pub fn run_folder(&self, id: &str) -> Result<PathBuf, StateError> {
        let good = !id.is_empty()
            && id.len() <= 64
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if good { Ok(self.root.join(id)) } else { Err(StateError::BadId(id.to_owned())) }
    }

    /// Hold the whole folder, for as long as it takes to look at its runs and begin one. Waits for whoever holds it.
    ///
    /// # Errors
    /// When the folder cannot be made or locked.
    pub fn hold(&self) -> Result<RunLock, StateError> {
        std::fs::create_dir_all(&self.root).map_err(io("cannot make", &self.root))?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").map_err(io("cannot write", &ignore))?;
        }
        let path = self.root.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io("cannot open", &path))?;
        file.lock().map_err(io("cannot lock", &path))?;
        Ok(RunLock { _file: file })
    }

    /// Make a run's folder with what it was started with and its sources, all of it durable, and lock it.
    ///
    /// # Errors
    /// When a run of this id is there, or the system says no.
    pub fn create_run(
        &self,
        disk: &dyn Disk,
        id: &str,
        start: &Start,
        sources: &[Vec<u8>],
    ) -> Result<(PathBuf, RunLock), StateError> {
        let folder = self.run_folder(id)?;
        self.clear_unborn(id, &folder)?;
        match disk.create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StateError::Exists(id.to_owned()));
            }
            result => result.map_err(io("cannot make", &folder))?,
        }
        let lock = lock(&folder, id)?;
        keep(disk, &folder, start, sources)?;
        Ok((folder, lock))
    }

    /// Keep what a run goes on with from now on, its changes accepted. All of it is durable before the sitting begins whose first
    /// event names the digest; until then it does not count.
    ///
    /// # Errors
    /// When the system says no.
    pub fn accept(
        &self,
        disk: &dyn Disk,
        id: &str,
        digest: &Digest,
        start: &Start,
        sources: &[Vec<u8>],
    ) -> Result<(), StateError> {
        let run = self.run_folder(id)?;
        let folder = run.join(accepted(digest));
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder).map_err(io("cannot clear", &folder))?;
        }
        disk.create_dir(&folder).map_err(io("cannot make", &folder))?;
        keep(disk, &folder, start, sources)?;
        disk.sync_dir(&folder).map_err(io("cannot sync", &folder))?;
        disk.sync_dir(&run).map_err(io("cannot sync", &run))
    }

    /// The folder with what a run goes on with: its own, or that of the changes which its journal says were accepted last.
    fn given_folder(&self, id: &str) -> Result<PathBuf, StateError> {
        let folder = self.run_folder(id)?;
        // The journal is not read only to learn that nothing ever was.
        let none_accepted = std::fs::read_dir(&folder).is_ok_and(|entries| {
            entries.flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with(ACCEPTED))
        });
        if none_accepted {
            return Ok(folder);
        }
        let Ok((journaled, _)) = self.journal(id) else { return Ok(folder) };
        let digest = journaled.events.iter().rev().find_map(|(_, event)| match event {
            RunEvent::SittingStarted { digest, .. } => digest.as_ref(),
            _ => None,
        });
        Ok(digest.map_or_else(|| folder.clone(), |digest| folder.join(accepted(digest))))
    }

    /// A run whose first batch is not whole does not exist: what its process left is cleared for another of that id.
    fn clear_unborn(&self, id: &str, folder: &Path) -> Result<(), StateError> {
        if !folder.is_dir() {
            return Ok(());
        }
        let _lock = lock(folder, id)?;
        match self.journal(id) {
            Err(StateError::Absent { .. }) => {
                std::fs::remove_dir_all(folder).map_err(io("cannot clear", folder))
            }
            _ => Err(StateError::Exists(id.to_owned())),
        }
    }

    /// Lock a run that is there.
    ///
    /// # Errors
    /// When it is not there, or another process works on it.
    pub fn lock_run(&self, id: &str) -> Result<(PathBuf, RunLock), StateError> {
        let folder = self.run_folder(id)?;
        if !folder.is_dir() {
            return Err(StateError::Absent { id: id.to_owned(), root: self.root.clone() });
        }
        let lock = lock(&folder, id)?;
        Ok((folder, lock))
    }

    /// Whether another process works on a run.
    ///
    /// # Errors
    /// When the run is not there or its lock cannot be asked.
    pub fn is_locked(&self, id: &str) -> Result<bool, StateError> {
        match self.lock_run(id) {
            Ok(_) => Ok(false),
            Err(StateError::Locked(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The ids of all runs, sorted: ids that sort by time make this the order of their starts.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn run_ids(&self) -> Result<Vec<String>, StateError> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| StateError::Io {
                what: "cannot read",
                path: self.root.clone(),
                error,
            })?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| self.root.join(name).join("journal.jsonl").is_file())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// A run's journal, and its length in bytes.
    ///
    /// # Errors
    /// When it is not there (a run whose first batch is not whole does not exist) or is refused.
    pub fn journal(&self, id: &str) -> Result<(Journaled, u64), StateError> {
        let folder = self.run_folder(id)?;
        let path = folder.join("journal.jsonl");
        let bytes = match RealDisk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Absent { id: id.to_owned(), root: self.root.clone() });
            }
            result => result.map_err(|error| StateError::Io { what: "cannot read", path, error })?,
        };
        let damaged = |damage| match damage {
            Damage::NeverBegan => StateError::Absent { id: id.to_owned(), root: self.root.clone() },
            damage => StateError::Damaged { run: id.to_owned(), damage },
        };
        let journaled = read(&bytes).map_err(damaged)?;
        if journaled.run != id {
            let why = format!("it is the journal of run {}", journaled.run);
            return Err(damaged(Damage::At { at: 0, line: 1, why }));
        }
        Ok((journaled, bytes.len() as u64))
    }

    /// How a run's journal begins and ends, without what lies between; `None` where the whole must be read to tell.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn ends(&self, id: &str) -> Result<Option<Ends>, StateError> {
        let path = self.run_folder(id)?.join("journal.jsonl");
        Ends::of(&path).map_err(io("cannot read", &path))
    }

    /// What a run was started with, or goes on with since changes were accepted.
    ///
    /// # Errors
    /// When it cannot be read, or a newer Drydock wrote it.
    pub fn start(&self, id: &str) -> Result<Start, StateError> {
        self.start_in(&self.given_folder(id)?, id)
    }

    fn start_in(&self, folder: &Path, id: &str) -> Result<Start, StateError> {
        let path = folder.join("start.json");
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Absent { id: id.to_owned(), root: self.root.clone() });
            }
            bytes => bytes.map_err(io("cannot read", &path))?,
        };
        let start: Start =
            serde_json::from_slice(&bytes).map_err(|error| io("cannot read", &path)(error.into()))?;
        if start.version > START_VERSION {
            return Err(StateError::Newer { run: id.to_owned(), found: start.version });
        }
        Ok(start)
    }

    /// The sources that a run goes on with: name and bytes, in the order of [`Start::sources`].
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn sources(&self, id: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        let given = self.given_folder(id)?;
        let start = self.start_in(&given, id)?;
        let folder = given.join("sources");
        let read = |(at, name): (usize, &String)| {
            let path = folder.join(source_file(at, &start));
            let bytes =
                std::fs::read(&path).map_err(|error| StateError::Io { what: "cannot read", path, error })?;
            Ok((name.clone(), bytes))
        };
        start.sources.iter().enumerate().map(read).collect()
    }
}

/// Write what a run was started with, and its sources, into its folder.
fn keep(disk: &dyn Disk, folder: &Path, start: &Start, sources: &[Vec<u8>]) -> Result<(), StateError> {
    let kept = folder.join("sources");
    disk.create_dir(&kept).map_err(io("cannot make", &kept))?;
    let text = serde_json::to_vec_pretty(start).unwrap_or_default();
    let mut files = vec![(folder.join("start.json"), text.as_slice())];
    let named =
        sources.iter().enumerate().map(|(at, bytes)| (kept.join(source_file(at, start)), bytes.as_slice()));
    files.extend(named);
    for (path, bytes) in files {
        let mut file = disk.create(&path).map_err(io("cannot make", &path))?;
        file.write_at(0, bytes).map_err(io("cannot write", &path))?;
        file.sync().map_err(io("cannot sync", &path))?;
    }
    disk.sync_dir(&kept).map_err(io("cannot sync", &kept))
}

/// How the folders begin of changes that were accepted.
const ACCEPTED: &str = "accepted-";

/// The folder, in that of the run, of what was accepted.
fn accepted(digest: &Digest) -> String {
    format!("{ACCEPTED}{}", digest.0.get(..16).unwrap_or(&digest.0))
}

/// The name under `sources/`: its number, and the last part of its own name.
fn source_file(at: usize, start: &Start) -> String {
    let name = start.sources.get(at).map_or("source", String::as_str);
    let last = name.rsplit(['/', '\\']).next().unwrap_or("source");
    let safe: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    format!("{at:02}-{safe}")
}

fn lock(folder: &Path, id: &str) -> Result<RunLock, StateError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io("cannot open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(RunLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(StateError::Locked(id.to_owned())),
        Err(TryLockError::Error(error)) => Err(io("cannot lock", &path)(error)),
    }
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |error| StateError::Io { what, path, error }
}
