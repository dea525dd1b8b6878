//! `point.select` and the catalogue of a store: what is chosen, and what is passed over in words.

use drydock_step::Reconciled;
use drydock_steps::point::catalogue::catalogue_of;
use drydock_steps::point::open::Open;
use drydock_steps::point::seal::Seal;
use drydock_steps::point::select::Select;
use serde_json::json;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_restore_is_given_chains_and_snapshots() {
    let world = World::new().await;
    let sealed = world.point().await;
    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    let chosen = world.outputs(&Select, json!({"to": "point:latest"})).await;
    assert_eq!((&chosen["id"], &chosen["kind"]), (&sealed["id"], &json!("point")));
    assert_eq!(chosen["mark"], format!("dd_{}", sealed["id"].as_str().unwrap()));
    let chain = &chosen["sqlserver"]["octopus"];
    assert_eq!(chain["stop_at_mark"], json!({"name": chosen["mark"], "lsn": "250"}));
    let backups = chain["backups"].as_array().unwrap();
    let summary: Vec<_> = backups
        .iter()
        .map(|one| (one["backup"]["type"].as_str().unwrap(), one["artifacts"][0]["path"].as_str().unwrap()))
        .collect();
    assert_eq!(summary, [("full", "sql/full.bak"), ("log", "sql/log.trn")]);
    let collections = chosen["qdrant"]["collections"].as_array().unwrap();
    assert_eq!(collections[0]["collection"], "agent_a");
    assert_eq!(collections[0]["points"], json!({"low": 2, "high": 3}));
    assert_eq!(collections[0]["snapshots"][0]["artifact"]["size"], 22);
    assert_eq!((&collections[0]["skew_s"], chosen["skew_s"].as_f64()), (&json!(null), Some(11.0)));
    assert_eq!(chosen["rows"]["Octopus_Episodes"], json!({"low": 7, "high": 8}));
    assert_eq!(chosen["migrations"], json!(["20250101000000_Initial"]));
    assert_eq!(chosen["price"]["lost_s"].as_f64(), Some(3600.0 - 21.0));
    assert_eq!(chosen["passed_over"], json!([]));
    assert_eq!(world.asked(&Select, json!({"to": "end"})).await, Reconciled::NotDone);
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_given_what_was_sampled() {
    let world = World::new().await;
    let night = world.with_sample(world.night().await).await;
    world.outputs(&Seal, night.clone()).await;
    let chosen = world.outputs(&Select, json!({"to": "end"})).await;
    let collections = chosen["qdrant"]["collections"].as_array().unwrap();
    let artifact = &night["qdrant"]["samples"][0]["outputs"]["artifact"];
    assert_eq!(&collections[0]["samples"][0]["artifact"], artifact);
    assert_eq!(collections[1]["samples"], json!([]), "none was taken, and a plan may name it");
    // A restore needs none of it: a point without it is no worse.
    assert!(world.files().delete(artifact["path"].as_str().unwrap()).await.unwrap());
    let again = world.outputs(&Select, json!({"to": "end"})).await;
    assert_eq!(again["id"], chosen["id"]);
}

/// With one sealed point in the store, what is said to `to`.
async fn check(to: &str, code: &str, words: &str) {
    let world = World::new().await;
    world.point().await;
    let error = world.error(&Select, json!({"to": to})).await;
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(words), "{error}");
    assert!(error.help.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_chosen_is_said_in_words() {
    check("01ZZ", "point.none", "no point's id begins with 01ZZ").await;
    check("2020-01-01T00:00:00Z", "point.none", "stands at or before 2020-01-01T00:00:00Z").await;
    let world = World::new().await;
    let error = world.error(&Select, json!({"to": "end"})).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("point.none", "the store holds no recovery point")
    );
    let opened = world.outputs(&Open, json!({})).await;
    let error = world.error(&Select, json!({"to": "end"})).await;
    let id = opened["id"].as_str().unwrap();
    assert_eq!(error.message, format!("the store holds no recovery point; opened and never sealed: {id}"));
}

#[tokio::test(start_paused = true)]
async fn a_point_with_a_lost_file_is_no_point() {
    let world = World::new().await;
    let older = world.point().await;
    tokio::time::advance(std::time::Duration::from_secs(86_400)).await;
    // The second night has the same backups: only its snapshots are its own.
    let night = world.night().await;
    let newer = world.outputs(&Seal, night.clone()).await;
    let path = night["qdrant"]["fetched"][0]["outputs"]["snapshots"][0]["artifact"]["path"].clone();
    let path = path.as_str().unwrap();
    world.put(path, "cut").await;
    let (newer, older) = (newer["id"].as_str().unwrap(), older["id"].as_str().unwrap());
    let error = world.error(&Select, json!({"to": newer})).await;
    let why = format!("{path} is 3 bytes long and was 22 when it was sealed");
    assert_eq!(
        (error.code, error.message),
        ("point.unusable".into(), format!("{newer} cannot be used: {why}"))
    );
    assert!(world.files().delete(path).await.unwrap());
    let chosen = world.outputs(&Select, json!({"to": "point:latest"})).await;
    assert_eq!(chosen["id"], older);
    let passed = chosen["passed_over"][0].as_str().unwrap();
    assert!(
        passed.starts_with(newer) && passed.ends_with(&format!("{path} is not in the store")),
        "{passed}"
    );
    assert!(world.files().delete("sql/full.bak").await.unwrap());
    let error = world.error(&Select, json!({"to": "end"})).await;
    assert_eq!(error.code, "point.unusable");
    assert!(error.message.contains(newer) && error.message.contains(older), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_is_named_and_the_others_count() {
    let world = World::new().await;
    let sealed = world.point().await;
    let text = world.read(sealed["manifest"].as_str().unwrap()).await;
    let id = "01K00000000000000000000002";
    world.put(&format!("points/{id}/manifest.json"), &text).await;
    world
        .put(
            "points/01K00000000000000000000003/manifest.json",
            "{\"format\": \"drydock.point\", \"version\": 9}",
        )
        .await;
    world.put("points/01K00000000000000000000004/log_point.json", "half").await;
    world.put("points/01K00000000000000000000005/notes.txt", "not ours").await;
    let found = catalogue_of(&*world.store).await.unwrap();
    assert_eq!((found.points.len(), found.log_points.len(), found.unsealed.len()), (1, 0, 0));
    let whys: Vec<String> = found.unreadable.iter().map(ToString::to_string).collect();
    let own = sealed["id"].as_str().unwrap();
    assert_eq!(whys.len(), 3, "{whys:?}");
    assert_eq!(
        whys[0],
        format!(
            "points/{id}/manifest.json cannot be read: it is about {own}, and lies in the folder of {id}"
        )
    );
    assert!(whys[1].contains("this drydock.point has version 9"), "{whys:?}");
    assert!(whys[2].contains("this is no drydock.log_point"), "{whys:?}");
    let chosen = world.outputs(&Select, json!({"to": "point:latest"})).await;
    assert_eq!((&chosen["id"], chosen["passed_over"].as_array().unwrap().len()), (&sealed["id"], 3));
}
