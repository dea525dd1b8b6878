//! Vectors with names, dense and sparse: written, shown, searched, and brought back from snapshots; random samples.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::server::Server;

/// A server with a collection `c`: ten points with `text`, of which the even ones have `image` as well, and the third
/// ones the sparse `words`.
async fn with_names() -> Server {
    let server = Server::start(1).await;
    let text = json!({"size": 2, "distance": "Dot"});
    let config = json!({
        "vectors": {"text": text, "image": {"size": 3, "distance": "Euclid"}},
        "sparse_vectors": {"words": {}},
        "shard_number": 2,
    });
    server.done("PUT /collections/c", Some(config)).await;
    let points: Vec<_> = (1..=10).map(|id| json!({"id": id, "vector": vectors(id)})).collect();
    server.done("PUT /collections/c/points?wait=true", Some(json!({"points": points}))).await;
    server
}

fn vectors(id: u32) -> Value {
    let n = f64::from(id);
    let mut vectors = json!({"text": [n, 1.0]});
    if id.is_multiple_of(2) {
        vectors["image"] = json!([n, 0.0, 1.0]);
    }
    if id.is_multiple_of(3) {
        vectors["words"] = json!({"indices": [3, id + 100], "values": [1.0, n]});
    }
    vectors
}

async fn query(server: &Server, query: Value) -> Vec<(u64, f64)> {
    let found = server.done("POST /collections/c/points/query", Some(query)).await;
    let points = found["points"].as_array().unwrap();
    points.iter().map(|point| (point["id"].as_u64().unwrap(), point["score"].as_f64().unwrap())).collect()
}

async fn all(server: &Server, collection: &str) -> Value {
    let request = format!("POST /collections/{collection}/points/scroll");
    let page = server.done(&request, Some(json!({"limit": 100, "with_vector": true}))).await;
    page["points"].clone()
}

#[tokio::test]
async fn vectors_are_shown_by_name() {
    let server = with_names().await;
    let info = server.done("GET /collections/c", None).await;
    assert_eq!(info["config"]["params"]["vectors"]["image"], json!({"size": 3, "distance": "Euclid"}));
    assert_eq!(info["config"]["params"]["sparse_vectors"], json!({"words": {}}));
    let get = async |with: Value| {
        let asked = json!({"ids": [6, 1], "with_payload": false, "with_vector": with});
        server.done("POST /collections/c/points", Some(asked)).await
    };
    assert_eq!(get(json!(false)).await, json!([{"id": 6}, {"id": 1}]));
    let whole = json!([{"id": 6, "vector": vectors(6)}, {"id": 1, "vector": vectors(1)}]);
    assert_eq!(get(json!(true)).await, whole);
    let image = json!([{"id": 6, "vector": {"image": [6.0, 0.0, 1.0]}}, {"id": 1, "vector": {}}]);
    assert_eq!(get(json!(["image"])).await, image, "a point without it has none");
    assert_eq!(server.done("GET /collections/c/points/4", None).await["vector"], vectors(4));
}

#[tokio::test]
async fn a_search_is_by_one_of_them() {
    let server = with_names().await;
    let text = query(&server, json!({"query": [1, 0], "using": "text", "limit": 2})).await;
    assert_eq!(text, [(10, 10.0), (9, 9.0)]);
    let image = query(&server, json!({"query": [3.9, 0, 1], "using": "image", "limit": 3})).await;
    assert_eq!(image.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [4, 2, 6], "only those that have it");
    let around = query(&server, json!({"query": 8, "using": "image", "limit": 2})).await;
    assert_eq!(around, [(6, 2.0), (10, 2.0)], "a point is not found around itself");
    let words = json!({"indices": [109, 3], "values": [2.0, 0.5]});
    let words = query(&server, json!({"query": words, "using": "words", "limit": 2})).await;
    assert_eq!(words, [(9, 18.5), (3, 0.5)]);
    let none = json!({"query": {"indices": [7], "values": [1.0]}, "using": "words"});
    assert_eq!(query(&server, none).await, [], "no index in common");
    let old = json!({"vector": {"name": "text", "vector": [1, 0]}, "limit": 1});
    let old = server.done("POST /collections/c/points/search", Some(old)).await;
    assert_eq!(old, json!([{"id": 10, "version": 1, "score": 10.0}]));
    let with = json!({"filter": {"must": [{"has_vector": "words"}]}});
    let with = server.done("POST /collections/c/points/count", Some(with)).await;
    assert_eq!(with, json!({"count": 3}));
}

#[tokio::test]
async fn refusals() {
    let server = with_names().await;
    let (write, search) = ("PUT /collections/c/points", "POST /collections/c/points/query");
    let point = |vector: Value| json!({"points": [{"id": 1, "vector": vector}]});
    let sparse = "Conversion between sparse and regular vectors failed";
    for (request, body, status, words) in [
        (write, point(json!([1, 2])), 400, "Wrong input: Not existing vector name error: \"}"),
        (write, point(json!({"sound": [1, 2]})), 400, "Not existing vector name error: sound"),
        (write, point(json!({"text": [1]})), 400, "Vector dimension error: expected dim: 2, got 1"),
        (write, point(json!({"text": {"indices": [1], "values": [1]}})), 400, sparse),
        (write, point(json!({"words": [1, 2]})), 400, sparse),
        (write, point(json!({"text": [[1, 2]]})), 400, "any variant of untagged enum VectorStruct"),
        (
            write,
            point(json!({"words": {"indices": [1], "values": []}})),
            422,
            "values: must be the same length as indices",
        ),
        (write, json!({"points": [{"id": 1}]}), 400, "missing field `vector`"),
        (search, json!({"query": [1, 2]}), 400, "Wrong input: Not existing vector name error: \"}"),
        (search, json!({"query": [1, 2], "using": "image"}), 400, "expected dim: 3, got 2"),
        (search, json!({"query": 1, "using": "image"}), 404, "Vector with name \\\"image\\\" for point"),
        (search, json!({"query": {"recommend": {"positive": [1]}}}), 400, "untagged enum QueryInterface"),
        (
            "POST /collections/c/points",
            json!({"ids": [1], "with_vector": ["sound"]}),
            400,
            "Not existing vector name error: sound",
        ),
    ] {
        server.ask(request, Some(body)).await.refused(status, words);
    }
    assert_eq!(all(&server, "c").await[0]["vector"], vectors(1), "nothing was written");
}

#[tokio::test]
async fn snapshots_have_all_of_them() {
    let server = with_names().await;
    let before = all(&server, "c").await;
    let made = server.done("POST /collections/c/snapshots", None).await;
    let path = format!("/collections/c/snapshots/{}", made["name"].as_str().unwrap());
    let file = server.send(0, &format!("GET {path}"), None).await.bytes().await.unwrap().to_vec();
    let upload = |collection: &str| format!("/collections/{collection}/snapshots/upload");
    assert_eq!(server.upload(0, &upload("copy"), "a.snapshot", file.clone()).await.status, 200);
    assert_eq!(all(&server, "copy").await, before);
    let info = async |collection: &str| {
        server.done(&format!("GET /collections/{collection}"), None).await["config"]["params"].clone()
    };
    assert_eq!(info("copy").await, info("c").await);
    // Over what was written since.
    let gone = || json!({"points": [{"id": 6, "vector": {}}, {"id": 11, "vector": {"text": [0, 0]}}]});
    server.done("PUT /collections/c/points?wait=true", Some(gone())).await;
    assert_eq!(all(&server, "c").await[5], json!({"id": 6, "payload": {}, "vector": {}}));
    assert_eq!(server.upload(0, &upload("c"), "b.snapshot", file.clone()).await.status, 200);
    assert_eq!(all(&server, "c").await, before);
    // Other names are other vectors; sparse ones are compared only when the data are loaded.
    server.create("other", json!({"shard_number": 2})).await;
    let refused = server.upload(0, &upload("other"), "c.snapshot", file.clone()).await;
    refused.refused(400, "Snapshot is not compatible with existing collection: vectors");
    let dense = info("c").await["vectors"].clone();
    let with = |sparse: Value| json!({"vectors": dense, "shard_number": 2, "sparse_vectors": sparse});
    server.done("PUT /collections/others", Some(with(json!({"tags": {}})))).await;
    server.done("PUT /collections/others/points?wait=true", Some(gone())).await;
    let refused = server.upload(0, &upload("others"), "d.snapshot", file.clone()).await;
    let words = "origin collection have vector tags, while other collection does not";
    refused.refused(400, words);
    let lost = server.ask("POST /collections/others/points/count", Some(json!({}))).await;
    lost.refused(500, "Failed to restore local replica");
    // Where there are none, they come along, and nobody can search them.
    server.done("PUT /collections/none", Some(with(Value::Null))).await;
    assert_eq!(server.upload(0, &upload("none"), "e.snapshot", file).await.status, 200);
    assert_eq!(all(&server, "none").await, before);
    let words = json!({"query": {"indices": [3], "values": [1.0]}, "using": "words"});
    let refused = server.ask("POST /collections/none/points/query", Some(words)).await;
    refused.refused(400, "Not existing vector name error: words");
}

#[tokio::test]
async fn a_random_sample_is_the_seed_s() {
    let sample = async |server: &Server, more: Value| {
        let mut asked = json!({"query": {"sample": "random"}});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        query(server, asked).await.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    let server = with_names().await;
    let first = sample(&server, json!({"limit": 6})).await;
    let second = sample(&server, json!({"limit": 6})).await;
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 6, "each once: {first:?}");
    assert_ne!(first, second, "every sample is another");
    let again = with_names().await;
    assert_eq!(sample(&again, json!({"limit": 6})).await, first, "and the same in the same story");
    let mut even = sample(&server, json!({"filter": {"must": [{"has_vector": "image"}]}})).await;
    even.sort_unstable();
    assert_eq!(even, [2, 4, 6, 8, 10], "of those that pass the filter");
    let wrong = json!({"query": {"sample": "best"}});
    let refused = server.ask("POST /collections/c/points/query", Some(wrong)).await;
    refused.refused(400, "did not match any variant of untagged enum QueryInterface");
}
