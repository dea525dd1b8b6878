//! A plan that changed under a run: what was done already stays as it was done, and what was not may change.

use drydock_machine::{Done, Sitting, Verdict};
use serde_json::json;

use crate::plans::{PlanBuilder, finally, plan, step};
use crate::world::{World, permanent, redo};

/// What comes too late when the run goes on as this plan.
fn too_late(world: World, now: PlanBuilder, sitting: &Sitting) -> Vec<String> {
    let was = world.folded();
    let now = world.changed(now).machine;
    was.too_late(&now, sitting).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(world: World, now: PlanBuilder, expected: &[&str]) {
    assert_eq!(too_late(world, now, &Sitting::default()), expected);
}

/// `a` succeeded, `b` failed and `c` was blocked.
fn failed() -> World {
    World::new(plan([step("a").with(json!({"x": 1})), step("b"), step("c").needs(&["b"])]))
        .fails("b", permanent("x"))
        .run()
}

#[test]
fn what_has_not_succeeded_may_change_or_go() {
    check(failed(), plan([step("a").with(json!({"x": 1})), step("b").with(json!({"y": 2})), step("n")]), &[]);
    // And how often or how long what succeeded was tried says nothing about it.
    let tried = step("a").with(json!({"x": 1})).timeout(5).retry(3, 1, &[]).continues();
    check(failed(), plan([tried, step("b")]), &[]);
}

#[test]
fn what_has_succeeded_stays() {
    check(
        failed(),
        plan([step("a").with(json!({"x": 2})), step("b")]),
        &["a has succeeded, and the step is changed:\n    with.x: 1 -> 2"],
    );
    check(
        failed(),
        plan([step("b"), step("c")]),
        &["a has succeeded, and the step was taken out of the plan"],
    );
    check(
        failed(),
        plan([step("z").with(json!({"x": 1})), step("b")]),
        &[
            "a has succeeded, and the step was taken out of the plan; `z` is what it was: a step keeps its name",
        ],
    );
    check(
        failed(),
        plan([step("a").with(json!({"x": 1})).check("true"), step("b")]),
        &["a has succeeded, and the step is changed:\n    validation `true`: (nothing) -> \"true\""],
    );
    check(
        failed(),
        plan([step("a").with(json!({"x": 1})).needs(&["n"]), step("n")]),
        &["a has succeeded, and the step is changed:\n    needs: (nothing) -> [\"n\"]"],
    );
    // A step of `finally` is done at the end of every sitting; one of the body is not.
    let last = || World::new(plan([step("b"), finally("a")])).fails("b", permanent("x")).run();
    check(last(), plan([step("b"), finally("a").with(json!({"x": 1}))]), &[]);
    check(
        last(),
        plan([step("b"), step("a")]),
        &["a has succeeded, and the step is changed:\n    it stands under: \"finally\" -> \"steps\""],
    );
}

#[test]
fn what_the_sitting_does_again_may_change() {
    let now = || plan([step("a").with(json!({"x": 2})), step("b")]);
    assert_eq!(too_late(failed(), now(), &redo(&["a"])), [""; 0]);
    assert_eq!(too_late(failed(), now(), &redo(&["b"])).len(), 1);
    // Also what needs it, in the plan as it is now.
    let ran = || World::new(plan([step("a"), step("b").needs(&["a"])])).run();
    let now = |needs: &[&'static str]| plan([step("a"), step("b").needs(needs).with(json!({"y": 1}))]);
    assert_eq!(too_late(ran(), now(&["a"]), &redo(&["a"])), [""; 0]);
    assert_eq!(
        too_late(ran(), now(&[]), &redo(&["a"])),
        [
            "b has succeeded, and the step is changed:\n    with.y: (nothing) -> 1\n    needs: [\"a\"] -> (nothing)",
        ]
    );
}

#[test]
fn what_was_skipped_is_not_asked_again_and_what_was_left_out_is_no_part() {
    let world = || {
        World::new(plan([step("a").when("params.no"), step("b")]).param("no", json!(false)))
            .fails("b", permanent("x"))
            .run()
    };
    check(
        world(),
        plan([step("a").when("params.no"), step("b")]).param("no", json!(true)),
        &["a was skipped, and the step is changed:\n    params.no: false -> true"],
    );
    check(world(), plan([step("b")]), &["a was skipped, and the step was taken out of the plan"]);
    let left_out = World::new(plan([step("a"), step("b")]))
        .fails("b", permanent("x"))
        .sit(Sitting { only: vec![crate::plans::name("b")], ..Sitting::default() });
    check(left_out, plan([step("b")]), &[]);
}

#[test]
fn an_attempt_that_has_not_ended_is_asked_about_as_what_it_was() {
    let world = || World::new(plan([step("a").with(json!({"x": 1}))])).run_until("a/1").dies();
    check(
        world(),
        plan([step("b")]),
        &["a has an attempt that has not ended, and the step was taken out of the plan"],
    );
    check(
        world(),
        plan([step("a").with(json!({"x": 2}))]),
        &["a has an attempt that has not ended, and the step is changed:\n    with.x: 1 -> 2"],
    );
    // Who says redo may not know that the server has done it since.
    assert_eq!(too_late(world(), plan([step("a").with(json!({"x": 2}))]), &redo(&["a"])).len(), 1);
    // What is asked when it is done may change.
    check(world(), plan([step("a").with(json!({"x": 1})).check("true").timeout(1)]), &[]);
    let waits = World::new(plan([step("a").with(json!({"x": 1}))])).waits("a").run();
    check(
        waits,
        plan([step("b")]),
        &["a has an attempt that has not ended, and the step was taken out of the plan"],
    );
}

#[test]
fn a_body_that_succeeded_is_left_alone_and_what_proves_it_may_change() {
    let world = || {
        World::new(plan([step("a").with(json!({"x": 1})).check("result.ok")]))
            .returns("a/check1", json!({"ok": false}))
            .run()
            .expect("a failed -> 21")
    };
    check(world(), plan([step("a").with(json!({"x": 1})).check("true").judges("outputs.y")]), &[]);
    check(
        world(),
        plan([step("a").with(json!({"x": 2})).check("true")]),
        &["the body of a has succeeded and is left alone, and the step is changed:\n    with.x: 1 -> 2"],
    );
    check(
        world(),
        plan([step("b")]),
        &["the body of a has succeeded and is left alone, and the step was taken out of the plan"],
    );
    // Outputs that could not be given are owed still, and may be mended; those that were given stay.
    let owing =
        World::new(plan([step("a").output("o", "{{ outputs.none }}")])).run().expect("a failed -> 20");
    check(owing, plan([step("a").output("o", "{{ outputs.some }}")]), &[]);
    let given = World::new(plan([step("a").output("o", "1").check("result.ok")]))
        .returns("a/check1", json!({"ok": false}))
        .run();
    check(
        given,
        plan([step("a").output("o", "2").check("true")]),
        &[
            "the body of a has succeeded and is left alone, and the step is changed:\n    outputs.o: \"1\" -> \"2\"",
        ],
    );
}

#[test]
fn a_validation_that_held_before_the_process_died_is_not_asked_again() {
    let world = || {
        World::new(plan([step("a").check("result.ok").check("true")]))
            .returns("a/check1", json!({"ok": true}))
            .run_until("a/check2/1")
            .dies()
    };
    check(world(), plan([step("a").check("result.ok").check("false")]), &[]);
    let late = too_late(world(), plan([step("a").check("false").check("true")]), &Sitting::default());
    assert_eq!(late.len(), 1, "{late:?}");
    assert!(late[0].contains("validation `result.ok`: \"result.ok\" -> \"false\""), "{late:?}");
}

#[test]
fn instances_that_succeeded_stay_and_the_list_is_not_asked_again() {
    let each = |x: u32| step("f").foreach("params.list").with(json!({ "x": x }));
    let of = |list: serde_json::Value, x: u32| plan([each(x)]).param("list", list);
    let world = || World::new(of(json!(["p", "q"]), 1)).fails("f[q]", permanent("x")).run();
    check(
        world(),
        of(json!(["p", "q"]), 2),
        &["f[p] has succeeded, and the step is changed:\n    with.x: 1 -> 2"],
    );
    check(
        world(),
        of(json!(["p", "r"]), 1),
        &["f[p] has succeeded, and the step is changed:\n    params.list[1]: \"q\" -> \"r\""],
    );
    assert_eq!(too_late(world(), of(json!(["p", "q"]), 2), &redo(&["f[p]"])), [""; 0]);
    assert_eq!(too_late(world(), of(json!(["p", "r"]), 2), &redo(&["f"])), [""; 0]);
    // One more step may be put before those that are to come.
    check(world(), plan([step("n"), each(1).needs(&["n"])]).param("list", json!(["p", "q"])), &[]);
    // Where none succeeded, only the list is known.
    let none = World::new(of(json!(["q"]), 1)).fails("f[q]", permanent("x")).run();
    check(
        none,
        of(json!(["r"]), 2),
        &[
            "the list of f was asked for and is not asked for again, and the step is changed:\n    params.list[0]: \"q\" -> \"r\"",
        ],
    );
    let keys = json!(["a", "b", "c", "d", "e", "z"]);
    let many = World::new(of(keys.clone(), 1)).fails("f[z]", permanent("x")).run();
    let late = too_late(many, of(keys, 2), &Sitting::default());
    assert!(late[0].starts_with("f[a], f[b], f[c] and 2 more have succeeded"), "{late:?}");
}

#[test]
fn what_was_undone_may_change_and_stays_undone() {
    let paused = |undoes: &[&'static str]| {
        [step("pause").with(json!({"x": 1})), step("copy").needs(&["pause"]), finally("open").undoes(undoes)]
    };
    let world = || World::new(plan(paused(&["pause"]))).fails("copy", permanent("x")).run();
    let mut other = paused(&["pause"]);
    other[0] = step("pause").with(json!({"x": 2}));
    check(world(), plan(other), &[]);
    let undid = |tail: &str| format!("open has undone pause, and {tail}");
    check(
        world(),
        plan(paused(&[])),
        &[&undid("the step is changed:\n    undoes: [\"pause\"] -> (nothing)")],
    );
    let [pause, copy, _] = paused(&[]);
    check(world(), plan([pause, copy]), &[&undid("the step was taken out of the plan")]);
}

#[test]
fn a_refusal_knows_what_would_help() {
    let was = failed();
    let now = |plan| failed().changed(plan).machine;
    let changed = was.machine.too_late(&now(plan([step("a"), step("b")])), &Sitting::default());
    assert_eq!((changed[0].done.clone(), changed[0].can_be_redone()), (Done::Succeeded, true));
    let gone = was.machine.too_late(&now(plan([step("b")])), &Sitting::default());
    assert!(!gone[0].can_be_redone(), "what is not there cannot be done again");
    let open = World::new(plan([step("a")])).run_until("a/1").dies().server_says("a", Verdict::NotDone);
    let was = open.folded();
    let begun =
        was.too_late(&open.changed(plan([step("a").with(json!({"x": 1}))])).machine, &Sitting::default());
    assert_eq!((begun[0].done.clone(), begun[0].can_be_redone()), (Done::Begun, false));
}
