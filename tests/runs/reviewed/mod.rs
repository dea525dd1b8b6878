//! Dry runs that are saved, read, and executed once as they were reviewed; and that servers are asked for exactly what was shown.

mod received;
mod shown;

use serde_json::{Value, json};

use crate::sql_plans::Practice;
use crate::world::World;

pub(super) fn shipped(plan: &str) -> String {
    format!("{}/../plans/octopus/{plan}.yaml", env!("CARGO_MANIFEST_DIR"))
}

const PLAN: &str = "drydock: v1
name: p
params: { word: { type: string, default: hello }, wait: { type: duration, default: 90s }, token: { type: secret, default: { env: TOKEN } } }
targets: { here: artifacts }
steps:
  list: { uses: flow.set, with: { values: { items: [a, b] } } }
  say:
    uses: process.run
    needs: [list]
    max_parallel: 1
    foreach: \"{{ steps.list.outputs.items }}\"
    with: { argv: [sh, -c, \"echo {{ params.word }} {{ item }} >> said\"], env: { TOKEN: \"{{ params.token }}\" } }
  later: { uses: process.run, needs: [say], with: { argv: [echo, \"{{ run.id }}\"] } }
";

const ENVIRONMENT: &str =
    "drydock: v1\nenvironment: e\ntargets: { here: { kind: artifacts, url: ./store } }\n";

fn world() -> World {
    let world = World::plan(PLAN).write("e.yaml", ENVIRONMENT).with("TOKEN", "hunter2");
    std::fs::create_dir(world.path("store")).unwrap();
    world
}

const SAVE: &str = "dry-run plan.yaml -e e.yaml -p word=world --probe --out saved.json";

/// The file changed and sealed again, as a newer build would have written it.
fn resealed(world: &World, change: impl Fn(&mut Value)) {
    let mut saved: Value = serde_json::from_str(&world.text("saved.json")).unwrap();
    saved.as_object_mut().unwrap().shift_remove("sha256");
    change(&mut saved);
    let text = drydock_recovery::sealed::text_of(&saved, None).unwrap();
    std::fs::write(world.path("saved.json"), text).unwrap();
}

#[test]
fn what_was_reviewed_is_done_once_and_nothing_else() {
    let world = world();
    let saved = world.drydock(SAVE).with_exit(0);
    saved.says("`drydock run --saved saved.json` does exactly this, once, within 1d");
    assert!(!world.text("saved.json").contains("hunter2"));
    let schema = world.drydock("schema dry-run").with_exit(0).stdout;
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let wrong = schema
        .validate(&serde_json::from_str(&world.text("saved.json")).unwrap())
        .err()
        .map(|error| error.to_string());
    assert_eq!(wrong, None);
    let before = world.every_file();
    let read = world.drydock("dry-run --read saved.json").with_exit(0);
    assert!(
        read.stdout
            .contains("say[a]  process.run\n    after list\n  ! TOKEN='***' sh -c 'echo world a >> said'"),
        "{}",
        read.stdout
    );
    read.says("note: saved by ").says(" for e\n");
    assert_eq!(world.every_file(), before, "reading leaves nothing behind");
    world.drydock("run --saved saved.json --run-id r").with_exit(0);
    assert_eq!(world.text("said"), "world a\nworld b\n");
    let used = world.drydock("run --saved saved.json").with_exit(11);
    used.says("this saved dry run was executed by run r [saved.used]");
    // The store knows it as well: another runner has another state folder.
    world
        .drydock("run --saved saved.json --state-dir elsewhere")
        .with_exit(11)
        .says("was executed by run r of ")
        .says("[saved.used]");
    assert_eq!(world.text("said"), "world a\nworld b\n");
}

#[test]
fn what_has_changed_since_is_refused_with_the_difference() {
    let world = world();
    world.drydock(SAVE).with_exit(0);
    let changed = PLAN.replace("echo {{ params.word }}", "echo no {{ params.word }}");
    std::fs::write(world.path("plan.yaml"), &changed).unwrap();
    let refused = world.drydock("run --saved saved.json").with_exit(11);
    let refused =
        refused.says("what would run now is not what was reviewed, and nothing was started [saved.differs]");
    let refused = refused.says("--- plan.yaml (as it was reviewed)\n+++ plan.yaml (now)");
    refused.says("-    with: { argv: [sh, -c, \"echo {{ params.word }}");
    world.drydock("dry-run --read saved.json").with_exit(0).says("warning: plan.yaml has changed since");
    std::fs::write(world.path("plan.yaml"), PLAN).unwrap();
    std::fs::write(world.path("e.yaml"), ENVIRONMENT.replace("./store", "./other")).unwrap();
    world
        .drydock("run --saved saved.json")
        .with_exit(11)
        .says("+targets: { here: { kind: artifacts, url: ./other } }");
    std::fs::write(world.path("e.yaml"), ENVIRONMENT).unwrap();
    assert!(!world.path("said").exists() && !world.path(".drydock").exists());
    world.drydock("run --saved saved.json --run-id r").with_exit(0);
}

#[test]
fn what_cannot_be_bound_is_not_run() {
    let world = world();
    world
        .drydock("dry-run plan.yaml -e e.yaml --out saved.json")
        .with_exit(0)
        .says("can be read and compared, and not run");
    world
        .drydock("run --saved saved.json")
        .with_exit(11)
        .says("it was saved without --probe")
        .says("[saved.unprobed]");
    world.drydock("dry-run --read saved.json").with_exit(0).says("warning: it was saved without --probe");
    world.drydock(SAVE).with_exit(0);
    let whole = world.text("saved.json");
    let edited = whole.replace("echo world a", "echo ruin a");
    std::fs::write(world.path("saved.json"), edited).unwrap();
    for command in ["run --saved saved.json", "dry-run --read saved.json"] {
        world.drydock(command).with_exit(11).says("it was changed after it was written").says("[saved.form]");
    }
    for (text, why) in [
        (&whole[..whole.len() / 2], "EOF while parsing"),
        ("{}", "missing field `drydock`"),
        ("{ \"drydock\": \"manifest\", \"version\": 1 }", "it is a `manifest`"),
    ] {
        std::fs::write(world.path("saved.json"), text).unwrap();
        world.drydock("run --saved saved.json").with_exit(11).says(why).says("[saved.form]");
    }
    std::fs::write(world.path("saved.json"), &whole).unwrap();
    resealed(&world, |saved| saved["version"] = json!(2));
    world
        .drydock("dry-run --read saved.json")
        .with_exit(11)
        .says("was saved by a newer Drydock: it has version 2");
    std::fs::write(world.path("saved.json"), &whole).unwrap();
    resealed(&world, |saved| {
        saved["saved"]["at_ms"] = json!(saved["saved"]["at_ms"].as_i64().unwrap() - 90_000_000)
    });
    world
        .drydock("run --saved saved.json")
        .with_exit(11)
        .says("it was saved 1d1h ago, and may be 1d old [saved.old]");
    world.drydock("dry-run --read saved.json").with_exit(0).says("warning: it was saved 1d1h ago");
    world.drydock("run --saved saved.json --max-age 2d --run-id r").with_exit(0);
    for (flags, why) in [
        ("plan.yaml --saved saved.json", "cannot be used"),
        ("--saved saved.json -p word=x", "cannot be used"),
        ("", "required"),
    ] {
        world.drydock(&format!("run {flags}")).with_exit(2).says(why);
    }
}

#[test]
fn a_run_of_it_that_was_killed_is_gone_on_with_as_it_was_reviewed() {
    let world = world();
    world.drydock(SAVE).with_exit(0);
    let mut killed = world.command("run --saved saved.json --run-id r");
    let killed = crate::world::ended(killed.env("DRYDOCK_KILL_AT", "later:begun"));
    assert_eq!(killed.code, None);
    world
        .drydock("run --saved saved.json")
        .with_exit(12)
        .says("run r of this plan and environment died in the middle");
    world.drydock("resume r --assume later=redo").with_exit(0);
    let start: Value = serde_json::from_str(&world.text(".drydock/r/start.json")).unwrap();
    assert!(start["reviewed"]["steps"]["say[a]"]["actions"].is_array());
}

#[test]
fn a_newer_point_changes_nothing_of_what_was_chosen_and_another_server_everything() {
    let world = World::plan("");
    let practice = Practice::start(&world, "{}");
    let backup = format!("run {} -e env.yaml", shipped("backup"));
    world.drydock(&format!("{backup} --run-id first")).with_exit(0);
    let point = |id: &str| {
        let shown = world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
        serde_json::from_str::<Value>(&shown).unwrap()["outputs"]["point"].as_str().unwrap().to_owned()
    };
    let save = |name: &str| {
        let restore = shipped("restore");
        world
            .drydock(&format!("dry-run {restore} -e env.yaml -p to=point:latest --probe --out {name}"))
            .with_exit(0);
    };
    save("saved.json");
    save("again.json");
    world.drydock(&format!("{backup} --run-id second")).with_exit(0);
    world.drydock("run --saved saved.json --run-id restored").with_exit(0);
    assert_eq!(point("restored"), point("first"));
    assert_ne!(point("first"), point("second"));
    // A file of what was chosen is another one now.
    let saved: Value = serde_json::from_str(&world.text("again.json")).unwrap();
    let full = saved["saved"]["steps"]["point"]["answer"]["sqlserver"]["octopus"]["backups"][0]["artifacts"]
        [0]["path"]
        .as_str()
        .unwrap();
    let full = world.path("artifacts").join(full);
    let bytes = std::fs::read(&full).unwrap();
    std::fs::write(&full, &bytes[..bytes.len() - 1]).unwrap();
    world.drydock("run --saved again.json").with_exit(11).says("cannot be used");
    std::fs::write(&full, bytes).unwrap();
    // Another server where the old one was: its name is another, and nothing is sent to it.
    drop(practice);
    std::fs::remove_dir_all(world.path("servers")).unwrap();
    std::fs::remove_file(world.path("ports.json")).unwrap();
    let ports = world.text("env.yaml");
    let _other = Practice::with(&world, "{\"major\":15}", &["--seed", "8", "--fill"]);
    let environment = world.text("env.yaml");
    std::fs::write(world.path("env.yaml"), &ports).unwrap();
    let refused = world.drydock("run --saved again.json").with_exit(11);
    assert!(refused.stderr.contains("server of sql"), "{}\n{environment}", refused.stderr);
}
