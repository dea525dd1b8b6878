//! The server that a recovery starts over the folder it has filled: [`Recovering`]. It outlives the attempt, and the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drydock_step::{ChildEnd, ChildOutput, ChildSpec, Ctx, StepError};
use indexmap::IndexMap;

use super::program_end::{ended_badly, last_words};
use super::programs::Program;
use super::recover_to::RecoverTo;

/// How much of a program's words is kept.
const KEPT: usize = 64 * 1024;

/// How much of the end of a server's log is looked at.
const LOOKED_AT: u64 = 64 * 1024;

/// What bears the mark of a run, by which its programs are ended with it: a server that is to stay must not have it.
const MARKS: [&str; 2] = ["DRYDOCK_RUN", "DRYDOCK_SITTING"];

/// The longest that a server may take to come up, as pg_ctl is told; what follows has the step's own limit.
const COMES_UP: Duration = Duration::from_secs(600);

/// How a server is started and asked about.
pub(super) struct Recovering<'a> {
    pub(super) ctx: &'a Ctx,
    /// pg_ctl of the server's own version.
    pub(super) program: Program,
    /// The data folder.
    pub(super) into: PathBuf,
    /// Whom the server runs as, where the runner is root.
    pub(super) os_user: Option<String>,
}

/// What a server over a restored folder is told.
pub(super) struct Told<'a> {
    /// The command that gives it WAL.
    pub(super) restore_command: String,
    /// Where it stops.
    pub(super) to: &'a RecoverTo,
    /// `latest`, `current`, or a number.
    pub(super) timeline: &'a str,
    /// Where it listens.
    pub(super) listen: &'a str,
    pub(super) port: u16,
    /// Whether it may write to an archive.
    pub(super) archives: bool,
    /// The server's major version.
    pub(super) major: u32,
    /// What the plan sets besides.
    pub(super) settings: &'a IndexMap<String, String>,
}

impl Told<'_> {
    /// The settings, in the order in which they are written: a later one counts.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| lines.push((name.to_owned(), value.to_owned()));
        set("restore_command", &self.restore_command);
        // What the copied server had set would be a second target, which is fatal.
        for name in [
            "recovery_target",
            "recovery_target_name",
            "recovery_target_time",
            "recovery_target_lsn",
            "recovery_target_xid",
        ] {
            set(name, "");
        }
        for (name, value) in self.to.settings() {
            set(name, &value);
        }
        set("recovery_target_timeline", self.timeline);
        set("recovery_target_action", "pause");
        set("hot_standby", "on");
        set("primary_conninfo", "");
        set("primary_slot_name", "");
        if !self.archives {
            set("archive_mode", "off");
            set("archive_command", "");
            if self.major >= 15 {
                set("archive_library", "");
            }
        }
        set("listen_addresses", self.listen);
        set("port", &self.port.to_string());
        set("logging_collector", "off");
        set("log_destination", "stderr");
        for (name, value) in self.settings {
            set(name, value);
        }
        lines
    }

    /// The same as lines of postgresql.auto.conf.
    pub(super) fn text(&self) -> String {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "''");
        let lines = self.lines().into_iter().map(|(name, value)| format!("{name} = '{}'\n", quoted(&value)));
        format!("# what a recovery by Drydock sets\n{}", lines.collect::<String>())
    }
}

impl Recovering<'_> {
    /// Where the server's words go.
    pub(super) fn log_path(&self) -> PathBuf {
        beside(&self.into, ".log")
    }

    /// A program as the user of the server, without the marks of the run.
    fn as_server(&self, argv: Vec<String>) -> ChildSpec {
        let mut line: Vec<String> = Vec::new();
        if let Some(user) = &self.os_user {
            line.extend(["setpriv", "--reuid", user, "--regid", user, "--init-groups"].map(str::to_owned));
        }
        line.push("env".into());
        line.extend(MARKS.iter().flat_map(|mark| ["-u".to_owned(), (*mark).to_owned()]));
        line.extend(argv);
        ChildSpec {
            argv: line,
            env: vec![("LC_ALL".into(), "C".into())],
            cwd: PathBuf::from("/"),
            stdin: Vec::new(),
            stdout: ChildOutput::Kept { limit: KEPT },
        }
    }

    async fn control(&self, arguments: &[&str]) -> Result<ChildEnd, StepError> {
        let mut argv = vec![self.program.path.clone(), "-D".to_owned(), self.into.display().to_string()];
        argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self.ctx.spawn(self.as_server(argv)).await
    }

    /// Gives the folder to the user that the server runs as.
    pub(super) async fn hand_over(&self, paths: &[&Path]) -> Result<(), StepError> {
        let Some(user) = &self.os_user else { return Ok(()) };
        let mut argv = vec!["chown".to_owned(), "-R".to_owned(), "-h".to_owned(), format!("{user}:")];
        argv.extend(paths.iter().map(|path| path.display().to_string()));
        let spec = ChildSpec {
            argv,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            stdin: Vec::new(),
            stdout: ChildOutput::Dropped,
        };
        let end = self.ctx.spawn(spec).await?;
        if end.code == Some(0) {
            return Ok(());
        }
        Err(ended_badly("chown", &end).help(format!(
            "`os_user` must be a user of this machine; the runner must be root to give files to `{user}`"
        )))
    }

    /// Starts it; returns once it takes connections, which may be before it has recovered.
    ///
    /// # Errors
    /// `postgres.recovery`, with what its log says.
    pub(super) async fn start(&self) -> Result<(), StepError> {
        let (log, limit) = (self.log_path().display().to_string(), COMES_UP.as_secs().to_string());
        let end = self.control(&["-l", &log, "-w", "-t", &limit, "start"]).await?;
        if end.code == Some(0) {
            return Ok(());
        }
        Err(self.fatal(&last_words(&end.stderr)))
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// Those of starting a program.
    pub(super) async fn is_running(&self) -> Result<bool, StepError> {
        Ok(self.control(&["status"]).await?.code == Some(0))
    }

    /// Ends it, if it runs.
    ///
    /// # Errors
    /// `postgres.program`, when it does not end.
    pub(super) async fn stop(&self, mode: &str) -> Result<bool, StepError> {
        if !self.is_running().await? {
            return Ok(false);
        }
        let end = self.control(&["-m", mode, "-w", "-t", "300", "stop"]).await?;
        if end.code == Some(0) || !self.is_running().await? {
            return Ok(true);
        }
        Err(ended_badly("pg_ctl stop", &end)
            .help("end what still uses the server, or stop it with `mode: immediate`"))
    }

    /// A server that did not recover, with the last words of its log.
    pub(super) fn fatal(&self, otherwise: &str) -> StepError {
        let log = self.log_path();
        let words = fatal_words(&end_of(&log)).unwrap_or_else(|| otherwise.to_owned());
        let help = if words.contains("recovery ended before configured recovery target was reached") {
            "the WAL that there is does not lead to that place; see postgres.wal_status for gaps"
        } else if words.contains("could not bind") || words.contains("Address already in use") {
            "another server has the port; give `port` another"
        } else if words.contains("is owned by")
            || words.contains("must be started by the user")
            || words.contains("root")
        {
            "name the user that the server runs as in `os_user`"
        } else if words.contains("could not access file") || words.contains("could not load") {
            "a library that the server loads is not installed here; install it, or leave it out by `settings: { shared_preload_libraries: \"\" }`"
        } else {
            "its log says more; what it was started with stands at the end of postgresql.auto.conf"
        };
        StepError::new(
            "postgres.recovery",
            format!("the server in {} did not recover: {words}", self.into.display()),
        )
        .detail(format!("the log is {}", log.display()))
        .help(help)
    }
}

/// A path beside a folder: its own with an ending.
pub(super) fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn end_of(path: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut text = Vec::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let length = file.metadata().map_or(0, |facts| facts.len());
        let begun = file.seek(SeekFrom::Start(length.saturating_sub(LOOKED_AT)));
        let _ = begun.and_then(|_| file.read_to_end(&mut text));
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The last line of a log that says why a server ended, with its hint.
fn fatal_words(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let says_why = |line: &&str| line.contains("FATAL:  ") || line.contains("PANIC:  ");
    // That connections are refused meanwhile is fatal for those alone.
    let of_us =
        |line: &&str| !line.contains("the database system is") && !line.contains("password authentication");
    let at = lines.iter().rposition(|line| says_why(line) && of_us(line))?;
    let of = |line: &str| line.split_once(":  ").map_or(line, |(_, words)| words).trim().to_owned();
    let mut words = vec![of(lines.get(at)?)];
    let more =
        lines.get(at + 1..)?.iter().take_while(|line| line.contains("DETAIL:  ") || line.contains("HINT:  "));
    words.extend(more.map(|line| of(line)));
    Some(words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_where_to_stop_and_to_keep_to_itself() {
        let settings = IndexMap::from([("shared_buffers".to_owned(), "64MB".to_owned())]);
        let told = Told {
            restore_command: "cp '/w/%f' '%p'".into(),
            to: &RecoverTo::Name("before it's bad".into()),
            timeline: "latest",
            listen: "127.0.0.1",
            port: 5544,
            archives: false,
            major: 14,
            settings: &settings,
        };
        let text = told.text();
        for line in [
            "restore_command = 'cp ''/w/%f'' ''%p'''\n",
            "recovery_target_time = ''\n",
            "recovery_target_name = 'before it''s bad'\nrecovery_target_timeline = 'latest'\n",
            "archive_mode = 'off'\n",
            "port = '5544'\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("archive_library"), "14 does not know it");
        assert!(text.ends_with("shared_buffers = '64MB'\n"));
        assert!(Told { major: 15, ..told }.text().contains("archive_library = ''\n"));
    }

    #[test]
    fn the_log_says_why() {
        let log = "2026 [1] LOG:  starting\n2026 [2] FATAL:  the database system is starting up\n\
            2026 [1] FATAL:  could not load library \"x\": no such file\n2026 [1] HINT:  Install it.\n2026 [1] LOG:  shut down\n";
        assert_eq!(
            fatal_words(log).as_deref(),
            Some("could not load library \"x\": no such file; Install it.")
        );
        assert_eq!(fatal_words("2026 LOG:  all is well\n"), None);
    }
}
