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

/// A step that succeeded, one that fails until somebody mends it, and one that waits for it.
const CHANGED: &str = r#"
drydock: v1
name: changed
params: { word: { type: string, default: one } }
steps:
  good: { uses: process.run, with: { argv: [sh, -c, "echo good {{ params.word }} >> ledger"] } }
  read: { uses: process.run, needs: [good], with: { argv: [cat, plan.yaml], capture: none } }
  bad: { uses: process.run, needs: [read], on_unknown: redo, with: { argv: [sh, -c, "echo bad >> ledger; test -e mended"] } }
  last: { uses: flow.noop, needs: [bad] }
"#;

/// A run of [`CHANGED`] that failed, its plan with a text replaced, and everything mended.
fn changed(from: &str, to: &str) -> World {
    assert!(CHANGED.contains(from), "no `{from}`");
    let world = World::plan(CHANGED);
    world.run().with_exit(20);
    world.write("plan.yaml", &CHANGED.replace(from, to)).write("mended", "")
}

#[test]
fn a_changed_step_that_succeeded_is_refused_with_its_name_and_what_differs() {
    let world = changed("echo good", "echo better");
    let ended = world.drydock("resume r --accept-changes").with_exit(12);
    let said = "run r cannot go on with these changes:\n  good has succeeded, and the step is changed:\n    \
                with.argv[2]: \"echo good {{ params.word }} >> ledger\" -> \"echo better {{ params.word }} >> ledger\"\n\
                help: undo them, or run again what was done, with all that needs it: --redo good\n";
    assert!(ended.stderr.ends_with(said), "{}", ended.stderr);
    assert_eq!(world.text("ledger"), "good one\nbad\n", "nothing was done");
    assert_eq!(world.shown()["sittings"].as_array().unwrap().len(), 1, "no sitting began");
    // And the change was not kept: the plan as it was goes on.
    let world = world.write("plan.yaml", CHANGED);
    world.drydock("resume r").with_exit(0);
    assert_eq!(world.text("ledger"), "good one\nbad\nbad\n");
}

#[test]
fn a_changed_step_may_be_run_again() {
    let world = changed("echo good", "echo better");
    world.drydock("resume r --accept-changes --redo good").with_exit(0);
    assert_eq!(world.text("ledger"), "good one\nbad\nbetter one\nbad\n");
    assert_eq!(world.shown()["status"], "succeeded");
}

#[test]
fn a_step_that_succeeded_may_not_go_or_be_renamed() {
    let read =
        "  read: { uses: process.run, needs: [good], with: { argv: [cat, plan.yaml], capture: none } }\n";
    let world = changed(read, "");
    let text = world.text("plan.yaml").replace("needs: [read]", "needs: [good]");
    let world = world.write("plan.yaml", &text);
    let ended = world.drydock("resume r --accept-changes --format json").with_exit(12);
    let line: serde_json::Value = serde_json::from_str(ended.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(line["exit"], 12);
    assert_eq!(
        line["error"],
        "run r cannot go on with these changes:\n  read has succeeded, and the step was taken out of the plan"
    );
    assert_eq!(line["help"], "undo them");
    let text = CHANGED.replace("  read:", "  look:").replace("[read]", "[look]");
    let world = world.write("plan.yaml", &text);
    world
        .drydock("resume r --accept-changes")
        .with_exit(12)
        .says("read has succeeded, and the step was taken out of the plan; `look` is what it was: a step keeps its name");
}

#[test]
fn a_changed_parameter_is_a_change_of_the_steps_that_read_it() {
    let world = changed("default: one", "default: two");
    world
        .drydock("resume r --accept-changes")
        .with_exit(12)
        .says("good has succeeded, and the step is changed:\n    params.word: \"one\" -> \"two\"\n");
    let world = World::plan(CHANGED);
    world.run().with_exit(20);
    // One that only steps read which are to come may change.
    let text = CHANGED
        .replace("echo good {{ params.word }}", "echo good one")
        .replace("test -e", "test {{ params.word }} -a -e");
    let world = World::plan(&text);
    world.run().with_exit(20);
    let world = world.write("plan.yaml", &text.replace("default: one", "default: two")).write("mended", "");
    world.drydock("resume r --accept-changes").with_exit(0);
}

#[test]
fn words_comments_and_order_are_no_change() {
    let text = CHANGED
        .replace("  read: {", "  # It looks.\n  read: { description: It looks., timeout: 1m, ")
        .replace("{{ params.word }}", "{{params.word}}");
    let world = World::plan(CHANGED);
    world.run().with_exit(20);
    let world = world.write("plan.yaml", &text).write("mended", "");
    world.drydock("resume r --accept-changes").with_exit(0);
    assert_eq!(world.text("ledger"), "good one\nbad\nbad\n");
}

#[test]
fn a_step_with_an_open_attempt_may_neither_go_nor_become_another() {
    let world = World::plan(CHANGED).write("mended", "");
    // `bad` has begun, and its process dies before anything of its end is in the journal.
    let mut command = world.command("run plan.yaml --run-id r");
    crate::world::ended(command.env("DRYDOCK_KILL_AT", "bad:done"));
    let world = world.write("plan.yaml", &CHANGED.replace("test -e mended", "true"));
    world
        .drydock("resume r --accept-changes --redo bad")
        .with_exit(12)
        .says("bad has an attempt that has not ended, and the step is changed:\n    with.argv[2]: ")
        .says("help: undo them\n");
    let world = world.write("plan.yaml", &CHANGED[..CHANGED.find("  bad:").unwrap()]);
    world
        .drydock("resume r --accept-changes")
        .with_exit(12)
        .says("bad has an attempt that has not ended, and the step was taken out of the plan");
    // How long it may take is not what it is.
    let world = world.write("plan.yaml", &CHANGED.replace("  bad: {", "  bad: { timeout: 1h,"));
    world.drydock("resume r --accept-changes").with_exit(0);
}

#[test]
fn instances_that_succeeded_keep_what_they_were_done_by() {
    let plan = "drydock: v1\nname: p\nsteps:\n  each: { uses: process.run, foreach: \"['a', 'b']\", key: item, max_parallel: 1, with: { argv: [sh, -c, 'echo {{ item }} >> ledger; test {{ item }} = a -o -e mended'] } }\n";
    let world = World::plan(plan);
    world.run().with_exit(20);
    let world = world.write("plan.yaml", &plan.replace("echo", "printf")).write("mended", "");
    world
        .drydock("resume r --accept-changes")
        .with_exit(12)
        .says("each[a] has succeeded, and the step is changed:")
        .says("--redo each\n");
    // Written otherwise and tried otherwise it is the same.
    let world = world.write("plan.yaml", &plan.replace("max_parallel: 1", "max_parallel: 2, timeout: 1h"));
    world.drydock("resume r --accept-changes").with_exit(0);
    assert_eq!(world.text("ledger"), "a\nb\nb\n");
}
