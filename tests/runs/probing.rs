//! How a dry run asks the servers: many at once, each for a limited time, and each cause named once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use crate::dry_runs::PLANS;
use crate::log_points::{Story, obliging};
use crate::sql_plans::Practice;
use crate::world::World;

/// Three snapshots of one Qdrant, none of which needs another.
const SNAPSHOTS: &str = "drydock: v1
name: p
targets: { vectors: qdrant }
steps:
  one: { uses: qdrant.snapshot, target: vectors, with: { collections: [one] } }
  two: { uses: qdrant.snapshot, target: vectors, with: { collections: [two] } }
  three: { uses: qdrant.snapshot, target: vectors, with: { collections: [three] } }
";

fn world(plan: &str, port: u16) -> World {
    let environment = format!(
        "drydock: v1\nenvironment: e\ntargets:\n  vectors: {{ kind: qdrant, nodes: ['http://127.0.0.1:{port}'] }}\n"
    );
    World::plan(plan).write("e.yaml", &environment)
}

/// A port where connections are taken and nobody ever says a word. Kept open by what comes with it.
fn mute() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port where nobody is.
fn nobody() -> u16 {
    mute().1
}

/// A server that answers nobody before so many have asked.
fn together(many: usize) -> u16 {
    let (listener, port) = mute();
    let asked = Arc::new((Mutex::new(0_usize), Condvar::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let asked = asked.clone();
            std::thread::spawn(move || refuse(stream.unwrap(), &asked, many));
        }
    });
    port
}

fn refuse(mut stream: TcpStream, asked: &(Mutex<usize>, Condvar), many: usize) {
    let (count, changed) = asked;
    if stream.read(&mut [0; 4096]).unwrap_or(0) == 0 {
        return;
    }
    let mut count = count.lock().unwrap();
    *count += 1;
    changed.notify_all();
    drop(changed.wait_while(count, |count| *count < many).unwrap());
    let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
}

fn findings(world: &World, more: &str, exit: i32) -> Vec<Value> {
    let shown = world.drydock(&format!("dry-run plan.yaml -e e.yaml --format json {more}")).with_exit(exit);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    shown["findings"].as_array().unwrap().clone()
}

#[test]
fn a_server_that_says_nothing_is_named_after_a_while_and_speaks_against_nothing() {
    let (_held, port) = mute();
    let world = world(SNAPSHOTS, port);
    let found = findings(&world, "--probe --probe-timeout 300ms", 0);
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(found["code"], "probe.timeout");
    assert_eq!((&found["step"], &found["also"]), (&json!("one"), &json!(["two", "three"])));
    assert_eq!((&found["severity"], &found["fatal"]), (&json!("unknown"), &json!(false)));
    assert_eq!(found["target"], "vectors");
    let shown =
        world.drydock("dry-run plan.yaml -e e.yaml --probe --probe-timeout 300ms").with_exit(0).stdout;
    let line = "  not known: one, two, three: vectors did not tell within 300ms whether this can work";
    assert!(shown.contains(line) && shown.contains("wait longer with --probe-timeout"), "{shown}");
}

#[test]
fn steps_are_asked_about_at_once_and_told_in_their_order() {
    // One after the other would never get an answer.
    let world = world(SNAPSHOTS, together(3));
    let found = findings(&world, "--probe", 11);
    let codes: Vec<&Value> = found.iter().map(|found| &found["code"]).collect();
    assert!(!codes.contains(&&json!("probe.timeout")), "{found:?}");
    assert_eq!(found[0]["step"], "one");
    assert_eq!(found, findings(&world, "--probe=quick", 11), "told in the same order whoever answers first");
}

#[test]
fn a_server_that_is_down_is_one_cause() {
    let world = world(SNAPSHOTS, nobody());
    let found = findings(&world, "--probe", 11);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["code"], "qdrant.connect");
    assert_eq!((&found[0]["severity"], &found[0]["also"]), (&json!("error"), &json!(["two", "three"])));
    // A step that comes after another one asks the same server: that is the same cause.
    let world = self::world(
        &SNAPSHOTS.replace(
            "target: vectors, with: { collections: [two]",
            "needs: [one], target: vectors, with: { collections: [two]",
        ),
        nobody(),
    );
    let found = findings(&world, "--probe", 11);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!found[0]["message"].as_str().unwrap().contains("unless"), "{found:?}");
}

#[test]
fn a_server_that_a_program_may_start_is_not_known() {
    let plan = SNAPSHOTS.replace("uses: qdrant.snapshot,", "uses: qdrant.snapshot, needs: [up],")
        + "  up: { uses: process.run, with: { argv: ['true'] } }\n";
    let found = findings(&world(&plan, nobody()), "--probe", 0);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["severity"], &found[0]["fatal"]), (&json!("unknown"), &json!(false)));
    assert!(found[0]["message"].as_str().unwrap().ends_with("; unless a step before it changes that"));
}

#[test]
fn how_it_is_asked_is_one_of_two_ways() {
    let world = world(SNAPSHOTS, nobody());
    world.drydock("dry-run plan.yaml -e e.yaml --probe=full").with_exit(2).says("quick, deep");
    world
        .drydock("dry-run plan.yaml -e e.yaml --probe --probe-timeout soon")
        .with_exit(2)
        .says("`soon` is not a duration");
}

/// The files below a world's folder that are no server's own, with their bytes, and the names of those that are.
fn tree(world: &World) -> (Vec<(std::path::PathBuf, Vec<u8>)>, Vec<std::path::PathBuf>) {
    let (of_servers, own): (Vec<_>, Vec<_>) =
        world.every_file().into_iter().partition(|(path, _)| path.starts_with(world.path("servers")));
    // A database that is read has a log of its own beside it.
    let is_kept = |path: &std::path::PathBuf| {
        let name = path.to_string_lossy();
        !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    let mut names: Vec<_> = of_servers.into_iter().map(|(path, _)| path).filter(is_kept).collect();
    names.sort();
    let mut own: Vec<_> = own.into_iter().filter(|(path, _)| !path.ends_with("ledger.jsonl")).collect();
    own.sort();
    (own, names)
}

#[test]
fn a_dry_run_that_asks_writes_nothing_to_any_server_and_leaves_nothing_behind() {
    let mut story = Story::new();
    let ledger = story.world.path("ledger.jsonl");
    let _practice =
        Practice::with(&story.world, "{}", &["--seed", "7", "--fill", "--ledger", ledger.to_str().unwrap()]);
    let (url, asked) = obliging();
    let more = format!(
        "targets:\n  hosts: {{ kind: http, url: \"{url}\" }}\n  dns: {{ kind: http, url: \"{url}\" }}\n"
    );
    let environment = story.world.text("env.yaml").replace("targets:\n", &more);
    std::fs::write(story.world.path("env.yaml"), environment).unwrap();
    let point = story.shipped("backup", "-p pause=false")["point"].as_str().unwrap().to_owned();
    story.shipped("log", "");
    let (before, told) = (tree(&story.world), story.world.text("ledger.jsonl").lines().count());
    for (plan, given) in PLANS.iter().filter(|(plan, _)| !plan.starts_with("pgvector")) {
        let path = format!("{}/../plans/octopus/{plan}.yaml", env!("CARGO_MANIFEST_DIR"));
        let given = given.replace("to=point:latest", &format!("to={point}"));
        for how in ["--probe", "--probe=deep"] {
            let ended = story.world.drydock(&format!("dry-run {path} -e env.yaml {given} {how}"));
            assert!(matches!(ended.code, Some(0 | 11)), "{plan}: {}{}", ended.stdout, ended.stderr);
            assert!(!ended.stdout.contains("probe.timeout"), "{plan}: {}", ended.stdout);
        }
        assert!(tree(&story.world) == before, "the dry run of {plan} has left something behind");
    }
    let ledger = story.world.text("ledger.jsonl");
    let lines: Vec<Value> =
        ledger.lines().skip(told).map(|line| serde_json::from_str(line).unwrap()).collect();
    let wrote: Vec<&Value> = lines.iter().filter(|line| line["writes"] == json!(true)).collect();
    assert!(wrote.is_empty(), "{wrote:#?}");
    for server in ["sqlserver", "qdrant"] {
        assert!(lines.iter().any(|line| line["server"] == server), "nobody has asked {server}");
    }
    assert!(asked.lock().unwrap().is_empty(), "nothing is sent to an application");
}
