//! Process groups, signals and the search for marked processes on Unix: the functions that `windows` has twins of.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::mark::Mark;

/// Lets the command start in a process group of its own, whose id is its process id.
pub(super) fn in_own_group(command: &mut Command) {
    command.process_group(0);
}

/// The name under which a program found elsewhere sees itself.
pub(super) fn named(command: &mut Command, name: &OsStr) {
    command.arg0(name);
}

/// The signal that ended a program.
pub(super) fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Asks every process of a group to end.
pub(super) fn ask_group_to_end(group: u32) {
    signal_group(group, Signal::TERM);
}

/// Kills every process of a group.
pub(super) fn kill_group(group: u32) {
    signal_group(group, Signal::KILL);
}

/// Whether anything of a group lives.
pub(super) fn group_lives(group: u32) -> bool {
    pid(group).is_some_and(|pid| test_kill_process_group(pid) != Err(rustix::io::Errno::SRCH))
}

fn signal_group(group: u32, signal: Signal) {
    if let Some(pid) = pid(group) {
        // The only failure possible is that nothing of the group lives any more, or that it has changed its user.
        let _ = kill_process_group(pid, signal);
    }
}

/// The id as a process id; never one that a signal would spread from (0 and 1 mean "my group" and "everything").
fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().filter(|id| *id > 1).and_then(Pid::from_raw)
}

/// The file of a program: as named when the name has a `/` (relative to `folder`), else the first one in `path` that may be executed.
pub(super) fn program_file(name: &OsStr, path: &OsStr, folder: &Path) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(folder.join(name));
    }
    std::env::split_paths(path)
        .map(|entry| folder.join(entry).join(name))
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

/// Kills every process that bears the mark in its environment; how many it found. Without `/proc` nothing can be found.
pub(super) fn kill_marked(mark: &Mark) -> usize {
    marked_processes(mark).into_iter().filter(|id| kill_if_marked(*id, mark)).count()
}

#[cfg(target_os = "linux")]
fn marked_processes(mark: &Mark) -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| *id != own && is_marked(*id, mark))
        .collect()
}

#[cfg(target_os = "linux")]
fn is_marked(id: u32, mark: &Mark) -> bool {
    std::fs::read(format!("/proc/{id}/environ")).is_ok_and(|environment| mark.is_in(&environment))
}

/// The process is looked at once more through a handle, so that an id that was given to another process meanwhile is let be.
#[cfg(target_os = "linux")]
fn kill_if_marked(id: u32, mark: &Mark) -> bool {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

    let Some(pid) = pid(id) else { return false };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    is_marked(id, mark) && pidfd_send_signal(handle, Signal::KILL).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn marked_processes(_mark: &Mark) -> Vec<u32> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn kill_if_marked(_id: u32, _mark: &Mark) -> bool {
    false
}

/// Returns when the other end of this pipe is closed, at the latest after `at_most`.
pub(super) fn rest(pipe: &std::io::Stdin, at_most: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    // Without a wish the system tells of the end alone. When it cannot be asked, there is no rest.
    let Ok(at_most) = Timespec::try_from(at_most) else { return };
    let _ = poll(&mut [PollFd::new(pipe, PollFlags::empty())], Some(&at_most));
}

/// The search path of an environment without `PATH`.
pub(super) fn default_path() -> OsString {
    OsString::from("/usr/local/bin:/usr/bin:/bin")
}

/// Lets this process live through what a terminal or a supervisor sends; returns what must be kept for that.
pub(super) fn ignore_signals() -> std::io::Result<impl Sized> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    let streams = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
    drop(entered);
    Ok((streams, runtime))
}
