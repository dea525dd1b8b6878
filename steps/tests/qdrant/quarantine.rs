//! A whole collection that is kept before it goes: what is kept brings it back, vectors and all.

use std::sync::Arc;

use drydock_step::test_host::TestHost;
use drydock_step::{AtWork, Connection, StepError};
use drydock_steps::artifact::read::Read;
use drydock_steps::qdrant::recover::Recover;
use serde_json::{Value, json};

use super::world::{World, refused, run};

const PREFIX: &str = "quarantine/r1/c";

/// Keeps the collection `c`; where.
async fn kept(world: &World, host: &Arc<TestHost>) -> Result<String, StepError> {
    let attempt: Arc<dyn AtWork> = Arc::new(host.ctx(Some("t")));
    let qdrant = world.connected(&world.urls, &world.key).await;
    let store = drydock_step::Host::connect(&**host, "backups").await?;
    let collections = Connection::collections(&*qdrant).unwrap();
    collections.keep_collection(attempt, "c", store.store().unwrap(), PREFIX).await
}

async fn nearest(world: &World) -> Value {
    let search = json!({ "query": [7, 1], "limit": 5, "with_payload": true, "with_vector": true });
    world.done("POST /collections/c/points/query", Some(search)).await["points"].clone()
}

async fn comes_back(nodes: usize) {
    let Some(world) = World::start(nodes).await else { return };
    world.fill("c", 40, nodes as u64).await;
    let alias =
        json!({ "actions": [{ "create_alias": { "collection_name": "c", "alias_name": "current" } }] });
    world.done("POST /collections/aliases", Some(alias)).await;
    let (before, host) = (nearest(&world).await, world.host().await);
    let path = kept(&world, &host).await.unwrap();
    assert_eq!(path, "quarantine/r1/c/collection.json");
    for node in 0..nodes {
        assert_eq!(world.snapshots(node, "c").await, Vec::<String>::new(), "nobody could reach it any more");
    }
    world.done("DELETE /collections/c", None).await;
    let store = TestHost::new(world.dir.path());
    let backups = drydock_step::Host::connect(&*host, "backups").await.unwrap();
    let read = run(&Read, &Arc::new(store.target("t", backups)), &json!({ "path": path })).await.unwrap();
    let with = json!({ "from": "backups", "snapshot": read["json"] });
    let back = run(&Recover, &host, &with).await.unwrap();
    assert_eq!((&back["points"], &back["strategy"]), (&json!(40), &json!("straight")));
    assert_eq!(nearest(&world).await, before);
    let aliases = world.done("GET /collections/c/aliases", None).await;
    assert_eq!(aliases["aliases"][0]["alias_name"], "current");
    world.done("DELETE /collections/c", None).await;
}

#[tokio::test]
async fn what_was_kept_of_one_node_comes_back() {
    comes_back(1).await;
}

#[tokio::test]
async fn what_was_kept_of_three_nodes_comes_back() {
    comes_back(3).await;
}

/// Keeps `c` in an attempt that dies while the answer to its snapshot is held back.
async fn died() -> (World, Arc<TestHost>) {
    let held = r#"[{"attempt": "*", "op": "POST */snapshots", "do": "hold"}]"#;
    let world = World::with_faults(1, held).await;
    world.fill("c", 40, 1).await;
    let host = world.host().await;
    let mut attempt = Box::pin(kept(&world, &host));
    while !world.holds_back() {
        let ended = tokio::time::timeout(std::time::Duration::from_millis(5), &mut attempt).await;
        assert!(ended.is_err(), "it ended without meeting the held answer: {ended:?}");
    }
    drop(attempt);
    world.pass_second();
    (world, host)
}

#[tokio::test]
async fn an_attempt_after_a_lost_one_makes_no_second_snapshot() {
    let (world, host) = died().await;
    kept(&world, &host).await.unwrap();
    let made = world.written().iter().filter(|line| line.contains("POST")).count();
    assert_eq!(made, 1, "{:?}", world.written());
    let files = std::fs::read_dir(world.stored(PREFIX)).unwrap().count();
    assert_eq!((files, world.snapshots(0, "c").await.len()), (2, 0), "the snapshot, and what describes it");
    // A later one of the same step begins anew.
    kept(&world, &host).await.unwrap();
    assert_eq!(world.written().iter().filter(|line| line.contains("POST")).count(), 2);
}

#[tokio::test]
async fn what_was_written_meanwhile_keeps_a_collection_where_it_is() {
    let (world, host) = died().await;
    world.upsert("c", 41..=42).await;
    let words = "collection c had between 40 and 42 points while it was kept";
    let error = refused(kept(&world, &host).await.map(Value::from), "qdrant.written", words);
    assert!(error.transient && error.help.unwrap().starts_with("nothing was removed"));
    assert_eq!(world.count("c").await, 42);
    assert!(!world.stored("quarantine/r1/c/collection.json").exists());
    kept(&world, &host).await.unwrap();
    assert_eq!(world.snapshots(0, "c").await.len(), 0, "the one that lacks two is gone as well");
}
