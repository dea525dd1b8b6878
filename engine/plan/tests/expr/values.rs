//! What expressions are worth, and the errors of those that are worth nothing.

use drydock_plan::expr::{Answer, FILTERS, TESTS, Truth};
use serde_json::{Value, json};

use crate::world::{World, expr, underlined};

fn world() -> World {
    World::new(&json!({
        "params": {"db": "OctopusDB", "n": 3, "on": true, "ratio": 2.5, "nothing": null, "list": ["a", "b"], "map": {"a": 1}},
        "item": {"collection": "agent_7f3a", "points": {"low": 1, "high": 5}},
        "run": {"id": "r1", "status": "succeeded"},
        "steps": {
            "point": {"status": "succeeded", "outputs": {
                "mark": "dd_1", "lsn": "44000000037600005", "rows": {"Octopus_Episodes": {"low": 10, "high": 12}},
                "list": [{"n": 1, "name": "x"}, {"n": 2, "name": "y"}]}},
            "skipped": {"status": "skipped"},
        },
    }))
}

fn check(text: &str, expected: Value) {
    assert_eq!(world().value(text), Ok(Answer::Known(expected)), "{text}");
}

#[test]
fn paths_lead_to_values_of_their_type() {
    check("params.db", json!("OctopusDB"));
    check("params['n']", json!(3));
    check("steps.point.outputs.list[1].name", json!("y"));
    check("steps.point.outputs.list[-1]['n']", json!(2));
    check("steps.point.outputs.rows.Octopus_Episodes", json!({"low": 10, "high": 12}));
    check("params.list[params.n - 3]", json!("a"));
    check("params.map[params.list | first]", json!(1));
    check("(steps.point.outputs.list | last).name", json!("y"));
    check("steps.skipped.status", json!("skipped"));
    check("params.nothing", json!(null));
}

#[test]
fn operators_work_on_what_they_are_for() {
    check("params.n + 2 * 3 - 1", json!(8));
    check("7 // 2", json!(3));
    check("7 / 2", json!(3.5));
    check("7 % 2 + 2 ** 3", json!(9));
    check("-params.n", json!(-3));
    check("-params.ratio", json!(-2.5));
    check("'a' ~ params.n ~ params.on ~ params.ratio", json!("a3true2.5"));
    check("[params.n, {'k': params.db}]", json!([3, {"k": "OctopusDB"}]));
    check("'yes' if params.on else 'no'", json!("yes"));
    check("params.n if params.n > 5 else none", json!(null));
    check("params.n in [1, 2, 3] and not (params.db == 'x' or params.n < 1)", json!(true));
    check("'b' not in params.list", json!(false));
    check("3 is within([1, 5]) and steps.point.outputs.rows.Octopus_Episodes.low is number", json!(true));
}

#[test]
fn what_may_be_missing_can_be_guarded() {
    check("steps.skipped.outputs.n | default('none')", json!("none"));
    check("params.missing.deeper | default(params.n)", json!(3));
    check("[] | first | default('empty')", json!("empty"));
    check("params.list[5] | default(params.list[params.n] | default('far'))", json!("far"));
    check("steps.skipped.outputs is defined", json!(false));
    check("steps.point.outputs.mark is defined and params.nope is undefined", json!(true));
    check("steps.skipped.outputs.n is not defined", json!(true));
    check("steps.skipped.status == 'succeeded' and steps.skipped.outputs.n > 3", json!(false));
    check("params.n if params.on else steps.skipped.outputs.n", json!(3));
    check("params.nothing | default('null is a value')", json!(null));
}

#[test]
fn decimals_and_times_are_compared_by_value() {
    check("steps.point.outputs.lsn < '100000000000000000000'", json!(true));
    check("steps.point.outputs.lsn | decimal == '044000000037600005' | decimal", json!(true));
    check("'12.50' | decimal", json!("12.5"));
    check("['10', '9'] | map('decimal') | sort | first", json!("9"));
    check("steps.point.outputs.lsn is within(['1', '99000000000000000000000000'])", json!(true));
    check("'2026-01-01T00:30:00+01:00' < '2026-01-01T00:00:00Z'", json!(true));
}

#[test]
fn every_filter_and_test_does_what_it_says() {
    for filter in FILTERS {
        check(filter.example, serde_json::from_str(filter.gives).unwrap());
    }
    assert!(FILTERS.is_sorted_by_key(|filter| filter.name));
    for test in TESTS {
        check(test.example, json!(true));
    }
    assert!(TESTS.is_sorted_by_key(|test| test.name));
}

/// The error of an expression: its code, the text that it underlines, words of its message and of its help.
#[track_caller]
fn check_error(text: &str, code: &str, at: &str, message: &str, help: &str) {
    let error = world().value(text).expect_err(text);
    assert_eq!(
        (
            error.code.0,
            underlined(text, error.place),
            error.message.as_str(),
            error.help.as_deref().unwrap_or("")
        ),
        (code, at, message, help),
        "{text}"
    );
}

#[test]
fn a_path_that_leads_nowhere_says_where_it_ends() {
    check_error("1 + params.dbb", "DD321", "dbb", "`params` has no `dbb`", "did you mean `db`?");
    check_error(
        "steps.point.outputs.rows.Nope",
        "DD321",
        "Nope",
        "`steps.point.outputs.rows` has no `Nope`",
        "it has Octopus_Episodes",
    );
    check_error(
        "steps.point.outputs.list[2].n",
        "DD321",
        "2",
        "`steps.point.outputs.list` has no item 2",
        "it has 2 items, counted from 0",
    );
    check_error(
        "steps.point.outputs.list.name",
        "DD321",
        "name",
        "`steps.point.outputs.list` is a list and has no `name`",
        "take an item first: `[0]` or `| first`",
    );
    check_error("params.db.x", "DD321", "x", "`params.db` is text and has no `x`", "");
    check_error("params.nothing.x", "DD321", "x", "`params.nothing` is nothing (null) and has no `x`", "");
    check_error("params.map[params.db]", "DD321", "params.db", "this has no `OctopusDB`", "it has a");
    check_error("result.n > 1", "DD321", "result.n", "there is no `result` here", "");
    check_error("[] | first", "DD321", "[] | first", "`first` finds nothing here", "add `| default(…)`");
    check_error(
        "steps.skipped.outputs.n > 1",
        "DD321",
        "steps.skipped.outputs.n",
        "the step `skipped` has no outputs: it did not succeed, or it was skipped",
        "ask `steps.skipped.status == 'succeeded'` in `when`, or add `| default(…)`",
    );
    check_error(
        "steps.later.status == 'failed'",
        "DD321",
        "steps.later.status",
        "the step `later` cannot be seen here",
        "add it to `needs`: [later]",
    );
}

#[test]
fn what_cannot_be_done_is_refused() {
    let types =
        "compare like with like: numbers, texts, decimals; `| int`, `| string` and `| decimal` convert";
    check_error(
        "params.n == '3'",
        "DD323",
        "params.n == '3'",
        "a number cannot be compared with text",
        types,
    );
    check_error("not (params.on < true)", "DD323", "params.on < true", "true or false has no order", types);
    check_error(
        "params.n and true",
        "DD322",
        "params.n",
        "a condition is true or false, not a number",
        "write a comparison, such as `… > 0` or `… != ''`",
    );
    check_error(
        "1 if params.list else 2",
        "DD322",
        "params.list",
        "a condition is true or false, not a list",
        "write a comparison, such as `… > 0` or `… != ''`",
    );
    check_error(
        "params.db + 1",
        "DD324",
        "params.db",
        "`+` takes numbers, not text",
        "texts are joined with `~`; text becomes a number with `| int`",
    );
    check_error(
        "params.db * 1000",
        "DD324",
        "params.db",
        "`*` takes numbers, not text",
        "texts are joined with `~`; text becomes a number with `| int`",
    );
    check_error(
        "params.n | upper",
        "DD324",
        "params.n | upper",
        "`upper` takes text, not a number",
        "for example `'ab' | upper`",
    );
    check_error(
        "params.db | int",
        "DD324",
        "params.db | int",
        "`OctopusDB` is not a whole number of 64 bits",
        "",
    );
    check_error(
        "'' | quote_name",
        "DD324",
        "'' | quote_name",
        "a name in T-SQL has 1 to 128 characters, this one has 0",
        "",
    );
    check_error("1 // 0", "DD324", "1 // 0", "unable to calculate 1 // 0", "");
    check_error(
        "'x' ~ params.list",
        "DD325",
        "params.list",
        "a list has no text of its own",
        "use `| json` or `| join(', ')`",
    );
    check_error(
        "params.n is within(5)",
        "DD324",
        "params.n is within(5)",
        "a band is {low, high} or [low, high], not a number",
        "",
    );
    check_error("2 ** 100", "DD327", "2 ** 100", "a number beyond 64 bits", "");
    check_error(
        "10.0 ** 308 * 100",
        "DD327",
        "10.0 ** 308 * 100",
        "the result of this calculation is not a number",
        "",
    );
    check_error("{1: 2}", "DD324", "1", "a key of a mapping is text, not a number", "");
}

#[test]
fn conditions_are_true_or_false() {
    let world = world();
    assert_eq!(expr("run.status != 'failed'").truth(&world.scope()), Ok(Truth::True));
    assert_eq!(expr("params.on and params.n > 5").truth(&world.scope()), Ok(Truth::False));
    let error = expr("params.n").truth(&world.scope()).unwrap_err();
    assert_eq!(
        (error.code.0, error.message.as_str()),
        ("DD322", "a condition is true or false, not a number")
    );
}

#[test]
fn work_and_growth_are_bounded() {
    let filled = vec!["a"; 1_000].join("");
    let grow = "| replace('a', 'aaaaaaaaaa')".repeat(6);
    let world = World::new(&json!({"item": filled}));
    let error = world.value(&format!("item {grow}")).unwrap_err();
    assert_eq!((error.code.0, error.help.as_deref()), ("DD328", Some("let a step do the work")));
    let error = world.value(&format!("item | list | join('{}')", "x".repeat(5_000))).unwrap_err();
    assert_eq!(error.code.0, "DD328");
}
