//! `sqlserver.backup` with all that media can be: stripes, mirrors, keys, URLs, tails, and damaged databases.

use drydock_practice::sqlserver::Installation;
use drydock_step::test_host::given;
use drydock_step::{Ended, Kind, Reconciled, StepError};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::world::{World, octopus};

/// What the plan says, and this besides.
fn with(more: Value) -> Value {
    let mut with = json!({ "database": "Octopus", "type": "full" });
    for (key, value) in more.as_object().unwrap() {
        with[key] = value.clone();
    }
    with
}

/// Takes a backup in a step of its own.
async fn taken(world: &World, step: &str, with: Value) -> Result<Value, StepError> {
    let ctx = world.host(&format!("r1/{step}/1"), Vec::new()).ctx(Some("t"));
    match Backup.execute(&ctx, given(with), None).await? {
        Ended::Outputs(outputs) => Ok(outputs),
        waits => panic!("{waits:?}"),
    }
}

async fn codes(world: &World, with: Value) -> Vec<String> {
    let found = Backup.preflight(&world.ctx(), given(with)).await.unwrap();
    found.findings.into_iter().map(|finding| finding.code).collect()
}

/// A server with a certificate for backups.
async fn certified(world: &World) {
    world
        .run(
            "master",
            "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'\nGO\nCREATE CERTIFICATE backups WITH SUBJECT = 'Backups'",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_and_mirrors_are_told_with_every_file() {
    let world = World::practice().await;
    octopus(&world).await;
    let mirror = world.dir.path().join("mirror");
    std::fs::create_dir(&mirror).unwrap();
    let outputs = taken(&world, "full", with(json!({ "stripes": 3, "mirror": [mirror] }))).await.unwrap();
    let (media, devices) = (outputs["media"].as_array().unwrap(), outputs["devices"].as_array().unwrap());
    assert_eq!((media.len(), devices.len(), &outputs["backup"]["media_count"]), (3, 6, &json!(3)));
    assert_eq!(outputs["artifacts"].as_array().unwrap().len(), 3);
    assert!(media[1].as_str().unwrap().ends_with("_r1_full_1_2of3.bak"), "{media:?}");
    let last = &devices[5];
    assert_eq!((&last["stripe"], &last["mirror"], &last["kind"]), (&json!(3), &json!(1), &json!("disk")));
    assert!(last["path"].as_str().unwrap().starts_with(mirror.to_str().unwrap()), "{last}");
    let connection = world.connection().await;
    let proves = connection.proves().unwrap();
    let all: Vec<String> = media.iter().map(|path| path.as_str().unwrap().to_owned()).collect();
    let header = proves.prove_readable(&all, 1).await.unwrap();
    assert_eq!(header["backup"]["backup_set_guid"], outputs["backup"]["backup_set_guid"]);
    let error = proves.prove_readable(&all[..2], 1).await.unwrap_err();
    assert!(
        error.code == "sqlserver.3132" && error.message.contains("3 media families but only 2"),
        "{error}"
    );
    let twice = [all[0].clone(), all[0].clone(), all[1].clone()];
    assert_eq!(proves.prove_readable(&twice, 1).await.unwrap_err().code, "sqlserver.3227");
    // The copy is as good as the first, also mixed with it.
    let mixed = [all[0].clone(), devices[4]["path"].as_str().unwrap().to_owned(), all[2].clone()];
    proves.prove_readable(&mixed, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_msdb_knows_of_a_set_is_told() {
    let world = World::practice().await;
    octopus(&world).await;
    let outputs =
        taken(&world, "full", with(json!({ "compression": true, "description": "before the move" })))
            .await
            .unwrap();
    let set = &outputs["set"];
    for (name, expected) in [
        ("name", json!("drydock r1/full/1")),
        ("description", json!("before the move")),
        ("user_name", json!("drydock")),
        ("compression_algorithm", json!("MS_XPRESS")),
        ("key_algorithm", Value::Null),
        ("recovery_model", json!("FULL")),
        ("has_checksums", json!(true)),
        ("is_copy_only", json!(false)),
        ("compatibility_level", json!(160)),
        ("database_version", json!(957)),
        ("software_version", json!("16.0.4236")),
        ("position", json!(1)),
    ] {
        assert_eq!(set[name], expected, "{name}");
    }
    for (of_set, of_entry) in [
        ("first_lsn", "first_lsn"),
        ("last_lsn", "last_lsn"),
        ("checkpoint_lsn", "checkpoint_lsn"),
        ("backup_set_guid", "backup_set_guid"),
        ("family_guid", "family_guid"),
        ("recovery_fork_id", "recovery_fork_id"),
        ("started_at", "started_at"),
        ("finished_at", "finished_at"),
    ] {
        assert_eq!(set[of_set], outputs["backup"][of_entry], "{of_set}");
    }
    assert!(set["last_valid_restore_time"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_tells_what_it_knows() {
    let older = |_: &std::path::Path| Installation { major: 15, ..Installation::default() };
    let world = World::playing("[]", older).await;
    octopus(&world).await;
    let outputs = taken(&world, "full", with(json!({ "compression": true }))).await.unwrap();
    assert_eq!(outputs["set"]["software_version"], "15.0.4385");
    assert_eq!(
        (&outputs["set"]["compression_algorithm"], &outputs["backup"]["software_major"]),
        (&Value::Null, &json!(15))
    );
    let newer = with(json!({ "compression": { "algorithm": "zstd", "level": "high" } }));
    assert_eq!(codes(&world, newer.clone()).await, ["backup.version"]);
    assert_eq!(taken(&world, "newer", newer).await.unwrap_err().code, "sqlserver.102");
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_by_the_algorithm_that_is_asked_for() {
    let newest = |_: &std::path::Path| Installation { major: 17, ..Installation::default() };
    let world = World::playing("[]", newest).await;
    octopus(&world).await;
    let zstd = with(json!({ "compression": { "algorithm": "zstd", "level": "low" } }));
    let outputs = taken(&world, "full", zstd).await.unwrap();
    assert_eq!(outputs["set"]["compression_algorithm"], "ZSTD");
    let express = |_: &std::path::Path| Installation { engine: 4, ..Installation::default() };
    let world = World::playing("[]", express).await;
    octopus(&world).await;
    let plain = with(json!({ "compression": true }));
    assert_eq!(codes(&world, plain.clone()).await, ["sqlserver.1844"]);
    assert_eq!(taken(&world, "full", plain).await.unwrap_err().code, "sqlserver.1844");
    let mirrored = with(json!({ "mirror": [world.dir.path()] }));
    assert_eq!(codes(&world, mirrored.clone()).await, ["sqlserver.3218"]);
    assert_eq!(taken(&world, "mirror", mirrored).await.unwrap_err().code, "sqlserver.3218");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_backup_is_read_only_with_its_certificate() {
    let world = World::practice().await;
    octopus(&world).await;
    let encrypted = with(json!({ "encryption": { "certificate": "backups" } }));
    assert_eq!(codes(&world, encrypted.clone()).await, ["sqlserver.15151"]);
    assert_eq!(taken(&world, "early", encrypted.clone()).await.unwrap_err().code, "sqlserver.15151");
    certified(&world).await;
    assert_eq!(codes(&world, encrypted.clone()).await, ["backup.key"]);
    let outputs = taken(&world, "full", encrypted).await.unwrap();
    let thumbprint =
        world.one("master", "SELECT thumbprint FROM sys.certificates WHERE name = N'backups'").await;
    assert_eq!(
        (&outputs["encryptor_thumbprint"], &outputs["set"]["encryptor_thumbprint"]),
        (&thumbprint, &thumbprint)
    );
    assert_eq!(
        (&outputs["set"]["key_algorithm"], &outputs["set"]["encryptor_type"]),
        (&json!("aes_256"), &json!("CERTIFICATE"))
    );
    let media = outputs["media"][0].as_str().unwrap().to_owned();
    let bytes = std::fs::read(&media).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"SQLite"), "the data can be read in the file");
    let connection = world.connection().await;
    let proves = connection.proves().unwrap();
    proves.prove_readable(std::slice::from_ref(&media), 1).await.unwrap();
    world.run("master", "DROP CERTIFICATE backups").await;
    let error = proves.prove_readable(&[media], 1).await.unwrap_err();
    assert!(
        error.code == "sqlserver.33111" && error.help.unwrap().contains("sqlserver.certificate"),
        "{}",
        error.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_needs_its_credential_and_lies_in_the_store_only_where_sees_says_so() {
    let container = "https://acct.blob.core.windows.net/backups";
    let with_urls = |dir: &std::path::Path| Installation {
        urls: [(container.into(), dir.join("store/sql"))].into(),
        ..Installation::default()
    };
    let world = World::playing("[]", with_urls).await;
    octopus(&world).await;
    let to_url = with(json!({ "to": container }));
    let error = taken(&world, "early", to_url.clone()).await.unwrap_err();
    assert!(
        error.code == "sqlserver.3298" && error.help.unwrap().contains("credential"),
        "{}",
        error.message
    );
    world
        .run(
            "master",
            "CREATE CREDENTIAL [https://acct.blob.core.windows.net/backups] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = 'sv=1'",
        )
        .await;
    assert_eq!(codes(&world, to_url.clone()).await, [""; 0]);
    let outputs = taken(&world, "full", to_url.clone()).await.unwrap();
    let media = outputs["media"][0].as_str().unwrap();
    assert!(media.starts_with("https://acct.blob.core.windows.net/backups/Octopus_full_"), "{media}");
    assert_eq!((&outputs["artifacts"], &outputs["devices"][0]["kind"]), (&json!([]), &json!("url")));
    world.connection().await.proves().unwrap().prove_readable(&[media.to_owned()], 1).await.unwrap();
    let world = world.set("sees", json!([{ "artifacts": "sql/", "as": container }]));
    let outputs = taken(&world, "again", with(json!({}))).await.unwrap();
    let artifact = outputs["artifacts"][0].as_str().unwrap();
    assert!(artifact.starts_with("sql/Octopus_full_"), "{artifact}");
    assert!(world.dir.path().join("store").join(artifact).is_file());
    let nowhere = with(json!({ "to": "s3://elsewhere/bucket" }));
    assert_eq!(taken(&world, "nowhere", nowhere).await.unwrap_err().code, "sqlserver.3201");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_throws_everybody_out_and_leaves_the_database_restoring() {
    let world = World::practice().await;
    octopus(&world).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let inside = world.connection().await;
    inside.script().unwrap().run_script("Octopus", "SELECT 1").await.unwrap();
    let outputs = taken(&world, "tail", with(json!({ "type": "tail" }))).await.unwrap();
    assert_eq!(
        (&outputs["backup"]["type"], &outputs["set"]["is_single_user"]),
        (&json!("log"), &json!(true))
    );
    let flags = outputs["set"]["flags"].as_i64().unwrap();
    assert_eq!(flags & (64 | 256), 64 | 256, "{flags}");
    let state = "SELECT state_desc FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", state).await, "RESTORING");
    let again = with(json!({ "type": "tail" }));
    let error = taken(&world, "again", again.clone()).await.unwrap_err();
    assert!(
        error.code == "sqlserver.927" && error.message.contains("no tail that could be taken"),
        "{error}"
    );
    assert_eq!(codes(&world, again).await, ["sqlserver.927"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_fails_leaves_the_database_usable() {
    let world = World::with_faults(r#"[{"op": "backup log *", "do": "disk_full"}]"#).await;
    octopus(&world).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    let error = taken(&world, "tail", with(json!({ "type": "tail" }))).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3202");
    let access = "SELECT user_access_desc FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", access).await, "MULTI_USER");
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    taken(&world, "tail2", with(json!({ "type": "tail" }))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_whose_answer_was_lost_is_found_again() {
    let world = World::with_faults(r#"[{"op": "backup log *", "attempt": "r1/step/1", "do": "hold"}]"#).await;
    octopus(&world).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    let tail = with(json!({ "type": "tail" }));
    let (notes, found) = world.crashed(&Backup, tail.clone()).await;
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    assert_eq!(outputs["set"]["name"], "drydock r1/step/1");
    // Also when msdb has lost it: the file itself tells.
    world.run("msdb", "DELETE FROM dbo.backupset WHERE name = N'drydock r1/step/1'").await;
    let Reconciled::Done(told) = world.settled(&Backup, tail, notes).await else {
        panic!("not found in the file")
    };
    assert_eq!(told["backup"], outputs["backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_cut_off_before_its_backup_goes_on() {
    let world =
        World::with_faults(r#"[{"op": "alter database Octopus", "attempt": "r1/step/1", "do": "hold"}]"#)
            .await;
    octopus(&world).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    let tail = with(json!({ "type": "tail" }));
    let (notes, found) = world.crashed(&Backup, tail.clone()).await;
    assert_eq!(found, Reconciled::Partly(json!({ "closed": true })));
    world.again(&Backup, tail, notes, Some(json!({ "closed": true }))).await.unwrap();
    let access = "SELECT state_desc FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", access).await, "RESTORING");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_damaged_database_is_saved() {
    let world = World::practice().await;
    octopus(&world).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let file =
        world.one("master", "SELECT physical_name FROM sys.master_files WHERE name = N'Octopus'").await;
    std::fs::remove_file(file.as_str().unwrap()).unwrap();
    let error = taken(&world, "log", with(json!({ "type": "log" }))).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.945");
    let error = taken(&world, "plain", with(json!({ "type": "tail" }))).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.945");
    let outputs = taken(&world, "tail", with(json!({ "type": "tail", "no_truncate": true }))).await.unwrap();
    assert_eq!((&outputs["backup"]["type"], &outputs["set"]["is_copy_only"]), (&json!("log"), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_ends_a_backup_with_checksums() {
    let world = World::practice().await;
    octopus(&world).await;
    world.run("master", "DBCC WRITEPAGE ('Octopus', 1, 55, 0, 1, 0x00, 1)").await;
    let error = taken(&world, "full", with(json!({}))).await.unwrap_err();
    assert!(error.code == "sqlserver.3043" && error.message.contains("on page (1:55)"), "{error}");
    taken(&world, "blind", with(json!({ "checksum": false }))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_backup_is_written_over_or_behind_another() {
    let world = World::practice().await;
    octopus(&world).await;
    let named = with(json!({ "file": "{run}-of-{database}" }));
    let first = taken(&world, "full", named.clone()).await.unwrap();
    assert!(first["media"][0].as_str().unwrap().ends_with("/r1_full_1-of-Octopus.bak"), "{first}");
    let host = world.host("r1/full/1", Vec::new());
    let found = Backup.preflight(&host.ctx(Some("t")), given(named.clone())).await.unwrap().findings;
    assert!(found.len() == 1 && found[0].code == "backup.exists" && found[0].fatal, "{found:?}");
    let error = taken(&world, "full", named).await.unwrap_err();
    assert!(error.code == "backup.exists" && error.help.unwrap().contains("{run}"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_to_the_chain_is_found_before() {
    let world = World::practice().await;
    octopus(&world).await;
    let folder = world.dir.path().join("server/backup");
    let foreign = |kind: &str, file: &str| {
        format!("BACKUP {kind} Octopus TO DISK = N'{}'", folder.join(file).display())
    };
    taken(&world, "full", with(json!({}))).await.unwrap();
    taken(&world, "log", with(json!({ "type": "log" }))).await.unwrap();
    assert_eq!(codes(&world, with(json!({ "type": "log" }))).await, [""; 0]);
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    world.run("master", &foreign("LOG", "SQL01_Octopus_LOG_20260714_033500.trn")).await;
    let found = Backup.preflight(&world.ctx(), given(with(json!({ "type": "log" })))).await.unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].code == "backup.owners"
            && found[0].message.contains("a job like Ola Hallengren's as drydock (1 into"),
        "{found:?}"
    );
    world.run("msdb", "DELETE FROM dbo.backupset WHERE name IS NULL AND type = 'L'").await;
    let found = Backup.preflight(&world.ctx(), given(with(json!({ "type": "log" })))).await.unwrap().findings;
    assert!(found[0].code == "backup.gap" && found[0].message.contains(" from "), "{found:?}");
    world.run("master", &foreign("DATABASE", "theirs.bak")).await;
    let found = Backup
        .preflight(&world.ctx(), given(with(json!({ "type": "differential" }))))
        .await
        .unwrap()
        .findings;
    assert!(found[0].code == "backup.base" && found[0].message.contains("theirs.bak"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_surrounds_a_backup_is_found_before() {
    let full = |installation: Installation| async {
        let world = World::playing("[]", |_| installation).await;
        octopus(&world).await;
        world
    };
    let world = full(Installation {
        is_preferred_replica: false,
        secondaries: vec!["Octopus".into()],
        ..Installation::default()
    })
    .await;
    assert_eq!(codes(&world, with(json!({}))).await, ["sqlserver.3059", "backup.replica"]);
    assert_eq!(taken(&world, "full", with(json!({}))).await.unwrap_err().code, "sqlserver.3059");
    assert_eq!(codes(&world, with(json!({ "copy_only": true }))).await, ["backup.replica"]);
    let world = full(Installation { snapshots: vec!["Octopus".into()], ..Installation::default() }).await;
    assert_eq!(codes(&world, with(json!({}))).await, ["sqlserver.3002"]);
    assert_eq!(taken(&world, "full", with(json!({}))).await.unwrap_err().code, "sqlserver.3002");
    let world = full(Installation { engine: 5, ..Installation::default() }).await;
    assert_eq!(codes(&world, with(json!({}))).await, ["sqlserver.40510"]);
    assert_eq!(taken(&world, "full", with(json!({}))).await.unwrap_err().code, "sqlserver.40510");
    let world = full(Installation { engine: 8, ..Installation::default() }).await;
    assert_eq!(codes(&world, with(json!({}))).await, ["sqlserver.41904"]);
    let world = full(Installation { free_bytes: 1000, ..Installation::default() }).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    assert_eq!(codes(&world, with(json!({}))).await, ["sqlserver.3202"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_backup_that_runs_is_found_before_and_refused() {
    let world = World::with_faults(
        r#"[{"op": "backup database *", "attempt": "r1/first/1", "do": "slow", "ms": 600000}]"#,
    )
    .await;
    octopus(&world).await;
    let host = world.host("r1/first/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let first = async { Backup.execute(&ctx, given(with(json!({}))), None).await };
    let meanwhile = async {
        while codes(&world, with(json!({}))).await != ["sqlserver.3023"] {
            tokio::task::yield_now().await;
        }
        assert_eq!(codes(&world, with(json!({ "type": "differential" }))).await[0], "sqlserver.3035");
        let connection = world.connection().await;
        let refused = connection
            .script()
            .unwrap()
            .run_script("master", "BACKUP DATABASE Octopus TO DISK = N'x.bak'")
            .await;
        assert_eq!(refused.unwrap_err().code, "sqlserver.3023");
    };
    tokio::select! {
        ended = first => panic!("it ended: {ended:?}"),
        () = meanwhile => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_striped_mirrored_and_encrypted_comes_back() {
    let world = World::practice().await;
    octopus(&world).await;
    certified(&world).await;
    let mirror = world.dir.path().join("mirror");
    std::fs::create_dir(&mirror).unwrap();
    let full = with(
        json!({ "stripes": 4, "mirror": [mirror], "encryption": { "certificate": "backups" }, "compression": true }),
    );
    let full = taken(&world, "full", full).await.unwrap();
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let log = with(json!({ "type": "log", "stripes": 2, "encryption": { "certificate": "backups" } }));
    let log = taken(&world, "log", log).await.unwrap();
    world.run("Octopus", "INSERT INTO agents VALUES (4, N'Di')").await;
    let tail = taken(&world, "tail", with(json!({ "type": "tail" }))).await.unwrap();
    let chain = json!([full, log, tail]);
    world.outputs(&Restore, json!({ "database": "Octopus", "into": "Copy", "chain": chain })).await.unwrap();
    assert_eq!(world.one("Copy", "SELECT COUNT(*) FROM agents").await, 4);
    // And in place, where the tail left the database waiting.
    world.outputs(&Restore, json!({ "database": "Octopus", "chain": chain, "replace": true })).await.unwrap();
    assert_eq!(world.one("Octopus", "SELECT COUNT(*) FROM agents").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_took_the_one_place_is_thrown_out_too_and_access_is_put_back_as_it_was() {
    let world = World::with_faults(r#"[{"op": "backup log *", "nth": 1, "do": "disk_full"}]"#).await;
    octopus(&world).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    world.run("master", "ALTER DATABASE Octopus SET RESTRICTED_USER").await;
    let inside = world.connection().await;
    inside.script().unwrap().run_script("Octopus", "SELECT 1").await.unwrap();
    let error = taken(&world, "failed", with(json!({ "type": "tail" }))).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3202");
    let access = "SELECT user_access_desc FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", access).await, "RESTRICTED_USER");
    world.run("master", "ALTER DATABASE Octopus SET SINGLE_USER").await;
    let single = world.connection().await;
    single.script().unwrap().run_script("Octopus", "SELECT 1").await.unwrap();
    taken(&world, "tail", with(json!({ "type": "tail" }))).await.unwrap();
    assert_eq!(single.ping().await.unwrap_err().code, "sqlserver.lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_cancelled_leaves_the_database_usable() {
    let world = World::with_faults(r#"[{"op": "backup log *", "do": "slow", "ms": 600000}]"#).await;
    octopus(&world).await;
    taken(&world, "full", with(json!({}))).await.unwrap();
    let tail = with(json!({ "type": "tail" }));
    let host = world.host("r1/step/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let running = "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE command = N'BACKUP LOG'";
    let cancelling = async {
        while world.one("master", running).await != 1 {
            tokio::task::yield_now().await;
        }
        Backup.cancel(&ctx, given(tail.clone())).await.unwrap();
    };
    let taking = async { Backup.execute(&ctx, given(tail.clone()), None).await };
    let (ended, ()) = tokio::join!(taking, cancelling);
    let error = ended.unwrap_err();
    assert!(error.unknown && error.code == "sqlserver.596", "{error}");
    let state = "SELECT state_desc + N' ' + user_access_desc FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", state).await, "ONLINE MULTI_USER");
    assert_eq!(world.settled(&Backup, tail, host.notes()).await, Reconciled::NotDone);
}
