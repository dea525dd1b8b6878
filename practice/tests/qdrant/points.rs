//! Collections, points, filters, keys: what is answered and what is refused.

use serde_json::{Value, json};

use super::server::Server;

/// A server with a collection `c` of five points on a line.
async fn with_points() -> Server {
    let server = Server::start(1).await;
    let config = json!({"vectors": {"size": 2, "distance": "Euclid"}});
    server.done("PUT /collections/c", Some(config)).await;
    let points: Vec<_> = (1..=5)
        .map(|n| json!({"id": n, "vector": [n, 0], "payload": {"n": n, "even": n % 2 == 0}}))
        .collect();
    server.done("PUT /collections/c/points?wait=true", Some(json!({"points": points}))).await;
    server
}

fn ids(points: &Value) -> Vec<u64> {
    points.as_array().unwrap().iter().map(|point| point["id"].as_u64().unwrap()).collect()
}

async fn count(server: &Server, collection: &str) -> u64 {
    let counted = server.done(&format!("POST /collections/{collection}/points/count"), Some(json!({}))).await;
    counted["count"].as_u64().unwrap()
}

#[tokio::test]
async fn searching() {
    let server = with_points().await;
    let cases = [
        (json!({"query": [2.2, 0], "limit": 2}), vec![2, 3]),
        (json!({"query": 5, "limit": 2}), vec![4, 3]),
        (json!({"query": {"nearest": [0, 0]}, "limit": 2, "offset": 1}), vec![2, 3]),
        (json!({"query": [2.2, 0], "score_threshold": 1.0}), vec![2, 3]),
        (
            json!({"query": [0, 0], "filter": {"must": [{"key": "even", "match": {"value": true}}]}}),
            vec![2, 4],
        ),
        (json!({"limit": 3}), vec![1, 2, 3]),
    ];
    for (query, expected) in cases {
        let found = server.done("POST /collections/c/points/query", Some(query.clone())).await;
        assert_eq!(ids(&found["points"]), expected, "{query}");
    }
    let search = json!({"vector": [9, 0], "limit": 1, "with_payload": ["n"], "with_vector": true});
    let found = server.done("POST /collections/c/points/search", Some(search)).await;
    assert_eq!(
        found,
        json!([{"id": 5, "version": 1, "score": 4.0, "payload": {"n": 5}, "vector": [5.0, 0.0]}])
    );
}

#[tokio::test]
async fn scrolling_and_changing() {
    let server = with_points().await;
    let page = server.done("POST /collections/c/points/scroll", Some(json!({"limit": 3}))).await;
    assert_eq!((ids(&page["points"]), &page["next_page_offset"]), (vec![1, 2, 3], &json!(4)));
    let rest = json!({"limit": 3, "offset": 4, "with_payload": false});
    let page = server.done("POST /collections/c/points/scroll", Some(rest)).await;
    assert_eq!(page, json!({"points": [{"id": 4}, {"id": 5}], "next_page_offset": null}));

    let set = json!({"payload": {"seen": true}, "filter": {"must": [{"key": "n", "range": {"gt": 3}}]}});
    let done = server.done("POST /collections/c/points/payload?wait=true", Some(set)).await;
    assert_eq!(done, json!({"operation_id": 2, "status": "completed"}));
    let got = server.done("POST /collections/c/points", Some(json!({"ids": [4, 99]}))).await;
    assert_eq!(got, json!([{"id": 4, "payload": {"n": 4, "even": true, "seen": true}}]));

    let filter = json!({"filter": {"must_not": [{"key": "seen", "match": {"value": true}}]}});
    server.done("POST /collections/c/points/delete?wait=true", Some(filter)).await;
    assert_eq!(count(&server, "c").await, 2);
    server.ask("GET /collections/c/points/1", None).await.refused(404, "Point with id 1 does not exists!");
}

#[tokio::test]
async fn an_update_nobody_waits_for_is_queued_first() {
    let server = with_points().await;
    let done = server.done("POST /collections/c/points/delete", Some(json!({"points": [1, 2]}))).await;
    assert_eq!(done, json!({"operation_id": 2, "status": "acknowledged"}));
    let info = server.done("GET /collections/c", None).await;
    assert_eq!((&info["update_queue"], &info["points_count"]), (&json!({"length": 1}), &json!(5)));
    // A later update that is waited for comes after those that wait.
    server.done("POST /collections/c/points/delete?wait=true", Some(json!({"points": [3]}))).await;
    let info = server.done("GET /collections/c", None).await;
    assert_eq!((&info["update_queue"], &info["points_count"]), (&json!({"length": 0}), &json!(2)));
}

#[tokio::test]
async fn collections_aliases_and_indexes() {
    let server = with_points().await;
    assert_eq!(server.done("GET /collections/d/exists", None).await, json!({"exists": false}));
    let config = json!({"vectors": {"size": 2, "distance": "Dot"}, "hnsw_config": {"m": 8}});
    server.done("PUT /collections/d", Some(config)).await;
    let info = server.done("GET /collections/d", None).await;
    assert_eq!((&info["config"]["hnsw_config"]["m"], &info["status"]), (&json!(8), &json!("green")));

    let create =
        |collection: &str| json!({"create_alias": {"collection_name": collection, "alias_name": "now"}});
    let actions = json!({"actions": [create("c")]});
    server.done("POST /collections/aliases", Some(actions)).await;
    assert_eq!(count(&server, "now").await, 5);
    let switch = json!({"actions": [{"delete_alias": {"alias_name": "now"}}, create("d")]});
    server.done("POST /collections/aliases", Some(switch)).await;
    assert_eq!(count(&server, "now").await, 0);
    let half = json!({"actions": [{"delete_alias": {"alias_name": "now"}}, create("nope")]});
    server
        .ask("POST /collections/aliases", Some(half))
        .await
        .refused(404, "Collection `nope` doesn't exist!");
    let aliases = server.done("GET /collections/d/aliases", None).await;
    assert_eq!(
        aliases,
        json!({"aliases": [{"alias_name": "now", "collection_name": "d"}]}),
        "all or nothing"
    );
    server.done("DELETE /collections/d", None).await;
    assert_eq!(
        server.done("GET /aliases", None).await,
        json!({"aliases": []}),
        "it goes with its collection"
    );

    let index = json!({"field_name": "n", "field_schema": "integer"});
    server.done("PUT /collections/c/index?wait=true", Some(index)).await;
    let info = server.done("GET /collections/c", None).await;
    assert_eq!(info["payload_schema"], json!({"n": {"data_type": "integer", "points": 5}}));
}

#[tokio::test]
async fn refusals() {
    let server = with_points().await;
    let cases = [
        (
            "PUT /collections/c/points",
            json!({"points": [{"id": 1, "vector": [1]}]}),
            400,
            "expected dim: 2, got 1",
        ),
        (
            "PUT /collections/c/points",
            json!({"points": [{"id": -1, "vector": [1, 2]}]}),
            400,
            "a valid point ID",
        ),
        ("PUT /collections/c/points?wat=1", json!({"points": []}), 400, "Deserialize error in query"),
        ("POST /collections/c/points/delete", json!({"points": [1], "filter": {}}), 400, "exactly one of"),
        ("POST /collections/c/points/count", json!({"exakt": true}), 400, "unknown field `exakt`"),
        ("POST /collections/c/points/query", json!({"query": [1, 2, 3]}), 400, "expected dim: 2, got 3"),
        ("POST /collections/c/points/query", json!({"query": 77}), 404, "No point with id 77 found"),
        ("POST /collections/c/points/scroll", json!({"limit": 0}), 422, "limit: value 0 invalid"),
        ("POST /collections/nope/points/count", json!({}), 404, "Collection `nope` doesn't exist!"),
        (
            "PUT /collections/a%3Ab",
            json!({"vectors": {"size": 2, "distance": "Dot"}}),
            422,
            "path parameters",
        ),
        (
            "POST /collections/c/points/recommend",
            json!({}),
            501,
            "does not do this: POST /collections/c/points/rec",
        ),
        ("PATCH /collections/c", json!({}), 501, "does not do this: PATCH"),
        ("POST /nowhere", json!({}), 404, ""),
    ];
    for (request, body, status, words) in cases {
        server.ask(request, Some(body)).await.refused(status, words);
    }
    let unknown = server.ask("GET /nowhere", None).await;
    assert_eq!((unknown.status, unknown.text.as_str()), (404, ""), "an unknown route says nothing");
    server.ask("POST /collections/c/points/count", None).await.refused(400, "Format error in JSON body: EOF");
}
