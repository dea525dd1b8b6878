//! `qdrant.fetch`: what lies in the store and on the servers afterwards.

use drydock_step::test_host::{actions, touches};
use drydock_steps::qdrant::fetch::Fetch;
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cutting::cutting;
use super::world::{World, refused, run};

/// The first collection of a snapshot of these.
pub(crate) async fn snapshot_of(world: &World, collections: &str) -> Value {
    let made = run(&Snapshot, &world.host().await, &json!({ "collections": collections })).await.unwrap();
    made["collections"][0].clone()
}

/// Inputs that fetch a collection.
pub(crate) fn fetching(snapshot: &Value) -> Value {
    json!({ "snapshot": snapshot, "to": "backups", "prefix": "points/p1/qdrant" })
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn each_node_s_snapshot_is_stored_and_then_removed() {
    let Some(world) = World::start(2).await else { return };
    world.fill("f1", 100, 2).await;
    let snapshot = snapshot_of(&world, "f1").await;
    let fetched = run(&Fetch, &world.host().await, &fetching(&snapshot)).await.unwrap();
    for (node, (one, made)) in fetched["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .zip(snapshot["snapshots"].as_array().unwrap())
        .enumerate()
    {
        let artifact = &one["artifact"];
        let path = artifact["path"].as_str().unwrap();
        assert_eq!(path, format!("points/p1/qdrant/{}", made["name"].as_str().unwrap()));
        let bytes = std::fs::read(world.stored(path)).unwrap();
        assert_eq!((&json!(sha256(&bytes)), &json!(bytes.len())), (&artifact["sha256"], &artifact["size"]));
        assert_eq!(artifact["sha256"], made["sha256"]);
        assert!(!world.snapshots(node, "f1").await.contains(&made["name"].as_str().unwrap().to_owned()));
        let mut same = one.clone();
        same.as_object_mut().unwrap().shift_remove("artifact");
        assert_eq!(&same, made, "the entry is handed on as it is");
    }
    let again = run(&Fetch, &world.host().await, &fetching(&snapshot)).await.unwrap();
    assert_eq!(again, fetched, "what is in the store is not fetched again");
}

#[tokio::test]
async fn what_shall_stay_stays() {
    let Some(world) = World::start(1).await else { return };
    world.fill("f2", 3, 1).await;
    let snapshot = snapshot_of(&world, "f2").await;
    let mut with = fetching(&snapshot);
    with["keep_on_server"] = json!(true);
    run(&Fetch, &world.host().await, &with).await.unwrap();
    let name = snapshot["snapshots"][0]["name"].as_str().unwrap().to_owned();
    assert!(world.snapshots(0, "f2").await.contains(&name));
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let Some(world) = World::start(1).await else { return };
    world.fill("f3", 2000, 1).await;
    let snapshot = snapshot_of(&world, "f3").await;
    let wire = cutting(&world.urls[0], 20_000, 2).await;
    let host = world.host_at(std::slice::from_ref(&wire), &world.key).await;
    let mut with = fetching(&snapshot);
    with["snapshot"]["snapshots"][0]["node"] = json!(wire);
    let fetched = run(&Fetch, &host, &with).await.unwrap();
    assert_eq!(fetched["snapshots"][0]["artifact"]["sha256"], snapshot["snapshots"][0]["sha256"]);
    if world.is_practice() {
        assert_eq!(world.asked(".snapshot"), 3 + 1, "three parts, and the removal");
    }
}

#[tokio::test]
async fn parts_of_two_files_are_never_put_together() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 2000, 1).await;
    let snapshot = snapshot_of(&world, "c").await;
    let wire = cutting(&world.urls[0], 20_000, 1).await;
    let host = world.host_at(std::slice::from_ref(&wire), &world.key).await;
    let mut with = fetching(&snapshot);
    with["snapshot"]["snapshots"][0]["node"] = json!(wire);
    world.upsert("c", 3000..3100).await;
    let replaced = async {
        while world.asked("GET /collections/c/snapshots/") == 0 {
            tokio::task::yield_now().await;
        }
        // In the same second, so under the same name.
        world.done("POST /collections/c/snapshots", None).await;
    };
    let (fetched, ()) = tokio::join!(run(&Fetch, &host, &with), replaced);
    refused(fetched, "qdrant.changed", "answered 412 Precondition Failed");
    assert!(
        !world.stored("points").join("p1/qdrant").read_dir().unwrap().any(|_| true),
        "nothing is in the store"
    );
}

#[tokio::test]
async fn what_is_not_what_the_server_made_is_not_kept() {
    let Some(world) = World::start(1).await else { return };
    world.fill("f5", 3, 1).await;
    let snapshot = snapshot_of(&world, "f5").await;
    let mut with = fetching(&snapshot);
    with["snapshot"]["snapshots"][0]["sha256"] = json!("0".repeat(64));
    let error = refused(run(&Fetch, &world.host().await, &with).await, "qdrant.checksum", "came with sha256");
    assert!(error.transient && error.message.contains(&"0".repeat(64)), "{error}");
    let name = snapshot["snapshots"][0]["name"].as_str().unwrap().to_owned();
    assert!(!world.stored("points/p1/qdrant").join(&name).exists());
    assert!(world.snapshots(0, "f5").await.contains(&name), "it is still on the server");
}

#[tokio::test]
async fn a_removal_that_fails_is_told_and_the_backup_is_good() {
    let stuck = r#"[{"attempt": "*", "op": "DELETE *", "do": "error", "code": 403, "message": "no"}]"#;
    let world = World::with_faults(1, stuck).await;
    world.fill("c", 3, 1).await;
    let snapshot = snapshot_of(&world, "c").await;
    let fetched = run(&Fetch, &world.host().await, &fetching(&snapshot)).await.unwrap();
    let left = fetched["snapshots"][0]["left_on_server"].as_str().unwrap();
    assert!(left.ends_with("answered 403 Forbidden: no"), "{left}");
    assert!(fetched["snapshots"][0]["artifact"].is_object());
}

#[tokio::test]
async fn what_went_before_it_was_fetched_is_told() {
    let Some(world) = World::start(1).await else { return };
    world.fill("f7", 3, 1).await;
    let snapshot = snapshot_of(&world, "f7").await;
    let name = snapshot["snapshots"][0]["name"].as_str().unwrap();
    world.done(&format!("DELETE /collections/f7/snapshots/{name}"), None).await;
    let error = refused(
        run(&Fetch, &world.host().await, &fetching(&snapshot)).await,
        "qdrant.absent",
        "404 Not Found",
    );
    assert!(error.help.unwrap().contains("removed from the server before it was fetched"));
    let mut elsewhere = fetching(&snapshot);
    elsewhere["snapshot"]["snapshots"][0]["node"] = json!("http://elsewhere:6333");
    elsewhere["snapshot"]["snapshots"][0]["peer_id"] = Value::Null;
    let words = "lies on http://elsewhere:6333, which is no node of the target";
    refused(run(&Fetch, &world.host().await, &elsewhere).await, "qdrant.nodes", words);
}

#[tokio::test]
async fn a_dry_run_shows_what_is_moved() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 3, 1).await;
    let snapshot = snapshot_of(&world, "c").await;
    let (url, name) = (&world.urls[0], snapshot["snapshots"][0]["name"].as_str().unwrap());
    let texts = |with: Value| {
        actions(&Fetch, with).unwrap().into_iter().map(|action| action.text).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(fetching(&snapshot)),
        [
            format!("GET {url}/collections/c/snapshots/{name}"),
            format!("store points/p1/qdrant/{name}"),
            format!("DELETE {url}/collections/c/snapshots/{name}?wait=true"),
        ]
    );
    let later = json!({ "snapshot": { "$after": ["snapshot"] }, "to": "backups", "keep_on_server": true });
    let expected = [
        "GET /collections/{collection}/snapshots/{snapshot} for each of (known after snapshot)",
        "store it below qdrant",
    ];
    assert_eq!(texts(later), expected);
    let touched = touches(&Fetch, fetching(&snapshot)).unwrap();
    let touched: Vec<_> =
        touched.iter().map(|touch| (touch.target.as_deref(), touch.resource.as_str())).collect();
    assert_eq!(
        touched,
        [(Some("t"), "snapshots of collection c"), (Some("backups"), "path points/p1/qdrant")]
    );
}
