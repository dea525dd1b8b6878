//! `point.seal`: a good night is sealed; with one thing wrong the claim that does not hold is named.

use drydock_recovery::manifest::{LogPoint, Manifest, Opened};
use drydock_recovery::sealed::text_of;
use drydock_step::test_host::actions;
use drydock_step::{Ended, Reconciled, Sample, StepError};
use drydock_steps::point::open::Open;
use drydock_steps::point::seal::Seal;
use serde_json::{Value, json};

use crate::world::{World, at};

#[tokio::test(start_paused = true)]
async fn a_good_night_is_sealed_with_every_proof() {
    let world = World::new().await;
    let night = world.night().await;
    let outputs = world.outputs(&Seal, night).await;
    let manifest = Manifest::parse(&world.read(outputs["manifest"].as_str().unwrap()).await).unwrap();
    assert_eq!(json!(manifest.id), outputs["id"]);
    assert_eq!((outputs["skew_s"].as_f64(), &outputs["incomplete"]), (Some(11.0), &json!([])));
    assert_eq!(outputs["bands"], json!({"Octopus_Episodes": {"low": 7, "high": 8}}));
    let claims = outputs["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 15, "{claims:?}");
    let part = &manifest.sqlserver["octopus"];
    assert_eq!(part.backups.len(), 2);
    assert_eq!(part.backups[0].artifacts[0].path, "sql/full.bak");
    assert_eq!(part.backups[0].artifacts[0].sha256.len(), 64);
    assert_eq!(manifest.qdrant.unwrap().collections[1].collection, "agent_b");
    assert_eq!(manifest.migrations, ["20250101000000_Initial"]);
    assert_eq!((&*manifest.versions["sql"], &*manifest.versions["vectors"]), ("16.0.4135.4", "1.17.1"));
}

#[tokio::test(start_paused = true)]
async fn what_was_sampled_belongs_to_the_point() {
    let world = World::new().await;
    let mut night = world.with_sample(world.night().await).await;
    let outputs = world.outputs(&Seal, night.clone()).await;
    let manifest = Manifest::parse(&world.read(outputs["manifest"].as_str().unwrap()).await).unwrap();
    let paths: Vec<&str> = manifest.artifacts().map(|(_, artifact)| artifact.path.as_str()).collect();
    assert!(paths.iter().any(|path| path.ends_with("/qdrant/agent_a.sample.json")), "{paths:?}");
    let qdrant = manifest.qdrant.unwrap();
    let sample = &qdrant.collections[0].samples[0];
    assert_eq!((sample.sampled, sample.k, sample.recall), (2, 10, 1.0));
    assert!(qdrant.collections[1].samples.is_empty());

    // The outputs of a step are taken as well as those of an instance; anything else is refused and not passed over.
    let world = World::new().await;
    night = world.with_sample(world.night().await).await;
    night["qdrant"]["samples"] = json!([night["qdrant"]["samples"][0]["outputs"]]);
    let outputs = world.outputs(&Seal, night.clone()).await;
    let manifest = Manifest::parse(&world.read(outputs["manifest"].as_str().unwrap()).await).unwrap();
    assert_eq!(manifest.qdrant.unwrap().collections[0].samples.len(), 1);
    night["qdrant"]["samples"] = json!([{"collection": "agent_a"}]);
    let error = world.error(&Seal, night).await;
    assert!(error.code == "input" && error.message.contains("the outputs of `qdrant.sample`"), "{error}");
}

/// What is said when something about a night is wrong.
async fn refused(spoil: impl AsyncFnOnce(&World, &mut Value)) -> StepError {
    let world = World::new().await;
    let mut night = world.night().await;
    spoil(&world, &mut night).await;
    let error = world.error(&Seal, night.clone()).await;
    let id = night["point"]["id"].as_str().unwrap();
    let manifest = world.files().size(&format!("points/{id}/manifest.json")).await.unwrap();
    assert_eq!(manifest, None, "{error}");
    error
}

async fn unproved(claim: &str, words: &str, spoil: impl AsyncFnOnce(&World, &mut Value)) {
    let error = refused(spoil).await;
    assert_eq!(error.code, "point.unproved", "{error}");
    assert!(error.message.contains(&format!("{claim} does not hold for")), "{error}");
    assert!(error.message.contains(words), "{error}");
}

const FULL: usize = 0;
const LOG: usize = 1;

fn backup(night: &mut Value, which: usize) -> &mut Value {
    &mut night["sqlserver"]["octopus"][which]
}

#[tokio::test(start_paused = true)]
async fn what_a_database_lacks_is_named() {
    unproved("base_before_mark", "no usable full backup", async |_, night| {
        night["sqlserver"]["octopus"].as_array_mut().unwrap().remove(FULL);
    })
    .await;
    unproved("chain_complete", "no backup holds what happened after", async |_, night| {
        night["sqlserver"]["octopus"].as_array_mut().unwrap().remove(LOG);
    })
    .await;
    unproved("checksums", "was written without checksums", async |_, night| {
        backup(night, FULL)["has_checksums"] = json!(false);
    })
    .await;
    unproved("full_recovery_model", "is in the SIMPLE recovery model", async |_, night| {
        backup(night, LOG)["recovery_model"] = json!("SIMPLE");
    })
    .await;
    unproved("same_family", "is of family family-1, the database of family-2", async |_, night| {
        backup(night, LOG)["family_guid"] = json!("family-2");
    })
    .await;
    unproved("certificates_escrowed", "is encrypted with certificate 0xAB", async |_, night| {
        backup(night, FULL)["encryptor_thumbprint"] = json!("0xAB");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_backup_needs_its_certificate_in_the_store() {
    let encrypted = |world: &World, night: &mut Value, artifacts: Value| {
        backup(night, FULL)["encryptor_thumbprint"] = json!("0xAB");
        let mut headers = world.sql.headers.lock().unwrap();
        headers.get_mut(r"D:\Backups\full.bak").unwrap().as_mut().unwrap()["encryptor_thumbprint"] =
            json!("0xAB");
        night["certificates"] = json!([{ "thumbprint": "0xab", "artifacts": artifacts }]);
    };
    unproved("certificates_escrowed", "0xAB, which is not in escrow", async |world, night| {
        encrypted(world, night, json!(["sql/c.cer", "sql/c.pvk"]));
    })
    .await;
    unproved("certificates_escrowed", "0xAB, which is not in escrow", async |world, night| {
        world.put("sql/c.cer", "public").await;
        encrypted(world, night, json!(["sql/c.cer"]));
    })
    .await;
    let world = World::new().await;
    let mut night = world.night().await;
    world.put("sql/c.cer", "public").await;
    world.put("sql/c.pvk", "private").await;
    encrypted(&world, &mut night, json!(["sql/c.cer", "sql/c.pvk"]));
    let outputs = world.outputs(&Seal, night).await;
    let manifest = Manifest::parse(&world.read(outputs["manifest"].as_str().unwrap()).await).unwrap();
    assert_eq!(manifest.sqlserver["octopus"].certificates[0].escrow.as_deref(), Some("sql/c.pvk"));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_read_is_no_backup() {
    let full = r"D:\Backups\full.bak";
    unproved("files_at_hand", "the server cannot read it: The media family is damaged", async |world, _| {
        let damaged = StepError::new("sqlserver.3203", "The media family is damaged");
        world.sql.headers.lock().unwrap().insert(full.into(), Err(damaged));
    })
    .await;
    unproved("files_at_hand", "its header has set other, the backup step said full.bak", async |world, _| {
        let mut headers = world.sql.headers.lock().unwrap();
        headers.get_mut(full).unwrap().as_mut().unwrap()["backup"]["backup_set_guid"] = json!("other");
    })
    .await;
    unproved(
        "files_at_hand",
        "its header has LSNs 100..200, the backup step said 100..210",
        async |_, night| {
            backup(night, FULL)["backup"]["last_lsn"] = json!("210");
        },
    )
    .await;
    unproved(
        "files_at_hand",
        "its header has checksums false, the backup step said true",
        async |world, _| {
            let mut headers = world.sql.headers.lock().unwrap();
            headers.get_mut(full).unwrap().as_mut().unwrap()["has_checksums"] = json!(false);
        },
    )
    .await;
    unproved(
        "files_at_hand",
        "its header has encryptor 0xab, the backup step said none",
        async |world, _| {
            let mut headers = world.sql.headers.lock().unwrap();
            headers.get_mut(full).unwrap().as_mut().unwrap()["encryptor_thumbprint"] = json!("0xAB");
        },
    )
    .await;
    unproved("files_at_hand", "its header cannot be understood", async |world, _| {
        world.sql.headers.lock().unwrap().insert(full.into(), Ok(json!({"BackupName": null})));
    })
    .await;
    let error = refused(async |world, _| {
        let lost = StepError::transient("sqlserver.lost", "the connection was lost");
        world.sql.headers.lock().unwrap().insert(full.into(), Err(lost));
    })
    .await;
    assert_eq!((error.code.as_str(), error.transient), ("sqlserver.lost", true));
}

#[tokio::test(start_paused = true)]
async fn every_file_is_read_back() {
    unproved("files_at_hand", "sql/full.bak of the full backup", async |world, _| {
        assert!(world.files().delete("sql/full.bak").await.unwrap());
    })
    .await;
    unproved("artifacts_rehashed", "was stored as 22 bytes", async |world, night| {
        let path = night["qdrant"]["fetched"][0]["outputs"]["snapshots"][0]["artifact"]["path"].clone();
        world.put(path.as_str().unwrap(), "the vectors of agent_A").await;
    })
    .await;
    unproved("artifacts_rehashed", "agent_b-1.snapshot was not read back", async |world, night| {
        let path = night["qdrant"]["fetched"][1]["outputs"]["snapshots"][0]["artifact"]["path"].clone();
        assert!(world.files().delete(path.as_str().unwrap()).await.unwrap());
    })
    .await;
    unproved("artifacts_rehashed", "agent_a.sample.json was stored as 17 bytes", async |world, night| {
        *night = world.with_sample(night.clone()).await;
        let path = night["qdrant"]["samples"][0]["outputs"]["artifact"]["path"].clone();
        world.put(path.as_str().unwrap(), "what was looked for").await;
    })
    .await;
    unproved("artifacts_rehashed", "of http://qdrant-0:6333 was not fetched", async |_, night| {
        night["qdrant"]["fetched"].as_array_mut().unwrap().remove(0);
    })
    .await;
    unproved("artifacts_rehashed", "was made with sha256 00ff and fetched with", async |_, night| {
        night["qdrant"]["snapshot"]["collections"][0]["snapshots"][0]["sha256"] = json!("00ff");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_collection_lacks_is_named() {
    fn collection(night: &mut Value) -> &mut Value {
        &mut night["qdrant"]["snapshot"]["collections"][0]
    }
    unproved("shards_covered", "no snapshot holds shard 1", async |_, night| {
        collection(night)["shards"] = json!([0, 1]);
    })
    .await;
    unproved("no_transfers", "2 shards were in transfer", async |_, night| {
        collection(night)["transfers"] = json!(2);
    })
    .await;
    unproved("snapshots_before_mark", "was answered after the mark was sent", async |_, night| {
        collection(night)["snapshots"][0]["answered_at"] = json!(crate::world::at(25));
    })
    .await;
    unproved("collections_unchanged", "it came while snapshots were made", async |_, night| {
        night["qdrant"]["snapshot"]["listed_after"] = json!(["agent_a", "agent_b", "agent_c"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_step_that_says_nothing_about_transfers_proves_nothing() {
    let error = refused(async |_, night| {
        night["qdrant"]["snapshot"]["collections"][0].as_object_mut().unwrap().remove("transfers");
    })
    .await;
    assert_eq!(error.code, "input");
    assert!(error.message.ends_with("missing field `transfers`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn all_that_is_unproved_is_named_at_once_and_may_be_accepted_by_name() {
    let world = World::new().await;
    let mut night = world.night().await;
    night["qdrant"]["fetched"].as_array_mut().unwrap().remove(0);
    backup(&mut night, FULL)["has_checksums"] = json!(false);
    let error = world.error(&Seal, night.clone()).await;
    for words in ["artifacts_rehashed does not hold for agent_a", "checksums does not hold for octopus"] {
        assert!(error.message.contains(words), "{error}");
    }
    night["accept_missing"] = json!(["agent_a"]);
    let error = world.error(&Seal, night.clone()).await;
    assert!(!error.message.contains("agent_a"), "{error}");
    night["accept_missing"] = json!(["agent_a", "octopus"]);
    assert_eq!(world.outputs(&Seal, night).await["incomplete"], json!(["agent_a", "octopus"]));
}

#[tokio::test(start_paused = true)]
async fn a_point_is_opened_here_and_by_this_run_and_has_its_own_mark() {
    async fn check(words: &str, spoil: impl AsyncFnOnce(&World, &mut Value)) {
        let error = refused(spoil).await;
        assert_eq!(error.code, "point.opened", "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    check("was not opened in this store", async |_, night| {
        night["point"]["id"] = json!("01K00000000000000000000002");
    })
    .await;
    check("and the databases were marked dd_01K00000000000000000000002", async |_, night| {
        night["mark"]["mark"] = json!("dd_01K00000000000000000000002");
    })
    .await;
    check("was opened by run r0", async |world, night| {
        let path = format!("{}/opened.json", night["point"]["prefix"].as_str().unwrap());
        let mut opened = Opened::parse(&world.read(&path).await).unwrap();
        opened.origin.run = "r0".into();
        world.put(&path, &text_of(&opened.file(), None).unwrap()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn media_that_only_the_server_sees_are_proved_by_it() {
    let world = World::new().await;
    let mut night = world.night().await;
    backup(&mut night, FULL)["artifacts"] = json!([]);
    let outputs = world.outputs(&Seal, night).await;
    let manifest: Value =
        serde_json::from_str(&world.read(outputs["manifest"].as_str().unwrap()).await).unwrap();
    let backups = &manifest["sqlserver"]["octopus"]["backups"];
    assert_eq!((&backups[0]["proof"], &backups[1]["proof"]), (&json!("server"), &json!("hashed")));
}

#[tokio::test(start_paused = true)]
async fn a_missed_skew_is_an_error_after_the_seal_and_stays_one() {
    let world = World::new().await;
    let mut night = world.night().await;
    night["skew"] = json!("10s");
    let error = world.error(&Seal, night.clone()).await;
    assert_eq!(error.code, "objective.missed");
    let id = night["point"]["id"].as_str().unwrap();
    let path = format!("points/{id}/manifest.json");
    assert_eq!(
        error.message,
        format!(
            "the skew of 2 of 2 collections is greater than 10s; the greatest, of agent_b, is 11 s. \
             Point {id} is sealed and good all the same: {path}"
        )
    );
    let written = world.read(&path).await;
    assert_eq!(world.asked(&Seal, night.clone()).await, Reconciled::NotDone);
    assert_eq!(world.error(&Seal, night.clone()).await, error);
    assert_eq!(world.read(&path).await, written);
    night["skew"] = json!("11s");
    assert!(matches!(world.execute(&Seal, night).await, Ok(Ended::Outputs(_))));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_is_written_once() {
    let mut world = World::new().await;
    let night = world.night().await;
    assert_eq!(world.asked(&Seal, night.clone()).await, Reconciled::NotDone);
    let outputs = world.outputs(&Seal, night.clone()).await;
    assert_eq!(world.asked(&Seal, night.clone()).await, Reconciled::Done(outputs.clone()));
    let written = world.read(outputs["manifest"].as_str().unwrap()).await;
    assert_eq!(world.outputs(&Seal, night.clone()).await, outputs);
    assert_eq!(world.read(outputs["manifest"].as_str().unwrap()).await, written);
    // Without the note that it was about to write this very text, it is somebody else's.
    world.forget();
    assert_eq!(world.asked(&Seal, night.clone()).await, Reconciled::NotDone);
    let error = world.error(&Seal, night).await;
    assert_eq!(error.code, "point.sealed");
    assert!(
        error.message.ends_with("manifest.json is there already, and this run did not write it"),
        "{error}"
    );
}

#[test]
fn it_says_what_it_does_before_it_is_known() {
    let with = json!({"point": {"$after": ["open"]}, "mark": {"$after": ["mark"]}, "sqlserver": {"$after": ["log"]}, "truth": "sql"});
    let shown = actions(&Seal, with).unwrap();
    assert_eq!(shown[0].target.as_deref(), Some("sql"));
    assert_eq!((shown[2].text.as_str(), shown[2].writes), ("put (known after open)", true));
}

/// What `point.seal` is given of a log point whose mark is at this LSN.
async fn between(world: &World, lsn: &str, log: &Value) -> Value {
    // No two are opened in one moment of one run, by which they are named.
    tokio::time::sleep(std::time::Duration::from_millis(lsn.parse().unwrap())).await;
    let point = world.outputs(&Open, json!({})).await;
    json!({
        "point": point,
        "mark": {
            "mark": point["mark"], "sent_at": at(20), "answered_at": at(21),
            "databases": {"octopus": {"database": "OctopusDB", "lsn": lsn, "at": at(20)}},
        },
        "log_point": "log",
        "sqlserver": {"octopus": [log]},
        "truth": "sql",
    })
}

#[tokio::test(start_paused = true)]
async fn a_log_that_another_run_took_after_the_mark_is_adopted_once_it_is_sealed() {
    let mut world = World::new().await;
    let other = world.backup("other.trn", "log", "200", "300", 30).await;
    let own = world.backup("own.trn", "log", "300", "400", 40).await;
    // Nobody seals it for as long as that is waited for: what lies behind it is kept, for the chains that come later.
    let never = between(&world, "251", &own).await;
    let outputs = world.outputs(&Seal, never).await;
    assert_eq!(outputs["incomplete"], json!(["octopus"]), "{outputs}");
    let waited = "another run has taken the log of octopus that holds the mark: its record is waited for";
    let said = world.host.samples();
    assert!(said.iter().any(|one| matches!(one, Sample::Log(line) if line == waited)), "{said:?}");

    // The other run comes to its own end first.
    world.forget();
    let theirs = between(&world, "240", &other).await;
    world.outputs(&Seal, theirs).await;
    world.forget();
    let ours = between(&world, "250", &own).await;
    let outputs = world.outputs(&Seal, ours).await;
    assert_eq!(outputs["incomplete"], json!([]), "{outputs}");
    let record = LogPoint::parse(&world.read(outputs["manifest"].as_str().unwrap()).await).unwrap();
    let taken: Vec<(&str, bool)> = record.sqlserver["octopus"]
        .backups
        .iter()
        .map(|one| (one.artifacts[0].path.as_str(), one.adopted))
        .collect();
    assert_eq!(taken, [("sql/own.trn", false), ("sql/other.trn", true)]);
}

#[tokio::test(start_paused = true)]
async fn a_log_of_another_fork_holds_no_mark_and_one_that_ends_before_it_is_nobody_elses_doing() {
    let mut world = World::new().await;
    let mut other = world.backup("other.trn", "log", "200", "300", 30).await;
    other["recovery_fork"] = json!("fork-b");
    other["backup"]["recovery_fork_id"] = json!("fork-b");
    let header =
        json!({"backup": other["backup"], "size": 10, "has_checksums": true, "encryptor_thumbprint": null});
    world.sql.headers.lock().unwrap().insert(r"D:\Backups\other.trn".into(), Ok(header));
    let theirs = between(&world, "240", &other).await;
    world.outputs(&Seal, theirs).await;
    world.forget();
    let own = world.backup("own.trn", "log", "300", "400", 40).await;
    let ours = between(&world, "250", &own).await;
    let outputs = world.outputs(&Seal, ours).await;
    assert_eq!(outputs["incomplete"], json!(["octopus"]), "the other fork's log is none of this one's");

    world.forget();
    let early = world.backup("early.trn", "log", "100", "200", 40).await;
    let early = between(&world, "251", &early).await;
    let error = world.error(&Seal, early).await;
    assert_eq!((error.code.as_str(), error.transient), ("point.unproved", false), "{error}");
}
