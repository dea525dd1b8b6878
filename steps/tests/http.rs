//! The kinds `http.request` and `http.wait` and the target kind `http`, against a small server in this process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request as Wire;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use drydock_step::test_host::{TestHost, actions, execute, reconcile, touches};
use drydock_step::{Access, Ended, Reconciled, StepError};
use drydock_steps::http::request::Request;
use drydock_steps::http::target::HttpTarget;
use drydock_steps::http::wait::Wait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use support::{connected, host_of, served};

async fn echo(method: axum::http::Method, uri: Uri, headers: HeaderMap, body: Bytes) -> axum::Json<Value> {
    let header =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    axum::Json(json!({
        "method": method.as_str(), "uri": uri.to_string(), "body": String::from_utf8_lossy(&body),
        "attempt": header("x-drydock-attempt"), "type": header("content-type"),
        "authorization": header("authorization"), "own": header("x-own"), "proxy": header("via"),
    }))
}

/// The server's URL. `/starting` answers 503 twice, then 200; `/once` answers 503 once, then never.
async fn server() -> String {
    let asked = Arc::new(AtomicU64::new(0));
    let starting = move || async move {
        let ready = asked.fetch_add(1, Ordering::SeqCst) >= 2;
        if ready { (StatusCode::OK, "up") } else { (StatusCode::SERVICE_UNAVAILABLE, "not yet") }
    };
    let met = Arc::new(AtomicU64::new(0));
    let once = move || async move {
        if met.fetch_add(1, Ordering::SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
        StatusCode::SERVICE_UNAVAILABLE
    };
    let status = |request: Wire| async move {
        let status =
            request.uri().path().rsplit('/').next().and_then(|status| status.parse().ok()).unwrap_or(500);
        (StatusCode::from_u16(status).unwrap(), "as you wished").into_response()
    };
    let app = Router::new()
        .route("/echo", any(echo))
        .route("/status/{status}", any(status))
        .route("/text", get(|| async { "plain" }))
        .route("/large", get(|| async { "x".repeat(1024 * 1024 + 1) }))
        .route("/full", get(|| async { "x".repeat(1000 * 1024) }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [("location", "/text")], "") }))
        .route("/starting", get(starting))
        .route("/once", get(once));
    served(app).await
}

/// A server that reads a request and closes the connection, after these bytes.
async fn broken(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

async fn host(url: &str) -> Arc<TestHost> {
    Arc::new(host_of(url).await)
}

async fn request(url: &str, with: Value) -> Result<Value, StepError> {
    match execute(&Request, &host(url).await.ctx(Some("t")), with).await? {
        Ended::Outputs(outputs) => Ok(outputs),
        Ended::Waits(message) => panic!("{message}"),
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_written() {
    let url = server().await;
    let with = json!({
        "method": "POST", "path": "/echo?a=1", "query": {"limit": 10}, "headers": {"X-Own": ["k ", {"secret": "params.t"}]},
        "json": {"enabled": true},
    });
    let outputs = request(&url, with).await.unwrap();
    assert_eq!(outputs["status"], 200);
    assert_eq!(outputs["headers"]["content-type"], "application/json");
    let expected = json!({
        "method": "POST", "uri": "/echo?a=1&limit=10", "body": "{\"enabled\":true}", "attempt": "r1/step[%C3%A4]/1",
        "type": "application/json", "authorization": null, "own": "k <params.t>", "proxy": null,
    });
    assert_eq!(outputs["json"], expected);
    assert_eq!(serde_json::from_str::<Value>(outputs["text"].as_str().unwrap()).unwrap(), expected);

    let outputs = request(
        &url,
        json!({"method": "PUT", "path": "echo", "body": "a=1", "headers": {"content-type": "x/y"}}),
    )
    .await;
    let outputs = outputs.unwrap();
    assert_eq!((&outputs["json"]["body"], &outputs["json"]["type"]), (&json!("a=1"), &json!("x/y")));
    let outputs = request(&url, json!({"method": "GET", "path": "/text"})).await.unwrap();
    assert_eq!((&outputs["text"], outputs.get("json")), (&json!("plain"), None));
    assert_eq!(request(&url, json!({"method": "HEAD", "path": "/text"})).await.unwrap()["text"], "");
}

#[tokio::test]
async fn the_targets_settings_go_with_every_request() {
    let settings =
        json!({"url": server().await, "headers": {"x-own": 7}, "auth": {"bearer": "tok"}, "timeout": "5s"});
    let host = Arc::new(TestHost::new("/").target("t", connected(settings).await.unwrap()));
    let ended =
        execute(&Request, &host.ctx(Some("t")), json!({"method": "GET", "path": "/echo"})).await.unwrap();
    let Ended::Outputs(outputs) = ended else { panic!("{ended:?}") };
    assert_eq!(
        (&outputs["json"]["own"], &outputs["json"]["authorization"]),
        (&json!("7"), &json!("Bearer tok"))
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    for (settings, words) in [
        (json!({"url": "ftp://h"}), "must begin with http:// or https://"),
        (json!({"url": "api"}), "its `url` is no URL"),
        (json!({"url": "https://h", "ca": "/nowhere.pem"}), "its `ca`, /nowhere.pem, cannot be read"),
        (json!({"url": "https://h", "ca": "/dev/null"}), "has no certificate in it"),
        (json!({"url": "http://h", "tls": true}), "unknown field `tls`"),
        (json!({}), "missing field `url`"),
    ] {
        let error = connected(settings.clone()).await.err().unwrap();
        assert_eq!(error.code, "target.settings", "{settings}");
        assert!(error.message.contains(words), "{settings}: {error}");
    }
}

#[tokio::test]
async fn statuses_are_judged() {
    let url = server().await;
    let ok = json!({"method": "GET", "path": "/status/404", "expect_status": [200, 404]});
    assert_eq!(request(&url, ok).await.unwrap()["status"], 404);
    let moved =
        request(&url, json!({"method": "GET", "path": "/moved", "expect_status": "3xx"})).await.unwrap();
    assert_eq!(moved["headers"]["location"], "/text");
    for (method, status, transient) in
        [("GET", 503, true), ("POST", 429, true), ("POST", 502, false), ("GET", 404, false)]
    {
        let error =
            request(&url, json!({"method": method, "path": format!("/status/{status}")})).await.unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.transient, error.unknown),
            ("http.status", transient, false),
            "{error}"
        );
        assert!(
            error.message.starts_with(&format!("{method} {url}/status/{status} answered {status} ")),
            "{error}"
        );
        assert!(error.message.ends_with(", expected 2xx: as you wished"), "{error}");
    }
}

#[tokio::test]
async fn a_large_answer_fails_and_says_so() {
    let url = server().await;
    let error = request(&url, json!({"method": "GET", "path": "/large"})).await.unwrap_err();
    assert_eq!(error.code, "http.large");
    assert!(error.message.contains("answered 200 with more than 1 MiB"), "{error}");
    let full = request(&url, json!({"method": "GET", "path": "/full"})).await.unwrap();
    assert_eq!(full["text"].as_str().map(str::len), Some(1000 * 1024));
}

#[tokio::test]
async fn a_lost_connection_is_unknown_only_for_what_writes() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    for answer in ["", half] {
        let url = broken(answer).await;
        for (method, effect, transient, unknown) in [
            ("POST", Value::Null, false, true),
            ("DELETE", Value::Null, false, true),
            ("GET", Value::Null, true, false),
            ("GET", json!("writes"), false, true),
            ("POST", json!("reads"), true, false),
        ] {
            let error =
                request(&url, json!({"method": method, "path": "/x", "effect": effect})).await.unwrap_err();
            assert_eq!(
                (error.code.as_str(), error.transient, error.unknown),
                ("http.lost", transient, unknown),
                "{error}"
            );
        }
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = request(&format!("http://u:p4ss@{nobody}"), json!({"method": "POST"})).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient, error.unknown), ("http.connect", true, false));
    assert!(!error.message.contains("p4ss"), "{error}");
}

#[tokio::test]
async fn a_wait_ends_with_the_expected_answer_or_says_the_last_one() {
    let url = server().await;
    let ctx = host(&url).await.ctx(Some("t"));
    let ended =
        execute(&Wait, &ctx, json!({"path": "/starting", "status": 200, "within": "10s", "every": "1ms"}))
            .await
            .unwrap();
    let Ended::Outputs(outputs) = ended else { panic!("{ended:?}") };
    assert_eq!((&outputs["status"], &outputs["text"]), (&json!(200), &json!("up")));
    let error = execute(&Wait, &ctx, json!({"path": "/status/500", "within": "20s", "every": "30s"}))
        .await
        .unwrap_err();
    assert_eq!((error.code.as_str(), error.transient), ("http.wait", true));
    assert!(error.message.starts_with("the wait of 20s is over: GET "), "{error}");
    assert!(error.message.contains("answered 500 Internal Server Error, expected 2xx"), "{error}");
    // The first question is answered, the second is still open when the time is over.
    let error =
        execute(&Wait, &ctx, json!({"path": "/once", "within": "1s", "every": "900ms"})).await.unwrap_err();
    assert!(error.message.contains("answered 503 Service Unavailable, expected 2xx"), "{error}");
}

/// A server that says when a request has come, and answers when it is told to.
async fn holding() -> (String, Arc<Notify>, Arc<Notify>) {
    let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, awaited) = (come.clone(), go.clone());
    let held = move || async move {
        told.notify_one();
        awaited.notified().await;
        "done"
    };
    (served(Router::new().route("/", any(held))).await, come, go)
}

#[tokio::test]
async fn a_read_is_given_up_at_once_and_a_write_is_not() {
    for (method, expected) in [("GET", Err("cancelled".to_owned())), ("POST", Ok(json!("done")))] {
        let (url, come, go) = holding().await;
        let host = host(&url).await;
        let ctx = host.ctx(Some("t"));
        let attempt = tokio::spawn(async move { execute(&Request, &ctx, json!({ "method": method })).await });
        come.notified().await;
        host.cancel();
        if method == "POST" {
            go.notify_one();
        }
        let ended = match attempt.await.unwrap() {
            Ok(Ended::Outputs(outputs)) => Ok(outputs["text"].clone()),
            other => Err(other.unwrap_err().code),
        };
        assert_eq!(ended, expected, "{method}");
        let again = execute(&Request, &host.ctx(Some("t")), json!({ "method": method })).await;
        assert_eq!(again.unwrap_err().code, "cancelled", "{method} after the cancel");
    }
}

#[tokio::test]
async fn what_is_shown_touched_and_known_afterwards() {
    let check = |with: Value, line: &str, writes: bool| {
        let found = actions(&Request, with.clone()).unwrap();
        assert_eq!((found[0].text.as_str(), found[0].writes), (line, writes), "{with}");
        let access = if writes { Access::Writes } else { Access::Reads };
        assert_eq!(touches(&Request, with.clone()).unwrap()[0].access, access, "{with}");
    };
    check(
        json!({"method": "POST", "path": "/m", "json": {"enabled": true}}),
        r#"POST /m {"enabled":true}"#,
        true,
    );
    check(json!({"method": "GET", "query": {"k": [{"secret": "params.t"}]}}), "GET /?k=***", false);
    check(
        json!({"method": "PUT", "path": {"$after": ["a"]}, "body": "x y"}),
        "PUT (known after a) x y",
        true,
    );
    check(json!({"method": {"$after": ["a"]}}), "(known after a) /", true);
    check(json!({"method": "POST", "path": "/search", "effect": "reads"}), "POST /search", false);
    check(json!({"method": "GET", "path": "/next", "effect": "writes"}), "GET /next", true);

    let ctx = host("http://127.0.0.1:1").await.ctx(Some("t"));
    assert_eq!(reconcile(&Request, &ctx, json!({"method": "GET"})).await, Ok(Reconciled::NotDone));
    let search = json!({"method": "POST", "effect": "reads"});
    assert_eq!(reconcile(&Request, &ctx, search).await, Ok(Reconciled::NotDone));
    assert!(matches!(reconcile(&Request, &ctx, json!({"method": "POST"})).await, Ok(Reconciled::Unknown(_))));
    let error = actions(&Request, json!({"method": "get"})).unwrap_err();
    assert!(error.message.contains("unknown variant `get`"), "{error}");
}

#[tokio::test]
async fn a_server_is_known_by_its_address() {
    let connection = connected(json!({"url": "https://u:p@API.example/v1?x=1"})).await.unwrap();
    let identity = connection.identity().await.unwrap();
    assert_eq!(
        (identity.text.as_str(), identity.name.as_str()),
        ("http https://api.example:443", "api.example")
    );
    connected(json!({"url": server().await})).await.unwrap().ping().await.unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error =
        connected(json!({"url": format!("http://{nobody}")})).await.unwrap().ping().await.unwrap_err();
    assert_eq!(error.code, "http.connect");
    assert_eq!(drydock_step::TargetKind::shape(&HttpTarget).name, "http");
}
