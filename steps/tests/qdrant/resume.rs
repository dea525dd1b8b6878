//! Attempts that die or lose an answer: what the server has done is found, and not done again.

use drydock_step::Reconciled;
use drydock_steps::qdrant::fetch::Fetch;
use drydock_steps::qdrant::recover::Recover;
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};

use super::fetch::{fetching, snapshot_of};
use super::recover::backup_of;
use super::world::{World, asked, die_at_a_held_answer, refused, run, run_from};

fn partly(verdict: Reconciled) -> Value {
    match verdict {
        Reconciled::Partly(progress) => progress,
        other => panic!("{other:?}"),
    }
}

/// The requests of attempts that wrote and have this in them.
fn written(world: &World, part: &str) -> Vec<String> {
    world.written().into_iter().filter(|line| line.contains(part)).collect()
}

#[tokio::test]
async fn a_snapshot_whose_answer_never_came_is_found_again() {
    let held =
        r#"[{"attempt": "*", "server": "qdrant-1", "op": "POST */snapshots", "nth": 2, "do": "hold"}]"#;
    let world = World::with_faults(2, held).await;
    world.fill("c_a", 20, 2).await;
    world.fill("c_b", 20, 2).await;
    let (host, with) = (world.host().await, json!({ "collections": "c_*", "max_parallel": 1 }));
    assert_eq!(asked(&Snapshot, &host, &with).await, Reconciled::NotDone, "nothing was begun");
    die_at_a_held_answer(&world, &Snapshot, &host, &with).await;
    world.pass_second();
    let progress = partly(asked(&Snapshot, &host, &with).await);
    assert_eq!(progress["c_b"]["made"].as_object().unwrap().len(), 2, "{progress}");
    let made = run_from(&Snapshot, &host, &with, Some(&progress)).await.unwrap();
    assert_eq!(made["collections"].as_array().unwrap().len(), 2);
    assert_eq!(written(&world, "POST").len(), 4, "each node, each collection, once");
    for collection in made["collections"].as_array().unwrap() {
        for (node, snapshot) in collection["snapshots"].as_array().unwrap().iter().enumerate() {
            let name = collection["collection"].as_str().unwrap();
            assert_eq!(json!(world.snapshots(node, name).await), json!([snapshot["name"]]));
            assert_eq!(snapshot["shards"].as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_snapshot_whose_answer_was_cut_is_not_made_twice() {
    let cut = r#"[{"attempt": "*", "op": "POST */snapshots", "do": "cut_after"}]"#;
    let world = World::with_faults(1, cut).await;
    world.fill("c", 20, 1).await;
    let made = run(&Snapshot, &world.host().await, &json!({})).await.unwrap();
    let names = world.snapshots(0, "c").await;
    assert_eq!((names.len(), &made["collections"][0]["snapshots"][0]["name"]), (1, &json!(names[0])));
    assert_eq!(written(&world, "POST").len(), 1);
    let before = r#"[{"attempt": "*", "op": "POST */snapshots", "do": "cut_before"}]"#;
    let world = World::with_faults(1, before).await;
    world.fill("c", 20, 1).await;
    run(&Snapshot, &world.host().await, &json!({})).await.unwrap();
    assert_eq!(written(&world, "POST").len(), 1);
}

#[tokio::test]
async fn a_new_try_makes_only_what_is_missing_unless_it_is_too_old() {
    let full = r#"[{"attempt": "*", "op": "POST */c_b/snapshots", "do": "disk_full"}]"#;
    let world = World::with_faults(1, full).await;
    world.fill("c_a", 20, 1).await;
    world.fill("c_b", 20, 1).await;
    let (host, with) = (world.host().await, json!({ "collections": "c_*" }));
    refused(run(&Snapshot, &host, &with).await, "qdrant.server", "No space left on device");
    world.pass_second();
    run(&Snapshot, &host, &with).await.unwrap();
    assert_eq!((written(&world, "c_a").len(), written(&world, "c_b").len()), (1, 1));
    world.pass_second();
    let young = json!({ "collections": "c_*", "keep_for": "0s" });
    assert_eq!(asked(&Snapshot, &host, &young).await, Reconciled::NotDone);
    run(&Snapshot, &host, &young).await.unwrap();
    let made = |name: &str| written(&world, &format!("POST /collections/{name}")).len();
    assert_eq!((made("c_a"), made("c_b")), (2, 2));
    assert_eq!(world.snapshots(0, "c_a").await.len(), 1, "the old one is removed");
}

#[tokio::test]
async fn a_step_that_is_asked_to_run_again_begins_anew() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 20, 1).await;
    let host = world.host().await;
    let again = |kind: &'static dyn drydock_step::Kind, with: Value| {
        let mut ctx = host.ctx(Some("t"));
        ctx.attempt = "r1/step/2".into();
        async move { kind.execute(&ctx, drydock_step::test_host::given(with), None).await.unwrap() }
    };
    run(&Snapshot, &host, &json!({})).await.unwrap();
    world.pass_second();
    again(&Snapshot, json!({})).await;
    assert_eq!(written(&world, "POST").len(), 2);

    world.pass_second();
    let host = world.host().await;
    let backup = backup_of(&world, "c").await;
    world.done("DELETE /collections/c", None).await;
    run(&Recover, &host, &backup).await.unwrap();
    let mut ctx = host.ctx(Some("t"));
    ctx.attempt = "r1/step/2".into();
    let given = drydock_step::test_host::given(backup);
    drydock_step::Kind::execute(&Recover, &ctx, given, None).await.unwrap();
    assert_eq!(written(&world, "upload").len(), 1 + 2, "once, then to prove it and in place");
}

#[tokio::test]
async fn a_snapshot_that_somebody_removed_is_made_again() {
    let full = r#"[{"attempt": "*", "op": "POST */c_b/snapshots", "do": "disk_full"}]"#;
    let world = World::with_faults(1, full).await;
    world.fill("c_a", 20, 1).await;
    world.fill("c_b", 20, 1).await;
    let (host, with) = (world.host().await, json!({ "collections": "c_*" }));
    refused(run(&Snapshot, &host, &with).await, "qdrant.server", "No space left on device");
    let name = world.snapshots(0, "c_a").await.remove(0);
    world.done(&format!("DELETE /collections/c_a/snapshots/{name}"), None).await;
    world.pass_second();
    let made = run(&Snapshot, &host, &with).await.unwrap();
    let found = made["collections"][0]["snapshots"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(world.snapshots(0, "c_a").await, [found]);
}

#[tokio::test]
async fn a_fetch_is_done_when_store_and_server_say_so() {
    let held = r#"[{"attempt": "*", "op": "DELETE *", "do": "hold"}]"#;
    let world = World::with_faults(1, held).await;
    world.fill("c", 20, 1).await;
    let with = fetching(&snapshot_of(&world, "c").await);
    let host = world.host().await;
    assert_eq!(asked(&Fetch, &host, &with).await, Reconciled::NotDone);
    die_at_a_held_answer(&world, &Fetch, &host, &with).await;
    let Reconciled::Done(outputs) = asked(&Fetch, &host, &with).await else { panic!("it is done") };
    assert_eq!(outputs["snapshots"][0]["artifact"]["sha256"], with["snapshot"]["snapshots"][0]["sha256"]);
    assert_eq!(run(&Fetch, &host, &with).await.unwrap(), outputs, "asked again, it downloads nothing");
    assert_eq!(world.asked("GET /collections/c/snapshots/"), 1);
}

#[tokio::test]
async fn a_fetch_is_not_done_while_the_server_still_has_the_file() {
    let Some(world) = World::start(1).await else { return };
    world.fill("e1", 20, 1).await;
    let with = fetching(&snapshot_of(&world, "e1").await);
    let mut kept = with.clone();
    kept["keep_on_server"] = json!(true);
    let host = world.host().await;
    run(&Fetch, &host, &kept).await.unwrap();
    assert!(matches!(asked(&Fetch, &host, &kept).await, Reconciled::Done(_)));
    let progress = partly(asked(&Fetch, &host, &with).await);
    run_from(&Fetch, &host, &with, Some(&progress)).await.unwrap();
    assert!(matches!(asked(&Fetch, &host, &with).await, Reconciled::Done(_)));
}

#[tokio::test]
async fn a_fetch_that_died_between_two_nodes_goes_on() {
    let held = r#"[{"attempt": "*", "server": "qdrant-1", "op": "GET */snapshots/*", "do": "hold"}]"#;
    let world = World::with_faults(2, held).await;
    world.fill("c", 20, 2).await;
    let with = fetching(&snapshot_of(&world, "c").await);
    let host = world.host().await;
    let mut attempt = Box::pin(run(&Fetch, &host, &with));
    while !(world.holds_back() && written(&world, "DELETE").len() == 1) {
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), &mut attempt).await.is_err());
    }
    drop(attempt);
    let progress = partly(asked(&Fetch, &host, &with).await);
    assert_eq!(progress["stored"].as_array().unwrap().len(), 1);
    let fetched = run_from(&Fetch, &host, &with, Some(&progress)).await.unwrap();
    assert!(fetched["snapshots"].as_array().unwrap().iter().all(|one| one["artifact"].is_object()));
    assert_eq!(written(&world, "DELETE").len(), 2);
    assert_eq!(world.asked("GET /collections/c/snapshots/"), 3, "one of the first node, two of the second");
}

#[tokio::test]
async fn a_recovery_whose_answer_never_came_is_not_sent_again() {
    for nth in [1, 2] {
        let held = format!(r#"[{{"attempt": "*", "op": "POST */upload", "nth": {nth}, "do": "hold"}}]"#);
        let world = World::with_faults(2, &held).await;
        world.fill("c", 40, 2).await;
        let backup = backup_of(&world, "c").await;
        world.done("DELETE /collections/c", None).await;
        let host = world.host().await;
        assert_eq!(asked(&Recover, &host, &backup).await, Reconciled::NotDone);
        die_at_a_held_answer(&world, &Recover, &host, &backup).await;
        let progress = partly(asked(&Recover, &host, &backup).await);
        let recovered = run_from(&Recover, &host, &backup, Some(&progress)).await.unwrap();
        assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(40), &json!("straight")));
        assert_eq!(written(&world, "upload").len(), 2, "one a node");
        assert_eq!(world.snapshots(0, "c").await.len() + world.snapshots(1, "c").await.len(), 0);
        let again = run(&Recover, &host, &backup).await.unwrap();
        assert_eq!((again, written(&world, "upload").len()), (recovered, 2), "and nothing where all is done");
    }
}

#[tokio::test]
async fn a_recovery_whose_connection_was_cut_goes_on_by_itself() {
    for cut in ["cut_before", "cut_after"] {
        let faults = format!(r#"[{{"attempt": "*", "op": "POST */upload", "do": "{cut}"}}]"#);
        let world = World::with_faults(1, &faults).await;
        world.fill("c", 40, 1).await;
        let backup = backup_of(&world, "c").await;
        world.done("DELETE /collections/c", None).await;
        let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
        assert_eq!((&recovered["points"], written(&world, "upload").len()), (&json!(40), 1), "{cut}");
    }
}

#[tokio::test]
async fn a_proof_that_was_cut_off_goes_on_where_it_was() {
    for (nth, what) in [(1, "the scratch collection"), (2, "the collection itself")] {
        let held = format!(r#"[{{"attempt": "*", "op": "POST */upload", "nth": {nth}, "do": "hold"}}]"#);
        let world = World::with_faults(1, &held).await;
        world.fill("c", 40, 1).await;
        let backup = backup_of(&world, "c").await;
        world.upsert("c", 41..=60).await;
        let host = world.host().await;
        die_at_a_held_answer(&world, &Recover, &host, &backup).await;
        let progress = partly(asked(&Recover, &host, &backup).await);
        let recovered = run_from(&Recover, &host, &backup, Some(&progress)).await.unwrap();
        assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(40), &json!("prove")), "{what}");
        assert_eq!(written(&world, "upload").len(), 2, "{what}");
        assert_eq!(world.names().await, ["c"]);
    }
}

#[tokio::test]
async fn in_doubt_the_old_data_are_not_taken_for_the_new() {
    let held = r#"[{"attempt": "*", "op": "POST */c/snapshots/upload", "do": "hold"}]"#;
    let world = World::with_faults(1, held).await;
    world.fill("c", 40, 1).await;
    let mut backup = backup_of(&world, "c").await;
    backup["strategy"] = json!("in_place");
    let host = world.host().await;
    die_at_a_held_answer(&world, &Recover, &host, &backup).await;
    // Forty points before and forty in the snapshot: nobody can tell whether the file was loaded.
    let progress = partly(asked(&Recover, &host, &backup).await);
    run_from(&Recover, &host, &backup, Some(&progress)).await.unwrap();
    assert_eq!(written(&world, "upload").len(), 2);
}

#[tokio::test]
async fn what_was_made_before_anything_was_sent_is_not_taken_for_ours() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 40, 1).await;
    let backup = backup_of(&world, "c").await;
    world.upsert("c", 41..=60).await;
    let host = world.host().await;
    let mut ctx = host.ctx(Some("t"));
    ctx.notes = std::sync::Arc::new(vec![json!({ "found": { "existed": false, "points": null } })]);
    let given = drydock_step::test_host::given(backup);
    let ended = drydock_step::Kind::execute(&Recover, &ctx, given, None).await.unwrap();
    let drydock_step::Ended::Outputs(outputs) = ended else { panic!("it waits") };
    assert_eq!(outputs["strategy"], "prove");
}

#[tokio::test]
async fn a_cancel_during_a_recovery_is_not_called_its_end() {
    let held = r#"[{"attempt": "*", "op": "POST */upload", "do": "hold"}]"#;
    let world = World::with_faults(1, held).await;
    world.fill("c", 40, 1).await;
    let backup = backup_of(&world, "c").await;
    world.done("DELETE /collections/c", None).await;
    let host = world.host().await;
    let cancel = async {
        while !world.holds_back() {
            tokio::task::yield_now().await;
        }
        host.cancel();
    };
    let (ended, ()) = tokio::join!(run(&Recover, &host, &backup), cancel);
    let error = refused(ended, "cancelled", "it was cancelled");
    assert!(error.unknown, "the server is asked what became of it");
}
