//! What an assertion says that it expected and found.

use drydock_plan::expr::Truth;
use serde_json::json;

use crate::world::{World, expr, name};

fn check(text: &str, ok: bool, expected: &str, found: &str) {
    let world = World::new(&json!({
        "result": {"n": 7, "name": "Octopus", "empty": "", "rows": [{"last": "dd_1"}], "ok": true},
        "item": {"points": {"low": 1, "high": 5}},
    }));
    let judged = expr(text).judged(&world.scope()).unwrap();
    let ok = if ok { Truth::True } else { Truth::False };
    assert_eq!((judged.ok, judged.expected.as_str(), judged.found.as_str()), (ok, expected, found), "{text}");
}

#[test]
fn expected_and_found_are_readable() {
    check("result.n is within({'low': 1, 'high': 5})", false, "between 1 and 5", "7");
    check("result.n is within(item.points)", false, "between 1 and 5", "7");
    check("result.rows[0].last == 'dd_1'", true, "dd_1", "dd_1");
    check("5 < result.n", true, "more than 5", "7");
    check("result.n <= 6", false, "at most 6", "7");
    check("result.name != 'Octopus'", false, "anything but Octopus", "Octopus");
    check("result.empty == 'x'", false, "x", "\"\"");
    check("result.n in [1, 2]", false, "one of [1,2]", "7");
    check("result.ok", true, "true", "true");
    check("not result.ok", false, "not true", "true");
    check("result.name is startingwith('Agent')", false, "is startingwith('Agent')", "Octopus");
    check("result.missing is defined", false, "a value", "nothing");
    check("result.n > 1 and result.n < 5", false, "less than 5", "7");
    check("result.n > 1 and result.n < 50", true, "more than 1 and less than 50", "7");
    check("result.n == 1 or result.name == 'x'", false, "1 or x", "7, Octopus");
    check("result.n == 1 or result.name == 'Octopus'", true, "Octopus", "Octopus");
}

#[test]
fn what_is_not_known_says_after_what() {
    let world = World::new(&json!({})).unknown_step("restore");
    let judged = expr("steps.restore.outputs.n == 5").judged(&world.scope()).unwrap();
    assert_eq!(judged.ok, Truth::After(vec![name("restore")]));
    assert_eq!((judged.expected.as_str(), judged.found.as_str()), ("5", "(known after restore)"));
}

#[test]
fn an_assertion_without_a_truth_fails_with_its_place() {
    let error = expr("result.n").judged(&World::new(&json!({"result": {"n": 7}})).scope()).unwrap_err();
    assert_eq!((error.code.0, error.place.span.range()), ("DD322", 100..108));
}
