//! The twin of `unix` on Windows. Programs start in a group of their own; ending a whole group needs a Job Object, which is not
//! supported yet, so a program is ended alone and what it started is left.

use std::ffi::{OsStr, OsString};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::mark::Mark;

/// `CREATE_NEW_PROCESS_GROUP` of the Windows API.
const NEW_GROUP: u32 = 0x0000_0200;

/// Lets the command start in a process group of its own.
pub(super) fn in_own_group(command: &mut Command) {
    command.creation_flags(NEW_GROUP);
}

/// A program sees itself under its file's name.
pub(super) fn named(_command: &mut Command, _name: &OsStr) {}

/// No signal ends a program here.
pub(super) fn signal_of(_status: ExitStatus) -> Option<i32> {
    None
}

/// Ends a program and what it started, by the system's own tool.
pub(super) fn ask_group_to_end(group: u32) {
    kill_group(group);
}

/// Ends a program and what it started, by the system's own tool.
pub(super) fn kill_group(group: u32) {
    let _ = Command::new("taskkill").args(["/T", "/F", "/PID", &group.to_string()]).output();
}

/// Not known here.
pub(super) fn group_lives(_group: u32) -> bool {
    false
}

/// The file of a program: the system searches.
pub(super) fn program_file(name: &OsStr, _path: &OsStr, folder: &Path) -> Option<PathBuf> {
    let path = Path::new(name);
    Some(if path.components().count() > 1 { folder.join(path) } else { path.to_owned() })
}

/// Environments of other processes cannot be read here.
pub(super) fn kill_marked(_mark: &Mark) -> usize {
    0
}

/// The search path of an environment without `PATH`.
pub(super) fn default_path() -> OsString {
    OsString::new()
}

/// A process in a group of its own is not reached by Ctrl-C.
pub(super) fn ignore_signals() -> std::io::Result<impl Sized> {
    Ok(())
}

/// Returns after `at_most`: nothing tells of the end of a pipe before it is read.
pub(super) fn rest(_pipe: &std::io::Stdin, at_most: std::time::Duration) {
    std::thread::sleep(at_most);
}
