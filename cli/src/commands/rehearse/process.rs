//! `drydock` as a process of its own, as a user would start it: [`Drydock`].

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use drydock_machine::Exit;
use serde_json::Value;

use crate::session::{Refusal, Session};

use super::folder::Folder;
use super::kill::{Kill, Phase};

/// How long a killed step's server may take to do its work, in steps of 20 ms.
const PATIENCE: u32 = 3_000;

/// Starts `drydock` on a rehearsal's folder.
pub(super) struct Drydock<'a> {
    session: &'a Session,
    folder: &'a Folder,
}

/// How a run went.
pub(super) struct Went {
    /// How often it was killed.
    pub(super) kills: u32,
    /// With what it ended.
    pub(super) exit: i32,
    /// What `runs show` says of it.
    pub(super) report: Value,
    /// What it said at the end.
    pub(super) said: String,
}

impl<'a> Drydock<'a> {
    pub(super) fn new(session: &'a Session, folder: &'a Folder) -> Self {
        Self { session, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.session.outside.reaper()[0]);
        command.args(arguments).arg("--state-dir").arg(self.folder.state());
        command.env_remove("DRYDOCK_CRASH_AT").env_remove("DRYDOCK_KILL_AT").stdin(Stdio::null());
        command
    }

    /// Run to the end and give what it wrote.
    pub(super) fn output(&self, arguments: &[&str]) -> Result<Output, Refusal> {
        self.command(arguments).output().map_err(|error| cannot(&error))
    }

    /// A plan's steps, as `graph` tells them.
    pub(super) fn steps_of(&self, plan: &Path) -> Result<Vec<String>, Refusal> {
        let plan = plan.to_string_lossy();
        let output = self.output(&["graph", &plan, "--format", "json"])?;
        let graph: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let steps = graph["steps"].as_array().into_iter().flatten();
        Ok(steps.filter_map(|step| step["id"].as_str().map(str::to_owned)).collect())
    }

    /// Run a plan, kill it where that was asked for, resume it until it ends.
    pub(super) fn run(
        &self,
        plan: &Path,
        id: &str,
        arguments: &[&str],
        kill: Option<&Kill>,
    ) -> Result<Went, Refusal> {
        let (plan, environment) = (plan.to_string_lossy(), self.folder.environment());
        let environment = environment.to_string_lossy();
        let mut words = vec!["run", &*plan, "-e", &*environment, "--run-id", id, "--no-progress"];
        words.extend(arguments);
        let mut command = self.command(&words);
        let kills = u32::from(kill.is_some());
        let (mut exit, mut said) = match kill {
            None => ended(command.output().map_err(|error| cannot(&error))?),
            Some(kill) => {
                if let Some(variable) = kill.variable() {
                    command.env("DRYDOCK_KILL_AT", variable);
                }
                self.run_and_kill(command, kill)?;
                ended(self.output(&["resume", id, "--no-progress"])?)
            }
        };
        // An attempt that nobody can know about is asked about once: in a rehearsal it is done again.
        if exit == i32::from(Exit::Waits.code())
            && let Some(kill) = kill
        {
            let assume = format!("{}=redo", kill.step);
            (exit, said) = ended(self.output(&["resume", id, "--no-progress", "--assume", &assume])?);
        }
        let shown = self.output(&["runs", "show", id, "--format", "json"])?;
        let report = serde_json::from_slice(&shown.stdout).map_err(|error| {
            Refusal::new(Exit::Internal, format!("`runs show` of {id} cannot be read: {error}"))
        })?;
        Ok(Went { kills, exit, report, said })
    }

    fn run_and_kill(&self, mut command: Command, kill: &Kill) -> Result<(), Refusal> {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| cannot(&error))?;
        let killed = kill.phase != Phase::Acting || self.wait_until_held(&mut child);
        if !killed || kill.phase == Phase::Acting {
            // kill(9): the process has no say.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| cannot(&error))?;
        if status.code().is_some() {
            let message = format!("the run ended by itself before it could be killed at {}", kill.step);
            return Err(Refusal::new(Exit::CannotSucceed, message).help(match kill.phase {
                Phase::Acting => "the step may do nothing at a server: kill it when begun or done",
                Phase::Begun | Phase::Done => "the step may not run with these parameters",
            }));
        }
        Ok(())
    }

    /// Wait until a server holds an answer back; `false` when the run ended before.
    fn wait_until_held(&self, child: &mut Child) -> bool {
        for _ in 0..PATIENCE {
            let ledger = std::fs::read_to_string(self.folder.ledger()).unwrap_or_default();
            if ledger.lines().any(|line| line.contains("\"held\":true")) {
                return true;
            }
            if !matches!(child.try_wait(), Ok(None)) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

fn ended(output: Output) -> (i32, String) {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    (output.status.code().unwrap_or(-1), said)
}

fn cannot(error: &std::io::Error) -> Refusal {
    Refusal::new(Exit::Internal, format!("drydock cannot be started: {error}"))
}
