//! Formats that last: what any version has written is read by this one. `tests/formats` holds a file of every version; none of them is
//! ever written anew.
//!
//! `journal-v1` is a whole run of five sittings in which every event happens: interrupted, killed, approved, failed, done.

use std::path::Path;

use serde_json::{Value, json};

use crate::world::World;

/// A golden file.
fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/formats").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder with the run `golden`, its journal as given, and the files that its steps look for.
fn taken_up(journal: &str) -> World {
    let sources = ["00-plan.yaml", "01-env.yaml"].map(|name| golden(&format!("journal-v1/sources/{name}")));
    let world = World::plan(&sources[0]).write("env.yaml", &sources[1]).with("GOLDEN_TOKEN", "hunter2");
    std::fs::create_dir_all(world.path(".drydock/golden/sources")).unwrap();
    let start = golden("journal-v1/start.json").replace("/golden", &world.path("").display().to_string());
    let [plan, environment] = sources;
    world
        .write(".drydock/golden/sources/00-plan.yaml", &plan)
        .write(".drydock/golden/sources/01-env.yaml", &environment)
        .write(".drydock/golden/start.json", &start.replace("//", "/"))
        .write(".drydock/golden/journal.jsonl", journal)
        .write("tried", "")
        .write("mended", "")
        .write("again", "")
}

fn journal() -> String {
    golden("journal-v1/journal.jsonl")
}

/// A journal whose lines were changed, with checksums that fit again.
fn resealed(journal: &str) -> String {
    let mut prev = 0;
    let mut out = String::new();
    for line in journal.lines() {
        let body = &line[..line.rfind(",\"crc\":").unwrap()];
        let at = body.find("\"prev\":\"").unwrap() + 8;
        let body = format!("{}{prev:08x}{}", &body[..at], &body[at + 8..]);
        prev = crc32c::crc32c(body.as_bytes());
        out.push_str(&format!("{body},\"crc\":\"{prev:08x}\"}}\n"));
    }
    out
}

fn shown(world: &World) -> Value {
    serde_json::from_str(&world.drydock("runs show golden --format json").with_exit(0).stdout).unwrap()
}

/// Complains where something of `old` is not in `new`: what a reader of that version knows must still be there, and mean the same.
/// Times are not compared, and a summary, which is words for people, may say more.
#[track_caller]
fn assert_still_there(old: &Value, new: &Value, at: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let found = new.get(key).unwrap_or_else(|| panic!("{at} has no `{key}` any more"));
                if !["at", "at_ms", "started_at", "ended_at"].contains(&key.as_str()) {
                    assert_still_there(value, found, &format!("{at}/{key}"));
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{at}");
            old.iter()
                .zip(new)
                .enumerate()
                .for_each(|(n, (old, new))| assert_still_there(old, new, &format!("{at}/{n}")));
        }
        (Value::String(old), Value::String(new)) if at.ends_with("/summary") => {
            assert!(new.starts_with(old.as_str()), "{at}: `{new}` begins otherwise than `{old}`");
        }
        _ => assert_eq!(old, new, "{at}"),
    }
}

#[test]
fn every_event_of_version_1_is_in_its_golden_journal() {
    let written = journal();
    for name in drydock_machine::event::EVENT_NAMES {
        assert!(written.contains(&format!("\"event\":\"{name}\"")), "there is no {name}");
    }
}

#[test]
fn a_journal_of_version_1_is_shown_and_checked() {
    let world = taken_up(&journal());
    assert_still_there(&serde_json::from_str(&golden("journal-v1.show.json")).unwrap(), &shown(&world), "");
    let checked = world.drydock("runs check golden").with_exit(0);
    assert_eq!(checked.stdout, "run golden: sound\n");
    let ended = world.drydock("resume golden").with_exit(0);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), json!({ "by": "Ann", "first": "one" }));
    assert_eq!(world.text(".drydock/golden/journal.jsonl"), journal(), "an ended run does nothing");
}

/// Where each batch ends.
fn batches(journal: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    for line in journal.split_inclusive('\n') {
        at += line.len();
        if line.contains(",\"batch\":") {
            ends.push(at);
        }
    }
    ends
}

/// The run at its end; whatever it asks on the way is answered.
fn gone_on_with(world: &World) -> Value {
    let mut answers = String::new();
    for _ in 0..4 {
        let ended = world.drydock(&format!("resume golden{answers}"));
        if ended.code != Some(24) {
            ended.with_exit(0);
            return shown(world);
        }
        answers.clear();
        for (name, step) in shown(world)["steps"].as_object().unwrap() {
            match (step["status"].as_str(), step["uses"].as_str()) {
                (Some("waiting"), Some("flow.approve")) => {
                    drop(
                        world.drydock(&format!("approve golden {name} --as Ann --reason later")).with_exit(0),
                    );
                }
                (Some("waiting"), _) => answers.push_str(&format!(" --assume {name}=redo")),
                _ => {}
            }
        }
    }
    panic!("it asks and asks");
}

#[test]
fn a_journal_of_version_1_that_was_cut_is_gone_on_with() {
    let written = journal();
    let ends = batches(&written);
    assert!(ends.len() > 40, "only {} batches", ends.len());
    for (cut, torn) in ends.iter().step_by(6).flat_map(|end| [(*end, 0), (*end, 9)]) {
        let world = taken_up(&written[..written.len().min(cut + torn)]);
        let checked = world.drydock("runs check golden").with_exit(0);
        let expected =
            if torn > 0 && cut < written.len() { format!("torn at byte {cut}") } else { "sound".to_owned() };
        assert_eq!(checked.stdout, format!("run golden: {expected}\n"));
        shown(&world);
        let shown = gone_on_with(&world);
        assert_eq!(shown["outputs"], json!({ "by": "Ann", "first": "one" }), "cut at {cut}");
        assert_eq!(shown["steps"]["each[two]"]["status"], "succeeded", "cut at {cut}");
    }
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let added: Vec<String> = journal()
        .lines()
        .map(|line| line.replacen(",\"seq\":", ",\"colour\":{\"of\":[7]},\"seq\":", 1))
        .collect();
    let changed = resealed(&added.join("\n"));
    assert_eq!(changed.matches("colour").count(), added.len());
    let world = taken_up(&changed);
    assert_eq!(shown(&world), shown(&taken_up(&journal())));
    let cut = batches(&changed)[20];
    taken_up(&changed[..cut]).drydock("resume golden").with_exit(24).says("Go on, world?");
}

#[test]
fn events_that_are_not_known_are_told_and_stand_in_the_way_of_going_on() {
    let cut = &journal()[..batches(&journal())[20]];
    let told = resealed(&cut.replacen("\"event\":\"noted\"", "\"event\":\"teleported\"", 1));
    let world = taken_up(&told);
    world.drydock("runs check golden").with_exit(0);
    world.drydock("runs show golden").with_exit(0).says("does not know the event `teleported`");
    for command in ["resume golden", "abandon golden", "approve golden gate --as Ann --reason ok"] {
        let ended = world
            .drydock(command)
            .with_exit(12)
            .says("has an event `teleported` that this build does not know");
        ended.says("the version of Drydock that wrote it");
    }
    assert_eq!(world.text(".drydock/golden/journal.jsonl"), told, "nothing is written");
}

#[test]
fn newer_versions_are_refused_by_name() {
    let world = taken_up(&resealed(&journal().replacen("\"version\":1", "\"version\":2", 1)));
    for command in ["runs show golden", "resume golden"] {
        world
            .drydock(command)
            .with_exit(12)
            .says("it is a journal of version 2; this build reads up to version 1");
    }
    let start = golden("journal-v1/start.json").replace("\"version\": 1", "\"version\": 2");
    let world = taken_up(&journal()).write(".drydock/golden/start.json", &start);
    world
        .drydock("runs show golden")
        .with_exit(12)
        .says("its start.json has version 2, this build reads up to version 1");
}

#[test]
fn events_of_version_1_are_written_as_ever() {
    let world = World::plan(&golden("v1.plan.yaml"));
    let ended = world.drydock("run plan.yaml --run-id golden --format json").with_exit(0);
    let mut written = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // New events may stand between the old ones.
    for line in golden("events-v1.jsonl").lines() {
        let old: Value = serde_json::from_str(line).unwrap();
        let same = |new: &Value| {
            ["event", "step", "key", "attempt", "drydock"].iter().all(|key| old.get(key) == new.get(key))
        };
        let new = written.find(same).unwrap_or_else(|| panic!("not written any more: {line}"));
        assert_still_there(&old, &new, old["event"].as_str().unwrap_or("the header"));
    }
}

#[test]
fn dry_runs_of_version_1_are_written_as_ever() {
    let world = World::plan(&golden("v1.plan.yaml"));
    let old: Value = serde_json::from_str(&golden("dry-run-v1.json")).unwrap();
    let shown = world.drydock("dry-run plan.yaml --out saved.json --format json").with_exit(0).stdout;
    assert_still_there(&old, &serde_json::from_str(&shown).unwrap(), "");
    assert_still_there(&old, &serde_json::from_str(&world.text("saved.json")).unwrap(), "");
    assert_eq!((&old["drydock"], &old["version"]), (&json!("dry-run"), &json!(1)));
}

#[test]
fn saved_dry_runs_of_version_1_are_read_and_executed() {
    let world = World::plan(&golden("v1.plan.yaml"))
        .write("first.json", &golden("dry-run-v1.json"))
        .write("saved.json", &golden("dry-run-v1-saved.json"));
    let read = world.drydock("dry-run --read first.json").with_exit(0);
    read.says("warning: it was saved by a Drydock whose dry runs could not be run");
    let read = world.drydock("dry-run --read saved.json --max-age 36500d").with_exit(0);
    assert!(!read.stderr.contains("warning"), "{}", read.stderr);
    world.drydock("run --saved first.json").with_exit(11).says("[saved.unprobed]");
    world.drydock("run --saved saved.json --max-age 36500d --run-id r").with_exit(0);
    let start: Value = serde_json::from_str(&world.text(".drydock/r/start.json")).unwrap();
    assert_eq!(start["reviewed"]["id"], "01M8FK1SX4A3F5CXWNJ8B4Z9QD");
}
