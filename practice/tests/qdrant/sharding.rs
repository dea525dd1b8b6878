//! Custom sharding: keys, who is asked and written, and what a snapshot of it comes to.

use drydock_practice::qdrant::Deployment;
use serde_json::{Value, json};

use super::server::Server;

/// A cluster of so many nodes, whose collection `c` has the keys `red` (two shards) and 7 (one), with 30 and 10 points.
async fn keyed(nodes: usize) -> Server {
    let server = Server::start_as(nodes, "[]", Deployment { cluster: true, ..Deployment::default() }).await;
    create(&server, "c").await;
    put(&server, "c", json!("red"), 1..=30).await;
    put(&server, "c", json!(7), 21..=30).await;
    server
}

async fn create(server: &Server, collection: &str) {
    server.create(collection, json!({"sharding_method": "custom", "shard_number": 1})).await;
    for key in [json!({"shard_key": "red", "shards_number": 2}), json!({"shard_key": 7})] {
        server.done(&format!("PUT /collections/{collection}/shards"), Some(key)).await;
    }
}

async fn put(server: &Server, collection: &str, key: Value, ids: impl Iterator<Item = u64>) {
    let points: Vec<_> = ids.map(|id| json!({"id": id, "vector": [id, 1]})).collect();
    let request = format!("PUT /collections/{collection}/points?wait=true");
    server.done(&request, Some(json!({"points": points, "shard_key": key}))).await;
}

async fn count(server: &Server, collection: &str, key: Value) -> Value {
    let request = format!("POST /collections/{collection}/points/count");
    server.done(&request, Some(json!({"shard_key": key}))).await["count"].clone()
}

#[tokio::test]
async fn keys_have_shards_and_points_of_their_own() {
    let server = keyed(1).await;
    let keys = server.done("GET /collections/c/shards", None).await;
    assert_eq!(keys, json!({"shard_keys": [{"key": 7}, {"key": "red"}]}));
    let state = server.done("GET /collections/c/cluster", None).await;
    let ids: Vec<_> =
        state["local_shards"].as_array().unwrap().iter().map(|shard| &shard["shard_id"]).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(state["local_shards"][0]["shard_key"], "red");
    assert_eq!(count(&server, "c", Value::Null).await, 40, "the same ids under two keys are two points");
    assert_eq!(count(&server, "c", json!("red")).await, 30);
    assert_eq!(count(&server, "c", json!(["red", 7])).await, 40);

    let query = json!({"query": [1, 0], "limit": 1, "shard_key": 7});
    let found = server.done("POST /collections/c/points/query", Some(query)).await;
    assert_eq!(found["points"][0]["id"], 30);
    let page = json!({"limit": 1, "shard_key": 7});
    let page = server.done("POST /collections/c/points/scroll", Some(page)).await;
    assert_eq!((&page["points"][0]["id"], &page["next_page_offset"]), (&json!(21), &json!(22)));

    let gone = json!({"points": [21, 22], "shard_key": "red"});
    server.done("POST /collections/c/points/delete?wait=true", Some(gone)).await;
    assert_eq!(
        (count(&server, "c", json!("red")).await, count(&server, "c", json!(7)).await),
        (json!(28), json!(10))
    );

    server.done("POST /collections/c/shards/delete", Some(json!({"shard_key": 7}))).await;
    assert_eq!(count(&server, "c", Value::Null).await, 28);
    server.done("PUT /collections/c/shards", Some(json!({"shard_key": "blue"}))).await;
    assert_eq!(count(&server, "c", json!("blue")).await, 0);
}

#[tokio::test]
async fn refusals() {
    let server = keyed(1).await;
    server.create("auto", json!({})).await;
    let points = json!([{"id": 1, "vector": [1, 2]}]);
    let (shards, write) = ("PUT /collections/c/shards", "PUT /collections/c/points");
    for (request, body, status, words) in [
        (shards, json!({"shard_key": "red"}), 400, "Sharding key red already exists for collection c"),
        (shards, json!({"shard_key": "x", "placement": []}), 400, "placement cannot be empty"),
        (shards, json!({"shard_key": "x", "placement": [5]}), 400, "Peer 5 does not exist"),
        (
            "POST /collections/c/shards/delete",
            json!({"shard_key": "x"}),
            400,
            "Sharding key x does not exist",
        ),
        ("PUT /collections/auto/shards", json!({"shard_key": "x"}), 400, "with Auto sharding method"),
        (write, json!({"points": points}), 400, "Wrong input: Shard key not specified"),
        (write, json!({"points": points, "shard_key": "x"}), 400, "Wrong input: Shard key x not found"),
        (
            "PUT /collections/auto/points",
            json!({"points": points, "shard_key": "x"}),
            400,
            "Shard key x not found",
        ),
        (
            "POST /collections/c/points/count",
            json!({"shard_key": "x"}),
            400,
            "Bad request: Shard key x not found",
        ),
        (
            "PUT /collections/d",
            json!({"vectors": {"size": 2, "distance": "Dot"}, "sharding_method": "x"}),
            400,
            "unknown variant `x`",
        ),
    ] {
        server.ask(request, Some(body)).await.refused(status, words);
    }
    let single = Server::start(1).await;
    single.create("c", json!({"sharding_method": "custom"})).await;
    single
        .ask(shards, Some(json!({"shard_key": "x"})))
        .await
        .refused(400, "Bad request: Distributed mode disabled");
}

#[tokio::test]
async fn a_recovery_under_a_new_name_needs_the_keys_first() {
    let server = keyed(1).await;
    let made = server.done("POST /collections/c/snapshots", None).await;
    let path = format!("GET /collections/c/snapshots/{}", made["name"].as_str().unwrap());
    let file = server.send(0, &path, None).await.bytes().await.unwrap().to_vec();
    let mut tar = tar::Archive::new(&file[..]);
    let mapping = tar.entries().unwrap().map(Result::unwrap);
    let mapping = mapping.into_iter().find(|entry| entry.path().unwrap().ends_with("shard_key_mapping.json"));
    let mapping: Value = serde_json::from_reader(mapping.unwrap()).unwrap();
    assert_eq!(mapping, json!([{"key": "red", "shard_ids": [1, 2]}, {"key": 7, "shard_ids": [3]}]));

    let upload = |collection: &str| format!("/collections/{collection}/snapshots/upload");
    let answered = server.upload(0, &upload("copy"), "a.snapshot", file.clone()).await;
    assert_eq!((answered.status, &answered.json()["result"]), (200, &json!(true)), "a success,");
    assert_eq!(count(&server, "copy", Value::Null).await, 0, "of nothing");

    create(&server, "copy2").await;
    assert_eq!(server.upload(0, &upload("copy2"), "b.snapshot", file.clone()).await.status, 200);
    assert_eq!(count(&server, "copy2", Value::Null).await, 40);
    assert_eq!(count(&server, "copy2", json!(7)).await, 10);

    // A key more than the snapshot has is not filled from it.
    server.done("PUT /collections/copy2/shards", Some(json!({"shard_key": "more"}))).await;
    let refused = server.upload(0, &upload("copy2"), "c.snapshot", file).await;
    refused.refused(500, "No shard found: 4 at ");
}
