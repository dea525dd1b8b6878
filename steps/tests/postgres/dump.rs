//! `postgres.dump`: what it stores is the database in one state of it, and nothing is left of a dump that came to no end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drydock_step::test_host::{TestHost, given};
use drydock_step::{Kind, Reconciled, StepError};
use drydock_steps::postgres::dump::Dump;
use serde_json::{Value, json};

use crate::basebackup::{host, run};
use crate::server::{BOTH, Major, Postgres};
use crate::small_disk::SmallDisk;
use crate::world::{database, shared};

/// Two tables, one of them with an index and partitions, and a view that is filled anew by a load.
pub(crate) const TABLES: &str = "CREATE SCHEMA agents; \
    CREATE TABLE agents.episodes AS SELECT n, md5(n::text) AS said FROM generate_series(1, 3000) AS n; \
    ALTER TABLE agents.episodes ADD PRIMARY KEY (n); \
    CREATE TABLE parts (n int, x text) PARTITION BY RANGE (n); \
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100); \
    CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (100) TO (1000); \
    INSERT INTO parts SELECT n, 'p' || n FROM generate_series(1, 500) AS n; \
    CREATE MATERIALIZED VIEW told AS SELECT count(*) AS n FROM parts";

/// What lies in the store.
fn files(folder: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![folder.join("store")]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder.join("store")).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// What is in the scratch beside the store.
fn scratch(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|one| one.file_name().into_string().unwrap()).filter(|name| name != "store").collect()
}

#[tokio::test]
async fn both_formats_hold_the_database_with_its_counts_on_both_versions() {
    for (major, format) in BOTH.into_iter().flat_map(|major| [(major, "custom"), (major, "directory")]) {
        let name = format!("dumped_{format}");
        let server = database(major, &name, TABLES).await;
        let dir = tempfile::tempdir().unwrap();
        let host = host(server, dir.path()).await;
        let jobs = if format == "directory" { 2 } else { 1 };
        let with = json!({ "database": name, "to": "backups", "prefix": "pg", "label": "one", "format": format, "jobs": jobs,
            "globals": "no_passwords", "exclude_data": ["parts"] });
        let entry = run(&Dump, &host, &with).await.unwrap();
        assert_eq!(entry["counts"], json!({ "agents.episodes": 3000 }));
        assert_eq!(entry["without_data"], json!(["public.parts"]));
        assert_eq!((&entry["server_major"], &entry["proved"]), (&json!(major.number()), &json!(true)));
        assert_eq!(entry["made"], json!({ "encoding": "UTF8", "collate": "C", "ctype": "C" }));
        let stored: Vec<&str> = entry["artifacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["path"].as_str().unwrap())
            .collect();
        let mut named: Vec<String> = stored.iter().map(|path| (*path).to_owned()).collect();
        named.extend(["pg/one/backup.json".into(), "pg/one/globals.sql".into()]);
        named.sort();
        assert_eq!(named, files(dir.path()));
        assert_eq!(stored.contains(&"pg/one/data/toc.dat"), format == "directory", "{stored:?}");
        let globals = std::fs::read_to_string(dir.path().join("store/pg/one/globals.sql")).unwrap();
        assert!(globals.contains("CREATE ROLE postgres;") && !globals.contains("PASSWORD"), "{globals}");
        assert_eq!(scratch(dir.path()), Vec::<String>::new(), "nothing is left in the scratch");
        let again = self::host(server, dir.path()).await;
        let error = run(&Dump, &again, &with).await.unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("artifact.exists", "there is already a dump in pg/one")
        );
        let needs = json!({ "owners": ["postgres"], "grantees": [], "tablespaces": [] });
        assert_eq!(entry["needs"], needs);
        let size = format!("SELECT pg_database_size('{name}') >= {}", entry["database_bytes"]);
        assert_eq!(server.one("postgres", &size).await, true);
        // Its last file, as an attempt leaves it that is killed right before that.
        let last = dir.path().join("store/pg/one/backup.json");
        let told: Value = serde_json::from_slice(&std::fs::read(&last).unwrap()).unwrap();
        assert_eq!((&told["drydock"], &told["snapshot"]), (&json!("postgres.dump v1"), &entry["snapshot"]));
        std::fs::remove_file(&last).unwrap();
        let done = Dump.reconcile(&host.ctx(Some("t")), given(with)).await.unwrap();
        assert_eq!(done, Reconciled::Done(entry));
        assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(&last).unwrap()).unwrap(), told);
    }
}

#[tokio::test]
async fn a_dump_and_its_counts_are_of_a_snapshot_that_is_handed_in() {
    let server = database(Major::Fifteen, "handed_in", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let host = host(server, dir.path()).await;
    let with = json!({ "database": "handed_in", "to": "backups", "snapshot": "00000003-0000001B-1" });
    let error = run(&Dump, &host, &with).await.unwrap_err();
    assert!(error.message.starts_with("taking over the snapshot: "), "{error}");
    let config = format!(
        "host=127.0.0.1 port={} user=postgres password='{}' dbname=handed_in",
        server.port,
        crate::server::PASSWORD.replace('\\', "\\\\").replace('\'', "\\'")
    );
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let id: String = client.query_one("SELECT pg_export_snapshot()", &[]).await.unwrap().get(0);
    server.run_script("handed_in", "INSERT INTO t VALUES (2)").await;
    let entry = run(&Dump, &host, &json!({ "database": "handed_in", "to": "backups", "snapshot": id }))
        .await
        .unwrap();
    assert_eq!(entry["counts"], json!({ "public.t": 1 }));
}

#[tokio::test]
async fn a_table_that_is_locked_is_told_and_nothing_is_left() {
    let server = database(Major::Fifteen, "locked", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let host = host(server, dir.path()).await;
    let config = format!(
        "host=127.0.0.1 port={} user=postgres password='{}' dbname=locked",
        server.port,
        crate::server::PASSWORD.replace('\\', "\\\\").replace('\'', "\\'")
    );
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let with = json!({ "database": "locked", "to": "backups", "lock_wait": "200ms" });
    let error = run(&Dump, &host, &with).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient), ("postgres.program", true), "{error}");
    assert!(
        error.message.starts_with("pg_dump ended with 1: ") && error.message.contains("LOCK TABLE public.t"),
        "{error}"
    );
    assert!(error.help.unwrap().contains("give `lock_wait` more time"));
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_nothing() {
    let rows =
        "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS x FROM generate_series(1, 100000) AS n";
    let server = database(Major::Eighteen, "cut", rows).await;
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'cut' AND application_name LIKE 'drydock r1/step%'";
    for format in ["custom", "directory"] {
        let dir = tempfile::tempdir().unwrap();
        let host = host(server, dir.path()).await;
        let with = json!({ "database": "cut", "to": "backups", "format": format, "compress": "9" });
        let mut attempt = Box::pin(run(&Dump, &host, &with));
        let mut met = false;
        for _ in 0..1000 {
            let ended = tokio::time::timeout(Duration::from_millis(10), &mut attempt).await;
            assert!(ended.is_err(), "it ended without being met: {ended:?}");
            let dumping = format!("{at_work} AND query LIKE 'COPY %'");
            if server.one("postgres", &dumping).await != 0 {
                met = true;
                break;
            }
        }
        assert!(met, "it was never seen at work");
        drop(attempt);
        for _ in 0..1000 {
            if server.one("postgres", at_work).await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(server.one("postgres", at_work).await, 0, "no session and so no snapshot");
        // A piece of it, as a runner that is killed while it stores a folder leaves it.
        let begun = host.notes()[0]["begun"].as_str().unwrap().to_owned();
        std::fs::create_dir_all(dir.path().join("store").join(&begun).join("data")).unwrap();
        std::fs::write(dir.path().join("store").join(&begun).join("data/1.dat.gz"), "half").unwrap();
        let verdict = Dump.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert_eq!(verdict, Reconciled::NotDone);
        assert_eq!((files(dir.path()), scratch(dir.path())), (Vec::new(), Vec::new()));
        let entry = run(&Dump, &host, &with).await.unwrap();
        assert_eq!(entry["counts"], json!({ "public.t": 100_000 }));
    }
}

fn refused(outputs: Result<Value, StepError>, code: &str) -> StepError {
    let error = outputs.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    error
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_what_to_do() {
    let server = database(Major::Eighteen, "refusing", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let store = host(server, dir.path()).await.ctx(None).host.connect("backups").await.unwrap();
    let with = json!({ "database": "refusing", "to": "backups" });
    // A pg_dump of an older version than the server's, and no other.
    let old = dir.path().join("old");
    std::fs::create_dir(&old).unwrap();
    for name in ["pg_dump", "pg_restore"] {
        std::os::unix::fs::symlink(Major::Fifteen.bin().join(name), old.join(name)).unwrap();
    }
    let kind = || Arc::new(drydock_steps::postgres::target::Postgres);
    let settings = server.settings_with(json!({ "programs": old }));
    let aged =
        Arc::new(TestHost::new(dir.path()).server("t", kind(), settings).target("backups", store.clone()));
    let error = refused(run(&Dump, &aged, &with).await, "postgres.programs");
    assert!(error.message.starts_with("there is no pg_dump for a server of version 18: "), "{error}");
    assert!(error.message.contains("pg_dump (PostgreSQL) 15."), "{error}");
    let found = Kind::preflight(&Dump, &aged.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!((found.findings.len(), found.findings[0].code.as_str()), (1, "postgres.programs"));
    server.run_script("postgres", "CREATE ROLE nobody LOGIN PASSWORD 'quay'").await;
    let settings =
        server.settings_with(json!({ "user": "nobody", "password": "quay", "database": "refusing" }));
    let barred = Arc::new(TestHost::new(dir.path()).server("t", kind(), settings).target("backups", store));
    let counted = json!({ "database": "refusing", "to": "backups", "counts": "none" });
    let error = refused(run(&Dump, &barred, &counted).await, "postgres.program");
    assert!(error.message.contains("permission denied for table t"), "{error}");
    assert!(error.help.unwrap().starts_with("GRANT pg_read_all_data to the role"));
    let error =
        run(&Dump, &host(server, dir.path()).await, &json!({ "database": "absent", "to": "backups" }))
            .await
            .unwrap_err();
    assert_eq!(error.code, "postgres.3D000", "{error}");
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_dump_whose_store_gives_up_is_told_so() {
    let server = shared(Major::Fifteen);
    let dir = tempfile::tempdir().unwrap();
    let host = host(server, dir.path()).await;
    // The folder of the dump is a file: nothing can be stored below it.
    std::fs::create_dir_all(dir.path().join("store/pg")).unwrap();
    std::fs::write(dir.path().join("store/pg/one"), "in the way").unwrap();
    let with = json!({ "database": "postgres", "to": "backups", "prefix": "pg", "label": "one" });
    let error = run(&Dump, &host, &with).await.unwrap_err();
    assert!(error.code.starts_with("artifact."), "{error}");
    assert_eq!(files(dir.path()), ["pg/one"]);
}

/// The same step's next attempt, which `--redo` asks for.
async fn redone(host: &Arc<TestHost>, server: &Postgres, folder: &Path, attempt: &str) -> Arc<TestHost> {
    let store = host.ctx(None).host.connect("backups").await.unwrap();
    let kind = Arc::new(drydock_steps::postgres::target::Postgres);
    let next = TestHost::new(folder).server("t", kind, server.settings()).target("backups", store);
    Arc::new(next.attempt(attempt).noted(host.notes()))
}

#[tokio::test]
async fn an_attempt_that_is_asked_for_again_is_not_taken_for_the_one_before() {
    let server = database(Major::Fifteen, "redone", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let first = host(server, dir.path()).await;
    let with = json!({ "database": "redone", "to": "backups", "prefix": "pg", "label": "one" });
    let entry = run(&Dump, &first, &with).await.unwrap();
    let whole = files(dir.path());
    // Killed before it has done anything: the dump that is there is no leaving of it.
    let second = redone(&first, server, dir.path(), "r1/step/2").await;
    let verdict = Dump.reconcile(&second.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!((verdict, files(dir.path())), (Reconciled::NotDone, whole.clone()));
    server.run_script("redone", "INSERT INTO t VALUES (2)").await;
    let again = run(&Dump, &second, &with).await.unwrap();
    assert_eq!((&entry["counts"], &again["counts"]), (&json!({ "public.t": 1 }), &json!({ "public.t": 2 })));
    assert_eq!(files(dir.path()), whole);
    let verdict = Dump.reconcile(&second.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::Done(again));
    // Killed once it has begun: what it has begun goes, and nothing says any more that there is a dump.
    let third = redone(&second, server, dir.path(), "r1/step/3").await;
    third.ctx(Some("t")).note(json!({ "begun": "pg/one" })).await.unwrap();
    let verdict = Dump.reconcile(&third.ctx(Some("t")), given(with)).await.unwrap();
    assert_eq!((verdict, files(dir.path())), (Reconciled::NotDone, Vec::new()));
}

#[tokio::test]
async fn a_volume_that_is_full_is_told_and_nothing_is_left_on_it() {
    let rows =
        "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS x FROM generate_series(1, 12000) AS n";
    let server = database(Major::Fifteen, "large", rows).await;
    let kind = || Arc::new(drydock_steps::postgres::target::Postgres);
    let with =
        |format: &str| json!({ "database": "large", "to": "backups", "format": format, "compress": "0" });
    for format in ["custom", "directory"] {
        let (Some(disk), dir) = (SmallDisk::of(4), tempfile::tempdir().unwrap()) else { return };
        // The artifact store is full.
        let store = host(server, disk.path()).await.ctx(None).host.connect("backups").await.unwrap();
        let host = TestHost::new(dir.path()).server("t", kind(), server.settings()).target("backups", store);
        let host = Arc::new(host);
        let error = refused(run(&Dump, &host, &with(format)).await, "artifact.io");
        assert!(error.message.contains("No space left on device"), "{error}");
        assert_eq!(error.help.as_deref(), Some("free some space, then resume"));
        assert_eq!((files(disk.path()), scratch(dir.path())), (Vec::new(), Vec::new()), "{format}");
        disk.grow(64);
        let entry = run(&Dump, &host, &with(format)).await.unwrap();
        assert_eq!(entry["counts"], json!({ "public.t": 12_000 }));
    }
    // The run's scratch is, into which a folder is dumped.
    let (Some(disk), dir) = (SmallDisk::of(4), tempfile::tempdir().unwrap()) else { return };
    let store = host(server, dir.path()).await.ctx(None).host.connect("backups").await.unwrap();
    let host = TestHost::new(disk.path()).server("t", kind(), server.settings()).target("backups", store);
    let host = Arc::new(host);
    let error = refused(run(&Dump, &host, &with("directory")).await, "postgres.space");
    assert!(error.message.contains("No space left on device"), "{error}");
    assert!(error.help.unwrap().starts_with("free space where the run's scratch lies"));
    assert_eq!((files(dir.path()), scratch(disk.path())), (Vec::new(), Vec::new()));
    disk.grow(64);
    run(&Dump, &host, &with("directory")).await.unwrap();
}
