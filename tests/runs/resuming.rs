//! Going on with a run: what is tried again, what is refused, what is asked.

use crate::world::World;

const FLAKY: &str = r#"
drydock: v1
name: flaky
steps:
  good: { uses: process.run, with: { argv: [sh, -c, "echo good >> ledger"] } }
  flaky:
    uses: process.run
    needs: [good]
    on_unknown: redo
    with: { argv: [sh, -c, "echo flaky >> ledger; test -e mended"] }
  after: { uses: flow.noop, needs: [flaky] }
finally:
  tidy: { uses: process.run, with: { argv: [sh, -c, "echo tidy >> ledger"] } }
"#;

#[test]
fn what_failed_is_tried_again_and_what_succeeded_is_not() {
    let world = World::plan(FLAKY);
    world.run().with_exit(20).says("drydock resume r");
    assert_eq!(world.shown()["steps"]["after"]["status"], "blocked");
    let world = world.write("mended", "");
    world.drydock("resume r").with_exit(0);
    assert_eq!(world.text("ledger"), "good\nflaky\ntidy\nflaky\ntidy\n");
    assert_eq!(world.shown()["steps"]["flaky"]["attempts"].as_array().unwrap().len(), 2);
    world.drydock("resume r").with_exit(0);
    assert_eq!(world.text("ledger"), "good\nflaky\ntidy\nflaky\ntidy\n", "an ended run does nothing");
}

#[test]
fn a_changed_plan_is_refused_with_what_changed() {
    let world = World::plan(FLAKY);
    world.run().with_exit(20);
    let world = world.write("plan.yaml", &FLAKY.replace("test -e mended", "true")).write("mended", "");
    let ended = world.drydock("resume r").with_exit(12).says("--accept-changes");
    assert!(
        ended.stderr.contains("-    with: { argv: [sh, -c, \"echo flaky >> ledger; test -e mended\"] }"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("+    with: { argv: [sh, -c, \"echo flaky >> ledger; true\"] }"),
        "{}",
        ended.stderr
    );
    world.drydock("resume r --accept-changes").with_exit(0);
    assert_eq!(world.shown()["status"], "succeeded");
    assert_eq!(world.text("ledger").matches("good").count(), 1);
}

#[test]
fn nobody_knows_what_a_program_did_and_so_it_is_asked() {
    let plan = "drydock: v1\nname: p\nsteps:\n  a: { uses: process.run, with: { argv: [sh, -c, 'echo a >> ledger'] } }\n  b: { uses: flow.noop, needs: [a] }\n";
    for (answer, effects) in [("redo", 2), ("done", 1)] {
        let world = World::plan(plan);
        // The program has worked and nothing of that is in the journal.
        assert_eq!(world.run_crashing("2.before").code, None);
        world.drydock("resume r").with_exit(24).says("drydock resume r --assume a=redo|done");
        assert_eq!(world.shown()["status"], "waiting");
        world.drydock(&format!("resume r --assume a={answer}")).with_exit(0);
        assert_eq!(world.text("ledger").matches('a').count(), effects, "{answer}");
        assert_eq!(world.shown()["steps"]["b"]["status"], "succeeded");
    }
    let world = World::plan(plan);
    world.run_crashing("2.before");
    world.drydock("resume r --assume a=maybe").with_exit(2).says("is not STEP=redo or STEP=done");
    world.drydock("resume r --assume c=redo").with_exit(2).says("there is no step `c`");
}

#[test]
fn redo_runs_a_step_and_all_that_need_it() {
    let plan = "drydock: v1\nname: p\nsteps:\n  a: { uses: process.run, with: { argv: [sh, -c, 'echo a >> ledger'] } }\n  b: { uses: process.run, needs: [a], with: { argv: [sh, -c, 'echo b >> ledger'] } }\n  c: { uses: process.run, with: { argv: [sh, -c, 'echo c >> ledger'] } }\n";
    let world = World::plan(plan);
    world.run().with_exit(0);
    world.drydock("resume r --redo a").with_exit(0);
    let mut lines: Vec<String> = world.text("ledger").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["a", "a", "b", "b", "c"]);
}

#[test]
fn an_approval_is_kept_and_named() {
    let plan = "drydock: v1\nname: p\nsteps:\n  gate: { uses: flow.approve, with: { message: 'Restore over production?' } }\n  go: { uses: flow.set, needs: [gate], with: { values: { by: '{{ steps.gate.outputs.by }}' } } }\n";
    let world = World::plan(plan);
    world.run().with_exit(24).says("Restore over production?");
    world.drydock("approve r go --as Ann --reason ok").with_exit(12).says("does not wait for an approval");
    world.drydock("approve r gate --as Ann --reason drill").with_exit(0);
    world.drydock("resume r").with_exit(0);
    assert_eq!(world.shown()["steps"]["go"]["outputs"]["by"], "Ann");
}

#[test]
fn a_dead_run_stands_in_the_way_until_somebody_decides() {
    let world = World::plan(FLAKY).write("mended", "");
    world.run_crashing("2.after");
    let ended = world.drydock("run plan.yaml --run-id r2").with_exit(12).says("drydock resume r");
    assert!(ended.stderr.contains("drydock abandon r"), "{}", ended.stderr);
    world.drydock("abandon r").with_exit(0);
    assert_eq!(world.shown()["status"], "abandoned");
    assert!(world.text("ledger").contains("tidy"), "finally did not run");
    world.drydock("run plan.yaml --run-id r2").with_exit(0);
    let world = World::plan(FLAKY).write("mended", "");
    world.run_crashing("2.after");
    world.drydock("run plan.yaml --run-id r2 --on-unfinished resume").with_exit(0);
    assert_eq!(world.shown()["status"], "succeeded");
}

#[test]
fn a_run_that_failed_stands_in_nobody_s_way() {
    let world = World::plan(FLAKY);
    world.run().with_exit(20);
    world.drydock("run plan.yaml --run-id r2").with_exit(20);
}

#[test]
fn only_and_skip_leave_steps_out() {
    let world = World::plan(FLAKY).write("mended", "");
    world.drydock("run plan.yaml --run-id r --skip good,after").with_exit(0);
    let statuses = world.statuses();
    let of = |name: &str| statuses.iter().find(|(step, _)| step == name).unwrap().1.clone();
    assert_eq!([of("good"), of("flaky"), of("after")], ["skipped", "succeeded", "skipped"]);
    world.drydock("run plan.yaml --run-id r2 --only goods").with_exit(2).says("did you mean `good`?");
}

#[test]
fn what_was_accepted_is_what_the_run_goes_on_with() {
    let world = World::plan(FLAKY);
    world.run().with_exit(20);
    let longer = FLAKY.replace(
        "finally:",
        "  more: { uses: flow.fail, needs: [after], with: { message: alas } }\nfinally:",
    );
    let world = world.write("plan.yaml", &longer).write("mended", "");
    world.drydock("resume r --accept-changes").with_exit(20).says("more failed");
    assert_eq!(world.shown()["steps"]["more"]["status"], "failed", "a new step is shown");
    world.drydock("resume r").with_exit(20).says("more failed");
    let world = world.write("plan.yaml", FLAKY);
    let ended = world.drydock("resume r").with_exit(12).says("has changed since");
    assert!(ended.stderr.contains("-  more: {"), "{}", ended.stderr);
}
