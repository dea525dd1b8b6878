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
        (r#""do": "disk_full""#, 500, "File IO error: No space left on device (os error 28)"),
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

/// A server with these rules, and a collection `c` of thirty points.
async fn filled(rules: &str) -> Server {
    let server = Server::with_faults(1, rules).await;
    server.create("c", json!({})).await;
    server.upsert("c", 1..=30).await;
    server
}

const SNAPSHOTS: &str = "/collections/c/snapshots";

/// Makes a snapshot, and downloads it.
async fn snapshot(server: &Server) -> (Value, Vec<u8>) {
    let made = server.done(&format!("POST {SNAPSHOTS}"), None).await;
    let file = server.send(0, &format!("GET {SNAPSHOTS}/{}", made["name"].as_str().unwrap()), None).await;
    (made, file.bytes().await.unwrap().to_vec())
}

/// The gauges of what is going on, which are zero when nothing is.
async fn going_on(server: &Server) -> Vec<String> {
    let metrics = server.ask("GET /metrics", None).await.text;
    let running = metrics.lines().filter(|line| line.contains("_running{") && !line.ends_with(" 0"));
    running.map(str::to_owned).collect()
}

#[tokio::test]
async fn an_answer_that_ends_in_the_middle() {
    let server = filled(
        r#"[{"op": "GET */snapshots/*", "nth": 2, "do": "cut_at", "bytes": 5000},
        {"op": "GET */snapshot", "do": "cut_at", "bytes": 6000}]"#,
    )
    .await;
    let (made, file) = snapshot(&server).await;
    let name = made["name"].as_str().unwrap();
    for (path, bytes) in
        [(format!("{SNAPSHOTS}/{name}"), 5000), ("/collections/c/shards/0/snapshot".into(), 6000)]
    {
        let mut response = server.send(0, &format!("GET {path}"), None).await;
        assert_eq!(response.status(), 200);
        let mut got = Vec::new();
        let error = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => got.extend(chunk),
                Ok(None) => panic!("{path} came to its end"),
                Err(error) => break error,
            }
        };
        assert!(error.is_body() || error.is_decode(), "{error:?}");
        assert_eq!(got.len(), bytes, "{path}");
        assert!(bytes != 5000 || got == file[..5000]);
    }
    let whole = server.send(0, &format!("GET {SNAPSHOTS}/{name}"), None).await;
    assert_eq!(whole.bytes().await.unwrap(), file, "once only");
}

#[tokio::test]
async fn an_error_after_the_work() {
    let server =
        filled(r#"[{"op": "POST */snapshots", "do": "error_after", "code": 502, "message": "gateway"}]"#)
            .await;
    server.ask(&format!("POST {SNAPSHOTS}"), None).await.refused(502, "gateway");
    let list = server.done(&format!("GET {SNAPSHOTS}"), None).await;
    assert_eq!(list.as_array().unwrap().len(), 1, "it was made: {list}");
    let line = server.ledger.lines().into_iter().find(|line| line.op == format!("POST {SNAPSHOTS}"));
    assert!(line.unwrap().writes);
    assert_eq!(going_on(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_checksum_is_said_and_listed() {
    let server = filled(r#"[{"op": "POST */snapshots", "do": "checksum"}, {"op": "GET */snapshots", "nth": 2, "do": "checksum"}]"#).await;
    let (made, file) = snapshot(&server).await;
    let sum = super::replay::compare::sha256(&file);
    assert_ne!(made["checksum"], sum);
    assert_eq!(made["checksum"].as_str().unwrap().len(), 64);
    let list = format!("GET {SNAPSHOTS}");
    let listed = || server.done(&list, None);
    assert_eq!(listed().await[0]["checksum"], made["checksum"], "the same in the list");
    assert_eq!(listed().await[0]["checksum"], sum, "and another in one list");
    server.pass_second();
    let (made, file) = snapshot(&server).await;
    assert_eq!(made["checksum"], super::replay::compare::sha256(&file), "once only");
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_behind() {
    let server = filled(
        r#"[{"op": "POST */snapshots", "nth": 2, "times": 2, "do": "disk_full"},
        {"op": "POST */snapshots/upload", "do": "disk_full"}, {"op": "PUT */recover", "do": "disk_full"}]"#,
    )
    .await;
    let (made, file) = snapshot(&server).await;
    server.upsert("c", 31..=40).await;
    server.pass_second();
    let words = "No space left on device (os error 28)";
    server.ask(&format!("POST {SNAPSHOTS}"), None).await.refused(500, words);
    server.ask(&format!("POST {SNAPSHOTS}?wait=false"), None).await.refused(202, "accepted");
    server.upload(0, &format!("{SNAPSHOTS}/upload"), "x.snapshot", file).await.refused(500, words);
    let name = made["name"].as_str().unwrap();
    let body = json!({"location": format!("{}{SNAPSHOTS}/{name}", server.qdrant.urls()[0]), "api_key": KEY});
    server.ask(&format!("PUT {SNAPSHOTS}/recover"), Some(body)).await.refused(500, words);
    assert_eq!(server.done(&format!("GET {SNAPSHOTS}"), None).await, json!([made]));
    assert_eq!(points(&server).await, 40, "no recovery began");
    assert_eq!(going_on(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back() {
    let server = filled(r#"[{"op": "POST */snapshots", "do": "away", "ms": 1000}]"#).await;
    let ask = |path: &str| {
        server.http.get(format!("{}{path}", server.qdrant.urls()[0])).header("api-key", KEY).send()
    };
    let post = server.http.post(format!("{}{SNAPSHOTS}", server.qdrant.urls()[0])).header("api-key", KEY);
    let error = post.send().await.unwrap_err();
    assert!(error.is_request(), "{error}: no answer");
    let error = ask("/").await.unwrap_err();
    assert!(error.is_connect(), "{error:?}: refused at once");
    while ask("/").await.is_err() {
        tokio::task::yield_now().await;
    }
    let list = server.done(&format!("GET {SNAPSHOTS}"), None).await;
    assert_eq!(list.as_array().unwrap().len(), 1, "the work was done before");
    assert_eq!(going_on(&server).await, Vec::<String>::new());
}
