//! The keys of a validation.

use serde_json::json;

use super::keyword::Keyword;

keywords! { name uses target with assert }

fn judged(validation: &str) -> Keyword {
    Keyword::of_step(&format!(
        "uses: flow.set, with: {{ values: {{ n: 1 }} }}, validate: [{{ {validation} }}]"
    ))
}

/// Two targets at one server; each has a path of its own.
fn asked(validation: &str) -> Keyword {
    Keyword::of_plan(
        "targets: { one: http, two: http }",
        &[
            &format!("it: {{ needs: [gate], uses: target.ping, target: one, validate: [{{ {validation} }}] }}"),
            "other: { uses: target.ping, target: two }",
        ],
    )
    .environment("targets: { one: { kind: http, url: 'http://SERVER/one' }, two: { kind: http, url: 'http://SERVER/two' } }")
}

fn name() -> Keyword {
    judged("name: n is one, assert: outputs.n == 1")
        .refuses("name: n is one, ", "", "DD203", "`name`")
        .dry_alike("n is one", "n is 1")
        .shows("/steps/it/validations/0/name", "n is one")
}

fn uses() -> Keyword {
    judged("name: it lists, uses: process.run, with: { argv: [ls, plan.yaml], effect: reads }, assert: \"result.stdout == 'plan.yaml'\"")
        .refuses("uses: process.run, with: { argv: [ls, plan.yaml], effect: reads }", "uses: flow.approve, with: { message: ok }", "DD223", "reads")
        .dry("/steps/1/actions/1/text", "ls plan.yaml")
        .shows("/steps/it/validations/0/ok", true)
}

fn target() -> Keyword {
    asked("name: the other answers, uses: http.request, target: two, with: { method: GET, path: /x, effect: reads }, assert: \"result.json.path == '/two/x'\"")
        .refuses("http.request, target: two", "http.request, target: tow", "DD504", "did you mean `two`?")
        .dry("/steps/1/actions/1/target", "two")
        .shows("/steps/it/validations/0/found", "/two/x")
        .shows("/steps/it/validations/0/ok", true)
}

fn with() -> Keyword {
    asked("name: it answers, uses: http.request, with: { method: GET, path: /x, effect: reads }, assert: \"result.json.path == '/one/x'\"")
        .refuses("path: /x", "paht: /x", "DD507", "did you mean `path`?")
        .dry("/steps/1/actions/1/text", "GET /x")
        .shows("/steps/it/validations/0/ok", true)
}

fn assert() -> Keyword {
    judged("name: n is two, assert: outputs.n == 2")
        .refuses("outputs.n == 2", "outputs.n = 2", "DD301", "=")
        .dry_alike("outputs.n == 2", "outputs.n == 1")
        .exit(21)
        .shows(
            "/steps/it/validations",
            json!([{ "name": "n is two", "expected": "2", "found": "1", "ok": false }]),
        )
}
