//! Faults and the ledger, over HTTP: what is done, what is recorded, what the client sees.

use std::time::Duration;

use serde_json::{Value, json};

use super::server::{KEY, Server};

/// A server with one rule of faults for requests of the attempt `r/s/1`, and a collection `c`.
async fn faulty(act: &str) -> Server {
    let server = Server::with_faults(1, &format!(r#"[{{"attempt": "r/s/1", {act}}}]"#)).await;
    let config = json!({"vectors": {"size": 2, "distance": "Dot"}});
    server.done("PUT /collections/c", Some(config)).await;
    server
}

async fn upsert(server: &Server) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/collections/c/points?wait=true", server.qdrant.urls()[0]);
    let request = server.http.put(url).header("api-key", KEY).header("x-drydock-attempt", "r/s/1");
    request.json(&body()).send().await
}

fn body() -> Value {
    json!({"points": [{"id": 1, "vector": [1, 2]}]})
}

async fn points(server: &Server) -> Value {
    server.done("POST /collections/c/points/count", Some(json!({}))).await["count"].clone()
}

/// The ledger's lines of the attempt: whether each wrote, and was held.
fn recorded(server: &Server) -> Vec<(String, bool, bool)> {
    let lines = server.ledger.lines().into_iter().filter(|line| line.attempt.as_deref() == Some("r/s/1"));
    lines.map(|line| (line.op, line.writes, line.held)).collect()
}

const UPSERT: &str = "PUT /collections/c/points";

#[tokio::test]
async fn cut_before_the_work() {
    let server = faulty(r#""do": "cut_before""#).await;
    let error = upsert(&server).await.unwrap_err();
    assert!(error.is_request(), "{error}: the connection ends without an answer");
    assert_eq!((points(&server).await, recorded(&server)), (json!(0), vec![]));
    assert_eq!(upsert(&server).await.unwrap().status(), 200, "once only");
}

#[tokio::test]
async fn cut_after_the_work() {
    let server = faulty(r#""do": "cut_after""#).await;
    let error = upsert(&server).await.unwrap_err();
    assert!(error.is_request(), "{error}: the connection ends without an answer");
    assert_eq!((points(&server).await, recorded(&server)), (json!(1), vec![(UPSERT.into(), true, false)]));
}

#[tokio::test]
async fn held_until_the_client_goes_away() {
    let server = faulty(r#""do": "hold""#).await;
    let mut held = Box::pin(upsert(&server));
    // The work is done and recorded while the client still waits.
    while recorded(&server).is_empty() {
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut held).await.is_err(), "answered");
    }
    assert_eq!((points(&server).await, recorded(&server)), (json!(1), vec![(UPSERT.into(), true, true)]));
    server.qdrant.stop();
    let error = held.await.unwrap_err();
    assert!(error.is_request(), "{error}: stopping ends what is held");
}

#[tokio::test]
async fn an_error_is_answered_and_nothing_done() {
    for (act, status, words) in [
        (r#""do": "error", "code": 503, "message": "busy""#, 503, "busy"),
        (r#""do": "disk_full""#, 500, "No space left on device"),
    ] {
        let server = faulty(act).await;
        let answered = upsert(&server).await.unwrap();
        assert_eq!(answered.status(), status);
        let said: Value = answered.json().await.unwrap();
        assert!(said["status"]["error"].as_str().unwrap().contains(words), "{said}");
        assert_eq!(
            (points(&server).await, recorded(&server)),
            (json!(0), vec![(UPSERT.into(), false, false)])
        );
    }
}

#[tokio::test]
async fn a_slow_request_is_done() {
    let server = faulty(r#""do": "slow", "ms": 20"#).await;
    assert_eq!(upsert(&server).await.unwrap().status(), 200);
    assert_eq!(points(&server).await, 1);
}

#[tokio::test]
async fn the_ledger_tells_reads_writes_and_refusals_apart() {
    let server = faulty(r#""do": "hold", "op": "nothing""#).await;
    upsert(&server).await.unwrap();
    server.ask("GET /collections/nope", None).await.refused(404, "nope");
    server.ask("DELETE /collections/nope/snapshots/x", None).await.refused(404, "nope");
    let lines = server.ledger.lines();
    let told: Vec<_> =
        lines.iter().map(|line| (line.op.as_str(), line.writes, line.sha256.is_some())).collect();
    assert_eq!(
        told,
        [
            ("PUT /collections/c", true, true),
            (UPSERT, true, true),
            ("GET /collections/nope", false, false),
            ("DELETE /collections/nope/snapshots/x", false, false),
        ]
    );
    assert!(lines.windows(2).all(|pair| pair[0].at < pair[1].at), "in the order of their times");
    assert_eq!(lines[0].server, "qdrant");
    let body = serde_json::to_vec(&body()).unwrap();
    assert_eq!(lines[1].sha256, Some(super::replay::compare::sha256(&body)), "of the body as it was sent");
}
