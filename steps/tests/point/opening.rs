//! `point.open`: who opens decides the id, and an attempt that was lost is found again.

use drydock_step::test_host::{TEST_BEGINS_MS, actions, touches};
use drydock_step::{Access, Reconciled};
use drydock_steps::point::open::Open;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn the_same_attempt_at_the_same_time_opens_the_same_point() {
    let (one, other) = (World::new().await, World::new().await);
    let outputs = one.outputs(&Open, json!({})).await;
    let id = outputs["id"].as_str().unwrap();
    assert_eq!(outputs["mark"], format!("dd_{id}"));
    assert_eq!(outputs["prefix"], format!("points/{id}"));
    assert_eq!(outputs["opened_at"], "2026-01-01T00:00:00Z");
    assert_eq!(ulid::Ulid::from_string(id).unwrap().timestamp_ms(), u64::try_from(TEST_BEGINS_MS).unwrap());
    assert_eq!(other.outputs(&Open, json!({})).await, outputs);
    let file: Value = serde_json::from_str(&one.read(&format!("points/{id}/opened.json")).await).unwrap();
    assert_eq!(file["format"], "drydock.opened");
    let origin = json!({"plan": {"name": "plan", "digest": "sha256:0d5c"}, "environment": "test", "run": "r1", "by": "tester@runner"});
    assert_eq!(file["origin"], origin);
}

#[tokio::test(start_paused = true)]
async fn a_lost_attempt_is_found_by_what_it_stored() {
    let world = World::new().await;
    assert_eq!(world.asked(&Open, json!({})).await, Reconciled::NotDone);
    let outputs = world.outputs(&Open, json!({})).await;
    tokio::time::advance(std::time::Duration::from_secs(9)).await;
    assert_eq!(world.asked(&Open, json!({})).await, Reconciled::Done(outputs.clone()));
    let path = format!("points/{}/opened.json", outputs["id"].as_str().unwrap());
    assert!(world.files().delete(&path).await.unwrap());
    assert_eq!(world.asked(&Open, json!({})).await, Reconciled::NotDone);
}

#[test]
fn it_says_what_it_does() {
    assert_eq!(actions(&Open, json!({})).unwrap()[0].text, "put points/<new id>/opened.json");
    assert_eq!(touches(&Open, json!({})).unwrap()[0].access, Access::Writes);
}
