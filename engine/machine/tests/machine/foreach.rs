//! One instance per item: keys, the list as an event, statuses of the whole, limits, conditions.

use drydock_machine::RunEvent;
use serde_json::{Value, json};

use crate::plans::{finally, plan, step};
use crate::world::{World, permanent, redo};

fn over(list: Value) -> World {
    World::new(plan([step("f").foreach("params.list"), step("g").needs(&["f"])]).param("list", list))
}

/// A list and its fault.
#[track_caller]
fn refuses(list: Value, code: &str, message: &str) {
    over(list).run().expect("f failed, g blocked -> 20").expect_error("f", code, message).expect_started("");
}

#[test]
fn instances_are_named_by_text_number_or_name() {
    over(json!(["x", 7, {"name": "z"}]))
        .run()
        .expect("f succeeded, f[x] succeeded, f[7] succeeded, f[z] succeeded, g succeeded -> 0")
        .expect_started("f[x]/1 f[7]/1 f[z]/1 g/1");
}

#[test]
fn instances_are_named_by_their_key() {
    let steps = [step("f").foreach("params.list").key("item.id").with(json!({"n": "{{ item.n }}"}))];
    let list = json!([{"id": "a", "n": 1}, {"id": "b", "n": 2}]);
    let world = World::new(plan(steps).param("list", list)).run_until("f[b]/1");
    let input = |live| world.machine.work(live).unwrap().inputs["n"].plain();
    let inputs: Vec<_> = world.machine.wanted().start.into_iter().map(input).collect();
    assert_eq!(inputs, [Some(json!(1)), Some(json!(2))]);
}

#[test]
fn lists_that_cannot_be_run_over_are_refused_before_the_first_starts() {
    refuses(json!(["x", "y", "x"]), "foreach.key", "two items have the key `x`; nothing was started");
    refuses(json!([1, "1"]), "foreach.key", "two items have the key `1`; nothing was started");
    refuses(json!([{"id": 1}]), "foreach.key", "the key of item 1 is null, not text or a number");
    refuses(json!(["x", [1]]), "foreach.key", "the key of item 2 is a list, not text or a number");
    refuses(json!(["x", true]), "foreach.key", "the key of item 2 is true, not text or a number");
    refuses(json!({"x": 1}), "foreach.list", "foreach `params.list` gave a mapping, not a list");
    refuses(json!("x"), "foreach.list", "foreach `params.list` gave \"x\", not a list");
}

#[test]
fn a_refused_key_comes_with_its_remedy() {
    let report = over(json!([{"id": 1}])).run().machine.report();
    let help = report.steps["f"].error.as_ref().and_then(|error| error.help.as_deref());
    assert_eq!(help, Some("name the instances with `key:`, such as `key: item.id`"));
}

#[test]
fn an_empty_list_succeeds() {
    over(json!([])).run().expect("f succeeded, g succeeded -> 0").expect_why("f", "the list is empty");
}

#[test]
fn its_own_limit_and_the_plans_hold() {
    let steps = [step("f").foreach("params.list").max_parallel(2), step("a")];
    let world = World::new(plan(steps).param("list", json!([1, 2, 3])).max_parallel(3));
    let world =
        ["f[1]", "f[2]", "f[3]", "a"].into_iter().fold(world, |world, part| world.takes(part, 10)).run();
    let starts = ["f[1]", "f[2]", "f[3]", "a"].map(|part| world.start_times(part)[0]);
    assert_eq!(starts, [0, 0, 10, 0]);
}

#[test]
fn a_when_that_names_the_item_is_asked_for_each() {
    let run = |list| {
        let steps = [step("f").foreach("params.list").when("item.go"), step("g").needs(&["f"])];
        World::new(plan(steps).param("list", list)).run()
    };
    run(json!([{"name": "x", "go": false}, {"name": "y", "go": true}]))
        .expect("f succeeded, f[x] skipped, f[y] succeeded, g succeeded -> 0");
    run(json!([{"name": "x", "go": false}])).expect("f skipped, f[x] skipped, g succeeded -> 0");
    run(json!([{"name": "x"}, {"name": "y", "go": true}]))
        .expect("f failed, f[x] failed, f[y] cancelled, g blocked -> 20");
}

#[test]
fn a_when_that_does_not_name_the_item_is_asked_once() {
    let steps = [step("f").foreach("params.list").when("params.no")];
    World::new(plan(steps).param("list", json!(["x"])).param("no", json!(false)))
        .run()
        .expect("f skipped -> 0");
}

#[test]
fn a_failed_instance_counts_as_its_step_says() {
    let run = |f: crate::plans::StepBuilder| {
        let steps = [f.foreach("params.list"), step("g").needs(&["f"]), step("h")];
        World::new(plan(steps).param("list", json!(["x", "y", "z"])).max_parallel(1))
            .fails("f[y]", permanent("bad"))
            .run()
    };
    run(step("f"))
        .expect("f partial, f[x] succeeded, f[y] failed, f[z] cancelled, g blocked, h cancelled -> 20")
        .expect_error("f", "bad", "1 of 3 failed; y: it broke: bad")
        .expect_why("g", "it needs f, which failed in part");
    run(step("f").continues())
        .expect("f partial, f[x] succeeded, f[y] failed, f[z] succeeded, g blocked, h succeeded -> 20");
    run(step("f").ignored())
        .expect("f partial, f[x] succeeded, f[y] failed, f[z] succeeded, g succeeded, h succeeded -> 0");
}

#[test]
fn a_foreach_none_of_which_succeeds_has_failed() {
    over(json!(["x"])).fails("f[x]", permanent("bad")).run().expect("f failed, f[x] failed, g blocked -> 20");
}

#[test]
fn its_outputs_are_a_list_of_its_instances() {
    let steps = [
        step("f").foreach("params.list").ignored(),
        step("g")
            .needs(&["f"])
            .when("steps.f.outputs[0].outputs.n == 1 and steps.f.outputs[1].status == 'failed'"),
    ];
    let world = World::new(plan(steps).param("list", json!(["x", "y"])))
        .returns("f[x]", json!({"n": 1}))
        .fails("f[y]", permanent("bad"))
        .run()
        .expect("f partial, f[x] succeeded, f[y] failed, g succeeded -> 0");
    let outputs = &world.machine.report().steps["f"].outputs;
    let entry = |key: &str, status: &str| json!({"key": key, "item": key, "status": status});
    let mut first = entry("x", "succeeded");
    first["outputs"] = json!({"n": 1});
    assert_eq!(*outputs, json!([first, entry("y", "failed")]));
}

#[test]
fn the_list_is_asked_for_once() {
    let steps = || [step("a"), step("f").needs(&["a"]).foreach("steps.a.outputs.list")];
    let world = World::new(plan(steps()))
        .returns("a", json!({"list": ["x", "y"]}))
        .fails("f[y]", permanent("bad"))
        .run()
        .dies_and_resumes()
        .expect("a succeeded, f succeeded, f[x] succeeded, f[y] succeeded -> 0")
        .expect_started("a/1 f[x]/1 f[y]/1 f[y]/2");
    let listed = |world: &World| {
        world.log.iter().filter(|(_, event)| matches!(event, RunEvent::ForeachListed { .. })).count()
    };
    assert_eq!(listed(&world), 1);
    // What it needs is done again, and with it the list is asked for again: attempts go on counting.
    let world = world
        .returns("a", json!({"list": ["y", "z"]}))
        .sit(redo(&["a"]))
        .expect("a succeeded, f succeeded, f[y] succeeded, f[z] succeeded -> 0")
        .expect_started("a/1 f[x]/1 f[y]/1 f[y]/2 a/2 f[y]/3 f[z]/1")
        .returns("a", json!({"list": ["x"]}))
        .sit(redo(&["a"]));
    assert_eq!(listed(&world), 3);
    assert_eq!(world.started().last().unwrap(), "f[x]/2");
}

#[test]
fn one_instance_is_done_again_and_all_that_need_its_step() {
    over(json!(["x", "y"]))
        .run()
        .sit(redo(&["f[y]"]))
        .expect("f succeeded, f[x] succeeded, f[y] succeeded, g succeeded -> 0")
        .expect_started("f[x]/1 f[y]/1 g/1 f[y]/2 g/2");
    // A key that there is not is passed over.
    over(json!(["x"]))
        .fails("g", permanent("x"))
        .run()
        .sit(redo(&["f[no]"]))
        .expect_started("f[x]/1 g/1 g/2");
}

#[test]
fn an_attempt_of_a_former_list_is_asked_about_before_the_list() {
    use drydock_machine::Verdict;
    let steps = [step("f").foreach("params.list"), finally("z")];
    let world = World::new(plan(steps).param("list", json!(["x", "y"])))
        .server_says("f[x]", crate::world::busy(5_000))
        .server_says("f[x]", Verdict::Done(json!({})))
        .run_until("f[y]/1")
        .dies()
        .sit(redo(&["f"]))
        .expect("f succeeded, f[x] succeeded, f[y] succeeded, z succeeded -> 0")
        .expect_started("f[x]/1 f[y]/1 f[x]/2 f[y]/2 z/1");
    assert_eq!(
        world.asked,
        [("f[x]/1".to_owned(), 0), ("f[y]/1".to_owned(), 0), ("f[x]/1".to_owned(), 5_000)]
    );
    assert_eq!(world.start_times("f[y]"), [0, 5_000]);
}
