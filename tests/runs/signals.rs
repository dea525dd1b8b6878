//! Ctrl-C, SIGTERM and kill -9: what stops, what is tidied up, and that nothing of a child lives on.
#![cfg(unix)]

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::world::World;

/// Waits, for at most a minute, until something holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > Duration::from_secs(60) {
            panic!("not within a minute: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(sent.success());
}

fn start(world: &World) -> Child {
    world.command("run plan.yaml --run-id r").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// Whether a process lives: it is there and no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim_start().is_empty() && !rest.trim_start().starts_with('Z'))
}

const PLAN: &str = r#"
drydock: v1
name: stubborn
steps:
  stays:
    uses: process.run
    with: { argv: [sh, -c, "trap '' TERM; sleep 300 & echo $! > grandchild; setsid sleep 300 & echo $! > escaped; echo $$ > child; wait; sleep 300"] }
  after: { uses: flow.noop, needs: [stays] }
finally:
  tidy: { uses: process.run, with: { argv: [touch, tidied] } }
"#;

fn begun(world: &World) {
    until("the child has begun", || {
        ["child", "grandchild", "escaped"].iter().all(|name| world.text(name).ends_with('\n'))
    });
}

fn nothing_lives(world: &World) {
    for name in ["child", "grandchild", "escaped"] {
        let pid = world.text(name);
        until(&format!("the {name} is gone"), || !lives(&pid));
    }
}

#[test]
fn ctrl_c_stops_runs_finally_and_can_be_gone_on_with() {
    let world = World::plan(
        "drydock: v1\nname: p\nsteps:\n  a: { uses: flow.wait, with: { for: 10m } }\n  b: { uses: flow.noop, needs: [a] }\nfinally:\n  tidy: { uses: process.run, with: { argv: [touch, tidied] } }\n",
    );
    let child = start(&world);
    until("the run has begun", || world.text(".drydock/r/journal.jsonl").contains("attempt_started"));
    signal(&child, "INT");
    let (code, said) = ended(child);
    assert_eq!(code, Some(23), "{said}");
    assert!(said.contains("drydock resume r"), "{said}");
    assert!(world.path("tidied").exists());
    let shown = world.shown();
    assert_eq!(
        (&shown["status"], &shown["steps"]["b"]["status"]),
        (&"interrupted".into(), &"cancelled".into())
    );
    assert_eq!(shown["steps"]["b"]["attempts"].as_array().unwrap().len(), 0);
}

#[test]
fn a_child_that_will_not_stop_is_killed_with_all_that_it_started() {
    let world = World::plan(PLAN);
    let child = start(&world);
    begun(&world);
    signal(&child, "TERM");
    signal(&child, "INT");
    let (code, said) = ended(child);
    assert_eq!(code, Some(23), "{said}");
    nothing_lives(&world);
}

#[test]
fn nothing_of_a_child_lives_after_kill_9() {
    let world = World::plan(PLAN);
    let mut child = start(&world);
    begun(&world);
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_lives(&world);
    world.drydock("runs check r").with_exit(0);
}

#[test]
fn two_processes_never_work_on_one_run() {
    let world = World::plan("drydock: v1\nname: p\nsteps:\n  a: { uses: flow.wait, with: { for: 10m } }\n");
    let child = start(&world);
    until("the run has begun", || world.text(".drydock/r/journal.jsonl").contains("attempt_started"));
    world.drydock("resume r").with_exit(12).says("another process works on run r");
    world.drydock("run plan.yaml --run-id r2").with_exit(12).says("is going on");
    signal(&child, "INT");
    assert_eq!(ended(child).0, Some(23));
}
