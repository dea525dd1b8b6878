//! Events as they are written down, and reports as people read them.

use drydock_machine::event::EVENT_NAMES;
use drydock_machine::{Moment, RunEvent};
use serde_json::{Value, json};

use crate::plans::{finally, name, plan, step};
use crate::world::World;

/// Each event as it is written, with all of its fields.
const WRITTEN: [&str; 20] = [
    r#"{"event":"run_started","run":"r1","plan":"story","purpose":"restore","digest":"d1","environment":"drill","params":{"n":1},"only":["a"],"skip":["b"]}"#,
    r#"{"event":"sitting_started","n":2,"digest":"d2"}"#,
    r#"{"event":"reopened_steps","steps":[{"step":"a","key":"x","fresh":true},{"step":"b"}]}"#,
    r#"{"event":"foreach_listed","step":"a","items":[{"key":"x","item":[1]}]}"#,
    r#"{"event":"attempt_started","step":"a","key":"x","n":1,"check":2,"inputs":{"token":["Bearer ",{"secret":"params.token"}]},"from":3}"#,
    r#"{"event":"noted","step":"a","key":"x","n":1,"check":2,"value":"log 3"}"#,
    r#"{"event":"cancel_asked","step":"a","key":"x","n":1,"check":2,"why":"timeout"}"#,
    r#"{"event":"attempt_unclear","step":"a","key":"x","n":1,"check":2,"error":{"code":"net","message":"lost","help":"look","transient":true}}"#,
    r#"{"event":"reconciled","step":"a","key":"x","n":1,"check":2,"verdict":{"busy":"1m30s"}}"#,
    r#"{"event":"parked","step":"a","key":"x","n":1,"message":"may I?","unknown":true}"#,
    r#"{"event":"approved","step":"a","key":"x","by":"ada","reason":"ok"}"#,
    r#"{"event":"attempt_ended","step":"a","key":"x","n":1,"check":2,"outcome":{"succeeded":{"n":1}},"added":{"m":2}}"#,
    r#"{"event":"judged","step":"a","key":"x","check":1,"name":"n is 1","ok":false,"expected":"1","found":"2"}"#,
    r#"{"event":"retry_scheduled","step":"a","key":"x","at_ms":5,"error":{"code":"net","message":"lost"}}"#,
    r#"{"event":"step_ended","step":"a","key":"x","status":"blocked","error":{"code":"net","message":"lost"},"why":"b failed"}"#,
    r#"{"event":"stopping","step":"a"}"#,
    r#"{"event":"interrupted","level":2}"#,
    r#"{"event":"finally_started","status":"failed"}"#,
    r#"{"event":"run_ended","status":"failed","exit":20,"summary":"it failed","outputs":{"n":1},"warnings":["slow"]}"#,
    r#"{"event":"sitting_ended","exit":24}"#,
];

/// The other values of fields that have several.
const VALUES: [(&str, &str, &str); 4] = [
    ("reconciled", "verdict", r#"["not_done",{"done":{"n":1}},{"partly":1},{"unknown":"why"}]"#),
    (
        "attempt_ended",
        "outcome",
        r#"[{"failed":{"code":"x","message":"y"}},"cancelled","lost",{"partly":1}]"#,
    ),
    ("step_ended", "status", r#"["succeeded","failed","skipped","cancelled","partial"]"#),
    ("run_ended", "status", r#"["succeeded","interrupted","abandoned"]"#),
];

#[test]
fn events_are_written_as_they_always_were() {
    let check = |written: &str| {
        let event: RunEvent =
            serde_json::from_str(written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(serde_json::to_string(&event).unwrap(), written);
    };
    WRITTEN.iter().for_each(|written| check(written));
    let name =
        |written: &str| serde_json::from_str::<Value>(written).unwrap()["event"].as_str().unwrap().to_owned();
    assert_eq!(WRITTEN.map(name), EVENT_NAMES);
    for (event, field, values) in VALUES {
        let written = WRITTEN.iter().find(|written| name(written) == event).unwrap();
        for value in serde_json::from_str::<Vec<Value>>(values).unwrap() {
            let mut written: Value = serde_json::from_str(written).unwrap();
            written[field] = value;
            check(&written.to_string());
        }
    }
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
