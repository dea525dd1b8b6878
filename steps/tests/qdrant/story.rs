//! Backup, loss and recovery of one collection, with each fault met once: whatever goes wrong, the attempt after it ends right.

use std::sync::Arc;

use drydock_step::test_host::TestHost;
use drydock_step::{Kind, Reconciled, StepError};
use drydock_steps::qdrant::fetch::Fetch;
use drydock_steps::qdrant::recall::Recall;
use drydock_steps::qdrant::recover::Recover;
use drydock_steps::qdrant::sample::Sample;
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};

use super::fetch::fetching;
use super::world::{World, asked, run, run_from};

/// What a run and its resumes give: a failed attempt is asked what it did, and another goes on.
async fn resumed(kind: &dyn Kind, host: &Arc<TestHost>, with: &Value) -> Result<(Value, u32), StepError> {
    let mut from = None;
    for failures in 0..3 {
        match run_from(kind, host, with, from.as_ref()).await {
            Ok(outputs) => return Ok((outputs, failures)),
            // Sooner or later the same would fail again.
            Err(error) if error.code == "qdrant.checksum" => return Err(error),
            Err(error) => eprintln!("{} failed: {error}", kind.shape().name),
        }
        from = match asked(kind, host, with).await {
            Reconciled::Done(outputs) => return Ok((outputs, failures)),
            Reconciled::Partly(from) => Some(from),
            _ => None,
        };
    }
    panic!("{} does not end", kind.shape().name)
}

/// Backs a collection up, loses it, recovers it under this fault, and proves that it is all there; how many attempts failed.
async fn told(nodes: usize, replicas: u64, fault: &str) -> u32 {
    let world = World::with_faults(nodes, fault).await;
    let config = json!({
        "vectors": { "size": 2, "distance": "Dot" }, "shard_number": nodes, "replication_factor": replicas,
    });
    world.done("PUT /collections/agent_a", Some(config)).await;
    world.upsert("agent_a", 1..=120).await;
    let host = world.host().await;
    let sampling = json!({ "collection": "agent_a", "to": "backups", "prefix": "p", "queries": 10, "k": 5 });
    let (sample, _) = resumed(&Sample, &host, &sampling).await.unwrap();
    let collections = json!({ "collections": "agent_*" });
    let (mut made, mut failures) = resumed(&Snapshot, &host, &collections).await.unwrap();
    let fetched = match resumed(&Fetch, &host, &fetching(&made["collections"][0])).await {
        Ok(fetched) => fetched,
        // The server is wrong about its own snapshot: `--redo` of the snapshot, which is another step's attempt.
        Err(error) => {
            assert_eq!(error.code, "qdrant.checksum", "{error}");
            world.pass_second();
            let again = host_of(&world, "r1/again/1").await;
            made = run(&Snapshot, &again, &collections).await.unwrap();
            failures += 1;
            resumed(&Fetch, &again, &fetching(&made["collections"][0])).await.unwrap()
        }
    };
    failures += fetched.1;
    world.done("DELETE /collections/agent_a", None).await;
    let backup = json!({ "from": "backups", "snapshot": fetched.0 });
    let (recovered, more) = resumed(&Recover, &host, &backup).await.unwrap();
    assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(120), &json!("straight")), "{fault}");
    assert_eq!(world.count("agent_a").await, 120, "{fault}");
    let recall = json!({ "collection": "agent_a", "from": "backups", "samples": [sample] });
    let found = run(&Recall, &host, &recall).await.unwrap();
    assert_eq!((&found["recall"], &found["agreement"]), (&json!(1.0), &json!(1.0)), "{fault}");
    assert_eq!(world.names().await, ["agent_a"], "{fault}");
    for node in 0..nodes {
        let left: Vec<String> = world.snapshots(node, "agent_a").await;
        assert!(left.iter().all(|name| !name.starts_with("drydock-")), "{fault}: {left:?}");
    }
    failures + more
}

async fn host_of(world: &World, attempt: &str) -> Arc<TestHost> {
    let store = super::world::connection("artifacts", json!({ "url": "store" }), world).await;
    let host = TestHost::new(world.dir.path()).attempt(attempt);
    let host = host.target("t", world.connected(&world.urls, &world.key).await).target("backups", store);
    Arc::new(host)
}

/// Each fault once, in every request that it can meet; those that an attempt passes over by itself, and those that it does not.
async fn each(nodes: usize, replicas: u64) {
    let snapshot = if replicas > 1 { "POST */shards/*/snapshots" } else { "POST */agent_a/snapshots" };
    let upload = "POST */snapshots/upload";
    let faults = [
        ("GET */snapshots/*.snapshot", json!({ "do": "cut_at", "bytes": 700 })),
        ("GET */snapshots/*.snapshot", json!({ "do": "error", "code": 500 })),
        (snapshot, json!({ "do": "error_after", "code": 500 })),
        (snapshot, json!({ "do": "cut_after" })),
        (snapshot, json!({ "do": "cut_before" })),
        (snapshot, json!({ "do": "disk_full" })),
        (snapshot, json!({ "do": "checksum" })),
        (snapshot, json!({ "do": "away", "ms": 300 })),
        (upload, json!({ "do": "error_after", "code": 500 })),
        (upload, json!({ "do": "cut_after" })),
        (upload, json!({ "do": "cut_before" })),
        (upload, json!({ "do": "disk_full" })),
        (upload, json!({ "do": "away", "ms": 300 })),
        ("DELETE */snapshots/*", json!({ "do": "error", "code": 500 })),
        ("POST */points/count", json!({ "do": "error", "code": 503 })),
    ];
    assert_eq!(told(nodes, replicas, "[]").await, 0);
    let mut failures = 0;
    for (op, mut rule) in faults {
        rule["op"] = json!(op);
        rule["attempt"] = json!("*");
        failures += told(nodes, replicas, &json!([rule]).to_string()).await;
    }
    assert!(failures >= 4, "a full disk, errors after the work, a wrong checksum: {failures}");
}

#[tokio::test]
async fn on_one_node_every_fault_is_gone_on_from() {
    each(1, 1).await;
}

#[tokio::test]
async fn on_three_nodes_every_fault_is_gone_on_from() {
    each(3, 1).await;
}

#[tokio::test]
async fn on_three_nodes_with_replicas_every_fault_is_gone_on_from() {
    each(3, 2).await;
}
