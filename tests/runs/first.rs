//! A first plan: it runs, each step once, and what it gave is shown.

use serde_json::json;

use crate::world::World;

const PLAN: &str = r#"
drydock: v1
name: first
params:
  who: { type: string, default: world }
steps:
  greet:
    uses: process.run
    with: { argv: [echo, "hello {{ params.who }}"] }
    validate:
      - name: it greets
        assert: outputs.stdout == 'hello ' ~ params.who
  keep:
    uses: flow.set
    needs: [greet]
    with: { values: { said: "{{ steps.greet.outputs.stdout }}", n: "{{ 40 + 2 }}" } }
outputs:
  said: "{{ steps.keep.outputs.said }}"
"#;

#[test]
fn a_plan_runs_and_is_shown() {
    let world = World::plan(PLAN);
    let ended = world.drydock("run plan.yaml --run-id r -p who=you").with_exit(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap(),
        json!({ "said": "hello you" })
    );
    let shown = world.shown();
    assert_eq!(shown["status"], "succeeded");
    assert_eq!(shown["exit"], 0);
    assert_eq!(shown["steps"]["keep"]["outputs"], json!({ "said": "hello you", "n": 42 }));
    assert_eq!(
        shown["steps"]["greet"]["validations"],
        json!([{ "name": "it greets", "expected": "hello you", "found": "hello you", "ok": true }])
    );
    assert_eq!(shown["steps"]["greet"]["attempts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_chain_of_n_steps_takes_n_plus_one_batches() {
    let mut plan = "drydock: v1\nname: chain\nsteps:\n  s0: { uses: flow.noop }\n".to_owned();
    for n in 1..40 {
        plan.push_str(&format!("  s{n}: {{ uses: flow.noop, needs: [s{}] }}\n", n - 1));
    }
    let world = World::plan(&plan);
    world.run().with_exit(0);
    let batches = world.journal().iter().filter(|line| line.get("batch").is_some()).count();
    assert_eq!(batches, 41);
}

#[test]
fn the_state_folder_keeps_itself_out_of_version_control() {
    let world = World::plan(PLAN);
    world.run().with_exit(0);
    assert_eq!(world.text(".drydock/.gitignore"), "*\n");
    assert_eq!(world.text(".drydock/r/sources/00-plan.yaml"), PLAN);
}

#[test]
fn an_invalid_plan_starts_nothing() {
    let world = World::plan("drydock: v1\nname: p\nsteps:\n  a: { uses: flow.nope }\n");
    let ended = world.run().with_exit(10);
    assert!(ended.stdout.contains("flow.nope"), "{}", ended.stdout);
    assert!(!world.path(".drydock").exists());
}
