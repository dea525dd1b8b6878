//! `postgres.basebackup`: what it stores is whole, what it cannot take it refuses, and nothing of a lost one stays at the server.

use std::sync::Arc;
use std::time::Duration;

use drydock_step::test_host::{TestHost, given};
use drydock_step::{Ended, Kind, Reconciled, Sample, Settings, StepError, TargetKind};
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::postgres::basebackup::Basebackup;
use serde_json::{Value, json};

use crate::server::{BOTH, Major, Options, Postgres};

/// A host whose `t` is the server and whose `backups` is the folder `store`.
pub(crate) async fn host(server: &Postgres, folder: &std::path::Path) -> Arc<TestHost> {
    with_targets(TestHost::new(folder), server, folder).await
}

async fn with_targets(host: TestHost, server: &Postgres, folder: &std::path::Path) -> Arc<TestHost> {
    let values = json!({ "url": folder.join("store") }).as_object().unwrap().clone();
    let store = Settings { values, folder: folder.into(), attempt: "r1/step/1".into() };
    let store = ArtifactsTarget.connect(store).await.unwrap();
    let kind = Arc::new(drydock_steps::postgres::target::Postgres);
    Arc::new(host.server("t", kind, server.settings()).target("backups", store))
}

/// What a kind gives on the target `t`.
pub(crate) async fn run(kind: &dyn Kind, host: &Arc<TestHost>, with: &Value) -> Result<Value, StepError> {
    match kind.execute(&host.ctx(Some("t")), given(with.clone()), None).await? {
        Ended::Outputs(outputs) => Ok(outputs),
        Ended::Waits(message) => panic!("{message}"),
    }
}

/// Walsenders and slots at a server.
async fn at_work(server: &Postgres) -> Value {
    let sql =
        "SELECT (SELECT count(*) FROM pg_stat_replication) + (SELECT count(*) FROM pg_replication_slots)";
    server.one("postgres", sql).await
}

#[tokio::test]
async fn what_is_stored_is_a_whole_backup_on_both_versions() {
    for major in BOTH {
        let server = Postgres::start(major, Options::default());
        let dir = tempfile::tempdir().unwrap();
        let host = host(&server, dir.path()).await;
        let entry = run(&Basebackup, &host, &json!({ "to": "backups", "prefix": "pg" })).await.unwrap();
        let label = entry["label"].as_str().unwrap();
        assert!(label.starts_with("drydock_"), "{entry}");
        assert_eq!(entry["artifact"]["path"], json!(format!("pg/{label}/base.tar")));
        assert_eq!((&entry["server_major"], &entry["timeline"]), (&json!(major.number()), &json!(1)));
        assert_eq!(entry["verified"], true);
        let id = server.one("postgres", "SELECT system_identifier::text FROM pg_control_system()").await;
        assert_eq!(entry["system_identifier"], id);
        let sql = format!(
            "SELECT '{}'::pg_lsn <= '{}'::pg_lsn",
            entry["end_lsn"].as_str().unwrap(),
            server.one("postgres", "SELECT pg_current_wal_lsn()::text").await.as_str().unwrap()
        );
        assert_eq!(server.one("postgres", &sql).await, true, "it ended at or before where the server is now");
        assert!(entry["tool"]["version"].as_str().unwrap().starts_with("pg_basebackup (PostgreSQL) "));
        assert_eq!(at_work(&server).await, 0, "the slot and the walsender are gone");
        let record = std::fs::read(dir.path().join(format!("store/pg/{label}/backup.json"))).unwrap();
        let mut record: Value = serde_json::from_slice(&record).unwrap();
        let head =
            ["format", "version", "sha256"].map(|name| record.as_object_mut().unwrap().remove(name).unwrap());
        assert_eq!((&head[0], &head[1]), (&json!("drydock.base_backup"), &json!(1)));
        assert_eq!(record, entry, "backup.json says what the step gives");
        let scratch: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|one| one.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(scratch, ["store"], "nothing is left in the scratch");
        let again = self::host(&server, dir.path()).await;
        let with = json!({ "to": "backups", "prefix": "pg", "label": label });
        let words = refused(run(&Basebackup, &again, &with).await, "artifact.exists");
        assert!(words.contains("there is already a base backup in pg/drydock_"), "{words}");
    }
}

fn refused(outputs: Result<Value, StepError>, code: &str) -> String {
    let error = outputs.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    error.message
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_nothing_at_the_server() {
    let server = Postgres::start(Major::Eighteen, Options::default());
    server
        .run_script(
            "postgres",
            "CREATE TABLE t AS SELECT n, repeat('x', 900) AS x FROM generate_series(1, 60000) AS n",
        )
        .await;
    let dir = tempfile::tempdir().unwrap();
    let host = host(&server, dir.path()).await;
    // Slow enough to be met at work.
    let with = json!({ "to": "backups", "rate": "4MiB" });
    let mut attempt = Box::pin(run(&Basebackup, &host, &with));
    let mut met = false;
    for _ in 0..600 {
        let ended = tokio::time::timeout(Duration::from_millis(20), &mut attempt).await;
        assert!(ended.is_err(), "it ended without being met: {ended:?}");
        if at_work(&server).await == 2 {
            met = true;
            break;
        }
    }
    assert!(met, "the slot and the walsender were never there");
    drop(attempt);
    for _ in 0..600 {
        if at_work(&server).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(at_work(&server).await, 0);
    let verdict = Basebackup.reconcile(&host.ctx(Some("t")), given(with)).await.unwrap();
    assert_eq!(verdict, Reconciled::NotDone);
    let whole = run(&Basebackup, &host, &json!({ "to": "backups" })).await.unwrap();
    let verdict =
        Basebackup.reconcile(&host.ctx(Some("t")), given(json!({ "to": "backups" }))).await.unwrap();
    assert_eq!(verdict, Reconciled::Done(whole));
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_before_anything_is_begun() {
    let server = Postgres::start(Major::Fifteen, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let host = host(&server, dir.path()).await;
    let base = run(&Basebackup, &host, &json!({ "to": "backups", "label": "first" })).await.unwrap();
    let words = refused(
        run(&Basebackup, &host, &json!({ "to": "backups", "label": "second", "against": base })).await,
        "postgres.incremental",
    );
    assert!(words.contains("takes no incremental backups"), "{words}");
    let words = refused(run(&Basebackup, &host, &json!({ "to": "backups", "label": "a/b" })).await, "input");
    assert_eq!(words, "input `label`, `a/b`, is no name of a backup");
    server.run_script("postgres", "CREATE ROLE reader LOGIN PASSWORD 'quay'").await;
    let kind = Arc::new(drydock_steps::postgres::target::Postgres);
    let settings = server.settings_with(json!({ "user": "reader", "password": "quay" }));
    let store = host.ctx(None).host.connect("backups").await.unwrap();
    let reader = Arc::new(TestHost::new(dir.path()).server("t", kind, settings).target("backups", store));
    let words = refused(run(&Basebackup, &reader, &json!({ "to": "backups" })).await, "postgres.unavailable");
    assert_eq!(words, "the role may not replicate, which is how a base backup is taken");
    let found = Kind::preflight(&Basebackup, &reader.ctx(Some("t")), given(json!({ "to": "backups" })))
        .await
        .unwrap();
    assert_eq!((found.findings.len(), found.findings[0].code.as_str()), (1, "postgres.unavailable"));
    assert_eq!(at_work(&server).await, 0);
}

#[tokio::test]
async fn an_incremental_backup_has_what_has_changed() {
    let settings = vec![("summarize_wal", "on".to_owned())];
    let server = Postgres::start(Major::Eighteen, Options { settings, ..Options::default() });
    let dir = tempfile::tempdir().unwrap();
    let host = host(&server, dir.path()).await;
    let full = run(&Basebackup, &host, &json!({ "to": "backups", "label": "full" })).await.unwrap();
    server.run_script("postgres", "CREATE TABLE t AS SELECT 1 AS n").await;
    let with = json!({ "to": "backups", "label": "more", "against": full });
    let more = run(&Basebackup, &host, &with).await.unwrap();
    assert_eq!(more["against"]["label"], "full");
    assert_eq!(more["against"]["manifest_sha256"], full["manifest"]["sha256"]);
    let size = |entry: &Value| entry["bytes"].as_u64().unwrap();
    assert!(size(&more) < size(&full), "{} < {}", size(&more), size(&full));
    // By where it lies, all that it needs is looked for as well.
    let with = json!({ "to": "backups", "label": "third", "against": "postgres/base/more" });
    let third = run(&Basebackup, &host, &with).await.unwrap();
    assert_eq!(third["against"]["manifest_sha256"], more["manifest"]["sha256"]);
    let folder = dir.path().join("store/postgres/base/full");
    std::fs::write(folder.join("backup_manifest"), "{}").unwrap();
    let with = json!({ "to": "backups", "label": "fourth", "against": full });
    let words = refused(run(&Basebackup, &host, &with).await, "artifact.damaged");
    assert!(words.starts_with("postgres/base/full/backup_manifest has sha256 "), "{words}");
    std::fs::remove_file(folder.join("backup.json")).unwrap();
    let with = json!({ "to": "backups", "label": "fifth", "against": "postgres/base/third" });
    let words = refused(run(&Basebackup, &host, &with).await, "postgres.base");
    assert_eq!(
        words,
        "more was made against full: the base backup in postgres/base/full is unfinished: it has no backup.json"
    );
    let found = Kind::preflight(&Basebackup, &host.ctx(Some("t")), given(with)).await.unwrap();
    assert_eq!((found.findings.len(), found.findings[0].message.as_str()), (1, words.as_str()));
}

#[tokio::test]
async fn a_backup_is_closed_once_and_what_lies_there_is_never_written_over() {
    let server = Postgres::start(Major::Fifteen, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let host = host(&server, dir.path()).await;
    let with = json!({ "to": "backups", "prefix": "pg", "label": "one", "verify": false });
    let entry = run(&Basebackup, &host, &with).await.unwrap();
    assert_eq!(host.notes()[0], json!({ "begun": "pg/one" }), "it is noted before anything is put there");
    let folder = dir.path().join("store/pg/one");
    let tar = folder.join("base.tar");
    let before = std::fs::metadata(&tar).unwrap().modified().unwrap();
    let verdict = async || Basebackup.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict().await, Reconciled::Done(entry.clone()));
    // Killed before the last file.
    std::fs::remove_file(folder.join("backup.json")).unwrap();
    let Reconciled::Partly(from) = verdict().await else { panic!("it says something else") };
    let ended = Kind::execute(&Basebackup, &host.ctx(Some("t")), given(with.clone()), Some(&from)).await;
    assert_eq!(ended.unwrap(), Ended::Outputs(entry.clone()));
    assert_eq!(verdict().await, Reconciled::Done(entry));
    assert_eq!(
        std::fs::metadata(&tar).unwrap().modified().unwrap(),
        before,
        "only the last file was missing"
    );
    // Another step, which has noted nothing of it.
    std::fs::remove_file(folder.join("backup.json")).unwrap();
    let other = self::host(&server, dir.path()).await;
    let words = refused(run(&Basebackup, &other, &with).await, "artifact.exists");
    assert_eq!(words, "there is already something in pg/one: an unfinished base backup of another step");
    assert_eq!(std::fs::metadata(&tar).unwrap().modified().unwrap(), before);
    // Killed before it was noted whole: the next attempt makes it anew.
    let begun = TestHost::new(dir.path()).noted(vec![json!({ "begun": "pg/one" })]);
    let begun = with_targets(begun, &server, dir.path()).await;
    let verdict = Basebackup.reconcile(&begun.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::NotDone);
    let anew = run(&Basebackup, &begun, &with).await.unwrap();
    let size = std::fs::metadata(&tar).unwrap().len();
    assert_eq!(anew["artifact"]["size"], size);
}

#[tokio::test]
async fn a_compression_that_the_build_does_not_have_is_refused_by_its_name() {
    let server = Postgres::start(Major::Eighteen, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let host = host(&server, dir.path()).await;
    for compress in ["zstd", "lz4"] {
        let with = json!({ "to": "backups", "compress": compress });
        let words = refused(run(&Basebackup, &host, &with).await, "postgres.programs");
        let expected = format!("cannot compress with {compress}: pg_basebackup: error: ");
        assert!(words.contains(&expected), "{words}");
        let found = Kind::preflight(&Basebackup, &host.ctx(Some("t")), given(with)).await.unwrap();
        assert_eq!((found.findings.len(), found.findings[0].message.as_str()), (1, words.as_str()));
    }
    let with = json!({ "to": "backups", "compress": "gzip", "level": 10 });
    let words = refused(run(&Basebackup, &host, &with).await, "input");
    assert_eq!(words, "input `level`, 10, is none of gzip");
    let with = json!({ "to": "backups", "compress": "gzip", "level": 9 });
    let found = Kind::preflight(&Basebackup, &host.ctx(Some("t")), given(with)).await.unwrap();
    assert_eq!(found.findings, []);
    assert!(host.notes().is_empty(), "nothing was begun");
    assert_eq!(at_work(&server).await, 0);
}

#[tokio::test]
async fn how_far_it_is_is_told_with_the_servers_own_words() {
    for major in BOTH {
        let server = Postgres::start(major, Options::default());
        let dir = tempfile::tempdir().unwrap();
        let host = host(&server, dir.path()).await;
        // The WAL is fetched at the end; there is something to be told about for a while.
        let with = json!({ "to": "backups", "rate": "8MiB", "verify": false });
        let entry = run(&Basebackup, &host, &with).await.unwrap();
        let told: Vec<_> = host
            .samples()
            .into_iter()
            .filter_map(|sample| match sample {
                Sample::Progress { done, of: Some(total), unit: "bytes", phase } => {
                    Some((done, total, phase))
                }
                _ => None,
            })
            .filter(|(_, _, phase)| phase == "streaming database files")
            .collect();
        assert!(!told.is_empty(), "{:?}", host.samples());
        assert!(told.windows(2).all(|two| two[0].0 <= two[1].0), "it never goes back: {told:?}");
        let whole = entry["artifact"]["size"].as_u64().unwrap();
        let (done, total, _) = told.last().unwrap();
        assert!(*done > 0 && *done <= whole && *total > 1 << 20 && *total <= whole, "{told:?} of {whole}");
    }
}

#[tokio::test]
async fn a_question_about_progress_that_is_never_answered_does_not_cost_the_backup() {
    let server = Postgres::start(Major::Eighteen, Options::default());
    let dir = tempfile::tempdir().unwrap();
    let host = host(&server, dir.path()).await;
    let (asks, blocks) = (server.connection().await, server.connection().await);
    let with = json!({ "to": "backups", "label": "late", "rate": "8MiB", "verify": false });
    let mut attempt = Box::pin(run(&Basebackup, &host, &with));
    // Goes on with the attempt until something is so.
    let mut until = async |what: &str, sql: &str| {
        for _ in 0..3000 {
            let ended = tokio::time::timeout(Duration::from_millis(50), &mut attempt).await;
            assert!(ended.is_err(), "it ended before {what}: {ended:?}");
            let found = asks.rows().unwrap().rows(None, sql).await.unwrap();
            if found.rows[0].values().next().unwrap() == 1 {
                return;
            }
        }
        panic!("never: {what}");
    };
    until(
        "it told something",
        "SELECT count(*) FROM pg_stat_progress_basebackup WHERE backup_streamed > 9000000",
    )
    .await;
    // Whoever asks who is connected waits for this one, and this one for the end of the slot, which the attempt gives up after all has come.
    let blocked = tokio::spawn(async move {
        let script = "LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE; \
            DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_get_replication_slots()) LOOP PERFORM pg_sleep(0.05); END LOOP; END $$";
        blocks.script().unwrap().run_script("postgres", script).await
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_database'::regclass \
        AND mode = 'AccessShareLock'";
    until("it asked how far the backup is", waits).await;
    let entry = attempt.await.unwrap();
    assert_eq!(entry["label"], "late");
    blocked.await.unwrap().unwrap();
}
