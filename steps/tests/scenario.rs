//! The kind `http.scenario`, against a server that keeps a conversation.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use drydock_step::test_host::{TestHost, actions, execute, given, reconcile};
use drydock_step::{Ctx, Ended, Kind, Reconciled, StepError};
use drydock_steps::http::scenario::Scenario;
use serde_json::{Value, json};

use support::{host_of, served};

/// What was asked of the server, in order.
type Asked = Arc<Mutex<Vec<String>>>;

async fn agent(State(asked): State<Asked>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    asked.lock().unwrap().push(format!("create {}", body["name"].as_str().unwrap()));
    (StatusCode::CREATED, Json(json!({ "agent": { "id": 7, "tags": ["drill"] } })))
}

async fn ask(State(asked): State<Asked>, Path(id): Path<u64>, Json(body): Json<Value>) -> Json<Value> {
    asked.lock().unwrap().push(format!("ask {id} {body}"));
    Json(json!({ "text": "I recall Vienna.", "hits": [{ "score": 0.9 }, { "score": 0.5 }] }))
}

async fn busy() -> (StatusCode, &'static str) {
    (StatusCode::SERVICE_UNAVAILABLE, "busy")
}

fn requests() -> Value {
    json!([
        { "name": "create", "method": "POST", "path": "/agents", "json": { "name": "{{ name }}" },
          "expect": { "status": 201, "json": [{ "path": "agent.tags", "contains": "drill" }] }, "capture": { "id": "agent.id" } },
        { "name": "ask", "method": "POST", "path": "/agents/{{ id }}/ask", "json": { "agent": "{{ id }}", "q": "where was {{ name }}?" },
          "expect": { "json": [
              { "path": "text", "contains": "Vienna" }, { "path": "hits", "at_least": 2 }, { "path": "hits.0.score", "at_least": 0.8 },
          ] },
          "capture": { "best": "hits[0]" } },
        { "path": "/agents/{{ id }}", "expect": { "status": ["2xx", 404] } },
    ])
}

async fn host(requests: Value) -> (Arc<TestHost>, Asked) {
    let asked = Asked::default();
    let app = Router::new()
        .route("/agents", post(agent))
        .route("/agents/{id}/ask", post(ask))
        .route("/busy", get(busy).post(busy))
        .with_state(asked.clone());
    let host = host_of(&served(app).await).await;
    (
        Arc::new(host.requests(
            "talk.yaml",
            json!({ "drydock": "v1", "vars": ["name"], "requests": requests }).to_string(),
        )),
        asked,
    )
}

fn with() -> Value {
    json!({ "file": "talk.yaml", "vars": { "name": "Ada" } })
}

#[tokio::test]
async fn captures_go_from_one_request_to_the_next() {
    let (host, asked) = host(requests()).await;
    let ended = execute(&Scenario, &host.ctx(Some("t")), with()).await;
    assert_eq!(ended, Ok(Ended::Outputs(json!({ "id": 7, "best": { "score": 0.9 }, "requests": 3 }))));
    assert_eq!(*asked.lock().unwrap(), ["create Ada", r#"ask 7 {"agent":7,"q":"where was Ada?"}"#]);
    let notes = [
        json!({"done": 1, "captures": {"id": 7}}),
        json!({"done": 2, "captures": {"id": 7, "best": {"score": 0.9}}}),
    ];
    assert_eq!(host.notes(), notes);
}

#[tokio::test]
async fn after_a_crash_it_goes_on_where_it_was() {
    let (host, asked) = host(requests()).await;
    let ctx = Ctx { notes: Arc::new(vec![json!({"done": 1, "captures": {"id": 9}})]), ..host.ctx(Some("t")) };
    let Ok(Reconciled::Partly(from)) = reconcile(&Scenario, &ctx, with()).await else {
        panic!("it was begun")
    };
    let ended = Kind::execute(&Scenario, &ctx, given(with()), Some(&from)).await;
    assert_eq!(ended, Ok(Ended::Outputs(json!({ "id": 9, "best": { "score": 0.9 }, "requests": 3 }))));
    assert_eq!(*asked.lock().unwrap(), [r#"ask 9 {"agent":9,"q":"where was Ada?"}"#]);
}

/// The keys of the requests that an attempt sends to a server that refuses the second of them.
async fn keys(attempt: &str, notes: Vec<Value>, from: Option<&Value>) -> (Vec<String>, Vec<Value>) {
    let seen: Asked = Asked::default();
    let into = seen.clone();
    let app = Router::new().fallback(move |request: axum::extract::Request| {
        let key =
            request.headers().get("idempotency-key").map_or("none", |key| key.to_str().unwrap()).to_owned();
        let refused = request.uri().path() == "/second";
        into.lock().unwrap().push(key);
        async move { if refused { StatusCode::CONFLICT } else { StatusCode::OK } }
    });
    let requests = json!([
        { "method": "POST", "path": "/first" }, { "path": "/look" },
        { "method": "DELETE", "path": "/own", "headers": { "Idempotency-Key": "own" } }, { "method": "PUT", "path": "/second" },
    ]);
    let host = host_of(&served(app).await).await.attempt(attempt).noted(notes);
    let file = json!({ "drydock": "v1", "vars": ["name"], "requests": requests });
    let host = Arc::new(host.requests("talk.yaml", file.to_string()));
    let error = Kind::execute(&Scenario, &host.ctx(Some("t")), given(with()), from).await.unwrap_err();
    assert_eq!(error.code, "http.status");
    let seen = seen.lock().unwrap().clone();
    (seen, host.notes())
}

async fn left_by(attempt: &str, notes: Vec<Value>) -> Value {
    let host = TestHost::new("/").attempt(attempt).noted(notes);
    let Ok(Reconciled::Partly(from)) = reconcile(&Scenario, &Arc::new(host).ctx(Some("t")), with()).await
    else {
        panic!("what was under way may have been done")
    };
    from
}

#[tokio::test]
async fn a_request_that_may_have_been_done_is_sent_again_as_what_it_was() {
    let (first, notes) = keys("r/s/1", Vec::new(), None).await;
    assert_eq!((&first[1], &first[2]), (&"none".to_owned(), &"own".to_owned()), "{first:?}");
    assert!(first[0].len() == 32 && first[3].len() == 32 && first[0] != first[3], "{first:?}");
    // Lost with nothing noted: the first request is the same one.
    let (again, _) = keys("r/s/2", Vec::new(), Some(&left_by("r/s/1", Vec::new()).await)).await;
    assert_eq!(again[0], first[0]);
    assert_ne!(again[3], first[3], "that one was never under way before");
    // Lost at the last request, and lost there once more.
    let from = left_by("r/s/1", notes.clone()).await;
    let (again, mut all) = keys("r/s/2", notes.clone(), Some(&from)).await;
    assert_eq!(again, [first[3].clone()]);
    all.splice(0..0, notes);
    let from = left_by("r/s/2", all.clone()).await;
    assert_eq!(keys("r/s/3", all.clone(), Some(&from)).await.0, [first[3].clone()]);
    // After one that was answered the request is another.
    assert_ne!(keys("r/s/4", all, Some(&from)).await.0, [first[3].clone()]);
}

/// Runs `requests` and checks the failure's code, transience and words, with `URL` for the server's.
async fn fails(requests: Value, code: &str, transient: bool, words: &str) {
    let (host, _asked) = host(requests).await;
    let error: StepError = execute(&Scenario, &host.ctx(Some("t")), with()).await.unwrap_err();
    let url = error
        .message
        .split_whitespace()
        .find_map(|word| word.split_once("/agents").or(word.split_once("/busy")));
    let message = url.map_or(error.message.clone(), |(url, _)| error.message.replace(url, "URL"));
    assert_eq!((error.code.as_str(), error.transient, message.as_str()), (code, transient, words));
}

#[tokio::test]
async fn a_failure_says_which_request_and_what_was_found() {
    let mut wrong = requests();
    wrong[1]["expect"]["json"][0]["contains"] = json!("Rome");
    wrong[1]["expect"]["json"][1]["at_least"] = json!(3);
    let words = "request 2 of 3 (ask): POST URL/agents/7/ask answered 200, but `text` is \"I recall Vienna.\", expected something with \
                 \"Rome\"; `hits` is [{\"score\":0.9},{\"score\":0.5}], expected at least 3";
    fails(wrong, "http.assert", false, words).await;
    let busy = json!([{ "path": "/busy" }]);
    fails(
        busy,
        "http.status",
        true,
        "request 1 of 1: GET URL/busy answered 503 Service Unavailable, expected 2xx: busy",
    )
    .await;
    let after = json!([requests()[0], { "path": "/busy" }]);
    let words = "request 2 of 2: GET URL/busy answered 503 Service Unavailable, expected 2xx: busy";
    fails(after, "http.status", false, words).await;
    let blank = json!([{ "name": "x", "path": "/{{ who }}" }]);
    fails(blank, "http.file", false, "no earlier request captures `who`").await;
    let capture = json!([{ "path": "/agents/1", "expect": { "status": 404 }, "capture": { "a": "b" } }]);
    let words = "request 1 of 1: GET URL/agents/1 answered 404, but `b`, captured as `a`, is not there";
    fails(capture, "http.assert", false, words).await;
}

#[tokio::test]
async fn a_bad_file_is_found_before_anything_is_sent() {
    let (host, asked) = host(json!([{ "path": "/agents", "method": "PUSH" }])).await;
    let preflight = Kind::preflight(&Scenario, &host.ctx(Some("t")), given(with())).await.unwrap();
    let finding = &preflight.findings[0];
    assert_eq!((finding.code.as_str(), finding.fatal), ("http.file", true));
    assert!(finding.message.starts_with("`method` must be one of `GET`"), "{}", finding.message);
    assert!(asked.lock().unwrap().is_empty());
    let none = execute(&Scenario, &host.ctx(Some("t")), json!({ "file": "none.yaml" })).await.unwrap_err();
    assert_eq!(none.message, "there is no file /plans/none.yaml");
}

#[tokio::test]
async fn the_step_gives_the_values_that_the_file_wants_and_no_others() {
    let (host, asked) = host(requests()).await;
    for (vars, words, help) in [
        (
            json!({}),
            "talk.yaml wants a value for `name`, and the step's `vars` has none",
            "add `vars: { name: … }`",
        ),
        (
            json!({ "name": "Ada", "nmae": "Ada" }),
            "the step's `vars` has `nmae`, and talk.yaml does not name it under its `vars`",
            "correct the spelling in one of the two",
        ),
    ] {
        let with = json!({ "file": "talk.yaml", "vars": vars });
        let error = execute(&Scenario, &host.ctx(Some("t")), with.clone()).await.unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str(), error.help.as_deref()),
            ("http.file", words, Some(help))
        );
        let found = Kind::preflight(&Scenario, &host.ctx(Some("t")), given(with)).await.unwrap().findings;
        assert_eq!((found.len(), found[0].message.as_str()), (1, words));
    }
    assert!(asked.lock().unwrap().is_empty(), "something was sent");
}

#[tokio::test]
async fn a_dry_run_shows_every_request_once_the_file_is_read() {
    let (host, _asked) = host(requests()).await;
    assert_eq!(actions(&Scenario, with()).unwrap()[0].text, "send the requests of talk.yaml");
    let facts = Kind::preflight(&Scenario, &host.ctx(Some("t")), given(with())).await.unwrap().facts;
    let given = given(with());
    let read = drydock_step::Given { with: &given.with, fill: None };
    let shown = Kind::actions(&Scenario, Some("t"), &read, &facts).unwrap();
    let lines: Vec<_> = shown.iter().map(|action| (action.text.as_str(), action.writes)).collect();
    assert_eq!(
        lines,
        [("POST /agents", true), ("POST /agents/{{ id }}/ask", true), ("GET /agents/{{ id }}", false)]
    );
}
