//! The JSON that programs read, key by key.

use serde_json::{Value, json};

use crate::world::World;

const PLAN: &str = "drydock: v1\nname: p\nsteps:\n  a: { uses: flow.noop }\n  b: { uses: flow.set, needs: [a], foreach: \"['x', 'y']\", with: { values: { it: '{{ item }}' } } }\n";

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn events_begin_with_a_header_and_end_with_the_run_s_end() {
    let world = World::plan(PLAN);
    let ended = world.drydock("run plan.yaml --run-id r --format json").with_exit(0);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({ "drydock": "events", "version": 1, "run": "r" }));
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["status"], &last["exit"]),
        (&json!("run_ended"), &json!("succeeded"), &json!(0))
    );
    let started: Vec<&Value> = lines.iter().filter(|line| line["event"] == "attempt_started").collect();
    assert_eq!(started.len(), 3);
    assert_eq!(
        (&started[1]["step"], &started[1]["key"], &started[1]["attempt"]),
        (&json!("b"), &json!("x"), &json!(1))
    );
    let seqs: Vec<u64> = lines[1..].iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    assert!(lines[1]["at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_run_is_shown_with_every_step_and_instance() {
    let world = World::plan(PLAN);
    world.run().with_exit(0);
    let shown = world.shown();
    for key in ["run", "plan", "digest", "environment", "status", "exit", "sittings", "steps"] {
        assert!(shown.get(key).is_some(), "no {key}");
    }
    assert_eq!(keys(&shown["steps"]), ["a", "b", "b[x]", "b[y]"]);
    assert_eq!(keys(&shown["sittings"][0]), ["n", "started_at", "ended_at", "exit"]);
    assert_eq!(
        keys(&shown["steps"]["a"]["attempts"][0]),
        ["n", "started_at", "ended_at", "outcome", "notes"]
    );
    assert_eq!(
        shown["steps"]["b"]["outputs"][1],
        json!({ "key": "y", "item": "y", "status": "succeeded", "outputs": { "it": "y" } })
    );
    let list: Value =
        serde_json::from_str(&world.drydock("runs list --format json").with_exit(0).stdout).unwrap();
    assert_eq!(keys(&list[0]), ["run", "plan", "environment", "status", "exit", "started_at"]);
    let checked: Value =
        serde_json::from_str(&world.drydock("runs check r --format json").with_exit(0).stdout).unwrap();
    assert_eq!(checked["journal"], "sound");
}

#[test]
fn findings_have_places_in_characters() {
    let world = World::plan("drydock: v1\nname: p\nsteps:\n  a: { description: äöü, uses: flow.nop }\n");
    let found: Value =
        serde_json::from_str(&world.drydock("check plan.yaml --format json").with_exit(10).stdout).unwrap();
    let finding = &found["findings"][0];
    assert_eq!(
        (&finding["line"], &finding["column"], &finding["length"]),
        (&json!(4), &json!(32), &json!(8))
    );
    assert_eq!(finding["suggestion"], "flow.noop");
    for key in ["code", "severity", "file", "message", "label", "help"] {
        assert!(finding.get(key).is_some(), "no {key}");
    }
}

#[test]
fn a_dry_run_says_what_would_run_and_changes_nothing() {
    let plan = "drydock: v1\nname: p\nsteps:\n  a: { uses: process.run, with: { argv: [touch, made] } }\n  b: { uses: flow.noop, needs: [a], when: steps.a.outputs.exit_code == 0 }\n  c: { uses: flow.noop, when: 'false' }\n";
    let world = World::plan(plan);
    let shown: Value =
        serde_json::from_str(&world.drydock("dry-run plan.yaml --format json").with_exit(0).stdout).unwrap();
    for key in ["digest", "steps", "destroys", "findings"] {
        assert!(shown.get(key).is_some(), "no {key}");
    }
    let runs: Vec<&str> =
        shown["steps"].as_array().unwrap().iter().map(|step| step["runs"].as_str().unwrap()).collect();
    assert_eq!(runs, ["yes", "unknown", "no"]);
    assert_eq!(shown["steps"][0]["actions"][0]["text"], "touch made");
    assert_eq!(shown["steps"][0]["actions"][0]["writes"], true);
    assert!(!world.path("made").exists() && !world.path(".drydock").exists());
}

#[test]
fn equal_runs_have_equal_journals_once_times_are_masked() {
    let masked = || {
        let world = World::plan(PLAN);
        world.run().with_exit(0);
        world
            .journal()
            .into_iter()
            .map(|mut line| {
                for key in ["at", "prev", "crc", "batch"] {
                    line.as_object_mut().unwrap().remove(key);
                }
                line
            })
            .collect::<Vec<_>>()
    };
    let order = |lines: Vec<Value>| {
        let mut texts: Vec<String> = lines
            .into_iter()
            .map(|mut line| {
                line.as_object_mut().unwrap().remove("seq");
                line.to_string()
            })
            .collect();
        texts.sort();
        texts
    };
    assert_eq!(order(masked()), order(masked()));
}

#[test]
fn a_dry_run_tells_what_would_be_destroyed_of_items_that_are_not_known_yet() {
    let plan = "drydock: v1\nname: p\ntargets: { vectors: qdrant, backups: artifacts }\nsteps:\n  list: { uses: process.run, with: { argv: [list], capture: json } }\n  each: { uses: qdrant.recover, target: vectors, needs: [list], foreach: steps.list.outputs.json, with: { from: backups, snapshot: '{{ item }}' } }\n";
    let environment = "drydock: v1\nenvironment: e\nprotected: true\ntargets: { vectors: { kind: qdrant, nodes: ['http://127.0.0.1:9'] }, backups: { kind: artifacts, url: store } }\n";
    let world = World::plan(plan).write("env.yaml", environment);
    let shown = world.drydock("dry-run plan.yaml -e env.yaml --format json").with_exit(0);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["destroys"], json!([{ "step": "each", "target": "vectors", "resource": "?" }]));
    assert_eq!((&shown["steps"][1]["id"], &shown["steps"][1]["runs"]), (&json!("each"), &json!("unknown")));
    assert_eq!(shown["steps"][1]["unknown"], json!(["list"]));
    let text = world.drydock("dry-run plan.yaml -e env.yaml").with_exit(0).stdout;
    assert!(text.contains("DESTROYS something that is known during the run on vectors, by each"), "{text}");
    world.drydock("run plan.yaml -e env.yaml").with_exit(11).says("vectors cannot be asked its name");
    world.drydock("run plan.yaml -e env.yaml --run-id r --skip each").with_exit(20).says("list failed");
}
