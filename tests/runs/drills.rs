//! Drills: the restore plan itself, on servers that no protected environment names, and nothing left behind but the evidence.

use serde_json::Value;

use crate::sql_plans::Practice;
use crate::world::{World, ended};

/// What is there of an Octopus.
const THERE: &str = "drydock: v1
name: there
targets: { sql: sqlserver, vectors: qdrant, q: http }
steps:
  databases: { uses: sqlserver.query, target: sql, with: { sql: \"SELECT COUNT_BIG(*) AS n FROM sys.databases WHERE name LIKE 'OctopusDB%'\" } }
  collections: { uses: http.request, target: q, with: { method: GET, path: /collections }, on_unknown: redo }
outputs:
  databases: \"{{ steps.databases.outputs.rows[0].n }}\"
  collections: \"{{ steps.collections.outputs.json.result.collections | length }}\"
";

fn shipped(plan: &str) -> String {
    format!("{}/../plans/octopus/{plan}.yaml", env!("CARGO_MANIFEST_DIR"))
}

fn shown(world: &World, id: &str) -> Value {
    let shown = world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
    serde_json::from_str(&shown).unwrap()
}

/// How many databases and collections there are.
fn there(world: &World, id: &str) -> (i64, i64) {
    world.drydock(&format!("run there.yaml -e env.yaml --run-id {id}")).with_exit(0);
    let outputs = shown(world, id)["outputs"].clone();
    let number =
        |name: &str| outputs[name].as_i64().or_else(|| outputs[name].as_str()?.parse().ok()).unwrap();
    (number("databases"), number("collections"))
}

#[test]
fn a_drill_proves_the_point_and_takes_away_what_it_made() {
    let world = World::plan("").write("there.yaml", THERE);
    let _practice = Practice::start(&world, "{}");
    let ports: Value = serde_json::from_str(&world.text("ports.json")).unwrap();
    let text = |pointer: &str| ports.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let node = format!(
        "targets:\n  q: {{ kind: http, url: \"{}\", headers: {{ api-key: {{ env: Q_KEY }} }} }}\n",
        text("/qdrant/nodes/0")
    );
    let world = world.with("Q_KEY", &text("/qdrant/api_key"));
    let environment = world.text("env.yaml").replace("targets:\n", &node);
    std::fs::write(world.path("env.yaml"), &environment).unwrap();
    world.drydock(&format!("run {} -e env.yaml --run-id backup", shipped("backup"))).with_exit(0);
    let point = shown(&world, "backup")["outputs"]["point"].as_str().unwrap().to_owned();
    let (databases, collections) = there(&world, "before");
    assert!(databases == 1 && collections > 0, "{databases} {collections}");

    // A server that a protected environment names is none to drill on, and no run has begun.
    let drill = format!("run {} -e env.yaml --drill -p to={point}", shipped("restore"));
    let protected =
        environment.replace("environment: practice\n", "environment: production\nprotected: true\n");
    let folder = world.path("beside");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("production.yaml"), &protected).unwrap();
    std::fs::write(folder.join("drill.yaml"), &environment).unwrap();
    let refused = world.drydock(&drill.replace("env.yaml", "beside/drill.yaml")).with_exit(12);
    refused.says("a drill must not write to ").says("which production names").says("help: bind `");
    world
        .drydock(&drill.replace("env.yaml", "beside/production.yaml"))
        .with_exit(2)
        .says("production is a protected environment, and no place for a drill");
    world
        .drydock(&format!("run {} -e env.yaml --drill", shipped("backup")))
        .with_exit(2)
        .says("octopus_backup is no restore plan, and only a restore can be drilled");
    world
        .drydock(&format!("run {} --drill -p to={point}", shipped("restore")))
        .with_exit(2)
        .says("a drill needs an environment of its own");

    // Killed in the middle, it is gone on with as the drill that it is.
    let mut killed = world.command(&format!("{drill} --run-id drill"));
    let killed = ended(killed.env("DRYDOCK_KILL_AT", "consistent:begun"));
    assert_eq!(killed.code, None, "it was killed: {}", killed.stderr);
    assert_eq!(there(&world, "killed").1, collections, "what was killed keeps what it has");
    world.drydock("resume drill").with_exit(0);
    let steps = shown(&world, "drill")["steps"].clone();
    assert_eq!(steps["clean_up_restore_sql"]["outputs"]["dropped"], serde_json::json!(["OctopusDB"]));
    assert_eq!(steps["new_point"]["status"], "skipped");
    let (left, gone) = there(&world, "after");
    // What the restore put aside was not made by the drill: it stays.
    assert_eq!((left, gone), (1, 0));
    let listed = world.drydock(&format!("points show {point} -e env.yaml")).with_exit(0).stdout;
    assert!(listed.contains("restored and proved by octopus_restore in "), "{listed}");

    // Too slow for its objective; and one that fails leaves nothing either, and does all of it again when it is resumed.
    let restore = std::fs::read_to_string(shipped("restore")).unwrap();
    let plans = |name: &str, text: String| {
        for file in ["migrations.sql", "conversation.yaml", "erasures.txt", "backup.yaml"] {
            let from = format!("{}/../plans/octopus/{file}", env!("CARGO_MANIFEST_DIR"));
            std::fs::copy(from, world.path(file)).unwrap();
        }
        std::fs::write(world.path(name), text).unwrap();
    };
    plans("slow.yaml", restore.replace("rto: 1h", "rto: 1ms"));
    world
        .drydock(&format!("run slow.yaml -e env.yaml --drill -p to={point} --run-id slow"))
        .with_exit(22)
        .says("longer than the recovery time objective of 1ms");
    plans(
        "fails.yaml",
        restore.replace(
            "needs: [recall]\n    when: params.new_point",
            "needs: [recall]\n    when: params.to == 'no'",
        ),
    );
    let failing = world.text("fails.yaml").replace(
        "finally:\n",
        "  fails: { uses: flow.fail, needs: [recall], with: { message: as it should } }\n\nfinally:\n",
    );
    plans("fails.yaml", failing);
    world
        .drydock(&format!("run fails.yaml -e env.yaml --drill -p to={point} --run-id fails"))
        .with_exit(20)
        .says("as it should");
    assert_eq!(there(&world, "failed"), (1, 0));
    world.drydock("resume fails").with_exit(20).says("as it should");
    assert_eq!(shown(&world, "fails")["steps"]["restore_sql"]["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(there(&world, "again"), (1, 0));
}
