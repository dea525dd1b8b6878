//! Children of a run, started for real: what they read, write and leave behind.
//!
//! Whether something lives is asked of a named pipe that every process of a test holds open: its end comes when the last of them is gone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]
#![cfg(unix)]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use drydock_run::children::{CancelSignal, ChildEnv, Children, Patience};
use drydock_step::{ChildEnd, ChildOutput, ChildPipe, ChildSpec, StepError};
use rustix::process::{Pid, Signal, kill_process};

/// The longest that a test waits for what must come.
const SOON: Duration = Duration::from_secs(30);

/// The program of `examples/parent.rs`.
fn parent() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("examples/parent")
}

fn children() -> Children {
    let command = vec![OsString::from(parent()), OsString::from("__reaper")];
    let patience = Patience { grace: Duration::from_millis(100), linger: Duration::from_millis(100) };
    Children::new(command, "r1").with_patience(patience)
}

fn script(text: &str) -> ChildSpec {
    ChildSpec {
        argv: ["sh", "-c", text].map(String::from).to_vec(),
        env: Vec::new(),
        cwd: std::env::temp_dir(),
        stdin: Vec::new(),
        stdout: ChildOutput::Kept { limit: 1 << 20 },
    }
}

fn env() -> ChildEnv {
    ChildEnv::new([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("LEFT".into(), "over".into())])
}

async fn run(spec: ChildSpec) -> Result<ChildEnd, StepError> {
    let (_canceller, signal) = CancelSignal::pair();
    let children = children();
    let end = children.run(spec, env(), &signal).await;
    children.close().await;
    end
}

/// A named pipe and what comes out of it: its lines, then its end.
struct Line {
    path: PathBuf,
    lines: Receiver<Option<String>>,
    _folder: tempfile::TempDir,
}

impl Line {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (sender, lines) = channel();
        let opened = path.clone();
        std::thread::spawn(move || {
            let reader = BufReader::new(std::fs::File::open(opened).unwrap());
            for line in reader.lines() {
                sender.send(Some(line.unwrap())).unwrap();
            }
            sender.send(None)
        });
        Self { path, lines, _folder: folder }
    }

    /// A script whose processes all hold the pipe, and which says that it is ready.
    fn held_by(&self, script: &str) -> String {
        format!("exec 3>'{}'; {script}", self.path.display())
    }

    fn says(&self, expected: &str) {
        assert_eq!(self.lines.recv_timeout(SOON).unwrap().as_deref(), Some(expected));
    }

    /// Returns when nothing holds the pipe any more.
    fn ends(&self) {
        assert_eq!(self.lines.recv_timeout(SOON).expect("a process lives on"), None);
    }
}

/// Processes that heed no signal: one that left the group and one that dropped the mark are among them.
const STUBBORN: &str =
    "trap '' TERM INT HUP; sleep 1000 & setsid sleep 1000 & env -i sleep 1000 & echo ready >&3; wait";

fn signal(id: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn input_output_and_end_come_back() {
    let check = async |spec: ChildSpec, code: Option<i32>, stdout: &str, stderr: &str| {
        let end = run(spec.clone()).await.unwrap();
        let found = (end.code, String::from_utf8(end.stdout).unwrap(), end.stderr);
        assert_eq!(found, (code, stdout.to_owned(), stderr.to_owned()), "{spec:?}");
    };
    check(script("echo out; echo err >&2; exit 7"), Some(7), "out\n", "err\n").await;
    check(script("kill -KILL $$"), None, "", "").await;
    check(ChildSpec { stdin: b"in".to_vec(), ..script("cat") }, Some(0), "in", "").await;
    check(ChildSpec { stdout: ChildOutput::Dropped, ..script("echo out") }, Some(0), "", "").await;
    let set = vec![("A".to_owned(), "1".to_owned())];
    check(ChildSpec { env: set, ..script("echo $A $LEFT $DRYDOCK_RUN $HOME") }, Some(0), "1 over r1\n", "")
        .await;
    assert_eq!(run(script("kill -KILL $$")).await.unwrap().signal, Some(9));
}

#[tokio::test]
async fn much_is_written_and_read_at_once() {
    let much = vec![b'x'; 8 << 20];
    let cat = |limit| ChildSpec { stdin: much.clone(), stdout: ChildOutput::Kept { limit }, ..script("cat") };
    let end = run(cat(16 << 20)).await.unwrap();
    assert_eq!((end.stdout.len(), end.truncated), (8 << 20, false));
    let end = run(cat(1000)).await.unwrap();
    assert_eq!((end.stdout.len(), end.truncated, end.code), (1000, true, Some(0)));
    let deaf = ChildSpec { stdin: much.clone(), ..script("exec 0<&-; echo deaf") };
    assert_eq!(run(deaf).await.unwrap().stdout, b"deaf\n");
    let loud = run(script("head -c 300000 /dev/zero | tr '\\0' e >&2; printf end >&2")).await.unwrap();
    assert_eq!((loud.stderr.len(), loud.stderr.ends_with("eend")), (64 * 1024, true));
}

#[tokio::test]
async fn what_is_handed_on_is_whole_however_slowly_it_is_taken() {
    let (pipe, mut pieces) = ChildPipe::holding(1);
    // It ends long before the last piece is taken: the patience for what is left in its pipe is over by then.
    let writes = ChildSpec { stdout: ChildOutput::Piped(pipe), ..script("head -c 900000 /dev/zero; exit 3") };
    let running = tokio::spawn(run(writes));
    let mut taken = 0;
    while let Some(piece) = pieces.recv().await {
        taken += piece.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let end = running.await.unwrap().unwrap();
    assert_eq!((taken, end.code, end.stdout.len(), end.truncated), (900_000, Some(3), 0, false));
    // Nobody takes it: the program's next write fails.
    let (pipe, pieces) = ChildPipe::holding(1);
    drop(pieces);
    let end = run(ChildSpec { stdout: ChildOutput::Piped(pipe), ..script("exec yes") }).await.unwrap();
    assert_eq!(end.signal, Some(13), "{end:?}");
}

#[tokio::test]
async fn an_output_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    std::fs::write(&path, "much that was there before").unwrap();
    let to =
        |path: &Path, text: &str| ChildSpec { stdout: ChildOutput::File(path.to_owned()), ..script(text) };
    assert_eq!(run(to(&path, "echo new")).await.unwrap().stdout, b"");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
    let error = run(to(&folder.path().join("no/out"), "echo")).await.unwrap_err();
    assert_eq!(error.code, "process.output");
    assert!(error.message.contains("no/out cannot be written"), "{error}");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let named = |name: &str| ChildSpec { argv: vec![name.into()], ..script("") };
    let elsewhere = ChildSpec { cwd: "/nowhere".into(), ..script(":") };
    for (spec, words) in [
        (named("no-such-program"), "there is no program `no-such-program` in PATH"),
        (named("./no-such-program"), "`./no-such-program` could not be started: No such file"),
        (named("/etc/passwd"), "`/etc/passwd` could not be started: Permission denied"),
        (elsewhere, "there is no folder /nowhere"),
        (ChildSpec { argv: Vec::new(), ..script("") }, "the command line is empty"),
    ] {
        let error = run(spec).await.unwrap_err();
        assert_eq!(error.code, "process.start");
        assert!(error.message.contains(words), "{error}");
    }
    let (_canceller, signal) = CancelSignal::pair();
    let without =
        Children::new(vec!["/nowhere".into()], "r1").run(script(":"), env(), &signal).await.unwrap_err();
    assert_eq!(without.code, "process.reaper");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_asked_then_killed() {
    let line = Line::new();
    let (canceller, signal) = CancelSignal::pair();
    let children = children();
    let stubborn = script(&line.held_by("trap '' TERM; sleep 1000 & echo ready >&3; wait"));
    let attempt = tokio::spawn(async move { children.run(stubborn, env(), &signal).await });
    line.says("ready");
    canceller.ask();
    assert_eq!(attempt.await.unwrap().unwrap_err().code, "cancelled");
    line.ends();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_asked_may_tidy_up() {
    let line = Line::new();
    let (canceller, signal) = CancelSignal::pair();
    let patient = children().with_patience(Patience { grace: SOON * 10, ..Patience::default() });
    let tidy = script(
        &line.held_by("trap 'echo tidy >&3; exit 0' TERM; echo ready >&3; while :; do sleep 0.01; done"),
    );
    let attempt = tokio::spawn(async move { patient.run(tidy, env(), &signal).await });
    line.says("ready");
    canceller.ask();
    line.says("tidy");
    assert_eq!(attempt.await.unwrap().unwrap_err().code, "cancelled");
    line.ends();
}

#[tokio::test(flavor = "multi_thread")]
async fn insisting_leaves_no_time() {
    let line = Line::new();
    let (canceller, signal) = CancelSignal::pair();
    let patient = children().with_patience(Patience { grace: SOON * 10, ..Patience::default() });
    let stubborn = script(&line.held_by("trap '' TERM; echo ready >&3; while :; do sleep 0.01; done"));
    let attempt = tokio::spawn(async move { patient.run(stubborn, env(), &signal).await });
    line.says("ready");
    canceller.ask();
    canceller.insist();
    assert_eq!(attempt.await.unwrap().unwrap_err().code, "cancelled");
    line.ends();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_behind_is_killed() {
    let line = Line::new();
    let children = children();
    let (_canceller, signal) = CancelSignal::pair();
    let leaving = script(&line.held_by("sleep 1000 >&3 2>&3 & echo ready >&3; echo out"));
    assert_eq!(children.run(leaving, env(), &signal).await.unwrap().stdout, b"out\n");
    line.says("ready");
    tokio::task::spawn_blocking(move || line.ends()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_dropped_leaves_nothing() {
    let line = Line::new();
    let children = std::sync::Arc::new(children());
    let lasting = children.clone();
    let (_canceller, signal) = CancelSignal::pair();
    let spec = script(&line.held_by("trap '' TERM; sleep 1000 & echo ready >&3; wait"));
    let attempt = tokio::spawn(async move { children.run(spec, env(), &signal).await });
    line.says("ready");
    attempt.abort();
    assert!(attempt.await.unwrap_err().is_cancelled());
    line.ends();
    drop(lasting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_reaper_is_replaced_and_told_what_lives() {
    let line = Line::new();
    let children = std::sync::Arc::new(children());
    let (_canceller, signal) = CancelSignal::pair();
    let (first, first_signal) = (children.clone(), signal.clone());
    let spec = script(&line.held_by(STUBBORN));
    let attempt = tokio::spawn(async move { first.run(spec, env(), &first_signal).await });
    line.says("ready");
    let before = children.reaper_id().unwrap();
    self::signal(before, Signal::KILL);
    // The pipe breaks when the reaper is gone; until then a child may still find it alive.
    while children.reaper_id() == Some(before) {
        children.run(script(":"), env(), &signal).await.unwrap();
    }
    // Nobody but the new reaper can end what the attempt started, for the attempt is never polled again.
    children.close().await;
    line.ends();
    assert_eq!(attempt.await.unwrap().unwrap().signal, Some(9));
}

/// Starts `examples/parent.rs` with a script; the parent and its reaper's id.
fn started(script: &str) -> (std::process::Child, u32, BufReader<std::process::ChildStdout>) {
    let mut parent = Command::new(parent()).arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(parent.stdout.take().unwrap());
    let mut id = String::new();
    output.read_line(&mut id).unwrap();
    (parent, id.trim().parse().unwrap(), output)
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_lives_after_the_parent_was_killed() {
    let line = Line::new();
    let (mut parent, reaper, _output) = started(&line.held_by(STUBBORN));
    line.says("ready");
    let catches = || {
        let status = std::fs::read_to_string(format!("/proc/{reaper}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&caught, 16).unwrap() & 0b100_0000_0000_0011 == 0b100_0000_0000_0011
    };
    while !catches() {
        std::thread::yield_now();
    }
    // What a terminal and a supervisor send does not keep the reaper from its work.
    for sent in [Signal::INT, Signal::TERM, Signal::HUP] {
        signal(reaper, sent);
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    line.ends();
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_lives_after_the_parent_has_ended() {
    let line = Line::new();
    let away =
        "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & echo ready >&3; wait' >/dev/null 2>&1 & sleep 0.1";
    let (mut parent, _reaper, mut output) = started(&line.held_by(away));
    line.says("ready");
    assert!(parent.wait().unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "Some(0)\n");
    line.ends();
}
