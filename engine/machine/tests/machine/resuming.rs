//! A new sitting: what is tried again, what is asked about first, what is done again because it was undone or named, and `finally`.

use drydock_machine::{RunStatus, Verdict};
use serde_json::json;

use crate::plans::{StepBuilder, finally, plan, step};
use crate::world::{World, abandon, busy, permanent, redo};

#[test]
fn what_failed_was_blocked_or_cancelled_is_tried_again() {
    let steps = [
        step("a"),
        step("b").needs(&["a"]),
        step("c").needs(&["b"]),
        step("d").needs(&["a"]),
        step("e").when("params.no"),
    ];
    World::new(plan(steps).param("no", json!(false)).max_parallel(1))
        .fails("b", permanent("x"))
        .run()
        .expect("a succeeded, b failed, c blocked, d cancelled, e skipped -> 20")
        .dies_and_resumes()
        .expect("a succeeded, b succeeded, c succeeded, d succeeded, e skipped -> 0")
        .expect_started("a/1 b/1 b/2 c/1 d/1");
}

#[test]
fn what_was_begun_is_asked_about_first() {
    let dead = || World::new(plan([step("a"), step("b").needs(&["a"])])).run_until("a/1").dies();
    let world = dead().run().expect("a succeeded, b succeeded -> 0").expect_started("a/1 a/2 b/1");
    assert_eq!(world.asked, [("a/1".to_owned(), 0)]);
    dead().server_says("a", Verdict::Done(json!({}))).run().expect_started("a/1 b/1");
    let world = dead().server_says("a", busy(900)).server_says("a", Verdict::Done(json!({}))).run();
    assert_eq!(world.expect_started("a/1 b/1").asked, [("a/1".to_owned(), 0), ("a/1".to_owned(), 900)]);
}

#[test]
fn an_attempt_lost_to_a_crash_is_no_try() {
    World::new(plan([step("a")]))
        .run_until("a/1")
        .dies()
        .run_until("a/2")
        .dies_and_resumes()
        .expect("a succeeded -> 0")
        .expect_started("a/1 a/2 a/3");
}

#[test]
fn a_run_that_succeeded_is_not_resumed() {
    let world = World::new(plan([step("a"), finally("f")])).run().dies();
    let length = world.log.len();
    let world = world
        .run()
        .sit(redo(&["nobody", "a[x]"]))
        .expect("a succeeded, f succeeded -> 0")
        .sit(abandon())
        .expect("a succeeded, f succeeded -> 0");
    assert_eq!((world.log.len(), world.machine.status()), (length, RunStatus::Succeeded));
    // A second beginning of the same sitting is passed over.
    let world = World::new(plan([step("a")])).hangs("a").run_until("a/1");
    assert_eq!(world.log.len(), 3);
    assert_eq!(world.run_until("a/1").log.len(), 3);
}

#[test]
fn a_new_sitting_forgets_how_the_last_one_ended() {
    let world =
        World::new(plan([step("a")])).fails("a", permanent("x")).run().dies().hangs("a").run_until("a/2");
    let report = world.expect("a running -> going on").machine.report();
    assert_eq!((report.status, report.exit, report.summary), (RunStatus::Running, None, None));
    assert_eq!(report.sittings.len(), 2);
}

#[test]
fn redo_names_a_step_and_all_that_need_it_follow() {
    let steps = || [step("a"), step("b").needs(&["a"]), step("c").needs(&["b"]), step("d"), finally("f")];
    World::new(plan(steps()))
        .run()
        .sit(redo(&["b"]))
        .expect("a succeeded, b succeeded, c succeeded, d succeeded, f succeeded -> 0")
        .expect_started("a/1 d/1 b/1 c/1 f/1 b/2 c/2 f/2");
    // In order, however often it was done before.
    World::new(plan(steps()))
        .run()
        .takes("a", 10)
        .sit(redo(&["a"]))
        .expect_started("a/1 d/1 b/1 c/1 f/1 a/2 b/2 c/2 f/2");
    // And under a stop what was not begun again is not begun.
    World::new(plan(steps()).max_parallel(1))
        .run()
        .fails("a", permanent("x"))
        .sit(redo(&["a", "d"]))
        .expect("a failed, b blocked, c blocked, d cancelled, f succeeded -> 20");
    World::new(plan(steps())).run().sit(redo(&["nobody", "f"])).expect_started("a/1 d/1 b/1 c/1 f/1 f/2");
}

#[test]
fn what_an_attempt_of_a_step_that_is_done_again_did_does_not_count() {
    let dead = || World::new(plan([step("a"), step("b").needs(&["a"])])).run_until("b/1").dies();
    dead()
        .server_says("b", Verdict::Done(json!({})))
        .sit(redo(&["a"]))
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 b/1 a/2 b/2");
    // It is known before its step begins anew, and its part is not gone on from.
    let world =
        dead().server_says("b", busy(500)).server_says("b", Verdict::Partly(json!(1))).sit(redo(&["a"]));
    assert_eq!((world.start_times("a"), world.start_times("b")), (vec![0, 0], vec![0, 500]));
    let from = |event: &drydock_machine::RunEvent| {
        matches!(event, drydock_machine::RunEvent::AttemptStarted { from: Some(_), .. })
    };
    assert!(!world.log.iter().any(|(_, event)| from(event)));
}

#[test]
fn a_step_waits_for_a_need_that_is_tried_again() {
    let steps = || [step("a").ignored(), step("b").needs(&["a"])];
    let world = World::new(plan(steps()))
        .fails("a", permanent("x"))
        .run_until("b/1")
        .takes("a", 70)
        .dies_and_resumes();
    assert_eq!(world.start_times("b"), [0, 70]);
    world.expect("a succeeded, b succeeded -> 0").expect_started("a/1 b/1 a/2 b/2");
    // What the server says about it is kept meanwhile.
    World::new(plan(steps()))
        .fails("a", permanent("x"))
        .run_until("b/1")
        .takes("a", 70)
        .server_says("b", Verdict::Done(json!({})))
        .dies_and_resumes()
        .expect("a succeeded, b succeeded -> 0")
        .expect_started("a/1 b/1 a/2");
}

fn with_finally() -> [StepBuilder; 4] {
    [
        step("a"),
        finally("note").when("run.status != 'succeeded'").with(json!({"text": "{{ run.summary }}"})),
        finally("open"),
        finally("last").needs(&["open"]),
    ]
}

#[test]
fn finally_runs_at_the_end_of_every_sitting_and_sees_how_it_went() {
    let world = World::new(plan(with_finally()))
        .fails("a", permanent("x"))
        .run()
        .expect("a failed, note succeeded, open succeeded, last succeeded -> 20");
    let inputs = world.log.iter().find_map(|(_, event)| match event {
        drydock_machine::RunEvent::AttemptStarted { step, inputs, .. } if step.as_str() == "note" => {
            Some(inputs.clone())
        }
        _ => None,
    });
    let text = inputs.unwrap()["text"].plain().unwrap();
    assert_eq!(text, json!("story failed at a: it broke: x"));
    world
        .dies_and_resumes()
        .expect("a succeeded, note skipped, open succeeded, last succeeded -> 0")
        .expect_why("note", "`when` is false: run.status != 'succeeded'")
        .expect_started("a/1 note/1 open/1 last/1 a/2 open/2 last/2");
}

#[test]
fn a_failure_in_finally_stops_nothing_and_fails_the_run() {
    let steps = || [step("a"), finally("f"), finally("g"), finally("h").needs(&["f"])];
    World::new(plan(steps()).max_parallel(1))
        .fails("f", permanent("x"))
        .run()
        .expect("a succeeded, f failed, g succeeded, h blocked -> 20")
        .expect_error("f", "x", "it broke: x")
        .dies_and_resumes()
        .expect("a succeeded, f succeeded, g succeeded, h succeeded -> 0")
        .expect_started("a/1 f/1 g/1 f/2 g/2 h/1");
}

#[test]
fn a_process_that_dies_in_finally_goes_on_with_it() {
    World::new(plan(with_finally()).max_parallel(1))
        .run_until("last/1")
        .dies()
        .run()
        .expect("a succeeded, note skipped, open succeeded, last succeeded -> 0")
        .expect_started("a/1 open/1 last/1 last/2");
    // After a body that failed it begins again: the body comes first.
    World::new(plan(with_finally()).max_parallel(1))
        .fails("a", permanent("x"))
        .run_until("last/1")
        .dies()
        .run()
        .expect("a succeeded, note skipped, open succeeded, last succeeded -> 0")
        .expect_started("a/1 note/1 open/1 last/1 a/2 open/2 last/2");
}

fn paused() -> [StepBuilder; 4] {
    let open = finally("open").undoes(&["pause"]);
    [step("first"), step("pause").needs(&["first"]), step("copy").needs(&["pause"]), open]
}

#[test]
fn what_finally_has_undone_is_done_again() {
    World::new(plan(paused()))
        .fails("copy", permanent("x"))
        .run()
        .expect("first succeeded, pause succeeded, copy failed, open succeeded -> 20")
        .dies_and_resumes()
        .expect("first succeeded, pause succeeded, copy succeeded, open succeeded -> 0")
        .expect_started("first/1 pause/1 copy/1 open/1 pause/2 copy/2 open/2");
}

#[test]
fn what_was_undone_after_a_body_that_succeeded_stays_undone() {
    World::new(plan(paused()))
        .fails("open", permanent("x"))
        .run()
        .expect("first succeeded, pause succeeded, copy succeeded, open failed -> 20")
        .dies_and_resumes()
        .expect("first succeeded, pause succeeded, copy succeeded, open succeeded -> 0")
        .expect_started("first/1 pause/1 copy/1 open/1 open/2");
    World::new(plan(paused()))
        .hangs("open")
        .run_until("open/1")
        .interrupt()
        .interrupt()
        .go_on()
        .expect("first succeeded, pause succeeded, copy succeeded, open cancelled -> 23")
        .dies_and_resumes()
        .expect_started("first/1 pause/1 copy/1 open/1 open/2");
    // Unless something of the body is to be done again.
    World::new(plan(paused()))
        .run()
        .sit(redo(&["copy"]))
        .expect_started("first/1 pause/1 copy/1 open/1 pause/2 copy/2 open/2");
}

#[test]
fn a_step_is_not_done_again_while_its_undoing_is_not_known() {
    let dead = |verdict| {
        World::new(plan(paused()))
            .fails("copy", permanent("x"))
            .server_says("open", busy(800))
            .server_says("open", verdict)
            .run_until("open/1")
            .dies_and_resumes()
    };
    let done = dead(Verdict::Done(json!({})));
    assert_eq!(done.start_times("pause"), [0, 800]);
    done.expect_started("first/1 pause/1 copy/1 open/1 pause/2 copy/2 open/2");
    dead(Verdict::NotDone).expect("first succeeded, pause succeeded, copy succeeded, open succeeded -> 0");
}

#[test]
fn finally_does_not_see_what_was_not_waited_for() {
    let world = World::new(plan([step("a"), step("b"), finally("f")])).waits("a").fails("b", permanent("x"));
    // `b` fails while `a` waits: nobody is waited for, and finally runs.
    world.run().expect("a cancelled, b failed, f succeeded -> 20");
    let world = World::new(plan([step("a"), step("b").continues(), finally("f")]))
        .waits("a")
        .fails("b", permanent("x"));
    // The run goes on without `b`: it only waits.
    world
        .run()
        .expect("a waiting, b failed, f pending -> 24")
        .dies()
        .approve("a")
        .run()
        .expect("a succeeded, b succeeded, f succeeded -> 0");
}

#[test]
fn an_accepted_change_is_recorded_and_run() {
    use drydock_machine::Sitting;
    use drydock_plan::name::Digest;
    let accepted = Sitting { accepted: Some(Digest("d2".to_owned())), ..Sitting::default() };
    let world = World::new(plan([step("a"), step("b"), step("gone").needs(&["b"])]))
        .fails("b", permanent("x"))
        .run()
        .changed(plan([step("a"), step("b").reads(), step("new").needs(&["a"]), finally("f")]))
        .sit(accepted)
        .expect("a succeeded, b succeeded, new succeeded, f succeeded -> 0");
    assert_eq!(world.machine.digest(), Some(&Digest("d2".to_owned())));
}

#[test]
fn events_of_another_plan_do_not_break_a_machine() {
    let list = || json!(["x", "y"]);
    let before = || {
        let steps = [
            step("a").check("result.ok").check("true"),
            step("f").foreach("params.list"),
            step("b").needs(&["a"]),
        ];
        World::new(plan(steps).param("list", list()))
            .returns("a/check1", json!({"ok": true}))
            .waits("b")
            .run_until("b/1")
            .go_on()
    };
    let check = |steps: Vec<StepBuilder>, verdict: &str| {
        before().changed(plan(steps).param("list", list())).run().expect(verdict);
    };
    check(vec![step("f"), step("b")], "f succeeded, b waiting -> 24");
    check(vec![step("a").foreach("params.list"), step("f").check("true")], "a succeeded, f succeeded -> 0");
    check(vec![step("y"), finally("a").undoes(&["y"])], "y succeeded, a succeeded -> 0");
}
