//! `postgres.recover`: back to the very transaction, on both versions; and what does not lead there is refused before a server runs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drydock_step::test_host::{TestHost, given};
use drydock_step::{Kind, StepError};
use drydock_steps::postgres::basebackup::Basebackup;
use drydock_steps::postgres::recover::Recover;
use serde_json::{Value, json};

use crate::basebackup::{host, run};
use crate::server::{BOTH, Major, Options, Postgres, folder, os_user};

/// A server that archives its WAL as it lies in a store, below `pg/wal`.
pub(crate) struct World {
    pub(crate) server: Postgres,
    pub(crate) dir: tempfile::TempDir,
    port: u16,
}

impl World {
    fn start(major: Major) -> Self {
        let dir = folder();
        let archive = dir.path().join("store/pg/wal/00000001");
        std::fs::create_dir_all(&archive).unwrap();
        for made in ["store", "store/pg", "store/pg/wal", "store/pg/wal/00000001"] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(dir.path().join(made), std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let command = format!("cp %p {0}/.%f && mv {0}/.%f {0}/%f", archive.display());
        let settings = vec![("archive_mode", "on".to_owned()), ("archive_command", command)];
        let server = Postgres::start(major, Options { settings, own: true, ..Options::default() });
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { server, dir, port }
    }

    /// A server of which incremental backups can be taken, and which archives nothing.
    pub(crate) fn summarizing() -> Self {
        let settings = vec![("summarize_wal", "on".to_owned())];
        let server = Postgres::start(Major::Eighteen, Options { settings, own: true, ..Options::default() });
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { server, dir: folder(), port }
    }

    fn drilled(&self) -> PathBuf {
        self.dir.path().join("drill")
    }

    /// A host whose `t` is the server that is recovered.
    pub(crate) async fn drill(&self) -> Arc<TestHost> {
        let settings = self.server.settings_with(json!({ "port": self.port }));
        let kind = Arc::new(drydock_steps::postgres::target::Postgres);
        let store =
            host(&self.server, self.dir.path()).await.ctx(None).host.connect("backups").await.unwrap();
        Arc::new(TestHost::new(self.dir.path()).server("t", kind, settings).target("backups", store))
    }

    pub(crate) fn with(&self, base: &Value, to: Value) -> Value {
        json!({
            "from": "backups", "base": base, "wal": "pg/wal", "to": to, "into": self.drilled(), "port": self.port,
            "programs": [self.server.bin()], "os_user": os_user(),
        })
    }

    async fn base(&self) -> Value {
        let host = host(&self.server, self.dir.path()).await;
        run(&Basebackup, &host, &json!({ "to": "backups", "prefix": "pg/base" })).await.unwrap()
    }

    /// Writes rows, and then names the moment; its place.
    async fn named(&self, rows: &str, name: &str) -> String {
        self.server.run_script("postgres", rows).await;
        let lsn = self.server.one("postgres", "SELECT pg_current_wal_lsn()::text").await;
        self.server.run_script("postgres", &format!("SELECT pg_create_restore_point('{name}')")).await;
        lsn.as_str().unwrap().to_owned()
    }

    /// Waits until everything up to now is in the archive.
    async fn archived(&self) {
        let segment = self.server.one("postgres", "SELECT pg_walfile_name(pg_switch_wal())").await;
        let path = self.dir.path().join("store/pg/wal/00000001").join(segment.as_str().unwrap());
        for _ in 0..600 {
            if path.exists() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{} was never archived:\n{}", path.display(), self.server.log());
    }

    /// A value that the recovered server gives.
    pub(crate) async fn value(&self, sql: &str) -> Value {
        let settings = self.server.settings_with(json!({ "port": self.port }));
        let connection = crate::server::connected(settings).await.unwrap();
        let found = connection.rows().unwrap().rows(None, sql).await.unwrap();
        found.rows[0].values().next().cloned().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.drilled().join("postmaster.pid").exists() {
            let mut stop = crate::server::as_user(&self.server.bin().join("pg_ctl"));
            stop.arg("-D").arg(self.drilled()).args(["-m", "immediate", "-w", "stop"]).current_dir("/");
            let _ = stop.stdout(std::process::Stdio::null()).status();
        }
    }
}

pub(crate) fn refused(outputs: Result<Value, StepError>, code: &str, words: &str) -> StepError {
    let error = outputs.unwrap_err();
    assert!(
        error.code == code && error.message.contains(words),
        "{error:?} is no {code} that says {words:?}"
    );
    error
}

fn nothing_runs(into: &Path) {
    assert!(!into.join("postmaster.pid").exists(), "a server was started");
}

#[tokio::test]
async fn rows_before_the_named_point_are_there_and_none_after() {
    for major in BOTH {
        let world = World::start(major);
        world.server.run_script("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
        let base = world.base().await;
        world.named("INSERT INTO t VALUES (2)", "before").await;
        world.named("INSERT INTO t VALUES (3)", "after").await;
        world.archived().await;
        let drill = world.drill().await;
        let with = world.with(&base, json!({ "name": "before" }));
        let found = run(&Recover, &drill, &with).await.unwrap();
        assert_eq!(found["arrived"]["promoted"], false, "{found}");
        assert!(found["proved_lsn"].is_string(), "{found}");
        assert_eq!(world.value("SELECT array_agg(n ORDER BY n)::text FROM t").await, "{1,2}");
        assert_eq!(world.value("SELECT current_setting('archive_mode')").await, "off");
        let id =
            world.server.one("postgres", "SELECT system_identifier::text FROM pg_control_system()").await;
        assert_eq!(found["arrived"]["system_identifier"], id);
        let verdict = Recover.reconcile(&drill.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert_eq!(verdict, drydock_step::Reconciled::Done(found));
    }
}

#[tokio::test]
async fn a_time_a_place_the_base_and_the_end_are_met() {
    let world = World::start(Major::Eighteen);
    world.server.run_script("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
    let base = world.base().await;
    world.server.run_script("postgres", "INSERT INTO t VALUES (2)").await;
    let micros = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let time = world.server.one("postgres", micros).await;
    let lsn = world.named("INSERT INTO t VALUES (3)", "third").await;
    world.server.run_script("postgres", "INSERT INTO t VALUES (4)").await;
    world.archived().await;
    let check = async |to: Value, promote: bool, rows: &str| {
        let drill = world.drill().await;
        let mut with = world.with(&base, to.clone());
        with["promote"] = json!(promote);
        // The server that an earlier attempt of this step has started stands in nobody's way.
        let looked = Kind::preflight(&Recover, &drill.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert_eq!(looked.findings, [], "{to}");
        let found = run(&Recover, &drill, &with).await.unwrap();
        assert_eq!(world.value("SELECT array_agg(n ORDER BY n)::text FROM t").await, rows, "{to}");
        let opens = promote || to["end"] == true;
        let timeline = if opens { 2 } else { 1 };
        assert_eq!(
            (&found["arrived"]["promoted"], &found["arrived"]["timeline"]),
            (&json!(opens), &json!(timeline)),
            "{to}: {found}"
        );
        if opens {
            let settings = world.server.settings_with(json!({ "port": world.port }));
            let connection = crate::server::connected(settings).await.unwrap();
            connection.script().unwrap().run_script("postgres", "INSERT INTO t VALUES (9)").await.unwrap();
        }
        // Again by the same step: what it has made before goes.
        drill
    };
    drop(check(json!({ "time": time }), false, "{1,2}").await);
    drop(check(json!({ "lsn": lsn }), false, "{1,2,3}").await);
    drop(check(json!({ "immediate": true }), true, "{1}").await);
    drop(check(json!({ "end": true }), false, "{1,2,3,4}").await);
    let drill = world.drill().await;
    let with = world.with(&base, json!({ "end": true }));
    Kind::cancel(&Recover, &drill.ctx(Some("t")), given(with)).await.unwrap();
    nothing_runs(&world.drilled());
    // Nothing of it has come into the archive.
    let names: Vec<String> = std::fs::read_dir(world.dir.path().join("store/pg/wal/00000001"))
        .unwrap()
        .map(|one| one.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| name.starts_with("00000001")), "{names:?}");
}

#[tokio::test]
async fn what_the_wal_does_not_lead_to_is_refused_before_a_server_runs() {
    let world = World::start(Major::Fifteen);
    world.server.run_script("postgres", "CREATE TABLE t (n int)").await;
    let base = world.base().await;
    let lsn = world.named("INSERT INTO t VALUES (1)", "first").await;
    world.archived().await;
    world.named("INSERT INTO t VALUES (2)", "second").await;
    world.archived().await;
    let check = async |base: &Value, to: Value, code: &str, words: &str| {
        let error = refused(run(&Recover, &world.drill().await, &world.with(base, to)).await, code, words);
        nothing_runs(&world.drilled());
        error
    };
    check(
        &base,
        json!({ "name": "third" }),
        "postgres.wal",
        "the WAL that there is does not lead to restore point third: it ends at ",
    )
    .await;
    let error = check(
        &base,
        json!({ "time": "2100-01-01T00:00:00Z" }),
        "postgres.wal",
        "no commit after 2100-01-01T00:00:00Z is in the WAL",
    )
    .await;
    assert!(error.message.contains("its last commit is of 20"), "{error}");
    check(&base, json!({ "lsn": "FF/0" }), "postgres.wal", "does not lead to FF/0").await;
    let early = base["started_at"].clone();
    check(&base, json!({ "time": early }), "input", "lies before the end of base backup drydock_").await;
    check(&base, json!({ "lsn": base["start_lsn"] }), "input", "lies before the end of base backup").await;
    // A segment in the middle is missing.
    let archive = world.dir.path().join("store/pg/wal/00000001");
    let segment = world.server.one("postgres", &format!("SELECT pg_walfile_name('{lsn}')")).await;
    let gone = archive.join(segment.as_str().unwrap());
    let aside = world.dir.path().join("aside");
    std::fs::rename(&gone, &aside).unwrap();
    check(&base, json!({ "name": "second" }), "postgres.wal", segment.as_str().unwrap()).await;
    // It is cut short.
    let whole = std::fs::read(&aside).unwrap();
    std::fs::write(&gone, &whole[..whole.len() / 2]).unwrap();
    check(&base, json!({ "name": "second" }), "postgres.wal", " has 8388608 bytes instead of 16777216").await;
    std::fs::write(&gone, &whole).unwrap();
    // A byte of the base backup is another.
    let tar = world.dir.path().join("store").join(base["artifact"]["path"].as_str().unwrap());
    let mut bytes = std::fs::read(&tar).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&tar, &bytes).unwrap();
    check(&base, json!({ "name": "second" }), "artifact.damaged", "base.tar has sha256 ").await;
    bytes[middle] ^= 1;
    std::fs::write(&tar, &bytes).unwrap();
    // What is there is never overwritten.
    let other = world.dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("precious"), "x").unwrap();
    let mut with = world.with(&base, json!({ "name": "second" }));
    with["into"] = json!(other);
    refused(run(&Recover, &world.drill().await, &with).await, "postgres.occupied", "other is not empty");
    // And after all of that it works.
    run(&Recover, &world.drill().await, &world.with(&base, json!({ "name": "second" }))).await.unwrap();
    assert_eq!(world.value("SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn incremental_backups_are_combined_and_recovered() {
    let world = World::summarizing();
    let host = host(&world.server, world.dir.path()).await;
    world.server.run_script("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
    let full = run(&Basebackup, &host, &json!({ "to": "backups", "label": "full" })).await.unwrap();
    world.server.run_script("postgres", "INSERT INTO t VALUES (2)").await;
    let one =
        run(&Basebackup, &host, &json!({ "to": "backups", "label": "one", "against": full })).await.unwrap();
    world.server.run_script("postgres", "INSERT INTO t VALUES (3)").await;
    let two =
        run(&Basebackup, &host, &json!({ "to": "backups", "label": "two", "against": one })).await.unwrap();
    let with = |base: Value| {
        let mut with = world.with(&base, json!({ "immediate": true }));
        with["wal"] = Value::Null;
        with
    };
    for (wrong, words) in [
        (json!([full, two]), "two was made against one, and full stands before it"),
        (json!([one]), "one is incremental: full must stand before it"),
        (json!([full, full]), "full is a full one, and can only be the first"),
    ] {
        refused(run(&Recover, &world.drill().await, &with(wrong)).await, "postgres.chain", words);
    }
    run(&Recover, &world.drill().await, &with(json!([full, one, two]))).await.unwrap();
    assert_eq!(world.value("SELECT array_agg(n ORDER BY n)::text FROM t").await, "{1,2,3}");
    // By where the newest lies: those before it are found by what it was made against.
    for base in [json!("postgres/base/two"), two.clone()] {
        let with = with(base);
        let looked =
            Kind::preflight(&Recover, &world.drill().await.ctx(Some("t")), given(with.clone())).await;
        assert_eq!(looked.unwrap().findings, []);
        let found = run(&Recover, &world.drill().await, &with).await.unwrap();
        assert_eq!(found["label"], "two");
        assert_eq!(world.value("SELECT array_agg(n ORDER BY n)::text FROM t").await, "{1,2,3}");
    }
    Kind::cancel(&Recover, &world.drill().await.ctx(Some("t")), given(with(json!("postgres/base/two"))))
        .await
        .unwrap();
    nothing_runs(&world.drilled());
    let record = world.dir.path().join("store/postgres/base/one/backup.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("\"timeline\": 1", "\"timeline\": 2")).unwrap();
    let words = "two was made against one: postgres/base/one/backup.json was changed after it was written";
    let error = refused(
        run(&Recover, &world.drill().await, &with(json!("postgres/base/two"))).await,
        "postgres.base_record",
        words,
    );
    let ctx = world.drill().await.ctx(Some("t"));
    let looked = Kind::preflight(&Recover, &ctx, given(with(json!("postgres/base/two")))).await;
    let findings = looked.unwrap().findings;
    assert_eq!((findings.len(), &findings[0].message), (1, &error.message));
}

#[tokio::test]
async fn a_compressed_base_backup_is_verified_and_recovered() {
    let compressed = async |major: Major, compress: &str, level: Option<u32>, file: &str| {
        let world = World::start(major);
        world.server.run_script("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
        let host = host(&world.server, world.dir.path()).await;
        let with = json!({ "to": "backups", "label": "small", "compress": compress, "level": level });
        let base = run(&Basebackup, &host, &with).await.unwrap();
        let path = format!("postgres/base/small/{file}");
        assert_eq!((&base["artifact"]["path"], &base["verified"]), (&json!(path), &json!(true)));
        let (size, bytes) = (base["artifact"]["size"].as_u64().unwrap(), base["bytes"].as_u64().unwrap());
        assert!(size * 2 < bytes, "{compress}: {size} of {bytes}");
        let mut with = world.with(&json!("postgres/base/small"), json!({ "immediate": true }));
        with["wal"] = Value::Null;
        run(&Recover, &world.drill().await, &with).await.unwrap();
        assert_eq!(world.value("SELECT array_agg(n ORDER BY n)::text FROM t").await, "{1}", "{compress}");
    };
    for major in BOTH {
        compressed(major, "gzip", Some(1), "base.tar.gz").await;
    }
    // Debian builds it with all of them.
    compressed(Major::Fifteen, "zstd", Some(3), "base.tar.zst").await;
    compressed(Major::Fifteen, "lz4", None, "base.tar.lz4").await;
}

#[tokio::test]
async fn a_base_backup_is_found_by_where_it_lies() {
    let world = World::start(Major::Fifteen);
    world.server.run_script("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
    let base = world.base().await;
    let folder = format!("pg/base/{}", base["label"].as_str().unwrap());
    let early = world.with(&json!(folder), json!({ "time": base["started_at"] }));
    let words = "lies before the end of base backup drydock_";
    let error = refused(run(&Recover, &world.drill().await, &early).await, "input", words);
    let looked = Kind::preflight(&Recover, &world.drill().await.ctx(Some("t")), given(early)).await.unwrap();
    assert_eq!((looked.findings.len(), &looked.findings[0].message), (1, &error.message));
    let none = world.with(&json!("pg/base/none"), json!({ "end": true }));
    let words = "there is no base backup in pg/base/none";
    refused(run(&Recover, &world.drill().await, &none).await, "artifact.absent", words);
    nothing_runs(&world.drilled());
    let mut with = world.with(&json!(folder), json!({ "immediate": true }));
    with["wal"] = Value::Null;
    run(&Recover, &world.drill().await, &with).await.unwrap();
    assert_eq!(world.value("SELECT array_agg(n ORDER BY n)::text FROM t").await, "{1}");
}

/// The ten nearest of each of twenty vectors, by the index, as text.
const NEAREST: &str = "SELECT string_agg(q.id || ':' || found.ids, ' ' ORDER BY q.id) FROM vectors AS q \
    CROSS JOIN LATERAL (SELECT string_agg(n.id::text, ',') AS ids FROM \
    (SELECT v.id FROM vectors AS v ORDER BY v.embedding <-> q.embedding LIMIT 10) AS n) AS found \
    WHERE q.id % 500 = 0 AND q.id <= 10000";

#[tokio::test]
async fn vectors_and_their_index_come_back_to_the_very_transaction() {
    let world = World::start(Major::Eighteen);
    let vectors = "CREATE EXTENSION vector;
        CREATE TABLE vectors (id int PRIMARY KEY, agent text NOT NULL, embedding vector(16) NOT NULL);
        INSERT INTO vectors SELECT n, 'agent_' || n % 7,
            ARRAY(SELECT sin(n * k + k * k) FROM generate_series(1, 16) AS k)::vector FROM generate_series(1, 10000) AS n;
        CREATE INDEX vectors_nearest ON vectors USING hnsw (embedding vector_l2_ops)";
    world.server.run_script("postgres", vectors).await;
    let base = world.base().await;
    let more = |from: u32, to: u32| {
        format!(
            "INSERT INTO vectors SELECT n, 'agent_late', ARRAY(SELECT cos(n * k) FROM generate_series(1, 16) AS k)::vector \
             FROM generate_series({from}, {to}) AS n"
        )
    };
    world.named(&more(10001, 10400), "dd_point").await;
    let before = world.server.one("postgres", NEAREST).await;
    // What comes after the point would change every answer.
    world.named(&format!("DELETE FROM vectors WHERE id % 3 = 0; {}", more(20001, 20100)), "later").await;
    world.archived().await;
    assert_ne!(world.server.one("postgres", NEAREST).await, before);
    let found =
        run(&Recover, &world.drill().await, &world.with(&base, json!({ "name": "dd_point" }))).await.unwrap();
    assert_eq!(found["to"], "restore point dd_point");
    let counts = "SELECT count(*) || ' ' || max(id) || ' ' || count(*) FILTER (WHERE agent = 'agent_late') FROM vectors";
    assert_eq!(world.value(counts).await, "10400 10400 400");
    assert_eq!(world.value(NEAREST).await, before, "the index answers as it did");
    let plan =
        world.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'vectors_nearest'::regclass").await;
    assert_eq!(plan, true);
}
