//! A folder with a plan, and `drydock` run in it: [`World`].

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A folder of a user's.
pub(crate) struct World {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// How a command ended.
pub(crate) struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program under test.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_drydock")
}

impl World {
    /// A folder with this plan in `plan.yaml`.
    pub(crate) fn plan(text: &str) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), variables: Vec::new() };
        world.write("plan.yaml", text)
    }

    /// With a file.
    pub(crate) fn write(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    /// With a variable in the environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The text of a file; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// `drydock` with these arguments, ready to be started.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(program());
        command.args(arguments.split_whitespace()).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("DRYDOCK_CRASH_AT").env_remove("DRYDOCK_KILL_AT").env("CI", "true");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn drydock(&self, arguments: &str) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// `drydock run plan.yaml --run-id r`.
    pub(crate) fn run(&self) -> Ended {
        self.drydock("run plan.yaml --run-id r")
    }

    /// The run `r`, crashing at a batch.
    pub(crate) fn run_crashing(&self, at: &str) -> Ended {
        ended(self.command("run plan.yaml --run-id r").env("DRYDOCK_CRASH_AT", at))
    }

    /// What `runs show` says of the run `r`.
    pub(crate) fn shown(&self) -> Value {
        let ended = self.drydock("runs show r --format json");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// The status of each step of the run `r`, in order.
    pub(crate) fn statuses(&self) -> Vec<(String, String)> {
        let shown = self.shown();
        let steps = shown["steps"].as_object().unwrap();
        steps.iter().map(|(name, step)| (name.clone(), step["status"].as_str().unwrap().to_owned())).collect()
    }

    /// The journal of the run `r` as JSON lines, without the room that a kill has left behind them.
    pub(crate) fn journal(&self) -> Vec<Value> {
        self.text(".drydock/r/journal.jsonl")
            .trim_end()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Every file below the folder with its bytes.
    pub(crate) fn every_file(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        walk(self.dir.path(), &mut found);
        found
    }
}

pub(crate) fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
}

impl Ended {
    /// With this exit code, or the test fails with what was said.
    #[track_caller]
    pub(crate) fn with_exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Its standard error has these words, or the test fails.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "no `{words}` in:\n{}", self.stderr);
        self
    }
}
