//! What only reads: `qdrant.count`, `qdrant.query`, and Qdrant as other folders see it.

use drydock_step::test_host::actions;
use drydock_steps::qdrant::count::Count;
use drydock_steps::qdrant::query::Query;
use serde_json::{Value, json};

use super::world::{World, refused, run};

#[tokio::test]
async fn points_are_counted() {
    let Some(world) = World::start(1).await else { return };
    world.fill("q1", 30, 1).await;
    let host = world.host().await;
    let check = async |with: Value, expected: u64| {
        assert_eq!(run(&Count, &host, &with).await.unwrap(), json!({ "points": expected }), "{with}");
    };
    let few = json!({ "must": [{ "key": "n", "range": { "lte": 4 } }] });
    check(json!({ "collection": "q1" }), 30).await;
    check(json!({ "collection": "q1", "filter": few }), 4).await;
    check(json!({ "collection": "q1", "exact": false }), 30).await;
    let error = refused(
        run(&Count, &host, &json!({ "collection": "q1_no" })).await,
        "qdrant.absent",
        "Collection `q1_no` doesn't exist!",
    );
    assert!(error.message.contains("/collections/q1_no/points/count answered 404 Not Found"), "{error}");
    let shown = actions(&Count, json!({ "collection": "q1", "filter": few })).unwrap();
    assert_eq!(
        shown[0].text,
        format!(r#"POST /collections/q1/points/count {{"exact":true,"filter":{few}}}"#)
    );
}

#[tokio::test]
async fn the_nearest_points_are_found() {
    let Some(world) = World::start(1).await else { return };
    world.fill("q2", 30, 1).await;
    let host = world.host().await;
    let ids = async |with: Value| {
        let found = run(&Query, &host, &with).await.unwrap();
        let hits = found["hits"].as_array().unwrap().clone();
        assert!(
            hits.iter().all(|hit| hit["score"].is_number() && hit["payload"]["n"] == hit["id"]),
            "{found}"
        );
        hits.iter().map(|hit| hit["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(json!({ "collection": "q2", "vector": [1, 0], "limit": 3 })).await, [30, 29, 28]);
    assert_eq!(ids(json!({ "collection": "q2", "vector": [-1, 0.5], "limit": 2 })).await, [1, 2]);
    let below = json!({ "must": [{ "key": "n", "range": { "lt": 10 } }] });
    assert_eq!(ids(json!({ "collection": "q2", "vector": [1, 0], "limit": 1, "filter": below })).await, [9]);
    assert_eq!(ids(json!({ "collection": "q2", "point": 7, "limit": 2 })).await, [30, 29]);
    let both = json!({ "collection": "q2", "point": 7, "vector": [1, 0] });
    refused(run(&Query, &host, &both).await, "input", "exactly one of `vector` and `point`");
    let long = json!({ "collection": "q2", "vector": [1, 0, 0] });
    refused(run(&Query, &host, &long).await, "qdrant.refused", "expected dim: 2, got 3");
}

#[tokio::test]
async fn other_folders_see_collections() {
    let Some(world) = World::start(1).await else { return };
    world.fill("q3", 25, 1).await;
    let connection = world.connected(&world.urls, &world.key).await;
    let collections = connection.collections().unwrap();
    assert!(collections.collection_names().await.unwrap().contains(&"q3".to_owned()));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = collections.points_page("q3", &["n".into()], after.as_ref(), 10).await.unwrap();
        seen.extend(page.into_iter().map(|point| (point.id, point.payload["n"].clone())));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=25).map(|n| (json!(n), json!(n))).collect::<Vec<_>>());
    collections.delete_points("q3", &[json!(1), json!(2)]).await.unwrap();
    assert_eq!(world.count("q3").await, 23);
    assert_eq!(
        (collections.delete_collection("q3").await, collections.delete_collection("q3").await),
        (Ok(true), Ok(false))
    );
    let error = collections.points_page("q3", &[], None, 10).await.unwrap_err();
    assert_eq!(error.code, "qdrant.absent");
}

#[tokio::test]
async fn it_says_who_it_is() {
    let one = World::with_faults(1, "[]").await;
    let connection = one.connected(&one.urls, &one.key).await;
    connection.ping().await.unwrap();
    let identity = connection.identity().await.unwrap();
    let text = format!("qdrant {}", one.urls[0].trim_start_matches("http://"));
    assert_eq!(
        (identity.text, identity.name.as_str(), identity.version.as_str()),
        (text, "127.0.0.1", "1.17.1")
    );
    assert_eq!(one.connected(&one.urls, "wrong").await.ping().await.unwrap_err().code, "qdrant.key");

    let two = World::with_faults(2, "[]").await;
    let (forth, mut back) = (two.urls.clone(), two.urls.clone());
    back.reverse();
    let text = async |urls: &[String]| two.connected(urls, &two.key).await.identity().await.unwrap().text;
    assert_eq!(text(&forth).await, text(&back).await);
    assert!(text(&forth).await.starts_with("qdrant cluster of peers "));
    two.qdrant.as_ref().unwrap().stop();
    let error = two.connected(&forth, &two.key).await.ping().await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient), ("qdrant.connect", true));
}
