//! What ails a collection, or a node's part in its cluster: what a dry run says of it, and what a run does.

use std::collections::BTreeMap;

use drydock_practice::qdrant::{Consensus, Deployment, Health};
use drydock_step::test_host::given;
use drydock_step::{Kind, PreflightFinding};
use drydock_steps::qdrant::recover::Recover;
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};

use super::recover::backup_of;
use super::world::{World, refused, run};

/// A server that says this of the collection of the name `c`, which has ten points.
async fn ailing(collection: &str, health: Health) -> World {
    let health = BTreeMap::from([(collection.to_owned(), health)]);
    let world = World::deployed(1, "[]", Deployment { health, ..Deployment::default() }).await;
    world.fill("c", 10, 1).await;
    world
}

/// Two nodes with 20 points in two shards, of which the second takes no part in their agreement.
async fn apart(consensus: Consensus) -> World {
    let consensus = BTreeMap::from([(1, consensus)]);
    let world = World::deployed(2, "[]", Deployment { consensus, ..Deployment::default() }).await;
    world.fill("c", 20, 2).await;
    world
}

async fn found(kind: &dyn Kind, world: &World, with: &Value) -> Vec<PreflightFinding> {
    let host = world.host().await;
    kind.preflight(&host.ctx(Some("t")), given(with.clone())).await.unwrap().findings
}

/// The backup, to be recovered under another name.
fn renamed(mut backup: Value, collection: &str) -> Value {
    backup["collection"] = json!(collection);
    backup
}

#[tokio::test]
async fn a_collection_that_works_is_backed_up() {
    let with = json!({ "collections": "c" });
    for health in [Health::Optimising, Health::Unoptimised] {
        let world = ailing("c", health.clone()).await;
        assert_eq!(found(&Snapshot, &world, &with).await, [], "{health:?}");
        let made = run(&Snapshot, &world.host().await, &with).await.unwrap();
        assert_eq!(made["collections"][0]["points"], json!({ "low": 10, "high": 10 }), "{health:?}");
    }
}

#[tokio::test]
async fn a_failed_optimizer_is_told_and_the_points_are_backed_up() {
    let world = ailing("c", Health::FailedOptimizer("No space left on device".into())).await;
    let with = json!({ "collections": "c" });
    let findings = found(&Snapshot, &world, &with).await;
    let told: Vec<_> =
        findings.iter().map(|one| (one.code.as_str(), one.fatal, one.message.as_str())).collect();
    let words = "the optimizer of collection c has failed: No space left on device";
    assert_eq!(told, [("qdrant.optimizer", false, words)]);
    let backup = backup_of(&world, "c").await;
    let recovered = run(&Recover, &world.host().await, &renamed(backup, "c2")).await.unwrap();
    assert_eq!(recovered["points"], 10);
}

#[tokio::test]
async fn a_failed_operation_stops_a_backup() {
    let world = ailing("c", Health::FailedOperation).await;
    let with = json!({ "collections": "c" });
    let findings = found(&Snapshot, &world, &with).await;
    let words = "collection c is red: an operation on it failed";
    let told: Vec<_> =
        findings.iter().map(|one| (one.code.as_str(), one.fatal, one.message.as_str())).collect();
    assert_eq!(told, [("qdrant.broken", true, words)]);
    let error = refused(run(&Snapshot, &world.host().await, &with).await, "qdrant.broken", words);
    assert_eq!(error.help.as_deref(), Some("its own log says which; a snapshot of it could not be trusted"));
    assert_eq!(world.written(), Vec::<String>::new());
}

#[tokio::test]
async fn a_recovered_collection_that_does_not_come_to_rest() {
    for (health, code, words) in [
        (Health::FailedOperation, "qdrant.broken", "collection c2 is red: an operation on it failed"),
        (
            Health::FailedOptimizer("no memory".into()),
            "qdrant.optimizer",
            "collection c2 is red: its optimizer has failed: no memory",
        ),
    ] {
        let world = ailing("c2", health).await;
        let backup = backup_of(&world, "c").await;
        refused(run(&Recover, &world.host().await, &renamed(backup, "c2")).await, code, words);
        assert_eq!(world.count("c").await, 10);
    }
    // What waits to be optimised until somebody writes has come to rest.
    let world = ailing("c2", Health::Unoptimised).await;
    let backup = backup_of(&world, "c").await;
    let recovered = run(&Recover, &world.host().await, &renamed(backup, "c2")).await.unwrap();
    assert_eq!((&recovered["points"], &recovered["status"]), (&json!(10), &json!("grey")));
}

#[tokio::test]
async fn a_node_without_part_in_the_agreement() {
    for (consensus, words) in [
        (Consensus::NoLeader, "knows no leader of its cluster".to_owned()),
        (Consensus::Stopped, "takes no part in the cluster's agreement any more (stopped)".to_owned()),
        (
            Consensus::Failed("disk full".into()),
            "takes no part in the cluster's agreement any more (stopped_with_err: disk full)".to_owned(),
        ),
    ] {
        let world = apart(consensus).await;
        let message = format!("{} {words}", world.urls[1]);
        let told = |findings: &[PreflightFinding], fatal: bool| {
            let told = |one: &&PreflightFinding| one.code == "qdrant.cluster";
            let told: Vec<_> = findings.iter().filter(told).map(|one| (one.fatal, &one.message)).collect();
            assert_eq!(told, [(fatal, &message)]);
        };
        // A snapshot needs no agreement, and is made all the same.
        told(&found(&Snapshot, &world, &json!({ "collections": "c" })).await, false);
        let backup = backup_of(&world, "c").await;
        let with = renamed(backup, "c2");
        told(&found(&Recover, &world, &with).await, true);
        let error = run(&Recover, &world.host().await, &with).await.unwrap_err();
        assert_eq!(error.code, "qdrant.server", "{error}");
        let words = "Waiting for consensus operation commit failed. Timeout set at: 10 seconds";
        assert!(error.message.contains(words), "{error}");
        assert_eq!(world.count("c").await, 20);
    }
}
