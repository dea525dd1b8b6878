//! Who may do what: plain keys, and tokens that say it themselves.

use drydock_practice::qdrant::{Deployment, token};
use serde_json::{Value, json};

use super::server::{KEY, READ_ONLY_KEY, Server};

/// Ten minutes after the server's clock began.
const LATER_S: i64 = 1_795_329_982 + 600;

/// A server that takes tokens, with the collections `c` and `d`, each with five points and an alias.
async fn with_tokens() -> Server {
    let deployment = Deployment { jwt_rbac: true, ..Deployment::default() };
    let server = Server::start_as(1, "[]", deployment).await;
    for (collection, alias) in [("c", "now_c"), ("d", "now_d")] {
        server.create(collection, json!({})).await;
        server.upsert(collection, 1..=5).await;
        let alias = json!({"create_alias": {"collection_name": collection, "alias_name": alias}});
        server.done("POST /collections/aliases", Some(json!({"actions": [alias]}))).await;
    }
    server
}

fn may(access: Value) -> String {
    token(KEY, &json!({"access": access, "exp": LATER_S}))
}

#[tokio::test]
async fn keys() {
    let server = Server::start(1).await;
    server.create("c", json!({})).await;
    server.upsert("c", 1..=5).await;
    let manage = "Forbidden: Global manage access is required";
    for (request, key, status, words) in [
        ("GET /collections", "", 401, "Must provide an API key"),
        ("GET /metrics", "wrong", 401, "Invalid API key or JWT"),
        ("GET /collections/c/snapshots", READ_ONLY_KEY, 200, "\"ok\""),
        ("POST /collections/c/points/count", READ_ONLY_KEY, 200, "\"count\":5"),
        ("POST /collections/c/snapshots", READ_ONLY_KEY, 403, manage),
        ("PUT /collections/c/points", READ_ONLY_KEY, 403, manage),
        ("GET /collections/c/shards/0/snapshots", READ_ONLY_KEY, 200, "\"ok\""),
        ("GET /collections/c/shards/0/snapshot", READ_ONLY_KEY, 403, manage),
        ("POST /collections/c/shards/0/snapshots", READ_ONLY_KEY, 403, manage),
        ("DELETE /collections/c", READ_ONLY_KEY, 403, manage),
        ("GET /readyz", "", 200, "all shards are ready"),
    ] {
        server.ask_as(key, request, None).await.refused(status, words);
    }
}

#[tokio::test]
async fn a_second_key_does_what_the_first_does() {
    let deployment =
        Deployment { alt_api_key: Some("second".into()), jwt_rbac: true, ..Deployment::default() };
    let server = Server::start_as(1, "[]", deployment).await;
    server.create("c", json!({})).await;
    for (key, status, words) in [
        ("third".to_owned(), 401, "Invalid API key or JWT"),
        (token("third", &json!({})), 403, "InvalidSignature"),
        // What is no claim for the first key is a wrong signature for the second.
        (token(KEY, &json!({"access": "rw"})), 403, "InvalidSignature"),
        (token("second", &json!({"access": "r"})), 403, "Global manage access is required"),
        (token("second", &json!({"access": "m"})), 200, "true"),
        ("second".to_owned(), 200, "false"),
    ] {
        server.ask_as(&key, "DELETE /collections/c", None).await.refused(status, words);
    }
}

#[tokio::test]
async fn a_token_is_taken_while_it_holds() {
    let server = with_tokens().await;
    let (list, begun) = ("GET /collections", LATER_S - 600);
    for (key, status, text) in [
        (token(KEY, &json!({})), 200, "\"c\""),
        // What has ended is taken for another half minute, since clocks differ.
        (token(KEY, &json!({"exp": begun - 20})), 200, "\"c\""),
        (token(KEY, &json!({"exp": begun - 40})), 403, "ExpiredSignature"),
        (token("another", &json!({})), 403, "InvalidSignature"),
        (token(KEY, &json!({"access": "rw"})), 401, "Invalid API key or JWT"),
    ] {
        server.ask_as(&key, list, None).await.refused(status, text);
    }
    let expired = server.ask_as(&token(KEY, &json!({"exp": 1})), list, None).await;
    assert_eq!(expired.text, "ExpiredSignature", "as text, and nothing else");
    // Without the setting a token is a wrong key.
    let plain = Server::start(1).await;
    plain.ask_as(&token(KEY, &json!({})), list, None).await.refused(401, "Invalid API key or JWT");
}

#[tokio::test]
async fn a_token_may_depend_on_a_point() {
    let server = with_tokens().await;
    let holding = |collection: &str, n: u64| {
        let exists = json!({"collection": collection, "matches": [{"key": "n", "value": n}]});
        token(KEY, &json!({"access": "r", "value_exists": exists}))
    };
    let failed = "Invalid JWT, stateful validation failed";
    for (key, status, text) in
        [(holding("c", 3), 200, "\"c\""), (holding("c", 9), 401, failed), (holding("e", 3), 403, failed)]
    {
        server.ask_as(&key, "GET /collections", None).await.refused(status, text);
    }
}

#[tokio::test]
async fn a_token_that_may_read_reads() {
    let server = with_tokens().await;
    let key = may(json!("r"));
    server.ask_as(&key, "POST /collections/d/points/count", None).await.refused(200, "\"count\":5");
    server.ask_as(&key, "GET /cluster", None).await.refused(200, "disabled");
    let manage = "{\"error\":\"Forbidden: Global manage access is required\"}";
    for request in [
        "POST /collections/c/snapshots",
        "PUT /collections/c/snapshots/recover",
        "PUT /collections/c/points",
        "DELETE /collections/c",
    ] {
        server.ask_as(&key, request, None).await.refused(403, manage);
    }
}

#[tokio::test]
async fn a_token_for_single_collections_sees_no_other() {
    let server = with_tokens().await;
    let key = may(json!([{"collection": "c", "access": "rw"}, {"collection": "now_c", "access": "r"}]));
    let seen = async |request: &str| {
        let answered = server.ask_as(&key, request, None).await;
        assert_eq!(answered.status, 200, "{request}: {}", answered.text);
        answered.json()["result"].clone()
    };
    assert_eq!(seen("GET /collections").await, json!({"collections": [{"name": "c"}]}));
    let alias = json!({"aliases": [{"alias_name": "now_c", "collection_name": "c"}]});
    assert_eq!(seen("GET /aliases").await, alias);
    assert_eq!(seen("GET /telemetry").await["collections"]["number_of_collections"], 1);
    let made = seen("POST /collections/c/snapshots").await;
    let path = format!("GET /collections/c/snapshots/{}", made["name"].as_str().unwrap());
    assert_eq!(server.ask_as(&key, &path, None).await.status, 200);
    for (request, words) in [
        ("GET /cluster", "Forbidden: Global access is required"),
        ("POST /snapshots", "Forbidden: Global access is required"),
        ("PUT /collections/c/snapshots/recover", "Forbidden: Global access is required"),
        ("DELETE /collections/c", "Forbidden: Global access is required"),
        ("POST /collections/d/points/count", "Forbidden: Access to collection d is required"),
        ("PUT /collections/now_c/points", "Forbidden: Write access to collection now_c is required"),
    ] {
        server.ask_as(&key, request, None).await.refused(403, words);
    }
    let points = may(json!([{"collection": "c", "access": "prw"}]));
    let only = "Forbidden: Only points access is allowed for collection c";
    assert_eq!(server.ask_as(&points, &path, None).await.text, only, "a download is refused as text");
}
