//! What ails a server on purpose: collections that are not green, and a node without part in its cluster's agreement.

use std::collections::BTreeMap;

use drydock_practice::qdrant::{Consensus, Deployment, Health};
use serde_json::{Value, json};

use super::server::Server;

#[tokio::test]
async fn a_collection_says_how_it_is() {
    let cases = [
        ("optimising", Some(Health::Optimising), "yellow", json!("ok")),
        ("unoptimised", Some(Health::Unoptimised), "grey", json!("ok")),
        ("operation", Some(Health::FailedOperation), "red", json!("ok")),
        ("optimizer", Some(Health::FailedOptimizer("no space".into())), "red", json!({"error": "no space"})),
        ("well", None, "green", json!("ok")),
    ];
    let known = cases.iter().filter_map(|(name, health, ..)| Some(((*name).to_owned(), health.clone()?)));
    let deployment = Deployment { health: known.collect(), ..Deployment::default() };
    let server = Server::start_as(1, "[]", deployment).await;
    for (name, _, status, optimizer) in cases {
        server.create(name, json!({})).await;
        server.upsert(name, 1..=3).await;
        let alias = json!({"create_alias": {"collection_name": name, "alias_name": "now"}});
        server.done("POST /collections/aliases", Some(json!({"actions": [alias]}))).await;
        for name in [name, "now"] {
            let info = server.done(&format!("GET /collections/{name}"), None).await;
            assert_eq!((&info["status"], &info["optimizer_status"]), (&json!(status), &optimizer), "{name}");
        }
        assert_eq!(server.counted(0, name).await, 3, "it can be read all the same");
    }
}

#[tokio::test]
async fn a_node_without_part_in_the_agreement() {
    let failed = Consensus::Failed("disk full".into());
    let consensus = BTreeMap::from([(1, failed), (2, Consensus::NoLeader), (3, Consensus::Stopped)]);
    let server = Server::start_as(4, "[]", Deployment { consensus, ..Deployment::default() }).await;
    server.create("c", json!({})).await;
    server.upsert("c", 1..=10).await;
    let told = async |node: usize| {
        let answered = server.ask_node(node, "GET /cluster", None).await.json()["result"].clone();
        assert_eq!(
            (&answered["status"], answered["peers"].as_object().unwrap().len()),
            (&json!("enabled"), 4)
        );
        let (raft, thread) = (&answered["raft_info"], &answered["consensus_thread_status"]);
        (
            raft["leader"].is_u64(),
            raft["role"].clone(),
            thread["consensus_thread_status"].clone(),
            thread["err"].clone(),
        )
    };
    let none = Value::Null;
    assert_eq!(told(0).await, (true, json!("Leader"), json!("working"), none.clone()));
    assert_eq!(told(1).await, (true, json!("Follower"), json!("stopped_with_err"), json!("disk full")));
    assert_eq!(told(2).await, (false, json!("Candidate"), json!("working"), none.clone()));
    assert_eq!(told(3).await, (true, json!("Follower"), json!("stopped"), none));
    let words =
        "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 seconds";
    for node in 1..4 {
        for (request, body) in [
            ("DELETE /collections/c", None),
            ("PUT /collections/d", Some(json!({"vectors": {"size": 2, "distance": "Dot"}}))),
            ("POST /collections/aliases", Some(json!({"actions": []}))),
            ("PUT /collections/c/snapshots/recover", Some(json!({"location": "http://127.0.0.1:1/x"}))),
        ] {
            server.ask_node(node, request, body).await.refused(500, words);
        }
        assert_eq!(server.counted(node, "c").await, 10, "points need no agreement");
        assert_eq!(server.ask_node(node, "POST /collections/c/snapshots", None).await.status, 200);
    }
}
