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
use crate::server::{BOTH, Major, Options, Postgres};
use crate::small_disk::SmallDisk;
use crate::world::database;

/// The databases of a server whose names begin so, one after the other.
async fn databases(server: &Postgres, beginning: &str) -> Value {
    let sql = format!(
        "SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_database WHERE datname LIKE '{beginning}%'"
    );
    server.one("postgres", &sql).await
}

/// What a preflight finds: the codes, and whether they stop the run.
async fn told(host: &Arc<TestHost>, with: &Value) -> Vec<(String, bool)> {
    let found = Kind::preflight(&Load, &host.ctx(Some("t")), given(with.clone())).await.unwrap();
    found.findings.into_iter().map(|one| (one.code, one.fatal)).collect()
}

/// A dump, by a step of its own.
async fn dumped(server: &Postgres, folder: &Path, name: &str) -> Value {
    let host = another(server, folder, "r1/dump/1").await;
    run(&Dump, &host, &json!({ "database": name, "to": "backups" })).await.unwrap()
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

/// An attempt that is dropped while the server builds an index of the database that it loads.
async fn lost_while_it_builds_an_index(
    server: &Postgres,
    host: &Arc<TestHost>,
    with: &Value,
    database: &str,
) {
    let at_work = format!("SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = '{database}'");
    let mut attempt = Box::pin(run(&Load, host, with));
    for _ in 0..6000 {
        let ended = tokio::time::timeout(Duration::from_millis(5), &mut attempt).await;
        assert!(ended.is_err(), "it ended without being met: {ended:?}");
        if server.one("postgres", &at_work).await != 0 {
            return;
        }
    }
    panic!("it was never seen to build an index");
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
        assert_eq!(
            told(&host, &with).await,
            [("postgres.space".into(), false), ("postgres.exists".into(), true)]
        );
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
    let error = refused(run(&Load, &host, &with).await, "postgres.globals");
    assert_eq!(error.message, "the dump needs what the server lacks: roles keeper");
    assert!(error.help.unwrap().contains("`owners: false`"));
    assert!(told(&host, &with).await.contains(&("postgres.globals".into(), true)));
    let blind = json!({ "dump": dump, "from": "backups", "database": "owned_drill", "globals": "ignore" });
    let error = refused(run(&Load, &host, &blind).await, "postgres.program");
    assert!(error.message.contains("role \"keeper\" does not exist"), "{error}");
    assert!(error.help.unwrap().contains("`owners: false`"));
    let untold = json!({ "dump": dump, "from": "backups", "database": "owned_drill", "globals": "apply" });
    let error = refused(run(&Load, &host, &untold).await, "postgres.globals");
    assert!(error.message.ends_with("it was taken without `globals`"), "{error}");
    let bare = json!({ "dump": dump, "from": "backups", "database": "owned_drill", "owners": false, "privileges": false });
    run(&Load, &host, &bare).await.unwrap();
    assert_eq!(
        server.one("owned_drill", "SELECT tableowner::text FROM pg_tables WHERE tablename = 't'").await,
        "postgres"
    );
    let mut other = dump.clone();
    other["extensions"] = json!([{ "name": "timetravel", "version": "9" }]);
    other["needs"] = json!({ "owners": [], "grantees": [], "tablespaces": [] });
    let with = json!({ "dump": other, "from": "backups", "database": "owned_other" });
    assert_eq!(
        told(&host, &with).await,
        [("postgres.space".into(), false), ("postgres.extension".into(), true)]
    );
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
    let dump = dumped(server, dir.path(), "vectors").await;
    assert_eq!(dump["vectors"][0]["type"], "vector(32)");
    assert_eq!(dump["vectors"][0]["indexes"][0]["name"], "memories_near");
    let with = json!({ "dump": dump, "from": "backups", "database": "vectors_drill", "maintenance_work_mem": "1MiB", "jobs": 2 });
    lost_while_it_builds_an_index(server, &host, &with, "vectors_drill").await;
    let verdict = Load.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::Partly(json!({ "restored": "vectors_drill" })));
    let oid = "SELECT oid::int FROM pg_database WHERE datname = 'vectors_drill'";
    let before = server.one("postgres", oid).await;
    // What the lost attempt had already built is kept, and what is broken goes first.
    let ended = "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity WHERE datname = 'vectors_drill'";
    server.run_script("postgres", ended).await;
    let key = "SELECT coalesce(max(oid::int), 0) FROM pg_class WHERE relname = 'memories_pkey'";
    if server.one("vectors_drill", key).await == 0 {
        server
            .run_script("vectors_drill", "ALTER TABLE memories ADD CONSTRAINT memories_pkey PRIMARY KEY (id)")
            .await;
    }
    let kept = server.one("vectors_drill", key).await;
    let broken = "CREATE INDEX memories_near ON memories (id); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'memories_near'::regclass";
    server.run_script("vectors_drill", broken).await;
    let outputs = run(&Load, &host, &with).await.unwrap();
    assert_eq!(server.one("postgres", oid).await, before, "the rows were not loaded again");
    assert_eq!(server.one("vectors_drill", key).await, kept, "the key was not built again");
    assert_eq!(content(&host, "vectors_drill").await, content(&host, "vectors").await);
    let valid = "SELECT count(*) FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid WHERE i.relname = 'memories_near' AND x.indisvalid AND i.relam = (SELECT oid FROM pg_am WHERE amname = 'hnsw')";
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
    let dump = dumped(server, dir.path(), "half").await;
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

#[tokio::test]
async fn a_dump_is_known_by_its_place_in_the_store_alone() {
    let server = database(Major::Eighteen, "placed", TABLES).await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/placed/1").await;
    for label in ["one", "two"] {
        run(&Dump, &host, &json!({ "database": "placed", "to": "backups", "prefix": "pg", "label": label }))
            .await
            .unwrap();
    }
    let with = |place: &str| json!({ "dump": place, "from": "backups", "database": "placed_drill" });
    let outputs = run(&Load, &host, &with("pg/one/")).await.unwrap();
    assert_eq!(outputs["counts"], json!({ "agents.episodes": 3000, "public.parts": 500 }));
    assert_eq!(content(&host, "placed_drill").await, content(&host, "placed").await);
    server.run_script("postgres", "DROP DATABASE placed_drill").await;
    let entry = |label: &str| dir.path().join(format!("store/pg/{label}/backup.json"));
    let whole = std::fs::read_to_string(entry("one")).unwrap();
    let check = async |place: &str, code: &str, words: &str| {
        let error = refused(run(&Load, &host, &with(place)).await, code);
        assert!(error.message.contains(words) && error.help.is_some(), "{error}");
        assert_eq!(told(&host, &with(place)).await, [(code.to_owned(), code == "postgres.dump_entry")]);
    };
    check("pg", "postgres.dump_unfinished", "no dump in pg itself, but below it: pg/two, pg/one").await;
    check("pg/three", "postgres.dump_unfinished", "there is no dump in pg/three").await;
    std::fs::write(entry("one"), whole.replace("\"agents.episodes\": 3000", "\"agents.episodes\": 3"))
        .unwrap();
    check("pg/one", "postgres.dump_entry", "pg/one/backup.json was changed after it was written").await;
    std::fs::copy(entry("two"), entry("one")).unwrap();
    check("pg/one", "postgres.dump_entry", "of a dump that lies elsewhere: it names pg/two/database.dump")
        .await;
    std::fs::remove_file(entry("one")).unwrap();
    check("pg/one", "postgres.dump_unfinished", "the dump in pg/one was not finished: 1 files lie there")
        .await;
    assert_eq!(databases(server, "placed").await, "placed");
    // What stands in the file is also what a plan may hand on by itself.
    let two: Value = serde_json::from_str(&std::fs::read_to_string(entry("two")).unwrap()).unwrap();
    run(&Load, &host, &json!({ "dump": two, "from": "backups", "database": "placed_drill" })).await.unwrap();
}

#[tokio::test]
async fn a_load_that_is_asked_for_again_is_not_taken_for_the_one_before() {
    let server = database(Major::Fifteen, "again", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let first = another(server, dir.path(), "r1/again/1").await;
    let dump = run(&Dump, &first, &json!({ "database": "again", "to": "backups" })).await.unwrap();
    let with = json!({ "dump": dump, "from": "backups", "database": "again_drill", "replace": true });
    let outputs = run(&Load, &first, &with).await.unwrap();
    server.run_script("again_drill", "INSERT INTO t VALUES (2)").await;
    let store = first.ctx(None).host.connect("backups").await.unwrap();
    let kind = Arc::new(drydock_steps::postgres::target::Postgres);
    let second = TestHost::new(dir.path()).server("t", kind, server.settings()).target("backups", store);
    let second = Arc::new(second.attempt("r1/again/2").noted(first.notes()));
    let verdict = Load.reconcile(&second.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::NotDone);
    let again = run(&Load, &second, &with).await.unwrap();
    assert_eq!(server.one("again_drill", "SELECT count(*) FROM t").await, 1);
    assert_ne!(again["restored_at"], outputs["restored_at"]);
    let verdict = Load.reconcile(&second.ctx(Some("t")), given(with)).await.unwrap();
    assert_eq!(verdict, Reconciled::Done(again));
    assert_eq!(databases(server, "again").await, "again again_drill");
}

/// A database that is to be replaced, with all that no dump has of it.
const REPLACED: &str = "CREATE TABLE precious AS SELECT 7 AS n; CREATE ROLE lodger; CREATE ROLE landlord; \
    ALTER DATABASE held OWNER TO landlord; REVOKE ALL ON DATABASE held FROM PUBLIC; GRANT CONNECT, TEMPORARY ON DATABASE held TO lodger WITH GRANT OPTION; \
    ALTER DATABASE held CONNECTION LIMIT 17; ALTER DATABASE held SET search_path TO \"$user\", \"it's, so\"; \
    ALTER ROLE lodger IN DATABASE held SET work_mem TO '5MB'; COMMENT ON DATABASE held IS 'what it''s for'";

/// What no dump has of a database.
async fn surroundings(server: &Postgres, name: &str) -> Value {
    let sql = format!(
        "SELECT concat_ws(' | ', pg_get_userbyid(datdba), datconnlimit, (SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(datacl) AS x), \
         shobj_description(d.oid, 'pg_database'), (SELECT string_agg(coalesce(setrole::regrole::text, '') || setconfig::text, ',' ORDER BY setrole) \
         FROM pg_db_role_setting WHERE setdatabase = d.oid)) FROM pg_database AS d WHERE datname = '{name}'"
    );
    server.one("postgres", &sql).await
}

async fn client(server: &Postgres, database: &str) -> tokio_postgres::Client {
    let config = format!(
        "host=127.0.0.1 port={} user=postgres password='{}' dbname={database} application_name=shop",
        server.port,
        crate::server::PASSWORD.replace('\\', "\\\\").replace('\'', "\\'")
    );
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_database_is_replaced_in_one_moment_and_keeps_what_no_dump_has_of_it() {
    for major in BOTH {
        let server = &Postgres::start(major, Options::default());
        server.run_script("postgres", "CREATE DATABASE fresh").await;
        server.run_script("fresh", TABLES).await;
        server.run_script("postgres", "CREATE DATABASE held").await;
        server.run_script("held", REPLACED).await;
        let before = surroundings(server, "held").await;
        let dir = tempfile::tempdir().unwrap();
        let host = another(server, dir.path(), "r1/replace/1").await;
        let dump = run(&Dump, &host, &json!({ "database": "fresh", "to": "backups" })).await.unwrap();
        let with = |more: Value| {
            let mut with = json!({ "dump": dump, "from": "backups", "database": "held" });
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            with
        };
        refused(run(&Load, &host, &with(json!({}))).await, "postgres.exists");
        let shop = client(server, "held").await;
        let error = refused(run(&Load, &host, &with(json!({ "replace": true }))).await, "postgres.in_use");
        let words = "1 other sessions are in the database held, which is to be replaced: postgres (shop)";
        assert_eq!(error.message, words);
        // Rows that are not those of the dump leave what is there alone, and whoever is in it.
        let mut wrong = dump.clone();
        wrong["counts"]["public.parts"] = json!(1);
        let with_wrong = with(json!({ "dump": wrong, "replace": true, "end_sessions": true }));
        refused(run(&Load, &host, &with_wrong).await, "postgres.counts");
        assert_eq!(shop.query_one("SELECT n FROM public.precious", &[]).await.unwrap().get::<_, i32>(0), 7);
        assert_eq!(databases(server, "").await, "fresh held postgres template0 template1");
        let outputs =
            run(&Load, &host, &with(json!({ "replace": true, "end_sessions": true }))).await.unwrap();
        assert_eq!(outputs["database"], "held");
        assert!(shop.query_one("SELECT 1", &[]).await.is_err(), "its session was ended");
        assert_eq!(content(&host, "held").await, content(&host, "fresh").await);
        assert_eq!(surroundings(server, "held").await, before);
        assert_eq!(databases(server, "").await, "fresh held postgres template0 template1");
        let settings = server.settings_with(json!({ "database": "held" }));
        let store = host.ctx(None).host.connect("backups").await.unwrap();
        let kind = Arc::new(drydock_steps::postgres::target::Postgres);
        let inside = Arc::new(TestHost::new(dir.path()).server("t", kind, settings).target("backups", store));
        let error = refused(run(&Load, &inside, &with(json!({ "replace": true }))).await, "postgres.in_use");
        assert!(error.message.starts_with("the target itself connects to the database held"), "{error}");
    }
}

#[tokio::test]
async fn an_empty_database_is_filled_and_one_with_anything_in_it_is_not() {
    let server = database(Major::Fifteen, "source", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/empty/1").await;
    let dump = run(&Dump, &host, &json!({ "database": "source", "to": "backups" })).await.unwrap();
    let with = json!({ "dump": dump, "from": "backups", "database": "hollow" });
    database(
        Major::Fifteen,
        "hollow",
        "ALTER DATABASE hollow SET work_mem TO '5MB'; CREATE EXTENSION pg_trgm",
    )
    .await;
    let before = surroundings(server, "hollow").await;
    for (made, gone) in [
        ("CREATE SCHEMA s", "DROP SCHEMA s"),
        ("CREATE TYPE mood AS ENUM ('ok')", "DROP TYPE mood"),
        ("CREATE SEQUENCE q", "DROP SEQUENCE q"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f"),
    ] {
        server.run_script("hollow", made).await;
        refused(run(&Load, &host, &with).await, "postgres.exists");
        server.run_script("hollow", gone).await;
    }
    assert_eq!(told(&host, &with).await, [("postgres.space".to_owned(), false)]);
    run(&Load, &host, &with).await.unwrap();
    assert_eq!(server.one("hollow", "SELECT n FROM t").await, 1);
    assert_eq!(surroundings(server, "hollow").await, before);
    assert_eq!(databases(server, "drydock").await, "");
}

#[tokio::test]
async fn a_replacing_load_that_is_cut_after_the_change_of_names_goes_on_and_then_drops_the_old_one() {
    let rows = "CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 400000) AS n; CREATE INDEX t_x ON t (x, n); \
        CREATE INDEX t_y ON t ((x || 'y'), n); CREATE INDEX t_z ON t ((x || 'z'), n)";
    let server = database(Major::Fifteen, "swapped", rows).await;
    database(Major::Fifteen, "swapped_old", "CREATE TABLE precious AS SELECT 7 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/swapped/1").await;
    let dump = dumped(server, dir.path(), "swapped").await;
    let with = json!({ "dump": dump, "from": "backups", "database": "swapped_old", "replace": true });
    lost_while_it_builds_an_index(server, &host, &with, "swapped_old").await;
    let aside = databases(server, "drydock").await;
    let aside = aside.as_str().unwrap().split(' ').find(|name| name.ends_with("_old")).unwrap().to_owned();
    assert_eq!(server.one(&aside, "SELECT n FROM precious").await, 7, "nothing of it is lost before the end");
    let verdict = Load.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::Partly(json!({ "restored": "swapped_old" })));
    run(&Load, &host, &with).await.unwrap();
    assert_eq!(
        server
            .one("swapped_old", "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid")
            .await,
        3
    );
    assert!(!databases(server, "drydock").await.as_str().unwrap().contains(&aside));
    assert_eq!(surroundings(server, "swapped_old").await, surroundings(server, "swapped").await);
}

#[tokio::test]
async fn roles_and_tablespaces_that_the_server_lacks_are_made_as_the_dump_tells_them() {
    let source = Postgres::start(Major::Eighteen, Options { own: true, ..Options::default() });
    let target = Postgres::start(Major::Eighteen, Options { own: true, ..Options::default() });
    let space = source.dir().join("fast");
    std::fs::create_dir(&space).unwrap();
    std::os::unix::fs::chown(&space, Some(owner_of(&source)), None).unwrap();
    source.run_script("postgres", &format!("CREATE TABLESPACE fast LOCATION '{}'", space.display())).await;
    let script = "CREATE ROLE \"Keeper; \"\"x\" LOGIN CREATEDB PASSWORD 'lock'; CREATE ROLE readers; CREATE ROLE visitor IN ROLE readers; CREATE ROLE nobody; \
        CREATE TABLE t (n int) TABLESPACE fast; ALTER TABLE t OWNER TO \"Keeper; \"\"x\"; GRANT SELECT ON t TO visitor; INSERT INTO t VALUES (1)";
    source.run_script("postgres", "CREATE DATABASE moved").await;
    source.run_script("moved", script).await;
    target.run_script("postgres", "CREATE ROLE readers NOINHERIT").await;
    let dir = tempfile::tempdir().unwrap();
    let with = json!({ "database": "moved", "to": "backups", "globals": "no_passwords" });
    let dump = run(&Dump, &host(&source, dir.path()).await, &with).await.unwrap();
    assert_eq!(dump["needs"]["owners"], json!(["Keeper; \"x"]));
    assert_eq!(
        (&dump["needs"]["grantees"], &dump["needs"]["tablespaces"]),
        (&json!(["visitor"]), &json!(["fast"]))
    );
    // The place of a tablespace must be there and empty: the source's goes.
    drop(source);
    std::fs::create_dir_all(&space).unwrap();
    std::os::unix::fs::chown(&space, Some(owner_of(&target)), None).unwrap();
    let host = another(&target, dir.path(), "r1/moved/1").await;
    let with =
        |globals: &str| json!({ "dump": dump, "from": "backups", "database": "moved", "globals": globals });
    let error = refused(run(&Load, &host, &with("check")).await, "postgres.globals");
    let words = "the dump needs what the server lacks: roles Keeper; \"x, visitor and tablespaces fast";
    assert_eq!(error.message, words);
    assert_eq!(databases(&target, "").await, "postgres template0 template1");
    run(&Load, &host, &with("apply")).await.unwrap();
    let made = "SELECT concat_ws(' ', (SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'), \
        (SELECT rolcreatedb AND rolpassword IS NULL FROM pg_authid WHERE rolname ~ '^Keeper'), pg_has_role('visitor', 'readers', 'MEMBER'), \
        (SELECT rolinherit FROM pg_roles WHERE rolname = 'readers'))";
    assert_eq!(target.one("moved", made).await, "Keeper; \"x,postgres,readers,visitor t t f");
    let put = "SELECT tableowner || ' ' || tablespace FROM pg_tables WHERE tablename = 't'";
    assert_eq!(target.one("moved", put).await, "Keeper; \"x fast");
    drop(target);
    std::fs::remove_dir_all(space.parent().unwrap()).unwrap();
}

/// Whom a server's files belong to.
fn owner_of(server: &Postgres) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(server.data()).unwrap())
}

#[tokio::test]
async fn a_server_that_is_older_than_the_dump_is_refused_with_both_versions() {
    let server = database(Major::Eighteen, "newer", "CREATE TABLE t AS SELECT 1 AS n").await;
    let dir = tempfile::tempdir().unwrap();
    let dump = run(&Dump, &host(server, dir.path()).await, &json!({ "database": "newer", "to": "backups" }))
        .await
        .unwrap();
    let old = database(Major::Fifteen, "older", "").await;
    let host = another(old, dir.path(), "r1/newer/1").await;
    let with = json!({ "dump": dump, "from": "backups", "database": "newer_drill" });
    let error = refused(run(&Load, &host, &with).await, "postgres.version");
    assert!(error.message.starts_with("the dump is of a server of version 18."), "{error}");
    assert!(error.message.contains(", and this one is 15."), "{error}");
    assert_eq!(error.help.as_deref(), Some("load it into a server of version 18 or later"));
    assert!(told(&host, &with).await.contains(&("postgres.version".into(), true)));
    assert_eq!(databases(old, "newer").await, "");
}

#[tokio::test]
async fn a_server_whose_volume_is_full_is_told_so_and_keeps_nothing_half_loaded() {
    let rows =
        "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS x FROM generate_series(1, 60000) AS n";
    let server = &Postgres::start(Major::Fifteen, Options::default());
    server.run_script("postgres", "CREATE DATABASE large").await;
    server.run_script("large", rows).await;
    let Some(disk) = SmallDisk::of(40) else { return };
    let space = disk.path().join("space");
    std::fs::create_dir(&space).unwrap();
    std::os::unix::fs::chown(&space, Some(owner_of(server)), None).unwrap();
    server.run_script("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", space.display())).await;
    server.run_script("postgres", "CREATE DATABASE pattern TEMPLATE template0 TABLESPACE small").await;
    let dir = tempfile::tempdir().unwrap();
    let host = another(server, dir.path(), "r1/full/1").await;
    let dump = run(&Dump, &host, &json!({ "database": "large", "to": "backups" })).await.unwrap();
    let with = json!({ "dump": dump, "from": "backups", "database": "full_drill", "template": "pattern" });
    let error = refused(run(&Load, &host, &with).await, "postgres.space");
    assert!(error.message.contains("No space left on device"), "{error}");
    assert!(error.help.unwrap().starts_with("free space on the server's volume"));
    assert_eq!(databases(server, "drydock").await, "");
    assert_eq!(databases(server, "full").await, "");
    disk.grow(400);
    let outputs = run(&Load, &host, &with).await.unwrap();
    assert_eq!(outputs["counts"], json!({ "public.t": 60_000 }));
    server.run_script("postgres", "DROP DATABASE full_drill").await;
    server.run_script("postgres", "DROP DATABASE pattern").await;
}
