//! Tries, delays, classes of errors, timeouts, and attempts of which nobody knows what they did.

use drydock_machine::{Ended, Verdict};
use drydock_plan::model::{Backoff, OnUnknown, RetryOn};
use serde_json::json;

use crate::plans::{StepBuilder, finally, plan, step};
use crate::world::{Act, World, busy, permanent, transient};

/// When the attempts of a step begin that always fails transiently.
#[track_caller]
fn check_times(a: StepBuilder, expected: &[i64]) {
    let world = (0..9).fold(World::new(plan([a])), |world, _| world.fails("a", transient("x"))).run();
    assert_eq!(world.start_times("a"), expected);
    world.expect("a failed -> 20").expect_error("a", "x", "it broke: x");
}

#[test]
fn attempts_count_all_tries_and_delays_grow_as_they_say() {
    let retry = |attempts, delay| step("a").retry(attempts, delay, &[RetryOn::Transient]);
    check_times(step("a"), &[0]);
    check_times(retry(3, 0), &[0, 0, 0]);
    check_times(retry(4, 100), &[0, 100, 200, 300]);
    check_times(retry(4, 100).backoff(Backoff::Linear, None), &[0, 100, 300, 600]);
    check_times(retry(5, 100).backoff(Backoff::Exponential, None), &[0, 100, 300, 700, 1_500]);
    check_times(retry(5, 100).backoff(Backoff::Exponential, Some(250)), &[0, 100, 300, 550, 800]);
    check_times(retry(3, u64::MAX / 2).backoff(Backoff::Exponential, Some(7)), &[0, 7, 14]);
}

#[test]
fn only_the_errors_that_it_names_are_tried_again() {
    let tries = |failure, errors: &[RetryOn]| {
        let world = World::new(plan([step("a").retry(2, 0, errors)])).fails("a", failure).run();
        world.started().len()
    };
    let code = |code: &str| [RetryOn::Code(code.to_owned())];
    assert_eq!(tries(permanent("x"), &[RetryOn::Transient]), 1);
    assert_eq!(tries(transient("x"), &[RetryOn::Transient]), 2);
    assert_eq!(tries(permanent("x"), &[RetryOn::Any]), 2);
    assert_eq!(tries(permanent("x"), &code("x")), 2);
    assert_eq!(tries(transient("y"), &code("x")), 1);
    assert_eq!(tries(transient("x"), &[RetryOn::Timeout, RetryOn::Validation]), 1);
    assert_eq!(tries(permanent("x"), &[]), 1);
}

#[test]
fn who_waits_for_its_next_try_takes_no_slot() {
    let steps = [step("a").retry(2, 100, &[RetryOn::Any]), step("b")];
    let world = World::new(plan(steps).max_parallel(1)).fails("a", permanent("x")).takes("b", 500).run();
    assert_eq!((world.start_times("a"), world.start_times("b")), (vec![0, 500], vec![0]));
}

#[test]
fn a_stop_lets_a_begun_step_have_its_tries() {
    World::new(plan([
        step("a").retry(2, 100, &[RetryOn::Any]),
        step("b").retry(2, 0, &[]),
        step("c").needs(&["a"]),
    ]))
    .fails("a", permanent("x"))
    .fails("b", permanent("y"))
    .run()
    .expect("a succeeded, b failed, c cancelled -> 20")
    .expect_started("a/1 b/1 a/2");
}

#[test]
fn a_retry_survives_a_crash_with_its_time_and_its_count() {
    let world = World::new(plan([step("a").retry(2, 100, &[RetryOn::Any]), step("b")]))
        .fails("a", permanent("x"))
        .fails("a", permanent("x"))
        .takes("b", 50)
        .run_until("b/1")
        .go_on();
    world.expect("a failed, b succeeded -> 20").expect_started("a/1 b/1 a/2");
    let mut world = World::new(plan([step("a").retry(2, 100, &[RetryOn::Any])]))
        .fails("a", permanent("x"))
        .run_until("a/1");
    let attempt = world.machine.live_attempt(world.machine.wanted().start[0]).unwrap();
    world.input(drydock_machine::Input::Returned(attempt, Ended::Failed(permanent("x"))));
    let world = world.dies().fails("a", permanent("x")).run();
    assert_eq!(world.start_times("a"), [0, 100]);
    world.expect("a failed -> 20");
}

#[test]
fn an_attempt_that_takes_too_long_is_asked_to_stop_and_has_failed() {
    let a = || step("a").timeout(1_000);
    World::new(plan([a()])).hangs("a").run().expect("a failed -> 20").expect_error(
        "a",
        "timeout",
        "it took longer than its timeout of 1s",
    );
    World::new(plan([a()])).takes("a", 999).run().expect("a succeeded -> 0");
    let late = Act::Hangs(Some(Ended::Outputs(json!({}))));
    World::new(plan([a()])).acts("a", late).run().expect("a succeeded -> 0");
    let world =
        World::new(plan([a().retry(2, 0, &[RetryOn::Timeout])])).hangs("a").run().expect("a succeeded -> 0");
    assert_eq!(world.start_times("a"), [0, 1_000]);
    let other = a().retry(2, 0, &[RetryOn::Transient]);
    World::new(plan([other])).hangs("a").run().expect("a failed -> 20").expect_started("a/1");
}

#[test]
fn who_does_not_answer_within_half_a_minute_is_asked_about() {
    let a = |retry| step("a").timeout(1_000).retry(retry, 0, &[RetryOn::Timeout]);
    let world = World::new(plan([a(2)]))
        .never_answers("a")
        .run()
        .expect("a succeeded -> 0")
        .expect_started("a/1 a/2");
    assert_eq!(world.asked, [("a/1".to_owned(), 31_000)]);
    World::new(plan([a(1)])).never_answers("a").run().expect("a failed -> 20").expect_error(
        "a",
        "timeout",
        "it took longer than its timeout of 1s",
    );
    let done = Verdict::Done(json!({"n": 1}));
    World::new(plan([a(1)]))
        .never_answers("a")
        .server_says("a", done)
        .run()
        .expect("a succeeded -> 0")
        .expect_started("a/1");
    let world = World::new(plan([a(1)]))
        .never_answers("a")
        .server_says("a", busy(7_000))
        .server_says("a", busy(500))
        .server_says("a", Verdict::Done(json!({})))
        .run()
        .expect("a succeeded -> 0");
    assert_eq!(world.asked.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [31_000, 38_000, 38_500]);
}

#[test]
fn a_lost_connection_is_asked_about_at_once() {
    let a = || step("a").retry(2, 0, &[RetryOn::Transient]);
    let world =
        World::new(plan([a()])).loses_touch("a").run().expect("a succeeded -> 0").expect_started("a/1 a/2");
    assert_eq!(world.asked, [("a/1".to_owned(), 0)]);
    World::new(plan([step("a")])).loses_touch("a").run().expect("a failed -> 20").expect_error(
        "a",
        "net",
        "it broke: net",
    );
    World::new(plan([a()]))
        .loses_touch("a")
        .server_says("a", Verdict::Done(json!({})))
        .run()
        .expect("a succeeded -> 0")
        .expect_started("a/1");
}

#[test]
fn what_only_reads_is_not_asked_about() {
    use drydock_plan::catalog::Effect;
    let by_input = |value: &str| step("a").effect(Effect::ByInput("effect")).with(json!({ "effect": value }));
    let asked = |a: StepBuilder| {
        let a = a.retry(2, 0, &[RetryOn::Transient]);
        World::new(plan([a])).loses_touch("a").run().expect("a succeeded -> 0").asked.len()
    };
    assert_eq!([asked(step("a")), asked(step("a").reads())], [1, 0]);
    assert_eq!([asked(by_input("writes")), asked(by_input("reads"))], [1, 0]);
    let crashed = |a: StepBuilder| {
        World::new(plan([a])).run_until("a/1").dies_and_resumes().expect_started("a/1 a/2").asked.len()
    };
    assert_eq!([crashed(step("a")), crashed(step("a").reads())], [1, 0]);
}

#[test]
fn a_part_that_was_done_is_gone_on_from() {
    let froms = |world: &World| -> Vec<serde_json::Value> {
        let from = |event: &drydock_machine::RunEvent| match event {
            drydock_machine::RunEvent::AttemptStarted { from, .. } => Some(json!(from)),
            _ => None,
        };
        world.log.iter().filter_map(|(_, event)| from(event)).collect()
    };
    let part = |n: u32| Verdict::Partly(json!(n));
    let world = World::new(plan([step("a").check("true")]))
        .server_says("a", part(1))
        .run_until("a/1")
        .dies()
        .run_until("a/2")
        .dies()
        .run()
        .expect("a succeeded -> 0");
    // Nothing came of the second attempt: the part that the first had done is still there.
    assert_eq!(froms(&world), [json!(null), json!(1), json!(1), json!(null)]);
    // Cut short by its timeout, an attempt that did a part is a try like any other.
    let deaf = |retry| {
        let a = step("a").timeout(1_000).retry(retry, 0, &[RetryOn::Timeout]);
        World::new(plan([a]))
            .never_answers("a")
            .never_answers("a")
            .server_says("a", part(1))
            .server_says("a", part(2))
            .run()
    };
    let world = deaf(1).expect("a failed -> 20").expect_error(
        "a",
        "timeout",
        "it took longer than its timeout of 1s",
    );
    assert_eq!(froms(&world.dies_and_resumes()), [json!(null), json!(1), json!(null)][..2]);
    assert_eq!(froms(&deaf(3).expect("a succeeded -> 0")), [json!(null), json!(1), json!(2)]);
}

#[test]
fn an_unknown_attempt_is_taken_as_the_step_says() {
    let run = |on_unknown, retry| {
        let a = step("a")
            .on_unknown(on_unknown)
            .retry(retry, 0, &[RetryOn::Transient])
            .judges("outputs is undefined");
        let unknown = Verdict::Unknown("no trace".to_owned());
        World::new(plan([a, step("b").needs(&["a"]), finally("f")]))
            .loses_touch("a")
            .server_says("a", unknown)
            .run()
    };
    run(OnUnknown::Ask, 2)
        .expect("a waiting, b pending, f pending -> 24")
        .expect_why("a", "no trace")
        .expect_started("a/1");
    run(OnUnknown::Redo, 1).expect("a failed, b blocked, f succeeded -> 20").expect_error(
        "a",
        "net",
        "it broke: net",
    );
    let outputs =
        run(OnUnknown::Done, 1).expect("a succeeded, b succeeded, f succeeded -> 0").machine.report();
    assert_eq!(outputs.steps["a"].outputs, json!(null));
    run(OnUnknown::Redo, 2).expect_started("a/1 a/2 f/1");
}

#[test]
fn answers_to_questions_that_nobody_asked_are_passed_over() {
    use drydock_machine::{AttemptRef, Input};
    let mut world = World::new(plan([step("a")])).takes("a", 10).run_until("a/1");
    let attempt = |n| AttemptRef { step: crate::plans::name("a"), key: None, n, check: None };
    let ended = || Ended::Outputs(json!({}));
    assert_eq!(world.input(Input::Reconciled(attempt(1), Verdict::NotDone)), []);
    assert_eq!(world.input(Input::Returned(attempt(2), ended())), []);
    assert_eq!(world.input(Input::Noted(attempt(2), json!(1))), []);
    assert_eq!(world.input(Input::Noted(attempt(1), json!(1))).len(), 1);
    assert_eq!(world.input(Input::Returned(attempt(1), ended())).len(), 4);
    assert_eq!(world.input(Input::Returned(attempt(1), ended())), []);
    assert_eq!(world.input(Input::Interrupt), []);
    world.expect("a succeeded -> 0");
}
