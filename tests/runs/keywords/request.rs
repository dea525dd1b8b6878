//! The keys of one request of a requests file.

use serde_json::{Value, json};

use super::keyword::{Keyword, Stage};
use super::requests::sent;
use super::server::Server;

keywords! { name method path query headers json body effect expect capture timeout }

/// A file of one request with these keys, of whose answer this is kept as `got`.
fn one(keys: &str, got: &str) -> Keyword {
    sent(&format!("drydock: v1\nrequests:\n  - {{ {keys}, capture: {{ got: {got} }} }}\n"))
}

/// Only said where something goes wrong.
fn name() -> Keyword {
    one("name: greet, path: /here, expect: { status: 404 }", "path")
        .refuses("name: greet", "name: [greet]", "DD204", "`name` must be text")
        .dry_alike("name: greet, ", "")
        .exit(20)
        .shows("/steps/it/error/code", "http.status")
        .tried_by(Stage::Run, |keyword| {
            let world = keyword.world(&Server::start(), None).write("open", "");
            world
                .drydock("run plan.yaml --run-id r -e env.yaml")
                .with_exit(20)
                .says("request 1 of 1 (greet): GET ");
        })
}

fn method() -> Keyword {
    one("method: PUT, path: /here", "method")
        .refuses("method: PUT", "method: put", "DD207", "`method` must be one of `GET`")
        .refuses("method: PUT", "method: [PUT]", "DD204", "`method` must be one of `GET`")
        .dry_alike("method: PUT, ", "")
        .shows("/steps/it/outputs/got", "PUT")
}

fn path() -> Keyword {
    one("path: /here", "path")
        .refuses("path: /here", "path: [here]", "DD204", "`path` must be text")
        .refuses("path: /here", "method: GET", "DD203", "a request needs `path`")
        .dry_alike("path: /here", "path: /there")
        .shows("/steps/it/outputs/got", "/here")
}

fn query() -> Keyword {
    one("path: /here, query: { limit: 5, all: true }", "path")
        .refuses("limit: 5", "limit: [5]", "DD204", "`limit` of `query` must be text")
        .dry_alike("query: { limit: 5, all: true }", "query: {}")
        .shows("/steps/it/outputs/got", "/here?limit=5&all=true")
}

fn headers() -> Keyword {
    one("path: /here, headers: { X-Drill: yes }", "drill")
        .refuses("X-Drill: yes", "X-Drill: { a: b }", "DD204", "`X-Drill` of `headers` must be text")
        .dry_alike("headers: { X-Drill: yes }", "headers: {}")
        .shows("/steps/it/outputs/got", "yes")
}

fn json() -> Keyword {
    one("method: POST, path: /here, json: { message: [hello, 1] }", "sent")
        .refuses("json: {", "body: x, json: {", "DD230", "either `json` or `body`")
        .dry_alike("json: { message: [hello, 1] }", "json: null")
        .shows("/steps/it/outputs/got", r#"{"message":["hello",1]}"#)
}

fn body() -> Keyword {
    one("method: POST, path: /here, body: hello", "sent")
        .refuses("body: hello", "body: { a: b }", "DD204", "`body` must be text")
        .dry_alike("body: hello", "body: bye")
        .shows("/steps/it/outputs/got", "hello")
}

/// A dry run that asks says of each request whether it writes.
fn effect() -> Keyword {
    one("method: POST, path: /here, effect: reads", "method")
        .refuses("effect: reads", "effect: read", "DD207", "`effect` must be one of `writes`, `reads`")
        .tried_by(Stage::DryRun, |keyword| {
            for (edit, writes) in [(None, false), (Some((", effect: reads", "")), true)] {
                let world = keyword.world(&Server::start(), edit);
                let ended = world.drydock("dry-run plan.yaml -e env.yaml --probe --format json").with_exit(0);
                let shown: Value = serde_json::from_str(&ended.stdout).expect("JSON");
                assert_eq!(shown.pointer("/steps/1/actions/0/writes"), Some(&json!(writes)));
            }
        })
        .run_alike("effect: reads", "effect: writes")
        .shows("/steps/it/outputs/got", "POST")
}

fn expect() -> Keyword {
    one("path: /here, expect: { status: 404 }", "path")
        .refuses("expect: { status: 404 }", "expect: 404", "DD204", "an expectation must be a mapping")
        .dry_alike(", expect: { status: 404 }", "")
        .exit(20)
        .shows("/steps/it/error/code", "http.status")
}

/// What one request captures the next may say.
fn capture() -> Keyword {
    sent("drydock: v1\nrequests:\n  - { path: /first, capture: { way: path } }\n  - { path: '/second{{ way }}', capture: { at: path } }\n")
        .refuses("capture: { way: path }", "capture: { wya: path }", "DD228", "no earlier request captures `way`")
        .refuses("{ way: path }", "{ way: 'path..' }", "DD204", "`path..` is not a path")
        .dry_alike("at: path", "at: method")
        .shows("/steps/it/outputs/at", "/second/first")
        .shows("/steps/it/outputs/way", "/first")
}

fn timeout() -> Keyword {
    one("path: /here, timeout: 30s", "path")
        .refuses("timeout: 30s", "timeout: 30", "DD204", "`timeout` needs a unit")
        .refuses("timeout: 30s", "timeout: 0s", "DD204", "longer than nothing")
        .dry_alike("timeout: 30s", "timeout: 40s")
        .run_alike(", timeout: 30s", "")
        .shows("/steps/it/outputs/got", "/here")
}
