//! Shards of several replicas, other topologies: what is backed up, and where it comes back.

use drydock_practice::qdrant::Deployment;
use drydock_steps::qdrant::fetch::Fetch;
use drydock_steps::qdrant::recover::Recover;
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};

use super::fetch::{fetching, snapshot_of};
use super::recover::backup_of;
use super::world::{World, asked, die_at_a_held_answer, run, run_from};

/// A collection of three shards with two replicas each.
async fn replicated(world: &World, collection: &str, points: u64) {
    world.done(&format!("DELETE /collections/{collection}"), None).await;
    let config = json!({
        "vectors": { "size": 2, "distance": "Dot" }, "shard_number": 3, "replication_factor": 2,
        "hnsw_config": { "m": 24 }, "on_disk_payload": true,
    });
    world.done(&format!("PUT /collections/{collection}"), Some(config)).await;
    world.upsert(collection, 1..=points).await;
    let index = json!({ "field_name": "n", "field_schema": "integer" });
    world.done(&format!("PUT /collections/{collection}/index?wait=true"), Some(index)).await;
}

/// The shards of the snapshots, each with its node.
fn chosen(snapshots: &Value) -> Vec<(u64, String)> {
    let one = |one: &Value| (one["shard"].as_u64().unwrap(), one["node"].as_str().unwrap().to_owned());
    snapshots.as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn of_each_shard_one_replica_is_kept_and_the_others_are_filled_from_it() {
    let Some(world) = World::start(3).await else { return };
    replicated(&world, "h1", 90).await;
    let backup = backup_of(&world, "h1").await;
    let snapshots = &backup["snapshot"]["snapshots"];
    let found = chosen(snapshots);
    assert_eq!(found.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 1, 2], "each shard once");
    let mut nodes: Vec<_> = found.into_iter().map(|(_, node)| node).collect();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "each node does its part");
    assert!(snapshots[1]["name"].as_str().unwrap().starts_with("h1-shard-1-"), "{snapshots}");

    world.done("DELETE /collections/h1", None).await;
    let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
    assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(90), &json!("straight")));
    let told: Vec<_> = recovered["nodes"].as_array().unwrap().iter().collect();
    assert!(told.iter().all(|node| node["points"] == 90), "{told:?}");
    let replicas: usize = told.iter().map(|node| node["shards"].as_array().unwrap().len()).sum();
    assert_eq!(replicas, 6, "every shard has its two replicas again: {told:?}");
    let info = world.done("GET /collections/h1", None).await;
    assert_eq!(info["config"]["params"]["replication_factor"], 2);
    assert_eq!(info["config"]["hnsw_config"]["m"], 24);
    assert_eq!(info["payload_schema"]["n"]["data_type"], "integer");
    for node in 0..3 {
        let request = "POST /collections/h1/points/count";
        let (_, counted) = world.ask(node, request, Some(json!({ "exact": true }))).await;
        assert_eq!(counted["result"]["count"], 90, "on node {node}");
        assert!(world.snapshots(node, "h1").await.is_empty());
    }
}

#[tokio::test]
async fn a_collection_with_replicas_is_replaced_once_the_snapshots_are_proved() {
    let Some(world) = World::start(3).await else { return };
    replicated(&world, "h2", 30).await;
    let backup = backup_of(&world, "h2").await;
    world.upsert("h2", 31..=60).await;
    let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
    assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(30), &json!("prove")));
    assert_eq!(world.count("h2").await, 30);
    assert_eq!(world.names().await, ["h2"], "the scratch collection is gone");
}

#[tokio::test]
async fn a_lost_answer_to_a_shard_s_snapshot_is_found_out() {
    let hold = r#"[{"attempt": "*", "op": "POST */shards/*/snapshots", "nth": 2, "do": "hold"}]"#;
    let world = World::with_faults(3, hold).await;
    replicated(&world, "h3", 30).await;
    let (host, with) = (world.host().await, json!({ "collections": "h3" }));
    die_at_a_held_answer(&world, &Snapshot, &host, &with).await;
    let reconciled = asked(&Snapshot, &host, &with).await;
    let drydock_step::Reconciled::Partly(from) = reconciled else { panic!("{reconciled:?}") };
    let made = run_from(&Snapshot, &host, &with, Some(&from)).await.unwrap();
    assert_eq!(chosen(&made["collections"][0]["snapshots"]).len(), 3);
    let posts = world.written().into_iter().filter(|op| op.contains(" POST ") && op.ends_with("/snapshots"));
    assert_eq!(posts.count(), 3, "none was made twice: {:?}", world.written());
}

#[tokio::test]
async fn a_lost_answer_to_a_shard_s_upload_is_sent_again() {
    let hold = r#"[{"attempt": "*", "op": "POST */shards/*/snapshots/upload", "nth": 2, "do": "hold"}]"#;
    let world = World::with_faults(3, hold).await;
    replicated(&world, "h4", 30).await;
    let backup = backup_of(&world, "h4").await;
    world.done("DELETE /collections/h4", None).await;
    let host = world.host().await;
    die_at_a_held_answer(&world, &Recover, &host, &backup).await;
    let reconciled = asked(&Recover, &host, &backup).await;
    let drydock_step::Reconciled::Partly(from) = reconciled else { panic!("{reconciled:?}") };
    let recovered = run_from(&Recover, &host, &backup, Some(&from)).await.unwrap();
    assert_eq!(
        (&recovered["points"], &recovered["strategy"]),
        (&json!(30), &json!("straight")),
        "what it made itself is nothing that was there"
    );
}

#[tokio::test]
async fn a_smaller_cluster_takes_several_files_on_a_node() {
    let (large, small) = (World::with_faults(3, "[]").await, World::with_faults(2, "[]").await);
    large.fill("h5", 90, 3).await;
    let backup = backup_of(&large, "h5").await;
    copied(&large, &small);
    let recovered = run(&Recover, &small.host().await, &backup).await.unwrap();
    assert_eq!((&recovered["points"], small.count("h5").await), (&json!(90), json!(90)));
}

#[tokio::test]
async fn a_single_node_takes_single_shards() {
    let (large, single) = (World::with_faults(3, "[]").await, World::with_faults(1, "[]").await);
    replicated(&large, "h6", 90).await;
    let backup = backup_of(&large, "h6").await;
    copied(&large, &single);
    let recovered = run(&Recover, &single.host().await, &backup).await.unwrap();
    assert_eq!((&recovered["points"], single.count("h6").await), (&json!(90), json!(90)));
}

#[tokio::test]
async fn a_larger_cluster_takes_one_file() {
    let (single, large) = (World::with_faults(1, "[]").await, World::with_faults(3, "[]").await);
    single.fill("h7", 30, 2).await;
    let backup = backup_of(&single, "h7").await;
    copied(&single, &large);
    let recovered = run(&Recover, &large.host().await, &backup).await.unwrap();
    assert_eq!((&recovered["points"], large.count("h7").await), (&json!(30), json!(30)));
}

#[tokio::test]
async fn a_file_without_a_shard_that_its_node_had_is_not_kept() {
    let Some(world) = World::start(2).await else { return };
    world.fill("h8", 40, 2).await;
    let mut snapshot = snapshot_of(&world, "h8").await;
    // As a load balancer has it: the other node's file, with its own checksum.
    let (first, second) = (snapshot["snapshots"][0].clone(), snapshot["snapshots"][1].clone());
    snapshot["snapshots"][0]["shards"] = second["shards"].clone();
    let with = fetching(&snapshot);
    let error = run(&Fetch, &world.host().await, &with).await.unwrap_err();
    assert_eq!(error.code, "qdrant.archive", "{error}");
    assert!(error.message.contains("it does not hold shard"), "{error}");
    let path = format!("points/p1/qdrant/{}", first["name"].as_str().unwrap());
    assert!(!world.stored(&path).exists(), "it was taken out of the store again");
    let left = world.snapshots(0, "h8").await;
    assert!(left.iter().any(|name| first["name"] == name.as_str()), "and is left on the server: {left:?}");
}

/// A collection with a key and a shard for each of these, which have so many points. A key between them is dropped again, so that the ids
/// of the shards have a gap.
async fn keyed(world: &World, collection: &str, keys: &[(&str, u64)]) {
    let config = json!({ "vectors": { "size": 2, "distance": "Dot" }, "sharding_method": "custom" });
    world.done(&format!("PUT /collections/{collection}"), Some(config)).await;
    let shards = format!("/collections/{collection}/shards");
    world.done(&format!("PUT {shards}"), Some(json!({ "shard_key": "dropped" }))).await;
    let mut id = 0;
    for (key, points) in keys {
        world.done(&format!("PUT {shards}"), Some(json!({ "shard_key": key }))).await;
        let ids = (0..*points).map(|_| {
            id += 1;
            json!({ "id": id, "vector": [id, 1], "payload": { "n": id } })
        });
        let body = json!({ "shard_key": key, "points": ids.collect::<Vec<_>>() });
        world.done(&format!("PUT /collections/{collection}/points?wait=true"), Some(body)).await;
    }
    world.done(&format!("POST {shards}/delete"), Some(json!({ "shard_key": "dropped" }))).await;
}

#[tokio::test]
async fn keys_are_made_again_and_each_has_its_points() {
    for nodes in [1, 3] {
        let world = World::deployed(nodes, "[]", Deployment { cluster: true, ..Deployment::default() }).await;
        keyed(&world, "h9", &[("a", 10), ("b", 25)]).await;
        let backup = backup_of(&world, "h9").await;
        let snapshots = backup["snapshot"]["snapshots"].as_array().unwrap();
        let keys: Vec<_> = snapshots.iter().map(|one| (&one["shard"], &one["shard_key"])).collect();
        assert_eq!(keys, [(&json!(2), &json!("a")), (&json!(3), &json!("b"))]);
        for (gone, strategy) in [(true, "straight"), (false, "prove")] {
            if gone {
                world.done("DELETE /collections/h9", None).await;
            }
            let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
            assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(35), &json!(strategy)));
            for (key, points) in [("a", 10), ("b", 25)] {
                let body = json!({ "exact": true, "shard_key": key });
                let counted = world.done("POST /collections/h9/points/count", Some(body)).await;
                assert_eq!(counted["count"], points, "of key {key} on {nodes} nodes, {strategy}");
            }
        }
    }
}

#[tokio::test]
async fn snapshots_in_s3_come_without_checksums() {
    let world = World::deployed(1, "[]", Deployment { s3: true, ..Deployment::default() }).await;
    world.fill("h10", 20, 1).await;
    let backup = backup_of(&world, "h10").await;
    let snapshot = &backup["snapshot"]["snapshots"][0];
    assert_eq!(snapshot.get("sha256"), None, "the server tells none");
    assert_eq!(snapshot["artifact"]["sha256"].as_str().unwrap().len(), 64, "what was stored was hashed");
    world.done("DELETE /collections/h10", None).await;
    let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
    assert_eq!(recovered["points"], 20);
}

#[tokio::test]
async fn a_shard_that_is_being_moved_is_waited_for_by_nobody() {
    let world = World::deployed(2, "[]", Deployment { transfer_looks: 1000, ..Deployment::default() }).await;
    world.fill("h11", 20, 2).await;
    let (_, placed) = world.ask(0, "GET /collections/h11/cluster", None).await;
    let (from, to) = (&placed["result"]["peer_id"], &placed["result"]["remote_shards"][0]["peer_id"]);
    let shard = &placed["result"]["local_shards"][0]["shard_id"];
    let body = json!({ "move_shard": { "shard_id": shard, "from_peer_id": from, "to_peer_id": to } });
    world.done("POST /collections/h11/cluster", Some(body)).await;
    let error = run(&Snapshot, &world.host().await, &json!({ "collections": "h11" })).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient), ("qdrant.moving", true), "{error}");
    assert_eq!(world.written(), Vec::<String>::new(), "no snapshot was asked for");
}

/// Takes the artifacts of one world to another.
fn copied(from: &World, to: &World) {
    let folder = "points/p1/qdrant";
    std::fs::create_dir_all(to.stored(folder)).unwrap();
    for file in std::fs::read_dir(from.stored(folder)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.stored(folder).join(file.file_name())).unwrap();
    }
}
