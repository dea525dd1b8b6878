//! Events as they are written down, and reports as people read them.

use drydock_machine::event::{CancelWhy, EVENT_NAMES, Listed, Reopened};
use drydock_machine::{Exit, Failure, Moment, Outcome, RunEvent, RunStatus, Status, Verdict};
use drydock_plan::duration::Millis;
use drydock_plan::model::Purpose;
use drydock_plan::name::Digest;
use serde_json::{Value, json};

use crate::plans::{finally, name, plan, step};
use crate::world::{World, permanent};

/// Each event with its JSON.
fn written() -> Vec<(RunEvent, Value)> {
    let (a, key) = (|| name("a"), || Some("x".into()));
    let failure =
        || Failure { help: Some("look".to_owned()), transient: true, ..Failure::new("net", "lost") };
    let failed = json!({"code": "net", "message": "lost", "help": "look", "transient": true});
    vec![
        (
            RunEvent::RunStarted {
                run: "r1".into(),
                plan: name("story"),
                purpose: Purpose::Restore,
                digest: Digest("d1".to_owned()),
                environment: Some("drill".to_owned()),
                params: [(name("n"), json!(1))].into_iter().collect(),
                only: vec![a()],
                skip: Vec::new(),
            },
            json!({"event": "run_started", "run": "r1", "plan": "story", "purpose": "restore", "digest": "d1",
                   "environment": "drill", "params": {"n": 1}, "only": ["a"]}),
        ),
        (
            RunEvent::SittingStarted { n: 2, digest: Some(Digest("d2".to_owned())) },
            json!({"event": "sitting_started", "n": 2, "digest": "d2"}),
        ),
        (
            RunEvent::ReopenedSteps { steps: vec![Reopened { step: a(), key: key(), fresh: true }] },
            json!({"event": "reopened_steps", "steps": [{"step": "a", "key": "x", "fresh": true}]}),
        ),
        (
            RunEvent::ForeachListed { step: a(), items: vec![Listed { key: "x".into(), item: json!([1]) }] },
            json!({"event": "foreach_listed", "step": "a", "items": [{"key": "x", "item": [1]}]}),
        ),
        (
            RunEvent::AttemptStarted {
                step: a(),
                key: None,
                n: 1,
                check: Some(2),
                inputs: std::sync::Arc::default(),
                from: Some(json!(3)),
            },
            json!({"event": "attempt_started", "step": "a", "n": 1, "check": 2, "inputs": {}, "from": 3}),
        ),
        (
            RunEvent::Noted { step: a(), key: key(), n: 1, check: None, value: json!("log 3") },
            json!({"event": "noted", "step": "a", "key": "x", "n": 1, "value": "log 3"}),
        ),
        (
            RunEvent::CancelAsked { step: a(), key: None, n: 1, check: None, why: CancelWhy::Timeout },
            json!({"event": "cancel_asked", "step": "a", "n": 1, "why": "timeout"}),
        ),
        (
            RunEvent::AttemptUnclear { step: a(), key: None, n: 1, check: None, error: failure() },
            json!({"event": "attempt_unclear", "step": "a", "n": 1, "error": failed}),
        ),
        (
            RunEvent::Reconciled {
                step: a(),
                key: None,
                n: 1,
                check: None,
                verdict: Verdict::Busy(Millis(90_000)),
            },
            json!({"event": "reconciled", "step": "a", "n": 1, "verdict": {"busy": "1m30s"}}),
        ),
        (
            RunEvent::Parked { step: a(), key: None, n: 1, message: "may I?".to_owned(), unknown: true },
            json!({"event": "parked", "step": "a", "n": 1, "message": "may I?", "unknown": true}),
        ),
        (
            RunEvent::Approved { step: a(), key: None, by: "ada".to_owned(), reason: "ok".to_owned() },
            json!({"event": "approved", "step": "a", "by": "ada", "reason": "ok"}),
        ),
        (
            RunEvent::AttemptEnded {
                step: a(),
                key: None,
                n: 1,
                check: None,
                outcome: Outcome::Succeeded(json!({"n": 1})),
                added: Some(json!({"m": 2})),
            },
            json!({"event": "attempt_ended", "step": "a", "n": 1, "outcome": {"succeeded": {"n": 1}}, "added": {"m": 2}}),
        ),
        (
            RunEvent::Judged {
                step: a(),
                key: None,
                check: 1,
                name: "n is 1".into(),
                ok: false,
                expected: "1".to_owned(),
                found: "2".to_owned(),
            },
            json!({"event": "judged", "step": "a", "check": 1, "name": "n is 1", "ok": false, "expected": "1", "found": "2"}),
        ),
        (
            RunEvent::RetryScheduled { step: a(), key: None, at_ms: Moment(5), error: permanent("x") },
            json!({"event": "retry_scheduled", "step": "a", "at_ms": 5, "error": {"code": "x", "message": "it broke: x"}}),
        ),
        (
            RunEvent::StepEnded {
                step: a(),
                key: None,
                status: Status::Blocked,
                error: None,
                why: Some("b failed".to_owned()),
            },
            json!({"event": "step_ended", "step": "a", "status": "blocked", "why": "b failed"}),
        ),
        (RunEvent::Stopping { step: a() }, json!({"event": "stopping", "step": "a"})),
        (RunEvent::Interrupted { level: 2 }, json!({"event": "interrupted", "level": 2})),
        (
            RunEvent::FinallyStarted { status: RunStatus::Failed },
            json!({"event": "finally_started", "status": "failed"}),
        ),
        (
            RunEvent::RunEnded {
                status: RunStatus::Failed,
                exit: Exit::StepFailed,
                summary: "it failed".to_owned(),
                outputs: [(name("n"), json!(1))].into_iter().collect(),
                warnings: vec!["slow".to_owned()],
            },
            json!({"event": "run_ended", "status": "failed", "exit": 20, "summary": "it failed",
                   "outputs": {"n": 1}, "warnings": ["slow"]}),
        ),
        (RunEvent::SittingEnded { exit: Exit::Waits }, json!({"event": "sitting_ended", "exit": 24})),
    ]
}

#[test]
fn events_are_written_as_they_always_were() {
    let written = written();
    for (event, expected) in &written {
        assert_eq!(json!(event), *expected);
        assert_eq!(serde_json::from_value::<RunEvent>(expected.clone()).unwrap(), *event);
    }
    let names: Vec<&str> = written.iter().map(|(_, json)| json["event"].as_str().unwrap()).collect();
    assert_eq!(names, EVENT_NAMES);
}

#[test]
fn fields_that_nobody_knows_yet_are_passed_over_and_events_are_not() {
    let event: RunEvent =
        serde_json::from_value(json!({"event": "stopping", "step": "a", "later": 1})).unwrap();
    assert_eq!(event, RunEvent::Stopping { step: name("a") });
    let error = serde_json::from_value::<RunEvent>(json!({"event": "teleported"})).unwrap_err().to_string();
    assert!(error.starts_with("unknown variant `teleported`"), "{error}");
    let error = serde_json::from_value::<RunEvent>(json!({"event": "sitting_ended", "exit": 99}))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "99 is no exit code");
}

#[test]
fn a_report_tells_sittings_attempts_notes_and_validations() {
    use drydock_machine::Input;
    let steps = [step("a").check("result.n == 1"), step("f").foreach("params.list"), finally("z")];
    let mut world = World::new(plan(steps).param("list", json!(["x"])))
        .takes("a", 1_500)
        .returns("a/check1", json!({"n": 2}))
        .run_until("f[x]/1");
    let attempt = world.machine.live_attempt(world.machine.wanted().start[0]).unwrap();
    world.input(Input::Noted(attempt, json!({"log": 3})));
    let report = json!(world.go_on().machine.report());
    assert_eq!(report["status"], "failed");
    assert_eq!(report["exit"], 21);
    assert_eq!(
        report["sittings"],
        json!([{"n": 1, "started_at": "1970-01-01T00:00:00.000Z", "ended_at": "1970-01-01T00:00:01.500Z", "exit": 21}])
    );
    let message = "validation \"result.n == 1\" does not hold: expected 1, found 2";
    assert_eq!(
        report["steps"]["a"],
        json!({
            "status": "failed",
            "uses": "test.kind",
            "error": {"code": "validation", "message": message},
            "attempts": [{
                "n": 1,
                "started_at": "1970-01-01T00:00:00.000Z",
                "ended_at": "1970-01-01T00:00:01.500Z",
                "outcome": "succeeded",
                "notes": [{"log": 3}],
            }],
            "outputs": {},
            "validations": [{"name": "result.n == 1", "expected": "1", "found": "2", "ok": false}],
        })
    );
    let keys: Vec<&String> = report["steps"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["a", "f", "f[x]", "z"]);
}

#[test]
fn work_has_all_that_executing_it_needs() {
    use drydock_machine::Input;
    let steps = [step("f").foreach("params.list").with(json!({"n": "{{ item }}"})).check("true")];
    let mut world = World::new(plan(steps).param("list", json!(["x"]))).run_until("f[x]/1");
    let live = world.machine.wanted().start[0];
    let attempt = world.machine.live_attempt(live).unwrap();
    world.input(Input::Noted(attempt, json!(1)));
    let work = world.dies().run_until("f[x]/2").machine.work(live).unwrap();
    assert_eq!((work.attempt.id().as_str(), work.kind, work.target), ("f[x]/2", "test.kind", None));
    assert_eq!((work.inputs["n"].plain(), work.from, work.notes), (Some(json!("x")), None, vec![json!(1)]));
}

#[test]
fn a_clock_that_steps_back_does_not_take_time_back() {
    use drydock_machine::{Ended, Input};
    let mut world = World::new(plan([step("a"), step("b").needs(&["a"])])).takes("a", 100).run_until("a/1");
    world.now = 100;
    let attempt = world.machine.live_attempt(world.machine.wanted().start[0]).unwrap();
    world.input(Input::Tick);
    world.now = 40;
    world.input(Input::Returned(attempt, Ended::Outputs(json!({}))));
    assert_eq!((world.machine.now(), world.start_times("b")), (Moment(100), vec![100]));
    assert_eq!(world.folded().report(), world.machine.report());
}
