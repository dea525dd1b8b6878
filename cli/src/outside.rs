//! Where the outside comes in: [`Outside`], the clock, the environment and new ids, as values. The one file that may call for them.
#![allow(clippy::disallowed_methods, reason = "time, randomness and environment enter here and nowhere else")]

use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use drydock_run::journal::crash::CrashAt;
use drydock_run::world::{Clock, KillAt, Variable};

/// What this process was given from outside.
#[derive(Clone)]
pub(crate) struct Outside {
    /// The clock.
    pub(crate) clock: Clock,
    /// A variable of the environment.
    pub(crate) variable: Variable,
    /// The whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Outside {
    /// As this process finds it.
    pub(crate) fn here() -> Self {
        let clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        Self {
            clock: Arc::new(clock),
            variable: Arc::new(|name| std::env::var(name).ok()),
            environment: std::env::vars_os().collect(),
        }
    }

    /// A new id of a run: a ULID, which sorts by time.
    pub(crate) fn new_run_id(&self) -> String {
        ulid::Ulid::generate().to_string()
    }

    /// The value of a variable that is set and not empty.
    pub(crate) fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The name of whoever started this process, where the system tells it.
    pub(crate) fn user(&self) -> Option<String> {
        ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| self.set(name))
    }

    /// Who works here, and where: `user@host`. A CI job names itself in `DRYDOCK_BY`.
    pub(crate) fn by(&self) -> String {
        #[cfg(not(unix))]
        let unknown = || "unknown".to_owned();
        let host = || {
            #[cfg(unix)]
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            #[cfg(not(unix))]
            let host = self.set("COMPUTERNAME").unwrap_or_else(unknown);
            host
        };
        let user = || {
            #[cfg(unix)]
            let user = format!("uid-{}", rustix::process::getuid().as_raw());
            #[cfg(not(unix))]
            let user = unknown();
            user
        };
        let here = || format!("{}@{}", self.user().unwrap_or_else(user), host());
        self.set("DRYDOCK_BY").unwrap_or_else(here)
    }

    /// Where to abort, for tests.
    pub(crate) fn crash(&self) -> Result<Option<CrashAt>, String> {
        self.set("DRYDOCK_CRASH_AT").map(|text| CrashAt::parse(&text)).transpose()
    }

    /// Where to die, for tests.
    pub(crate) fn kill(&self) -> Result<Option<KillAt>, String> {
        self.set("DRYDOCK_KILL_AT").map(|text| KillAt::parse(&text)).transpose()
    }

    /// How to start the reaper.
    pub(crate) fn reaper(&self) -> Vec<OsString> {
        let this = std::env::current_exe().unwrap_or_else(|_| "drydock".into());
        vec![this.into_os_string(), "__reaper".into()]
    }

    /// Whether standard error is a terminal that a live tree may be drawn on.
    pub(crate) fn has_terminal(&self) -> bool {
        std::io::stderr().is_terminal()
            && self.set("CI").is_none()
            && self.set("TERM").is_none_or(|term| term != "dumb")
    }

    /// Whether to use colour when nobody said.
    pub(crate) fn likes_color(&self) -> bool {
        std::io::stdout().is_terminal() && self.set("NO_COLOR").is_none()
    }

    /// How many characters a line has, where standard output is a terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        if !std::io::stdout().is_terminal() {
            return None;
        }
        let said = self.set("COLUMNS").and_then(|columns| columns.parse().ok());
        said.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)))
    }

    /// The folder that this process was started in.
    pub(crate) fn folder(&self) -> std::path::PathBuf {
        std::env::current_dir().unwrap_or_else(|_| ".".into())
    }
}
