//! What must hold after a body: attempts of their own, in order; when one does not hold, the body is left alone.

use drydock_machine::Verdict;
use drydock_plan::model::RetryOn;
use serde_json::json;

use crate::plans::{StepBuilder, plan, step};
use crate::world::{World, permanent, redo, transient};

fn validated() -> StepBuilder {
    step("a").check("result.n == 1").judges("outputs.ok").check("result.n == outputs.n")
}

fn world(a: StepBuilder) -> World {
    World::new(plan([a, step("b").needs(&["a"])])).returns("a", json!({"ok": true, "n": 3}))
}

#[test]
fn validations_are_asked_one_after_the_other() {
    let world = world(validated())
        .returns("a/check1", json!({"n": 1}))
        .returns("a/check3", json!({"n": 3}))
        .run()
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 a/check1/1 a/check3/1 b/1");
    let validations = &world.machine.report().steps["a"].validations;
    let names: Vec<&str> = validations.iter().map(|validation| validation.name.as_str()).collect();
    assert_eq!(names, ["result.n == 1", "outputs.ok", "result.n == outputs.n"]);
    assert!(validations.iter().all(|validation| validation.ok));
}

#[test]
fn one_that_does_not_hold_fails_the_step_with_21() {
    let message = "validation \"result.n == 1\" does not hold: expected 1, found 2";
    world(validated())
        .returns("a/check1", json!({"n": 2}))
        .run()
        .expect("a failed, b blocked -> 21")
        .expect_error("a", "validation", message)
        .expect_started("a/1 a/check1/1");
}

#[test]
fn one_that_cannot_be_judged_does_not_hold() {
    let message =
        "validation \"result.n == 1\" does not hold: expected result.n == 1, found `result` has no `n`";
    world(validated())
        .returns("a/check1", json!({"m": 1}))
        .run()
        .expect("a failed, b blocked -> 21")
        .expect_error("a", "validation", message);
}

#[test]
fn one_whose_attempt_fails_fails_the_step_with_its_error() {
    world(validated())
        .fails("a/check1", permanent("sql"))
        .run()
        .expect("a failed, b blocked -> 20")
        .expect_error("a", "sql", "it broke: sql");
}

#[test]
fn a_resume_asks_again_and_leaves_the_body_alone() {
    world(validated())
        .returns("a/check1", json!({"n": 1}))
        .returns("a/check3", json!({"n": 4}))
        .run()
        .expect("a failed, b blocked -> 21")
        .returns("a/check1", json!({"n": 1}))
        .returns("a/check3", json!({"n": 3}))
        .dies_and_resumes()
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 a/check1/1 a/check3/1 a/check1/2 a/check3/2 b/1");
}

#[test]
fn a_retry_asks_the_one_that_did_not_hold() {
    world(validated().retry(3, 100, &[RetryOn::Validation]))
        .returns("a/check1", json!({"n": 1}))
        .returns("a/check3", json!({"n": 4}))
        .returns("a/check3", json!({"n": 5}))
        .returns("a/check3", json!({"n": 3}))
        .run()
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 a/check1/1 a/check3/1 a/check3/2 a/check3/3 b/1");
}

#[test]
fn tries_of_the_body_are_not_tries_of_its_validations() {
    World::new(plan([step("a").check("result.ok").check("result.ok").retry(2, 0, &[RetryOn::Any])]))
        .fails("a", permanent("x"))
        .returns("a/check1", json!({"ok": false}))
        .returns("a/check2", json!({"ok": false}))
        .returns("a", json!({}))
        .returns("a/check1", json!({"ok": true}))
        .returns("a/check2", json!({"ok": false}))
        .run()
        .expect("a failed -> 21")
        .expect_started("a/1 a/2 a/check1/1 a/check1/2 a/check2/1 a/check2/2");
}

#[test]
fn only_errors_that_name_validations_try_them_again() {
    let tries = |errors: &[RetryOn]| {
        let a = step("a").check("result.ok").retry(2, 0, errors);
        World::new(plan([a]))
            .returns("a/check1", json!({"ok": false}))
            .returns("a/check1", json!({"ok": true}))
            .run()
            .verdict()
    };
    assert_eq!(tries(&[RetryOn::Transient]), "a failed -> 21");
    assert_eq!(tries(&[RetryOn::Timeout]), "a failed -> 21");
    assert_eq!(tries(&[RetryOn::Any]), "a succeeded -> 0");
    assert_eq!(tries(&[RetryOn::Validation]), "a succeeded -> 0");
    assert_eq!(tries(&[RetryOn::Code("validation".to_owned())]), "a succeeded -> 0");
}

#[test]
fn a_crash_in_a_validation_keeps_what_held_and_asks_the_lost_one_again() {
    world(validated())
        .returns("a/check1", json!({"n": 1}))
        .run_until("a/check3/1")
        .returns("a/check3", json!({"n": 3}))
        .server_says("a", Verdict::Unknown("never asked".to_owned()))
        .dies_and_resumes()
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 a/check1/1 a/check3/1 a/check3/2 b/1");
}

#[test]
fn redo_does_the_body_again_and_then_all_validations() {
    world(validated())
        .returns("a/check1", json!({"n": 1}))
        .returns("a/check3", json!({"n": 3}))
        .run()
        .returns("a", json!({"ok": true, "n": 4}))
        .returns("a/check1", json!({"n": 1}))
        .returns("a/check3", json!({"n": 4}))
        .sit(redo(&["a"]))
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 a/check1/1 a/check3/1 b/1 a/2 a/check1/2 a/check3/2 b/2");
}

#[test]
fn a_validation_under_another_name_has_not_held() {
    let a = |assert: &str| step("a").check(assert).check("result.ok");
    World::new(plan([a("result.n == 1")]))
        .returns("a/check1", json!({"n": 1}))
        .run_until("a/check2/1")
        .changed(plan([a("result.n == 2")]))
        .returns("a/check1", json!({"n": 1}))
        .run()
        .expect("a failed -> 21")
        .expect_started("a/1 a/check1/1 a/check2/1 a/check1/2");
}

#[test]
fn a_validation_loses_touch_and_is_asked_again_like_any_reader() {
    let world = World::new(plan([step("a").check("result.ok").retry(2, 0, &[RetryOn::Transient])]))
        .loses_touch("a/check1")
        .returns("a/check1", json!({"ok": true}))
        .fails("x", transient("unused"))
        .run()
        .expect("a succeeded -> 0")
        .expect_started("a/1 a/check1/1 a/check1/2");
    assert_eq!(world.asked, []);
}
