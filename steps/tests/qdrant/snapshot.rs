//! `qdrant.snapshot`: what it makes, finds, waits for and refuses.

use drydock_step::test_host::{actions, given, touches};
use drydock_step::{Access, Kind, Sample};
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};

use super::world::{READ_ONLY_KEY, World, refused, run};

fn names(of: &Value) -> Vec<&str> {
    of.as_array()
        .unwrap()
        .iter()
        .map(|one| one["collection"].as_str().unwrap_or_else(|| one.as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn each_collection_that_is_meant_has_its_snapshot() {
    let Some(world) = World::start(1).await else { return };
    for (name, points) in [("s1_a", 3), ("s1_b", 5), ("other1", 1)] {
        world.fill(name, points, 1).await;
    }
    let index = json!({ "field_name": "n", "field_schema": "integer" });
    world.done("PUT /collections/s1_a/index?wait=true", Some(index)).await;
    let alias =
        json!({ "actions": [{ "create_alias": { "collection_name": "s1_a", "alias_name": "current1" } }] });
    world.done("POST /collections/aliases", Some(alias)).await;

    let made = run(&Snapshot, &world.host().await, &json!({ "collections": "s1_*" })).await.unwrap();
    assert!(made["version"].as_str().unwrap().starts_with("1."), "{made}");
    assert_eq!(
        (names(&made["collections"]), names(&made["listed_after"])),
        (vec!["s1_a", "s1_b"], vec!["s1_a", "s1_b"])
    );
    let a = &made["collections"][0];
    assert_eq!(
        (&a["points"], &a["aliases"], &a["shards"]),
        (&json!({"low": 3, "high": 3}), &json!(["current1"]), &json!([0]))
    );
    assert_eq!(a["params"]["vectors"], json!({ "size": 2, "distance": "Dot" }));
    assert_eq!(a["payload_indexes"]["n"]["data_type"], "integer");
    let snapshot = &a["snapshots"][0];
    assert_eq!(
        (&snapshot["node"], &snapshot["peer_id"], &snapshot["shards"]),
        (&json!(world.urls[0]), &Value::Null, &json!([0]))
    );
    let listed = world.done("GET /collections/s1_a/snapshots", None).await;
    let listed = listed.as_array().unwrap().iter().find(|one| one["name"] == snapshot["name"]).unwrap();
    assert_eq!((&snapshot["sha256"], &snapshot["size"]), (&listed["checksum"], &listed["size"]));
    assert!(snapshot["started_at"].as_str() <= snapshot["answered_at"].as_str());

    world.pass_second();
    let by_alias =
        run(&Snapshot, &world.host().await, &json!({ "collections": ["current1"] })).await.unwrap();
    assert_eq!(names(&by_alias["collections"]), ["s1_a"]);
    if world.is_practice() {
        let posts = ["qdrant POST /collections/s1_a/snapshots", "qdrant POST /collections/s1_b/snapshots"];
        let mut written = world.written();
        written.truncate(2);
        written.sort();
        assert_eq!(written, posts);
    }
}

#[tokio::test]
async fn every_node_gives_its_own_shards() {
    let Some(world) = World::start(2).await else { return };
    world.fill("s2_two", 100, 2).await;
    world.fill("s2_one", 50, 1).await;
    let made = run(&Snapshot, &world.host().await, &json!({ "collections": "s2_*" })).await.unwrap();
    for (collection, shards) in made["collections"].as_array().unwrap().iter().zip([vec![0], vec![0, 1]]) {
        let snapshots = collection["snapshots"].as_array().unwrap();
        assert_eq!(
            snapshots.iter().map(|one| &one["node"]).collect::<Vec<_>>(),
            world.urls.iter().collect::<Vec<_>>()
        );
        let mut held: Vec<u64> = snapshots
            .iter()
            .flat_map(|one| one["shards"].as_array().unwrap())
            .map(|id| id.as_u64().unwrap())
            .collect();
        held.sort_unstable();
        assert_eq!((&held, &collection["shards"]), (&shards, &json!(shards)));
        assert_ne!(snapshots[0]["peer_id"], snapshots[1]["peer_id"]);
        assert_ne!(snapshots[0]["name"], snapshots[1]["name"]);
    }
}

#[tokio::test]
async fn a_node_that_is_missing_or_named_twice_is_an_error() {
    let world = World::with_faults(2, "[]").await;
    world.fill("c", 4, 2).await;
    let (one, two) = (world.urls[0].clone(), world.urls[1].clone());
    let check = async |urls: &[String], words: &str| {
        let host = world.host_at(urls, &world.key).await;
        refused(run(&Snapshot, &host, &json!({})).await, "qdrant.nodes", words);
        let found = Kind::preflight(&Snapshot, &host.ctx(Some("t")), given(json!({}))).await.unwrap();
        assert_eq!((found.findings[0].code.as_str(), found.findings[0].fatal), ("qdrant.nodes", true));
    };
    check(std::slice::from_ref(&one), "the target does not name peer").await;
    check(&[one.clone(), format!("{one}/")], "are the same node, peer").await;
    let other = World::with_faults(1, "[]").await;
    check(&[one, two, other.urls[0].clone()], "is no cluster, and the target names 3 nodes").await;
    assert_eq!(world.written(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_of_the_same_second_is_not_taken() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 3, 1).await;
    world.done("POST /collections/c/snapshots", None).await;
    let before = world.snapshots(0, "c").await;
    let host = world.host().await;
    let second = async {
        while world.written().is_empty() {
            tokio::task::yield_now().await;
        }
        world.pass_second();
    };
    let with = json!({ "collections": "c" });
    let (made, ()) = tokio::join!(run(&Snapshot, &host, &with), second);
    let name = made.unwrap()["collections"][0]["snapshots"][0]["name"].as_str().unwrap().to_owned();
    assert!(!before.contains(&name), "{name}");
    assert_eq!(world.written().len(), 2, "one that took the name, and one of the next second");
    assert_eq!(world.snapshots(0, "c").await.len(), 2);
}

#[tokio::test]
async fn collections_that_come_and_go_meanwhile_are_seen() {
    let slow = r#"[{"attempt": "*", "op": "POST */c_old/snapshots", "do": "slow", "ms": 300}]"#;
    let world = World::with_faults(1, slow).await;
    world.fill("c_old", 3, 1).await;
    world.fill("c_gone", 3, 1).await;
    let host = world.host().await;
    let change = async {
        // The other one is done, and the slow one is not.
        let one_done =
            |sample: &Sample| matches!(sample, Sample::Progress { done: 1, unit: "collections", .. });
        while !host.samples().iter().any(one_done) {
            tokio::task::yield_now().await;
        }
        world.done("DELETE /collections/c_gone", None).await;
        world.fill("c_new", 2, 1).await;
    };
    let with = json!({ "collections": "c_*" });
    let (made, ()) = tokio::join!(run(&Snapshot, &host, &with), change);
    let made = made.unwrap();
    assert_eq!(names(&made["collections"]), ["c_new", "c_old"]);
    assert_eq!(names(&made["listed_after"]), ["c_new", "c_old"]);
}

#[tokio::test]
async fn a_band_holds_what_was_written_meanwhile() {
    let slow = r#"[{"attempt": "*", "op": "POST */snapshots", "do": "slow", "ms": 300}]"#;
    let world = World::with_faults(1, slow).await;
    world.fill("c", 3, 1).await;
    let host = world.host().await;
    let write = async {
        while host.notes().is_empty() {
            tokio::task::yield_now().await;
        }
        world.upsert("c", 4..=10).await;
    };
    let with = json!({ "collections": "c" });
    let (made, ()) = tokio::join!(run(&Snapshot, &host, &with), write);
    assert_eq!(made.unwrap()["collections"][0]["points"], json!({ "low": 3, "high": 10 }));
}

#[tokio::test]
async fn what_the_server_says_is_told() {
    let check = async |faults: &str, key: &str, with: Value, code: &str, words: &str| {
        let world = World::with_faults(1, faults).await;
        world.fill("c", 3, 1).await;
        let host = world.host_at(&world.urls, key).await;
        refused(run(&Snapshot, &host, &with).await, code, words)
    };
    let c = || json!({ "collections": "c" });
    let key = super::world::KEY;
    check("[]", key, json!({ "collections": ["nope"] }), "qdrant.absent", "no collection and no alias nope")
        .await;
    check("[]", "wrong", c(), "qdrant.key", "answered 401 Unauthorized: Invalid API key or JWT").await;
    let error =
        check("[]", READ_ONLY_KEY, c(), "qdrant.key", "403 Forbidden: Forbidden: Global manage access").await;
    assert_eq!(error.help.as_deref(), Some("this key may not do that: a key with manage access is needed"));
    let full = r#"[{"attempt": "*", "op": "POST */snapshots", "do": "disk_full"}]"#;
    let error = check(full, key, c(), "qdrant.server", "No space left on device").await;
    assert!(!error.transient && !error.unknown);
    let busy = r#"[{"attempt": "*", "op": "GET /collections", "times": 9, "do": "error", "code": 503, "message": "wait"}]"#;
    assert!(check(busy, key, c(), "qdrant.busy", "answered 503 Service Unavailable: wait").await.transient);
    let nobody = World::with_faults(1, "[]").await;
    let host = nobody.host_at(&["http://127.0.0.1:1".into()], key).await;
    let error = refused(
        run(&Snapshot, &host, &c()).await,
        "qdrant.connect",
        "GET http://127.0.0.1:1/cluster could not connect",
    );
    assert!(error.transient);
}

#[tokio::test]
async fn a_hiccup_in_a_read_is_passed_over() {
    let hiccups = r#"[
        {"attempt": "*", "op": "GET /collections", "do": "error", "code": 500, "message": "x"},
        {"attempt": "*", "op": "GET /aliases", "do": "cut_before"},
        {"attempt": "*", "op": "POST */count", "do": "cut_after"}
    ]"#;
    let world = World::with_faults(1, hiccups).await;
    world.fill("c", 3, 1).await;
    let made = run(&Snapshot, &world.host().await, &json!({})).await.unwrap();
    assert_eq!(names(&made["collections"]), ["c"]);
}

#[tokio::test]
async fn a_dry_run_shows_the_requests() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 3, 1).await;
    let host = world.host().await;
    let with = json!({ "collections": "c*" });
    let found = Kind::preflight(&Snapshot, &host.ctx(Some("t")), given(with.clone())).await.unwrap();
    let post = format!("POST {}/collections/c/snapshots?wait=true", world.urls[0]);
    assert_eq!(found.facts, json!({ "nodes": world.urls, "collections": ["c"], "requests": [post] }));
    let owned = given(with.clone());
    let shown = drydock_step::Given { with: &owned.with, fill: None };
    let probed = Kind::actions(&Snapshot, Some("t"), &shown, &found.facts).unwrap();
    let writes: Vec<_> =
        probed.iter().filter(|action| action.writes).map(|action| action.text.clone()).collect();
    assert_eq!(writes, [format!("POST {}/collections/c/snapshots?wait=true", world.urls[0])]);
    let plain = actions(&Snapshot, with.clone()).unwrap();
    assert_eq!(
        plain[2].text,
        "POST /collections/{collection}/snapshots?wait=true on every node, for each of c*"
    );
    let touched = &touches(&Snapshot, with).unwrap()[0];
    assert_eq!((touched.resource.as_str(), touched.access), ("snapshots of collection c*", Access::Writes));
    let unknown = touches(&Snapshot, json!({ "collections": { "$after": ["x"] } })).unwrap();
    assert_eq!(unknown[0].resource, "?");
    let absent =
        Kind::preflight(&Snapshot, &host.ctx(Some("t")), given(json!({ "collections": "d" }))).await.unwrap();
    assert_eq!((absent.findings[0].code.as_str(), absent.findings[0].fatal), ("qdrant.absent", true));
}
