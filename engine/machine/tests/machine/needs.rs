//! What a step's needs mean for it: order, failures that stop, continue or are ignored, and who is blocked or cancelled by them.

use serde_json::json;

use crate::plans::{StepBuilder, finally, plan, step};
use crate::world::{World, permanent};

/// `a` fails; what becomes of the others.
#[track_caller]
fn a_fails(steps: impl IntoIterator<Item = StepBuilder>, verdict: &str) -> World {
    World::new(plan(steps).max_parallel(1)).fails("a", permanent("x")).run().expect(verdict)
}

#[test]
fn steps_run_when_what_they_need_has_ended_well() {
    World::new(plan([step("c").needs(&["a", "b"]), step("a"), step("b").needs(&["a"])]))
        .run()
        .expect("c succeeded, a succeeded, b succeeded -> 0")
        .expect_started("a/1 b/1 c/1");
}

#[test]
fn written_order_breaks_ties() {
    let needs_a = |id| step(id).needs(&["a"]);
    World::new(plan([step("d"), needs_a("c"), step("a"), needs_a("b")]).max_parallel(2))
        .takes("d", 10)
        .run()
        .expect_started("d/1 a/1 c/1 b/1");
}

#[test]
fn no_more_attempts_run_at_once_than_the_plan_allows() {
    let world = World::new(plan(["a", "b", "c", "d", "e"].map(step)).max_parallel(2));
    let world = ["a", "b", "c", "d", "e"].into_iter().fold(world, |world, id| world.takes(id, 10)).run();
    let starts: Vec<i64> = ["a", "b", "c", "d", "e"].iter().flat_map(|id| world.start_times(id)).collect();
    assert_eq!(starts, [0, 0, 10, 10, 20]);
}

#[test]
fn a_failure_stops_the_run() {
    a_fails(
        [step("a"), step("b").needs(&["a"]), step("c").needs(&["b"]), step("d"), step("e").needs(&["d"])],
        "a failed, b blocked, c blocked, d cancelled, e cancelled -> 20",
    )
    .expect_error("a", "x", "it broke: x")
    .expect_why("b", "it needs a, which failed")
    .expect_why("c", "it needs b, which was blocked")
    .expect_why("d", "a failed")
    .expect_why("e", "d was cancelled")
    .expect_started("a/1");
}

#[test]
fn what_runs_when_a_step_fails_runs_to_its_end() {
    World::new(plan([step("a"), step("b").check("result.ok"), step("c").needs(&["b"]), finally("f")]))
        .fails("a", permanent("x"))
        .takes("b", 50)
        .returns("b/check1", json!({"ok": true}))
        .run()
        .expect("a failed, b succeeded, c cancelled, f succeeded -> 20")
        .expect_started("a/1 b/1 b/check1/1 f/1");
}

#[test]
fn a_step_that_cannot_begin_stops_the_others_that_could() {
    World::new(plan([step("a").with(json!({"x": "{{ params.nothing }}"})), step("b")]))
        .run()
        .expect("a failed, b cancelled -> 20")
        .expect_started("");
}

#[test]
fn a_failure_that_continues_blocks_only_what_needs_it() {
    a_fails(
        [step("a").continues(), step("b").needs(&["a"]), step("c"), step("d").needs(&["c"])],
        "a failed, b blocked, c succeeded, d succeeded -> 20",
    );
}

#[test]
fn an_ignored_failure_satisfies_needs_and_is_a_warning() {
    let world = a_fails(
        [step("a").ignored(), step("b").needs(&["a"])],
        "a failed, b succeeded -> 0", //
    );
    assert_eq!(world.machine.report().warnings, ["a failed and was ignored: it broke: x"]);
    let summary = world.machine.report().summary.unwrap();
    assert_eq!(summary, "story succeeded; 1 succeeded; warning: a failed and was ignored: it broke: x");
}

#[test]
fn a_summary_names_what_failed_first_how_many_did_and_what_was_ignored() {
    let steps = [step("a").ignored(), step("b").continues(), step("c").continues(), step("d").needs(&["b"])];
    let tells = finally("tell").with(json!({"text": "{{ run.summary }}"}));
    let world = World::new(plan(steps.into_iter().chain([tells])).rto(5))
        .fails("a", permanent("x"))
        .fails("b", permanent("y"))
        .fails("c", permanent("z"))
        .takes("tell", 6)
        .run()
        .expect("a failed, b failed, c failed, d blocked, tell succeeded -> 20");
    let summary = world.machine.report().summary.unwrap();
    let words = "story failed at b: it broke: y; 2 failed, 1 succeeded, 1 blocked; warning: a failed and was ignored: it broke: x";
    assert_eq!(
        summary,
        format!("{words}; warning: it took 6ms, longer than the recovery time objective of 5ms")
    );
    // What `finally` tells others, before it is itself counted.
    let told = world.log.iter().find_map(|(_, event)| match event {
        drydock_machine::RunEvent::AttemptStarted { step, inputs, .. } if step.as_str() == "tell" => {
            inputs["text"].plain()
        }
        _ => None,
    });
    assert_eq!(told.unwrap(), json!(words.replace(", 1 succeeded", "")));
}

#[test]
fn what_is_blocked_is_blocked_whoever_ignores_failures() {
    a_fails(
        [step("a").continues(), step("b").needs(&["a"]).ignored(), step("c").needs(&["b"])],
        "a failed, b blocked, c blocked -> 20",
    );
}

#[test]
fn the_first_of_several_failures_gives_the_exit() {
    let steps = || [step("a").continues().judges("outputs.ok"), step("b").continues(), step("c")];
    let world = || World::new(plan(steps()));
    world()
        .returns("a", json!({"ok": false}))
        .fails("b", permanent("x"))
        .run()
        .expect("a failed, b failed, c succeeded -> 21");
    world()
        .returns("a", json!({"ok": false}))
        .fails("c", permanent("x"))
        .run()
        .expect("a failed, b succeeded, c failed -> 20");
    world().fails("b", permanent("objective.missed")).run().expect("a failed, b failed, c succeeded -> 21");
    World::new(plan([step("b")])).fails("b", permanent("objective.missed")).run().expect("b failed -> 22");
}

#[test]
fn a_false_when_skips_and_satisfies_needs() {
    let steps = [step("a").when("params.no"), step("b").needs(&["a"]), step("c").when("params.yes")];
    World::new(plan(steps).param("no", json!(false)).param("yes", json!(true)))
        .run()
        .expect("a skipped, b succeeded, c succeeded -> 0")
        .expect_why("a", "`when` is false: params.no");
}

#[test]
fn a_when_sees_status_and_outputs_of_what_the_step_needs() {
    let steps = [
        step("a").ignored(),
        step("b").needs(&["a"]).when("steps.a.status == 'failed'"),
        step("c").needs(&["b"]).when("steps.b.outputs.n > 3"),
        step("d").needs(&["b"]).when("steps.b.outputs.n > 5"),
    ];
    World::new(plan(steps))
        .fails("a", permanent("x"))
        .returns("b", json!({"n": 5}))
        .run()
        .expect("a failed, b succeeded, c succeeded, d skipped -> 0");
}

#[test]
fn a_when_that_cannot_be_asked_fails_the_step() {
    World::new(plan([step("a").ignored(), step("b").needs(&["a"]).when("steps.a.outputs.n > 3")]))
        .fails("a", permanent("x"))
        .run()
        .expect("a failed, b failed -> 20")
        .expect_started("a/1");
}

#[test]
fn outputs_flow_into_inputs_further_outputs_and_the_plans_outputs() {
    let steps = [
        step("a").output("twice", "{{ outputs.n * 2 }}"),
        step("b").needs(&["a"]).with(json!({"n": "{{ steps.a.outputs.twice }}"})),
    ];
    let world = World::new(plan(steps).output("n", "{{ steps.a.outputs.n }} of {{ steps.a.outputs.twice }}"))
        .returns("a", json!({"n": 21}))
        .run_until("b/1");
    let live = world.machine.wanted().start[0];
    assert_eq!(world.machine.work(live).unwrap().inputs["n"].plain(), Some(json!(42)));
    let report = world.go_on().expect("a succeeded, b succeeded -> 0").machine.report();
    assert_eq!(report.outputs[&crate::plans::name("n")], json!("21 of 42"));
    assert_eq!(report.steps["a"].outputs, json!({"n": 21, "twice": 42}));
}

#[test]
fn outputs_of_the_plan_that_cannot_be_rendered_fail_the_run() {
    let world = World::new(plan([step("a")]).output("n", "{{ steps.a.outputs.n }}"))
        .run()
        .expect("a succeeded -> 20");
    let (summary, warnings) = (world.machine.report().summary.unwrap(), world.machine.report().warnings);
    assert_eq!(summary, "story failed; 1 succeeded; output n of the plan: `steps.a.outputs` has no `n`");
    assert_eq!(warnings, ["output n of the plan: `steps.a.outputs` has no `n`"]);
}

#[test]
fn a_step_whose_own_outputs_cannot_be_rendered_renders_them_when_it_is_resumed() {
    let steps = |value: &str| [step("a").output("id", value), step("b").needs(&["a"])];
    World::new(plan(steps("{{ outputs.json.id }}")))
        .returns("a", json!({"json": {"nr": 7}}))
        .run()
        .expect("a failed, b blocked -> 20")
        .expect_error("a", "DD321", "`outputs.json` has no `id`")
        .dies_and_resumes()
        .expect("a failed, b blocked -> 20")
        .changed(plan(steps("{{ outputs.json.nr }}")).output("id", "{{ steps.a.outputs.id }}"))
        .run()
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 b/1");
}

#[test]
fn a_restore_that_took_too_long_ends_well_with_a_warning() {
    let world =
        World::new(plan([step("a")]).rto(3_600_000)).takes("a", 3_600_001).run().expect("a succeeded -> 0");
    let warning = "it took 1h1ms, longer than the recovery time objective of 1h";
    assert_eq!(world.machine.report().warnings, [warning]);
    let world = World::new(plan([step("a")]).rto(3_600_000)).takes("a", 3_600_000).run();
    assert_eq!(world.machine.report().warnings, Vec::<String>::new());
}

#[test]
fn a_drill_that_took_too_long_has_missed_its_objective() {
    let took = |ms: u64| World::new(plan([step("a")]).rto(3_600_000).drill()).takes("a", ms).run();
    took(3_600_001).expect("a succeeded -> 22");
    took(3_600_000).expect("a succeeded -> 0");
}

#[test]
fn a_restore_is_timed_to_the_step_that_has_the_system_back() {
    let timed = |before: u64| {
        let steps = [step("a"), step("b").needs(&["a"])];
        let world = World::new(plan(steps).rto(3_600_000).restored_by("a")).takes("a", before);
        world.takes("b", 3_600_000).run().expect("a succeeded, b succeeded -> 0").machine.report().warnings
    };
    assert_eq!(timed(3_600_000), Vec::<String>::new());
    assert_eq!(timed(3_600_001), ["it took 1h1ms, longer than the recovery time objective of 1h"]);
    // Where it never came back, it took as long as the run.
    let steps = [step("a"), step("b").needs(&["a"])];
    let world = World::new(plan(steps).rto(3_600_000).restored_by("b")).takes("a", 3_600_001);
    let warnings = world.fails("b", permanent("x")).run().machine.report().warnings;
    assert_eq!(warnings, ["it took 1h1ms, longer than the recovery time objective of 1h"]);
}

#[test]
fn only_and_skip_leave_steps_out_for_good() {
    use drydock_machine::Sitting;
    let steps = || [step("a"), step("b").needs(&["a"]), step("c").needs(&["b"]), finally("f"), finally("g")];
    let names = |ids: &[&str]| ids.iter().map(|id| crate::plans::name(id)).collect();
    let only = Sitting { only: names(&["b"]), ..Sitting::default() };
    World::new(plan(steps()))
        .fails("b", permanent("x"))
        .sit(only)
        .expect("a skipped, b failed, c skipped, f succeeded, g succeeded -> 20")
        .expect_why("a", "not chosen by --only")
        .dies_and_resumes()
        .expect("a skipped, b succeeded, c skipped, f succeeded, g succeeded -> 0")
        .sit(crate::world::redo(&["b"]))
        .expect("a skipped, b succeeded, c skipped, f succeeded, g succeeded -> 0")
        .sit(crate::world::redo(&["a"]))
        .expect("a succeeded, b succeeded, c skipped, f succeeded, g succeeded -> 0");
    let skip = Sitting { skip: names(&["a", "g"]), ..Sitting::default() };
    World::new(plan(steps()))
        .fails("b", permanent("x"))
        .sit(skip)
        .expect("a skipped, b failed, c blocked, f succeeded, g skipped -> 20")
        .expect_why("g", "left out by --skip")
        .dies_and_resumes()
        .expect("a skipped, b succeeded, c succeeded, f succeeded, g skipped -> 0")
        .expect_started("b/1 f/1 b/2 c/1 f/2");
}
