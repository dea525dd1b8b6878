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
async fn what_was_to_be_found_is_found_or_the_step_fails() {
    let Some(world) = World::start(1).await else { return };
    world.fill("q4", 30, 1).await;
    let host = world.host().await;
    let searching = |more: Value| {
        let mut with = json!({ "collection": "q4", "vector": [1, 0], "limit": 3 });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let found = |more: Value| {
        let with = searching(more);
        let host = &host;
        async move { run(&Query, host, &with).await }
    };
    for more in [
        json!({ "expect": [28, 30] }),
        json!({ "expect": [30], "min_score": 30 }),
        json!({ "min_score": 29.5 }),
        json!({ "expect": [29], "exact": true }),
    ] {
        let hits = found(more.clone()).await.unwrap();
        assert_eq!(hits["hits"].as_array().unwrap().len(), 3, "{more}");
    }
    let error = refused(
        found(json!({ "expect": [30, 7] })).await,
        "qdrant.unexpected",
        "the search in q4 did not find what was expected: 7 is not among the hits. It found 30 (30), 29 (29), 28 (28)",
    );
    assert!(error.help.unwrap().starts_with("`exact: true` shows whether the data or the index is at fault"));
    let error = refused(
        found(json!({ "expect": [28], "min_score": 29, "exact": true })).await,
        "qdrant.unexpected",
        "28 has a score of 28, which was to be at least 29",
    );
    assert!(error.help.unwrap().starts_with("the search was exact"));
    let words = "the best, 30 has a score of 30, which was to be at least 30.5";
    refused(found(json!({ "min_score": 30.5 })).await, "qdrant.unexpected", words);
    let nothing = json!({ "must": [{ "key": "n", "range": { "gt": 100 } }] });
    let words = "nothing was found. It found nothing";
    refused(found(json!({ "min_score": 1, "filter": nothing })).await, "qdrant.unexpected", words);
    let shown =
        actions(&Query, searching(json!({ "min_score": 1, "exact": true, "using": "text" }))).unwrap();
    let lines: Vec<_> = shown.iter().map(|action| action.text.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /collections/q4",
            concat!(
                r#"POST /collections/q4/points/query {"query":[1.0,0.0],"limit":3,"with_payload":true,"#,
                r#""using":"text","params":{"exact":true}}"#
            ),
        ]
    );
}

#[tokio::test]
async fn vectors_with_names_are_searched_by_name() {
    let Some(world) = World::start(1).await else { return };
    world.done("DELETE /collections/q6", None).await;
    let config = json!({
        "vectors": { "text": { "size": 2, "distance": "Dot" }, "image": { "size": 2, "distance": "Euclid" } },
    });
    world.done("PUT /collections/q6", Some(config)).await;
    let point = |id: u64| {
        let mut vectors = json!({ "text": [id, 1] });
        if id < 4 {
            vectors["image"] = json!([id, 0]);
        }
        json!({ "id": id, "vector": vectors })
    };
    let points: Vec<_> = (1..=10).map(point).collect();
    world.done("PUT /collections/q6/points?wait=true", Some(json!({ "points": points }))).await;
    let host = world.host().await;
    let searching = |more: Value| {
        let mut with = json!({ "collection": "q6", "vector": [1, 0], "limit": 2 });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    // Of one name more is nearer, of the other less.
    for more in [
        json!({ "using": "text", "expect": [10, 9], "min_score": 9 }),
        json!({ "using": "image", "expect": [1, 2], "min_score": 1 }),
    ] {
        run(&Query, &host, &searching(more)).await.unwrap();
    }
    let around = json!({ "collection": "q6", "point": 3, "using": "image", "limit": 5 });
    let around = run(&Query, &host, &around).await.unwrap();
    let ids: Vec<_> = around["hits"].as_array().unwrap().iter().map(|hit| &hit["id"]).collect();
    assert_eq!(ids.len(), 2, "points without the vector are not found, nor is the point itself: {ids:?}");
    let bound = json!({ "using": "image", "min_score": -1 });
    let words = "1 has a score of 0, which was to be at most -1";
    refused(run(&Query, &host, &searching(bound)).await, "qdrant.unexpected", words);
    let unnamed = run(&Query, &host, &searching(json!({}))).await;
    refused(unnamed, "qdrant.refused", "400 Bad Request: Wrong input: Not existing vector name error: ");
    let unnamed = run(&Query, &host, &searching(json!({ "min_score": 1 }))).await;
    refused(unnamed, "input", "collection q6 has several vectors, and one must be named: image, text");
    let lacks = json!({ "collection": "q6", "point": 7, "using": "image" });
    refused(run(&Query, &host, &lacks).await, "qdrant.absent", "Vector with name \"image\" for point");
    world.done("DELETE /collections/q6", None).await;
}

#[tokio::test]
async fn where_a_score_is_a_distance_less_is_nearer() {
    let Some(world) = World::start(1).await else { return };
    world.done("DELETE /collections/q5", None).await;
    let config = json!({ "vectors": { "size": 2, "distance": "Euclid" } });
    world.done("PUT /collections/q5", Some(config)).await;
    world.upsert("q5", 1..=10).await;
    let host = world.host().await;
    let searching =
        |score: f64| json!({ "collection": "q5", "vector": [4, 0], "limit": 2, "min_score": score });
    run(&Query, &host, &searching(1.0)).await.unwrap();
    let words = "4 has a score of 1, which was to be at most 0.5";
    refused(run(&Query, &host, &searching(0.5)).await, "qdrant.unexpected", words);
}

#[tokio::test]
async fn each_node_tells_what_it_holds() {
    let Some(world) = World::start(2).await else { return };
    world.fill("q6", 100, 2).await;
    let host = world.host().await;
    let counted = run(&Count, &host, &json!({ "collection": "q6", "per_node": true })).await.unwrap();
    let nodes = counted["nodes"].as_array().unwrap();
    assert_eq!((&counted["points"], nodes.len(), &counted["shard_keys"]), (&json!(100), 2, &Value::Null));
    let mut shards = Vec::new();
    let mut points = 0;
    for (node, url) in nodes.iter().zip(&world.urls) {
        assert_eq!(node["node"], json!(url));
        assert!(node["peer_id"].is_u64());
        points += node["points"].as_u64().unwrap();
        for shard in node["shards"].as_array().unwrap() {
            assert_eq!(shard["state"], "Active");
            shards.push(shard["id"].as_u64().unwrap());
        }
    }
    shards.sort_unstable();
    assert_eq!((shards, points), (vec![0, 1], 100));
    let both = json!({ "collection": "q6", "per_node": true, "filter": {} });
    let shown = actions(&Count, json!({ "collection": "q6", "per_node": true })).unwrap();
    assert_eq!(shown[1].text, "GET /collections/q6/cluster on every node");
    refused(
        run(&Count, &host, &both).await,
        "input",
        "`per_node` counts all that a node holds, without a `filter`",
    );
}

#[tokio::test]
async fn shard_keys_are_counted_one_by_one() {
    let Some(world) = World::start(2).await else { return };
    world.done("DELETE /collections/q7", None).await;
    let config = json!({ "vectors": { "size": 2, "distance": "Dot" }, "sharding_method": "custom" });
    let (status, _) = world.ask(0, "PUT /collections/q7", Some(config)).await;
    let key = json!({ "shard_key": "north" });
    if status != 200 || world.ask(0, "PUT /collections/q7/shards", Some(key)).await.0 != 200 {
        eprintln!("skipped: this server has no shard keys");
        return;
    }
    let points = json!({ "points": [{ "id": 1, "vector": [1, 0] }, { "id": 2, "vector": [1, 0] }], "shard_key": "north" });
    world.done("PUT /collections/q7/points?wait=true", Some(points)).await;
    let with = json!({ "collection": "q7", "per_node": true });
    let counted = run(&Count, &world.host().await, &with).await.unwrap();
    assert_eq!(counted["shard_keys"], json!([{ "key": "north", "points": 2 }]));
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
