//! `postgres.load`: what was dumped comes back whole or not at all, and a load that was cut goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drydock_step::test_host::{TestHost, given};
use drydock_step::{Kind, Reconciled, StepError};
use drydock_steps::postgres::count::Count;
use drydock_steps::postgres::dump::Dump;
use drydock_steps::postgres::load::Load;
use serde_json::{Value, json};

use crate::basebackup::{host, run};
use crate::dump::TABLES;
use crate::server::{BOTH, Major, Postgres};
use crate::world::database;

/// The databases of a server whose names begin so, one after the other.
async fn databases(server: &Postgres, beginning: &str) -> Value {
    let sql = format!(
        "SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_database WHERE datname LIKE '{beginning}%'"
    );
    server.one("postgres", &sql).await
}

async fn content(host: &Arc<TestHost>, name: &str) -> Value {
    run(&Count, host, &json!({ "database": name, "hash": true })).await.unwrap()
}

fn refused(outputs: Result<Value, StepError>, code: &str) -> StepError {
    let error = outputs.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    error
}

/// A host whose scratch and attempt are another's, over the same store.
async fn another(server: &Postgres, folder: &Path, attempt: &str) -> Arc<TestHost> {
    let store = host(server, folder).await.ctx(None).host.connect("backups").await.unwrap();
    let kind = Arc::new(drydock_steps::postgres::target::Postgres);
    let host = TestHost::new(folder).server("t", kind, server.settings()).target("backups", store);
    Arc::new(host.attempt(attempt))
}

#[tokio::test]
async fn what_was_dumped_comes_back_under_another_name_on_both_versions() {
    for (major, format) in BOTH.into_iter().flat_map(|major| [(major, "custom"), (major, "directory")]) {
        let name = format!("whole_{format}");
        let server = database(major, &name, TABLES).await;
        let dir = tempfile::tempdir().unwrap();
        let host = another(server, dir.path(), &format!("r1/load_{format}/1")).await;
        let with = json!({ "database": name, "to": "backups", "format": format });
        let dump = run(&Dump, &host, &with).await.unwrap();
        let drill = format!("{name}_drill");
        let with = json!({ "dump": dump, "from": "backups", "database": drill, "jobs": 2, "maintenance_work_mem": "64MiB" });
        let outputs = run(&Load, &host, &with).await.unwrap();
        assert_eq!(content(&host, &drill).await, content(&host, &name).await);
        assert_eq!(outputs["counts"], json!({ "agents.episodes": 3000, "public.parts": 500 }));
        assert_eq!((&outputs["database"], &outputs["warnings"]), (&json!(drill), &json!([])));
        assert_eq!(outputs["milestones"][0]["name"], "restored");
        assert_eq!(outputs["milestones"][1]["name"], "indexed");
        let keys =
            "SELECT count(*) FROM pg_index WHERE indisprimary AND indrelid = 'agents.episodes'::regclass";
        assert_eq!(server.one(&drill, keys).await, 1);
        let analysed = "SELECT reltuples::int FROM pg_class WHERE oid = 'agents.episodes'::regclass";
        assert_eq!(server.one(&drill, analysed).await, 3000);
        let mark = format!(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{drill}'"
        );
        assert_eq!(server.one("postgres", &mark).await, Value::Null);
        let done = Load.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert_eq!(done, Reconciled::Done(outputs));
        let error = refused(run(&Load, &host, &with).await, "postgres.exists");
        assert_eq!(error.message, format!("there is already a database {drill}, which is left as it is"));
        let found = Kind::preflight(&Load, &host.ctx(Some("t")), given(with)).await.unwrap();
        assert_eq!((found.findings.len(), found.findings[0].code.as_str()), (1, "postgres.exists"));
    }
}

#[tokio::test]
async fn a_dump_with_one_other_byte_is_refused_before_anything_is_made() {
    let server = database(Major::Fifteen, "flipped", TABLES).await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/flipped/1").await;
    let dump =
        run(&Dump, &host, &json!({ "database": "flipped", "to": "backups", "compress": "0" })).await.unwrap();
    let path = dir.path().join("store").join(dump["artifacts"][0]["path"].as_str().unwrap());
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let with = json!({ "dump": dump, "from": "backups", "database": "flipped_drill" });
    for damaged in [flipped, whole[..middle].to_vec()] {
        std::fs::write(&path, damaged).unwrap();
        let error = refused(run(&Load, &host, &with).await, "artifact.damaged");
        assert!(error.message.contains("/database.dump has sha256 "), "{error}");
        assert_eq!(databases(server, "flipped").await, "flipped");
        assert_eq!(host.notes().iter().filter(|note| note.get("restored").is_some()).count(), 0);
    }
}

#[tokio::test]
async fn rows_that_are_not_those_of_the_dump_are_never_given_the_name() {
    let server = database(Major::Fifteen, "miscounted", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/miscounted/1").await;
    let mut dump = run(&Dump, &host, &json!({ "database": "miscounted", "to": "backups" })).await.unwrap();
    dump["counts"]["public.t"] = json!(2);
    dump["counts"]["public.gone"] = json!(7);
    let with = json!({ "dump": dump, "from": "backups", "database": "miscounted_drill" });
    let error = refused(run(&Load, &host, &with).await, "postgres.counts");
    assert_eq!(
        error.message,
        "the rows are not those of the dump: public.gone is not there, the dump has 7 rows of it; public.t has 1 rows, the dump 2"
    );
    assert_eq!(databases(server, "miscounted").await, "miscounted");
}

#[tokio::test]
async fn roles_and_extensions_that_are_not_there_are_told() {
    let script = "CREATE ROLE keeper; CREATE TABLE t (n int); ALTER TABLE t OWNER TO keeper; GRANT SELECT ON t TO keeper";
    let server = database(Major::Eighteen, "owned", script).await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/owned/1").await;
    let dump = run(&Dump, &host, &json!({ "database": "owned", "to": "backups" })).await.unwrap();
    server.run_script("owned", "DROP TABLE t; DROP ROLE keeper").await;
    let with = json!({ "dump": dump, "from": "backups", "database": "owned_drill" });
    let error = refused(run(&Load, &host, &with).await, "postgres.program");
    assert!(error.message.contains("role \"keeper\" does not exist"), "{error}");
    assert!(error.help.unwrap().contains("`owners: false`"));
    let bare = json!({ "dump": dump, "from": "backups", "database": "owned_drill", "owners": false, "privileges": false });
    run(&Load, &host, &bare).await.unwrap();
    assert_eq!(
        server.one("owned_drill", "SELECT tableowner::text FROM pg_tables WHERE tablename = 't'").await,
        "postgres"
    );
    let mut other = dump.clone();
    other["extensions"] = json!([{ "name": "timetravel", "version": "9" }]);
    let with = json!({ "dump": other, "from": "backups", "database": "owned_other" });
    let found = Kind::preflight(&Load, &host.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!((found.findings.len(), found.findings[0].code.as_str()), (1, "postgres.extension"));
    let error = refused(run(&Load, &host, &with).await, "postgres.extension");
    assert_eq!(
        error.message,
        "the dump needs the extension timetravel (9), whose files are not at this server"
    );
    assert_eq!(databases(server, "owned").await, "owned owned_drill");
}

/// Vectors with an index whose building takes a while.
const VECTORS: &str = "CREATE EXTENSION vector; CREATE TABLE memories (id int PRIMARY KEY, embedding vector(32)); \
    INSERT INTO memories SELECT n, ARRAY(SELECT (hashint4(n * 32 + d) % 1000)::real FROM generate_series(1, 32) AS d)::vector \
    FROM generate_series(1, 10000) AS n; \
    CREATE INDEX memories_near ON memories USING hnsw (embedding vector_l2_ops)";

#[tokio::test]
async fn vectors_come_back_and_a_load_that_is_cut_goes_on_with_the_indexes() {
    let server = database(Major::Eighteen, "vectors", VECTORS).await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/vectors/1").await;
    let dump = run(&Dump, &host, &json!({ "database": "vectors", "to": "backups" })).await.unwrap();
    assert_eq!(dump["vectors"][0]["type"], "vector(32)");
    assert_eq!(dump["vectors"][0]["indexes"][0]["name"], "memories_near");
    let with = json!({ "dump": dump, "from": "backups", "database": "vectors_drill", "maintenance_work_mem": "1MiB", "jobs": 2 });
    let at_work = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = 'vectors_drill'";
    let mut attempt = Box::pin(run(&Load, &host, &with));
    let mut met = false;
    for _ in 0..6000 {
        let ended = tokio::time::timeout(Duration::from_millis(10), &mut attempt).await;
        assert!(ended.is_err(), "it ended without being met: {ended:?}");
        if server.one("postgres", at_work).await != 0 {
            met = true;
            break;
        }
    }
    assert!(met, "it was never seen to build an index");
    drop(attempt);
    let verdict = Load.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::Partly(json!({ "restored": "vectors_drill" })));
    let oid = "SELECT oid::int FROM pg_database WHERE datname = 'vectors_drill'";
    let before = server.one("postgres", oid).await;
    let outputs = run(&Load, &host, &with).await.unwrap();
    assert_eq!(server.one("postgres", oid).await, before, "the rows were not loaded again");
    assert_eq!(content(&host, "vectors_drill").await, content(&host, "vectors").await);
    let valid = "SELECT count(*) FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid WHERE i.relname = 'memories_near' AND x.indisvalid";
    assert_eq!(server.one("vectors_drill", valid).await, 1);
    let warnings = outputs["warnings"].to_string();
    assert!(warnings.starts_with("[\"the index memories_near of "), "{warnings}");
    assert!(warnings.contains("no longer fits into maintenance_work_mem (1 MiB)"), "{warnings}");
    assert_eq!(outputs["extensions"], dump["extensions"]);
}

#[tokio::test]
async fn a_load_that_is_cut_among_the_rows_begins_anew() {
    let rows =
        "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS x FROM generate_series(1, 60000) AS n";
    let server = database(Major::Fifteen, "half", rows).await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/half/1").await;
    let dump = run(&Dump, &host, &json!({ "database": "half", "to": "backups" })).await.unwrap();
    let with = json!({ "dump": dump, "from": "backups", "database": "half_drill" });
    let at_work = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname LIKE 'drydock\\_%'";
    let mut attempt = Box::pin(run(&Load, &host, &with));
    let mut met = false;
    for _ in 0..6000 {
        let ended = tokio::time::timeout(Duration::from_millis(5), &mut attempt).await;
        assert!(ended.is_err(), "it ended without being met: {ended:?}");
        if server.one("postgres", at_work).await != 0 {
            met = true;
            break;
        }
    }
    assert!(met, "it was never seen to copy rows");
    drop(attempt);
    assert_eq!(databases(server, "half").await, "half");
    let verdict = Load.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::NotDone);
    let outputs = run(&Load, &host, &with).await.unwrap();
    assert_eq!(outputs["counts"], json!({ "public.t": 60_000 }));
    assert_eq!(content(&host, "half_drill").await, content(&host, "half").await);
}
