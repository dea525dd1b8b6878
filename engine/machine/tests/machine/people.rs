//! What people do to a run: approve, answer, interrupt, close it.

use drydock_machine::{Assume, Ended, Exit, Input, RunStatus, Verdict};
use drydock_plan::model::{OnUnknown, RetryOn};
use serde_json::json;

use crate::plans::{finally, plan, step};
use crate::world::{Act, World, abandon, assume, busy, permanent, redo};

fn approval() -> World {
    let steps = [
        step("a"),
        step("b").needs(&["a"]),
        step("c").needs(&["b"]).with(json!({"by": "{{ steps.b.outputs.by }}"})),
        finally("f"),
    ];
    World::new(plan(steps)).waits("b")
}

#[test]
fn a_run_that_only_waits_ends_its_sitting_without_finally() {
    let world = approval()
        .run()
        .expect("a succeeded, b waiting, c pending, f pending -> 24")
        .expect_why("b", "may I?");
    assert_eq!((world.machine.status(), world.machine.exit()), (RunStatus::Waiting, Some(Exit::Waits)));
    assert!(!world.machine.died());
}

#[test]
fn an_approval_between_sittings_is_recorded_and_gone_on_from() {
    approval()
        .run()
        .dies()
        .approve("b")
        .expect("a succeeded, b running, c pending, f pending -> 24")
        .expect_started("a/1 b/1")
        .run()
        .expect("a succeeded, b succeeded, c succeeded, f succeeded -> 0")
        .expect_started("a/1 b/1 c/1 f/1");
}

#[test]
fn an_approval_of_a_dead_run_starts_nothing() {
    let world = approval().takes("a", 10).run_until("a/1");
    let world = world.go_on().dies().approve("b");
    assert_eq!(world.started().join(" "), "a/1 b/1");
    let world =
        World::new(plan([step("a"), step("b"), step("c").needs(&["b"])])).never_answers("a").waits("b").run();
    let mut world = world.expect("a running, b waiting, c pending -> going on").dies();
    let events = world.input(Input::Approved {
        step: crate::plans::name("b"),
        key: None,
        by: "ada".into(),
        reason: "ok".into(),
    });
    assert_eq!(events.len(), 2);
    world.run().expect("a succeeded, b succeeded, c succeeded -> 0").expect_started("a/1 b/1 c/1 a/2");
}

#[test]
fn an_approval_within_the_sitting_goes_on_at_once() {
    let steps = [step("a"), step("b"), step("c").needs(&["b"])];
    World::new(plan(steps))
        .takes("a", 100)
        .waits("b")
        .run_until("b/1")
        .approve("b")
        .expect("a running, b running, c pending -> going on")
        .go_on()
        .expect("a succeeded, b waiting, c pending -> 24");
    let world =
        World::new(plan([step("a"), step("b"), step("c").needs(&["b"])])).never_answers("a").waits("b").run();
    world.approve("b").go_on().expect("a running, b succeeded, c succeeded -> going on");
}

#[test]
fn an_approval_does_not_take_a_slot_that_there_is_not() {
    let steps = [step("b").check("result.ok"), step("a")];
    World::new(plan(steps).max_parallel(1))
        .waits("b")
        .returns("b/check1", json!({"ok": true}))
        .hangs("a")
        .run()
        .approve("b")
        .expect("b running, a running -> going on")
        .expect_started("b/1 a/1");
}

#[test]
fn an_approval_has_the_steps_own_outputs() {
    let steps = || [step("b").output("who", "{{ outputs.by }}!")];
    let who =
        |world: World| world.expect("b succeeded -> 0").machine.report().steps["b"].outputs["who"].clone();
    assert_eq!(who(World::new(plan(steps())).waits("b").run().dies().approve("b").run()), "ada!");
}

#[test]
fn what_does_not_wait_cannot_be_approved() {
    let approve = |world: World, instance: &str| {
        let before = world.log.len();
        world.approve(instance).log.len() - before
    };
    assert_eq!(approve(approval().run(), "a"), 0);
    assert_eq!(approve(approval().run(), "c"), 0);
    assert_eq!(approve(approval().run(), "b[x]"), 0);
    assert_eq!(approve(approval().run(), "nobody"), 0);
    assert_eq!(approve(approval(), "b"), 0);
    assert_eq!(approve(unknown(OnUnknown::Ask).run(), "a"), 0);
    assert_eq!(approve(approval().run(), "b"), 2);
}

#[test]
fn a_failure_lets_nobody_wait() {
    World::new(plan([step("a"), step("b"), finally("f")]))
        .waits("b")
        .acts("a", Act::Takes(10, Ended::Failed(permanent("x"))))
        .run()
        .expect("a failed, b cancelled, f succeeded -> 20")
        .expect_why("b", "a failed");
}

#[test]
fn an_approval_in_finally_is_waited_for_where_the_run_went_well() {
    let steps = || [step("a"), finally("f"), finally("g").needs(&["f"])];
    World::new(plan(steps()))
        .waits("f")
        .run()
        .expect("a succeeded, f waiting, g pending -> 24")
        .dies()
        .approve("f")
        .run()
        .expect("a succeeded, f succeeded, g succeeded -> 0")
        .expect_started("a/1 f/1 g/1");
    World::new(plan(steps()))
        .waits("f")
        .fails("a", permanent("x"))
        .run()
        .expect("a failed, f cancelled, g cancelled -> 20");
}

fn unknown(on_unknown: OnUnknown) -> World {
    let steps = [
        step("a").on_unknown(on_unknown).retry(2, 0, &[RetryOn::Any]),
        step("b").needs(&["a"]),
        finally("f"),
    ];
    let unknown = || Verdict::Unknown("no trace".to_owned());
    World::new(plan(steps)).server_says("a", unknown()).server_says("a", unknown())
}

#[test]
fn an_answer_about_an_unknown_attempt_comes_with_the_next_sitting() {
    let world = || unknown(OnUnknown::Ask).run_until("a/1").dies_and_resumes();
    world()
        .expect("a waiting, b pending, f pending -> 24")
        .sit(assume("a", Assume::Redo))
        .expect("a succeeded, b succeeded, f succeeded -> 0")
        .expect_started("a/1 a/2 b/1 f/1");
    let done = world().sit(assume("a", Assume::Done)).expect("a succeeded, b succeeded, f succeeded -> 0");
    assert_eq!(done.expect_started("a/1 b/1 f/1").machine.report().steps["a"].outputs, json!(null));
    // Nothing was said: it is asked about again.
    assert_eq!(world().run().expect("a waiting, b pending, f pending -> 24").asked.len(), 2);
    // To have it done again is an answer, too.
    world()
        .sit(redo(&["a"]))
        .expect("a succeeded, b succeeded, f succeeded -> 0")
        .expect_started("a/1 a/2 b/1 f/1");
}

#[test]
fn the_server_is_asked_before_any_answer_is_believed() {
    let world = World::new(plan([step("a")]))
        .server_says("a", Verdict::Done(json!({"n": 1})))
        .run_until("a/1")
        .dies()
        .sit(assume("a", Assume::Redo))
        .expect("a succeeded -> 0")
        .expect_started("a/1");
    assert_eq!(world.asked.len(), 1);
}

#[test]
fn answers_name_one_instance_or_all() {
    let run = |answers: &[(&str, Assume)]| {
        let steps = [step("f").foreach("params.list")];
        let unknown = || Verdict::Unknown("no trace".to_owned());
        let mut sitting = assume("f[x]", Assume::Redo);
        sitting.assume =
            answers.iter().map(|(instance, assume)| (crate::world::selected(instance), *assume)).collect();
        World::new(plan(steps).param("list", json!(["x", "y"])))
            .server_says("f[x]", unknown())
            .server_says("f[y]", unknown())
            .run_until("f[y]/1")
            .dies()
            .sit(sitting)
    };
    run(&[("f[x]", Assume::Done)])
        .expect("f running, f[x] succeeded, f[y] waiting -> 24")
        .expect_started("f[x]/1 f[y]/1");
    run(&[("f", Assume::Done), ("f[y]", Assume::Redo)])
        .expect("f succeeded, f[x] succeeded, f[y] succeeded -> 0")
        .expect_started("f[x]/1 f[y]/1 f[y]/2");
}

#[test]
fn an_interrupt_asks_what_runs_to_stop_and_runs_finally() {
    let steps = [step("a"), step("b").retry(2, 0, &[RetryOn::Any]), step("c").needs(&["a"]), finally("f")];
    World::new(plan(steps))
        .hangs("a")
        .acts("b", Act::Hangs(Some(Ended::Failed(permanent("x")))))
        .run_until("b/1")
        .interrupt()
        .go_on()
        .expect("a cancelled, b failed, c cancelled, f succeeded -> 23")
        .expect_why("a", "the run was interrupted")
        .expect_why("c", "a was cancelled")
        .expect_started("a/1 b/1 f/1")
        .dies_and_resumes()
        .expect("a succeeded, b succeeded, c succeeded, f succeeded -> 0")
        .expect_started("a/1 b/1 f/1 a/2 b/2 c/1 f/2");
}

#[test]
fn an_interrupt_ends_what_waits_for_its_time_or_for_people() {
    World::new(plan([step("a"), step("b").retry(2, 1_000, &[RetryOn::Any]), step("c")]))
        .waits("a")
        .fails("b", permanent("x"))
        .hangs("c")
        .run_while(|world| world.machine.report().steps["b"].error.is_none())
        .interrupt()
        .go_on()
        .expect("a cancelled, b cancelled, c cancelled -> 23");
}

#[test]
fn a_step_that_finishes_after_an_interrupt_is_not_validated() {
    World::new(plan([step("a").check("true")]))
        .acts("a", Act::Hangs(Some(Ended::Outputs(json!({})))))
        .run_until("a/1")
        .interrupt()
        .go_on()
        .expect("a cancelled -> 23")
        .expect_why("a", "it was not validated")
        .dies_and_resumes()
        .expect("a succeeded -> 0")
        .expect_started("a/1 a/check1/1");
}

#[test]
fn who_does_not_answer_an_interrupt_is_asked_about() {
    let world = || World::new(plan([step("a"), finally("f")])).never_answers("a");
    let interrupted = |world: World| world.run_until("a/1").interrupt().go_on();
    let not_done = interrupted(world()).expect("a cancelled, f succeeded -> 23");
    assert_eq!(not_done.asked, [("a/1".to_owned(), 30_000)]);
    interrupted(world().server_says("a", Verdict::Done(json!({})))).expect("a succeeded, f succeeded -> 23");
    interrupted(world().server_says("a", Verdict::Partly(json!(1))))
        .expect("a cancelled, f succeeded -> 23")
        .dies_and_resumes()
        .expect("a succeeded, f succeeded -> 0");
    let unknown = || Verdict::Unknown("no trace".to_owned());
    interrupted(world().server_says("a", unknown()).server_says("a", unknown()))
        .expect("a cancelled, f succeeded -> 23")
        .expect_why("a", "it is not known what it did; that is asked when the run is resumed")
        .dies_and_resumes()
        .expect("a waiting, f pending -> 24");
}

#[test]
fn who_insists_waits_for_nobody_and_still_has_finally() {
    let world = World::new(plan([step("a"), step("b").needs(&["a"]), finally("f")]).max_parallel(1))
        .never_answers("a")
        .run_until("a/1")
        .interrupt()
        .interrupt()
        .go_on()
        .expect("a cancelled, b cancelled, f succeeded -> 23");
    assert_eq!((world.now, world.asked.len()), (0, 0));
    world
        .server_says("a", Verdict::Done(json!({"n": 1})))
        .dies_and_resumes()
        .expect("a succeeded, b succeeded, f succeeded -> 0")
        .expect_started("a/1 f/1 b/1 f/2");
}

#[test]
fn a_late_answer_of_who_was_left_is_kept() {
    let mut world =
        World::new(plan([step("a"), finally("f")])).never_answers("a").takes("f", 10).run_until("a/1");
    let attempt = world.machine.live_attempt(world.machine.wanted().start[0]).unwrap();
    world = world.interrupt().interrupt();
    world.input(Input::Returned(attempt, Ended::Outputs(json!({"n": 1}))));
    world
        .go_on()
        .expect("a cancelled, f succeeded -> 23")
        .dies_and_resumes()
        .expect("a succeeded, f succeeded -> 0")
        .expect_started("a/1 f/1 f/2");
}

#[test]
fn who_insists_does_not_wait_for_a_busy_server_either() {
    World::new(plan([step("a"), finally("f")]))
        .server_says("a", busy(60_000))
        .run_until("a/1")
        .dies()
        .run_while(|world| world.asked.is_empty())
        .interrupt()
        .expect("a running, f pending -> going on")
        .interrupt()
        .go_on()
        .expect("a cancelled, f succeeded -> 23")
        .dies_and_resumes()
        .expect("a succeeded, f succeeded -> 0");
}

#[test]
fn interrupts_in_finally() {
    let steps = || [step("a"), finally("f"), finally("g").needs(&["f"]), finally("h").needs(&["a"])];
    let world = || World::new(plan(steps()).max_parallel(1)).hangs("f").run_until("f/1");
    world().interrupt().expect("a succeeded, f running, g pending, h pending -> going on");
    world()
        .interrupt()
        .interrupt()
        .go_on()
        .expect("a succeeded, f cancelled, g cancelled, h succeeded -> 23")
        .dies_and_resumes()
        .expect("a succeeded, f succeeded, g succeeded, h succeeded -> 0")
        .expect_started("a/1 f/1 h/1 f/2 g/1 h/2");
}

#[test]
fn the_third_interrupt_leaves_everything_as_it_stands() {
    let world = World::new(plan([step("a"), finally("f")])).run_until("a/1");
    let world = world.interrupt().interrupt().expect("a cancelled, f running -> going on").interrupt();
    assert_eq!(world.machine.wanted().ended, Some(Exit::Interrupted));
    assert!(world.machine.died());
    let mut world = world.expect("a cancelled, f running -> going on");
    assert_eq!(world.input(Input::Tick), []);
    world.dies_and_resumes().expect("a succeeded, f succeeded -> 0").expect_started("a/1 f/1 a/2 f/2");
}

#[test]
fn a_dead_run_is_closed_by_asking_and_finally() {
    let steps = || [step("a"), step("b"), step("c").needs(&["a"]), finally("f")];
    let dead = || World::new(plan(steps())).run_until("b/1").dies();
    let world = dead()
        .server_says("a", Verdict::Done(json!({})))
        .server_says("b", Verdict::NotDone)
        .sit(abandon())
        .expect("a succeeded, b cancelled, c cancelled, f succeeded -> 0")
        .expect_why("c", "the run is being closed")
        .expect_started("a/1 b/1 f/1");
    assert_eq!(world.machine.status(), RunStatus::Abandoned);
    // A closed run is never taken up again.
    let length = world.log.len();
    assert_eq!(world.run().sit(redo(&["a"])).log.len(), length);
    let unknown = dead().server_says("a", Verdict::Unknown("no trace".to_owned())).sit(abandon());
    let unknown = unknown.expect("a cancelled, b cancelled, c cancelled, f succeeded -> 0");
    let attempts = &unknown.machine.report().steps["a"].attempts;
    let error = attempts[0].error.as_ref().unwrap();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("unknown", "nobody knows what it did: no trace")
    );
}

#[test]
fn closing_a_run_waits_for_nobody() {
    World::new(plan([step("a"), finally("f")]))
        .waits("a")
        .run()
        .dies()
        .sit(abandon())
        .expect("a cancelled, f succeeded -> 0");
}
