//! A run's end of the pipe to its reaper: [`ReaperLink`], which starts the reaper at the first child and again when it has died.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use drydock_step::StepError;

use super::mark::Mark;
use super::platform;

/// The reaper of one run, and the groups that it must know of.
#[derive(Debug)]
pub(super) struct ReaperLink {
    command: Vec<OsString>,
    mark: Mark,
    process: Option<(Child, ChildStdin)>,
    groups: BTreeSet<u32>,
}

impl ReaperLink {
    /// A link to a reaper that is not started yet.
    pub(super) fn new(command: Vec<OsString>, mark: Mark) -> Self {
        Self { command, mark, process: None, groups: BTreeSet::new() }
    }

    /// Makes sure that a reaper lives. It is told of all groups that live.
    ///
    /// # Errors
    /// `process.reaper`, when it cannot be started.
    pub(super) fn ensure(&mut self) -> Result<(), StepError> {
        if let Some((child, _)) = &mut self.process
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(());
        }
        self.start().map_err(|error| {
            StepError::new(
                "process.reaper",
                format!("the process that ends what a killed run leaves behind could not be started: {error}"),
            )
            .help("Drydock starts no program without it; see that its own file may be executed and that processes may be made")
        })
    }

    /// A group was made. When the reaper has died in this very moment, another one is started.
    pub(super) fn began(&mut self, group: u32) -> Result<(), StepError> {
        self.groups.insert(group);
        if self.tell(&format!("+{group}\n")) {
            return Ok(());
        }
        self.process = None;
        self.ensure()
    }

    /// Nothing of a group lives any more. A reaper that has died is replaced before the next child, not now.
    pub(super) fn ended(&mut self, group: u32) {
        self.groups.remove(&group);
        self.tell(&format!("-{group}\n"));
    }

    /// Lets the reaper go and returns it, so that its end can be waited for.
    pub(super) fn release(&mut self) -> Option<Child> {
        self.process.take().map(|(child, _pipe)| child)
    }

    /// The reaper's process id while there is one.
    pub(super) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(|(child, _)| child.id())
    }

    fn tell(&mut self, line: &str) -> bool {
        self.process.as_mut().is_some_and(|(_, pipe)| pipe.write_all(line.as_bytes()).is_ok())
    }

    /// It starts with an empty environment, so that no mark of an outer run makes it the prey of another reaper.
    fn start(&mut self) -> std::io::Result<()> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| std::io::Error::other("no command is known for it"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        platform::in_own_group(&mut command);
        let mut child = command.spawn()?;
        let mut pipe = child.stdin.take().ok_or_else(|| std::io::Error::other("it has no input"))?;
        let mut told = self.mark.line();
        self.groups.iter().for_each(|group| told.push_str(&format!("+{group}\n")));
        pipe.write_all(told.as_bytes())?;
        self.process = Some((child, pipe));
        Ok(())
    }
}

/// The link, locked. A thread that panicked while it held it has left nothing half done.
pub(super) fn locked(link: &Mutex<ReaperLink>) -> MutexGuard<'_, ReaperLink> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    /// What a reaper that only writes down what it hears has heard, once `link` lets it go.
    fn heard(link: &mut ReaperLink, file: &std::path::Path) -> String {
        link.release().unwrap().wait().unwrap();
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn a_new_reaper_hears_of_everything_that_lives() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heard");
        let script = format!("exec /bin/cat > '{}'", file.display());
        let command = ["/bin/sh", "-c", &script].map(OsString::from).to_vec();
        let mut link = ReaperLink::new(command, Mark { run: "r1".into(), sitting: "7.0".into() });
        link.ensure().unwrap();
        link.began(21).unwrap();
        link.began(22).unwrap();
        link.ended(21);
        let first = link.process_id();
        link.ensure().unwrap();
        assert_eq!(link.process_id(), first);
        assert_eq!(heard(&mut link, &file), "mark 7.0 r1\n+21\n+22\n-21\n");
        link.ensure().unwrap();
        assert_ne!(link.process_id(), first);
        link.began(23).unwrap();
        assert_eq!(heard(&mut link, &file), "mark 7.0 r1\n+22\n+23\n");
        let error = ReaperLink::new(Vec::new(), Mark::new("r1")).ensure().unwrap_err();
        assert_eq!(error.code, "process.reaper");
    }
}
