//! A [`ChildSpec`] made into a program that runs, with what it inherits: [`ChildEnv`].

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};
use std::sync::Arc;

use drydock_step::{ChildOutput, ChildSpec, StepError};
use tokio::process::Child;

use super::mark::Mark;
use super::platform;

/// The variables that children inherit: ours, without those that secrets are read from. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ChildEnv(Arc<[(OsString, OsString)]>);

impl ChildEnv {
    /// These variables.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The command of a spec. Its file is looked up here: the standard library would fork instead of spawning if it had to search with
/// another environment than ours, and a fork copies our page tables.
pub(super) fn command(spec: &ChildSpec, env: &ChildEnv, mark: &Mark) -> Result<Command, StepError> {
    let (name, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| StepError::new("process.start", "the command line is empty"))?;
    let name = OsStr::new(name);
    let path = path_of(spec, env);
    let file = platform::program_file(name, &path, &spec.cwd).ok_or_else(|| {
        StepError::new("process.start", format!("there is no program `{}` in PATH", name.display()))
            .help("install it where the runner looks for programs, or write its path; a relative path starts with `./`")
    })?;
    let mut command = Command::new(file);
    platform::named(&mut command, name);
    platform::in_own_group(&mut command);
    command
        .args(arguments)
        .current_dir(&spec.cwd)
        .env_clear()
        .envs(env.0.iter().map(|(name, value)| (name, value)))
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .envs(mark.variables())
        .stdin(if spec.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(if matches!(spec.stdout, ChildOutput::Kept { .. } | ChildOutput::Piped(_)) {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stderr(Stdio::piped());
    Ok(command)
}

/// The program, started.
pub(super) fn start(command: Command, spec: &ChildSpec) -> Result<Child, StepError> {
    tokio::process::Command::from(command).spawn().map_err(|error| {
        let name = spec.argv.first().map_or("", String::as_str);
        if spec.cwd.is_dir() {
            StepError::new("process.start", format!("`{name}` could not be started: {error}"))
        } else {
            let folder = spec.cwd.display();
            StepError::new(
                "process.start",
                format!("`{name}` could not be started: there is no folder {folder}"),
            )
        }
    })
}

/// The search path that the program will see.
fn path_of(spec: &ChildSpec, env: &ChildEnv) -> OsString {
    let own = spec.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.into());
    let inherited = || env.0.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    own.or_else(inherited).unwrap_or_else(platform::default_path)
}
