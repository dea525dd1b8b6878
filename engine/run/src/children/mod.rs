//! Programs that steps start: [`Children`]. Each starts in a process group of its own; a reaper ends what a run leaves behind when it
//! is killed, so that nothing of a group outlives the run.

mod mark;
#[cfg(unix)]
#[path = "unix.rs"]
mod platform;
#[cfg(not(unix))]
#[path = "windows.rs"]
mod platform;
pub mod reaper;
mod cancel;
mod link;
mod output;
mod program;
mod group;

use std::ffi::OsString;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drydock_step::{ChildEnd, ChildOutput, ChildSpec, StepError};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

pub use self::cancel::{CancelSignal, Canceller};
pub use self::mark::{RUN_VARIABLE, SITTING_VARIABLE};
pub use self::program::ChildEnv;

use self::group::Group;
use self::link::ReaperLink;
use self::mark::Mark;
use self::output::{Output, OutputFile, Tail, drain};

/// How much of a child's standard error is kept.
const STDERR_KEPT: usize = 64 * 1024;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the wish that a child should end to its death.
    pub grace: Duration,
    /// From a program's end to the death of what is left of its group.
    pub linger: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { grace: Duration::from_secs(10), linger: Duration::from_secs(1) }
    }
}

/// Starts and ends the programs of one run.
#[derive(Debug)]
pub struct Children {
    link: Arc<Mutex<ReaperLink>>,
    mark: Mark,
    patience: Patience,
}

impl Children {
    /// The children of a run. `reaper_command` (an absolute path and its arguments) starts [`reaper::main`]; it is started with the
    /// first child.
    pub fn new(reaper_command: Vec<OsString>, run: &str) -> Self {
        let mark = Mark::new(run);
        let link = Arc::new(Mutex::new(ReaperLink::new(reaper_command, mark.clone())));
        Self { link, mark, patience: Patience::default() }
    }

    /// The same, with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Starts a program and waits for its end. When `cancel` asks, its group is asked to end (SIGTERM) and, after the grace time or
    /// when `cancel` insists, killed. When this future is dropped, the group is killed at once.
    ///
    /// # Errors
    /// `process.start` when it cannot be started, `process.output` when its output file cannot be written, `process.reaper` when the
    /// reaper cannot be started, `cancelled` when it was asked to end.
    pub async fn run(
        &self,
        spec: ChildSpec,
        env: ChildEnv,
        cancel: &CancelSignal,
    ) -> Result<ChildEnd, StepError> {
        if cancel.is_asked() {
            return Err(StepError::cancelled());
        }
        link::locked(&self.link).ensure()?;
        let mut command = program::command(&spec, &env, &self.mark)?;
        let file = match &spec.stdout {
            ChildOutput::File(path) => Some(OutputFile::create(path)?),
            _ => None,
        };
        if let Some(file) = &file {
            command.stdout(file.handle()?);
        }
        let mut child = program::start(command, &spec)?;
        let group = Group::of(&child, self.link.clone())?;
        let (output, errors, status) = self.attend(&mut child, &group, &spec, cancel).await;
        let asked = group.was_asked_to_end();
        group.settle(self.patience.linger);
        let status = status?;
        if let Some(file) = file {
            file.sync().await?;
        }
        if asked {
            return Err(StepError::cancelled());
        }
        let (stdout, truncated) = output.kept();
        Ok(ChildEnd {
            code: status.code(),
            signal: platform::signal_of(status),
            stdout,
            truncated,
            stderr: errors.into_text(),
        })
    }

    /// Ends the reaper and waits until it has done its work: nothing of this run's programs lives any more.
    pub async fn close(&self) {
        let Some(mut reaper) = link::locked(&self.link).release() else { return };
        // A failed join would mean that the runtime is going down; the reaper does its work all the same.
        let _ = tokio::task::spawn_blocking(move || reaper.wait()).await;
    }

    /// The reaper's process id while there is one.
    pub fn reaper_id(&self) -> Option<u32> {
        link::locked(&self.link).process_id()
    }

    /// Feeds the child, reads what it writes and waits for its end. Its pipes are read for a little longer than it lives: what it
    /// started may still hold them.
    async fn attend(
        &self,
        child: &mut Child,
        group: &Group,
        spec: &ChildSpec,
        cancel: &CancelSignal,
    ) -> (Output, Tail, Result<std::process::ExitStatus, StepError>) {
        let (mut output, mut errors) = (Output::of(&spec.stdout), Tail::new(STDERR_KEPT));
        let (input, from, error) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let status = {
            let reading = async { tokio::join!(output.drain(from), drain(error, &mut errors)) };
            let feeding = feed(input, &spec.stdin);
            let ladder = self.cancel_ladder(group, cancel);
            tokio::pin!(reading, feeding, ladder);
            let (mut read, mut fed) = (false, false);
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    _ = &mut reading, if !read => read = true,
                    () = &mut feeding, if !fed => fed = true,
                    () = &mut ladder => {}
                }
            };
            if !read && timeout(self.patience.linger, &mut reading).await.is_err() {
                group.kill();
                // What is handed on may wait for whoever takes it, and not a byte of it may be missing.
                if matches!(spec.stdout, ChildOutput::Piped(_)) {
                    tokio::select! {
                        _ = &mut reading => {}
                        () = cancel.asked() => {}
                    }
                }
            }
            status
        };
        let status = status.map_err(|error| {
            StepError::unknown(
                "process.wait",
                format!("the end of the program could not be waited for: {error}"),
            )
        });
        (output, errors, status)
    }

    /// Never returns: the child's end does.
    async fn cancel_ladder(&self, group: &Group, cancel: &CancelSignal) {
        cancel.asked().await;
        group.ask_to_end();
        // Whether the time is over or somebody insisted, the next rung is the same.
        let _ = timeout(self.patience.grace, cancel.insisted()).await;
        group.kill();
        std::future::pending::<()>().await;
    }
}

/// A child that closes its input early has read what it wanted.
async fn feed(input: Option<impl AsyncWrite + Unpin>, bytes: &[u8]) {
    if let Some(mut input) = input {
        let _ = input.write_all(bytes).await;
        let _ = input.shutdown().await;
    }
}
