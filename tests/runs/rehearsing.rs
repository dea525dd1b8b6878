//! `drydock rehearse PLAN --data FILE`: a plan of a user's own, on practice servers that hold what the user says.

use serde_json::{Value, json};

use crate::world::World;

/// Backs a database and a collection up, and restores the database under another name.
const SHOP: &str = r#"drydock: v1
name: shop
purpose: restore
params:
  copy: { type: string, required: true }
targets: { sql: sqlserver, vectors: qdrant, backups: artifacts, hook: http }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: SalesDB, type: full, to: sql } }
  snapshot: { uses: qdrant.snapshot, target: vectors, with: { collections: [docs] } }
  fetch:
    uses: qdrant.fetch
    target: vectors
    needs: [snapshot]
    foreach: steps.snapshot.outputs.collections
    key: item.collection
    with: { snapshot: "{{ item }}", to: backups, prefix: qdrant }
  restore:
    uses: sqlserver.restore
    target: sql
    needs: [full]
    with: { database: SalesDB, into: "{{ params.copy }}", chain: ["{{ steps.full.outputs }}"] }
    validate:
      - name: the orders are there
        uses: sqlserver.query
        with: { database: "{{ params.copy }}", sql: "SELECT COUNT(*) AS n FROM orders" }
        assert: result.rows[0].n == 2
  tell: { uses: http.request, target: hook, needs: [restore, fetch], with: { method: POST, json: { text: done } } }
"#;

/// Its real servers are never asked.
const ENVIRONMENT: &str = r#"drydock: v1
environment: mine
targets:
  sql: { kind: sqlserver, host: sql01.invalid, user: u, password: { env: NOBODY_HAS_THIS } }
  vectors: { kind: qdrant, nodes: ["http://q0.invalid:6333"] }
  backups: { kind: artifacts, url: "file:///nowhere" }
  hook: { kind: http, url: "http://hook.invalid" }
params: { copy: SalesCopy }
"#;

fn world() -> World {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/rehearse-data.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    World::plan(SHOP).write("env.yaml", ENVIRONMENT).write("data.yaml", example)
}

const REHEARSE: &str = "rehearse plan.yaml -e env.yaml --data data.yaml";

/// What a step of the rehearsal is told to have done.
fn step<'t>(told: &'t Value, name: &str) -> &'t Value {
    let steps = told["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name} in {told:#}"))
}

#[test]
fn a_plan_of_ones_own_runs_on_what_the_page_s_example_holds() {
    let world = world();
    let ended = world.drydock(REHEARSE).with_exit(0);
    let text = &ended.stdout;
    assert!(text.starts_with("a rehearsal of shop on practice servers, seed 1\n"), "{text}");
    for words in
        ["shop succeeded; 5 succeeded\n", "the orders are there: 2\n", "\nit took ", "nothing was kept"]
    {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
    assert!(!text.contains("RPO") && !text.contains("go on with"), "{text}");
    assert!(!world.path(".drydock").exists(), "something was left");
}

#[test]
fn it_is_killed_while_the_server_works_resumed_and_kept() {
    let world = world();
    let line = format!("{REHEARSE} --kill-at shop:restore:acting --keep kept --format json");
    let told: Value = serde_json::from_str(&world.drydock(&line).with_exit(0).stdout).unwrap();
    assert_eq!((&told["ok"], &told["runs"]), (&json!(true), &json!(["own"])));
    assert_eq!(step(&told, "restore")["attempts"], 2, "it was killed and done again or found");
    assert_eq!(step(&told, "full")["attempts"], 1, "what was done is left alone");
    assert_eq!(step(&told, "fetch[docs]")["status"], "succeeded");
    assert!(told["rto_s"].as_f64().is_some() && told["rpo_s"].is_null(), "{told}");
    for kept in ["environment.yaml", "ledger.jsonl", "artifacts/qdrant", "state/own/journal.jsonl"] {
        assert!(world.path("kept").join(kept).exists(), "{kept}");
    }
    assert!(!world.path("kept/plans/backup.yaml").exists(), "plans that nobody asked for");
    let ledger = world.text("kept/ledger.jsonl");
    let held = ledger.lines().find(|line| line.contains("\"held\":true")).unwrap_or_default();
    assert!(
        held.contains("\"op\":\"restore database SalesCopy\""),
        "it was killed at another moment: {held}"
    );
    let restores =
        ledger.lines().filter(|line| line.contains("\"op\":\"restore database SalesCopy\"")).count();
    assert_eq!(restores, 1, "the database was restored more than once");
    world.drydock(REHEARSE).with_exit(0);
    world.drydock(&format!("{REHEARSE} --keep kept")).with_exit(2).says("is not empty");
}

#[test]
fn what_is_wrong_is_told_before_anything_is_rehearsed() {
    let world = world()
        .write("list.yaml", "sqlserver: [1]\n")
        .write("key.yaml", "qdrant:\n  docs: { sise: 4 }\n")
        .write(
            "vector.yaml",
            "qdrant:\n  docs:\n    size: 4\n    points:\n      - { id: 1, vector: [1, 0] }\n",
        )
        .write("broken.yaml", "sqlserver: {\n");
    let rehearse = "rehearse plan.yaml -e env.yaml";
    for (line, exit, words) in [
        ("rehearse none.yaml", 2, "cannot read none.yaml"),
        ("rehearse plan.yaml -e none.yaml", 2, "cannot read none.yaml"),
        ("rehearse plan.yaml -e plan.yaml", 2, "this is no environment: it has no `environment` at its top"),
        (&format!("{rehearse} --data none.yaml"), 2, "--data: there is no file none.yaml"),
        (
            &format!("{rehearse} --data list.yaml"),
            10,
            "list.yaml:1:1: sqlserver: it is a mapping with the databases",
        ),
        (&format!("{rehearse} --data key.yaml"), 10, "key.yaml:2:11: qdrant.docs.sise: there is no such key"),
        (
            &format!("{rehearse} --data vector.yaml"),
            10,
            "vector.yaml:5:9: qdrant.docs.points.0: its vector has 2 numbers, and `size` is 4",
        ),
        (&format!("{rehearse} --data broken.yaml"), 10, "broken.yaml:"),
        (&format!("{REHEARSE} --kill-at ful"), 2, "--kill-at: there is no step `ful` in shop"),
        (&format!("{REHEARSE} --kill-at restore:full"), 2, "--kill-at: this plan is `shop`, not `restore`"),
        (&format!("{REHEARSE} --kill-at full:later:on"), 2, "is not [PLAN:]STEP[:begun|acting|done]"),
    ] {
        world.drydock(line).with_exit(exit).says(words);
    }
    world.drydock(&format!("{REHEARSE} --kill-at ful")).says("did you mean `full`?");
    let ended = world.drydock(&format!("{rehearse} --data key.yaml --format json")).with_exit(10);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&said["exit"], &said["help"]),
        (&json!(10), &json!("docs/reference/rehearse-data.md describes the file"))
    );
}

#[test]
fn what_only_the_servers_can_tell_is_told_with_its_place() {
    let world = world().write(
        "table.yaml",
        "sqlserver:\n  SalesDB:\n    - CREATE TABLE t (id INT)\n    - INSERT INTO nothing VALUES (1)\n",
    );
    world
        .drydock("rehearse plan.yaml -e env.yaml --data table.yaml")
        .with_exit(10)
        .says("the practice servers could not be filled: batch 2 of the database SalesDB: ")
        .says("Invalid object name 'nothing'");
    // Nothing gives the parameter a value.
    let found = world.drydock("rehearse plan.yaml --data data.yaml").with_exit(10).stdout;
    assert!(found.contains("error[DD413]: the parameter `copy` has no value"), "{found}");
    world.drydock("rehearse plan.yaml --data data.yaml -p copy=Other").with_exit(0);
    // A step that does nothing at a server has no moment at which its answer is held back.
    let text = SHOP.replace("  tell:", "  rest: { uses: flow.noop }\n  tell:");
    let world = world.write("plan.yaml", &text);
    world
        .drydock(&format!("{REHEARSE} --kill-at rest"))
        .with_exit(11)
        .says("the run ended by itself before it could be killed at rest")
        .says("kill it when begun or done");
}

#[test]
fn a_rehearsal_that_fails_is_kept_and_says_where_to_look() {
    let world = world().write("plan.yaml", &SHOP.replace("result.rows[0].n == 2", "result.rows[0].n == 3"));
    let ended = world.drydock(&format!("{REHEARSE} --keep kept")).with_exit(21);
    assert!(
        ended.stdout.contains("shop failed at restore: validation \"the orders are there\""),
        "{}",
        ended.stdout
    );
    let state = world.path("kept/state");
    let look = format!("look at it: drydock runs show own --state-dir {}\n", state.display());
    assert!(ended.stdout.contains(&look), "{}", ended.stdout);
    world.drydock(&format!("runs show own --state-dir {}", state.display())).with_exit(0);
}
