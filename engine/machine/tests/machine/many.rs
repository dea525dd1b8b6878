//! Ten thousand of everything: no input may look at all steps.

use drydock_machine::{Ended, Input, Machine, Moment, RunHead, Sitting};
use serde_json::{Value, json};

use crate::plans::{PlanBuilder, plan, step};

/// How many steps or instances there are.
const MANY: u32 = 10_000;

/// Run a plan whose every attempt returns at once, asking what is wanted only as often as a loop that takes inputs in batches would.
#[track_caller]
fn runs(plan: PlanBuilder, steps: usize) {
    let mut machine = Machine::new(plan.built());
    machine
        .on(Moment(0), Input::Begin(RunHead { run: "r1".into(), started_at: Moment(0) }, Sitting::default()));
    let mut ended = 0;
    loop {
        let wanted = machine.wanted();
        if wanted.ended.is_some() {
            break;
        }
        for live in wanted.start {
            let attempt = machine.live_attempt(live).unwrap();
            machine.on(Moment(1), Input::Noted(attempt.clone(), json!(1)));
            let events = machine.on(Moment(1), Input::Returned(attempt, Ended::Outputs(json!({}))));
            assert!(events.len() < 40 || ended + 1 >= MANY, "one answer, and {} events", events.len());
            ended += 1;
        }
    }
    assert_eq!(machine.exit(), Some(drydock_machine::Exit::Done));
    assert_eq!(machine.report().steps.len(), steps);
}

fn ids() -> Vec<&'static str> {
    (0..MANY).map(|n| &*format!("s{n}").leak()).collect()
}

#[test]
fn a_fan_and_a_join() {
    let ids = ids();
    let mut steps: Vec<_> = ids.iter().map(|id| step(id).timeout(60_000)).collect();
    steps.push(step("join").needs(&ids));
    runs(plan(steps.clone()).max_parallel(MANY), 10_001);
    runs(plan(steps).max_parallel(8), 10_001);
}

#[test]
fn a_chain() {
    let ids = ids();
    let steps = ids.iter().enumerate().map(|(at, id)| step(id).needs(&ids[at.saturating_sub(1)..at]));
    runs(plan(steps), 10_000);
}

#[test]
fn a_foreach() {
    let list: Value = (0..MANY).map(|n| json!(format!("k{n}"))).collect();
    let steps = || [step("f").foreach("params.list").timeout(60_000), step("join").needs(&["f"])];
    runs(plan(steps()).param("list", list.clone()).max_parallel(MANY), 10_002);
    runs(plan(steps()).param("list", list), 10_002);
}
