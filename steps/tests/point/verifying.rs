//! Whether a point still holds what it says: everything that is wrong is told at once, and only what holds is marked as verified.

use drydock_recovery::manifest::{PointMark, PointMarkKind};
use drydock_step::test_host::actions;
use drydock_step::{Reconciled, StepError};
use drydock_steps::point::catalogue::catalogue_of;
use drydock_steps::point::rpo::protected;
use drydock_steps::point::said::say;
use drydock_steps::point::select::Select;
use drydock_steps::point::verify::Verify;
use serde_json::{Value, json};

use crate::past::{id, past, write};
use crate::world::World;

async fn marks(world: &World) -> Vec<PointMark> {
    catalogue_of(&*world.store).await.unwrap().marks
}

#[tokio::test(start_paused = true)]
async fn what_holds_is_marked_with_how_and_by_which_run() {
    let world = World::new().await;
    let sealed = world.point().await;
    let outputs = world.outputs(&Verify, json!({ "point": "latest" })).await;
    assert_eq!(
        (&outputs["id"], &outputs["files"], &outputs["hashed"]),
        (&sealed["id"], &json!(4), &json!(0))
    );
    let deep = json!({ "point": sealed["id"], "deep": true, "truth": "sql" });
    let outputs = world.outputs(&Verify, deep.clone()).await;
    assert_eq!((&outputs["hashed"], &outputs["read_by_server"]), (&json!(4), &json!(2)));
    assert_eq!((&outputs["findings"], &outputs["unasked"]), (&json!([]), &json!([])));
    let marks = marks(&world).await;
    let PointMarkKind::Verified { how, run, restored: None } = &marks[1].said else { panic!("{marks:?}") };
    assert_eq!(run, "r1");
    assert!(
        how.ends_with(
            "4 files there with their sizes, 4 of them read back and hashed, 2 backups read by the server"
        ),
        "{how}"
    );
    assert_eq!(world.asked(&Verify, deep).await, Reconciled::Done(outputs));
    let sampled = world.outputs(&Verify, json!({ "point": "latest", "deep": true, "sample": 1 })).await;
    assert_eq!(sampled["hashed"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_validation_leaves_no_mark() {
    let world = World::new().await;
    world.point().await;
    let outputs = world.outputs(&Verify, json!({ "point": "latest", "effect": "reads" })).await;
    assert_eq!((&outputs["findings"], outputs.get("mark")), (&json!([]), None));
    assert_eq!(marks(&world).await, []);
    let shown = actions(&Verify, json!({ "point": "latest", "effect": "reads" })).unwrap();
    assert!(shown.iter().all(|action| !action.writes), "{shown:?}");
}

async fn refused(world: &World, with: Value) -> StepError {
    let error = world.error(&Verify, with).await;
    assert_eq!(error.code, "point.unverified", "{error}");
    assert_eq!(marks(world).await, [], "a failed verify writes nothing");
    error
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_wrong_is_told_at_once() {
    let world = World::new().await;
    let sealed = world.point().await;
    let id = sealed["id"].as_str().unwrap().to_owned();
    world.put("sql/full.bak", "the bytes of FULL.bak").await;
    world.put("sql/log.trn", "short").await;
    world.files().delete(&format!("points/{id}/qdrant/agent_a-1.snapshot")).await.unwrap();
    let shallow = refused(&world, json!({ "point": "latest" })).await.message;
    assert!(
        shallow.contains("files_at_hand does not hold for sql/log.trn: it is 5 bytes long and was 20"),
        "{shallow}"
    );
    assert!(shallow.contains("agent_a-1.snapshot: it is not in the store"), "{shallow}");
    assert!(!shallow.contains("full.bak"), "its size is as it was: {shallow}");
    let header = Err(StepError::new("sqlserver.3201", "cannot open the device"));
    world.sql.headers.lock().unwrap().insert(r"D:\Backups\log.trn".into(), header);
    let deep = refused(&world, json!({ "point": &id, "deep": true, "truth": "sql" })).await;
    for words in [
        "artifacts_rehashed does not hold for sql/full.bak: its sha256 is",
        "sql/log.trn: it is 5 bytes long",
        "the server cannot read it: cannot open the device on sql",
        "agent_a-1.snapshot: it is not in the store",
    ] {
        assert!(deep.message.contains(words), "no `{words}` in {deep}");
    }
    assert!(deep.help.unwrap().contains(&format!("`drydock points bad {id} --reason TEXT`")));
    let reported = world.outputs(&Verify, json!({ "point": "latest", "on_findings": "report" })).await;
    assert_eq!(reported["findings"].as_array().unwrap().len(), 2);
    assert_eq!(marks(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_changed_manifest_and_a_bad_point_are_findings() {
    let world = World::new().await;
    let sealed = world.point().await;
    let path = sealed["manifest"].as_str().unwrap();
    let text = world.read(path).await;
    world.put(path, &text.replace("OctopusDB", "OctopusDC")).await;
    let error = refused(&world, json!({ "point": sealed["id"] })).await;
    assert!(error.message.contains("it was changed after it was written"), "{error}");
    world.put(path, &text).await;
    let bad = PointMarkKind::Bad { reason: "a drill failed".into() };
    let id = catalogue_of(&*world.store).await.unwrap().points[0].id.clone();
    say(&*world.store, &PointMark::new(id, drydock_recovery::Time::UNIX_EPOCH, "on-call", bad))
        .await
        .unwrap();
    let error = world.error(&Verify, json!({ "point": "latest" })).await;
    assert!(error.message.contains("it is marked bad: a drill failed"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_meant_is_found_or_refused() {
    let world = World::new().await;
    past(&world, 2).await;
    for (point, code, words) in [
        ("01K0", "point.ambiguous", "is the beginning of several points' ids"),
        ("02", "point.none", "no point's id begins with 02"),
        ("", "point.none", "no point's id begins with"),
    ] {
        let error = world.error(&Verify, json!({ "point": point })).await;
        assert!(error.code == code && error.message.contains(words), "{error}");
    }
    write(&world, &format!("points/{}/opened.json", id(7)), b"{}");
    write(&world, &format!("points/{}/pruning.json", id(2)), b"{}");
    for (n, words) in [(7, "was opened and is not sealed"), (2, "is being removed")] {
        let error = world.error(&Verify, json!({ "point": id(n) })).await;
        assert!(error.code == "point.unusable" && error.message.contains(words), "{error}");
    }
    let latest = world.outputs(&Verify, json!({ "point": "latest" })).await;
    assert_eq!(latest["id"], json!(id(1)), "what is being removed is none any more");
}

#[tokio::test(start_paused = true)]
async fn what_lies_on_the_server_alone_does_not_protect() {
    let world = World::new().await;
    let points = past(&world, 3).await;
    let now = points[2].marked_at;
    let newest =
        async || protected(world.files(), &catalogue_of(&*world.store).await.unwrap(), now).await.unwrap();
    assert_eq!(newest().await.newest.unwrap().id, id(3));
    let mut there = points[2].clone();
    there.sqlserver["octopus"].backups[1].artifacts.clear();
    let text = drydock_recovery::sealed::text_of(&there, None).unwrap();
    write(&world, &format!("points/{}/manifest.json", id(3)), text.as_bytes());
    let found = newest().await;
    assert_eq!(found.newest.unwrap().id, id(2));
    assert!(
        found.passed_over[0].contains("lies on SQL01 alone, and counts once it is off that server"),
        "{:?}",
        found.passed_over
    );
    assert!(world.files().delete("sql/log.trn.2").await.unwrap());
    let found = newest().await;
    assert_eq!(found.newest.unwrap().id, id(1));
    assert!(found.passed_over[1].contains("sql/log.trn.2 is not in the store"), "{:?}", found.passed_over);
}

/// The seed of RFC 8032's first test, and its public key.
const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

#[tokio::test(start_paused = true)]
async fn what_is_sealed_with_a_key_is_believed_and_what_is_not_is_refused_by_name() {
    let world = World::with(json!({ "sign_with": SEED, "trusted_keys": [PUBLIC] })).await;
    let sealed = world.point().await;
    let path = sealed["manifest"].as_str().unwrap();
    let text = world.read(path).await;
    assert!(text.contains(&format!("\"signed_by\": \"{PUBLIC}\"")), "{text}");
    assert!(
        world.read(&format!("points/{}/opened.json", sealed["id"].as_str().unwrap())).await.contains(PUBLIC)
    );
    let chosen = world.outputs(&Select, json!({ "to": "point:latest" })).await;
    assert_eq!(chosen["id"], sealed["id"]);
    drop(world.outputs(&Verify, json!({ "point": "latest" })).await);
    let manifest = drydock_recovery::manifest::Manifest::parse(&text).unwrap();
    world.put(path, &drydock_recovery::sealed::text_of(&manifest, None).unwrap()).await;
    for to in ["point:latest", sealed["id"].as_str().unwrap()] {
        let error = world.error(&Select, json!({ "to": to })).await;
        assert!(
            error.code == "point.unusable" && error.message.contains("its manifest is not trusted: unsigned"),
            "{error}"
        );
    }
    let error = world.error(&Verify, json!({ "point": "latest" })).await;
    assert!(error.message.contains("its manifest is not trusted: unsigned"), "{error}");
    let forged = text.replacen(&text[text.len() - 12..text.len() - 8], "AAAA", 1);
    world.put(path, &forged).await;
    let error = world.error(&Select, json!({ "to": "point:latest" })).await;
    assert!(error.message.contains("its signature does not fit"), "{error}");
}
