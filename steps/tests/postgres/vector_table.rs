//! `point.reconcile` on a table of vectors: the rows of each agent are its collection.

use std::sync::Arc;

use drydock_step::test_host::{TestHost, execute};
use drydock_step::{Ended, Kind, Settings, StepError, TargetKind};
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::point::reconcile::Reconcile;
use drydock_steps::postgres::target::Postgres as Target;
use serde_json::{Value, json};

use crate::server::{BOTH, Postgres};
use crate::world::database;

/// Agents a and b; vectors also of c. Document 2 of a is gone, document 3 of b has another version, document 4 of b has no vectors.
const TABLES: &str = "CREATE TABLE agents (id text); INSERT INTO agents VALUES ('a'), ('b'); \
    CREATE TABLE documents (id int, agent_id text, version int); \
    INSERT INTO documents VALUES (1, 'a', 1), (3, 'b', 2), (4, 'b', 1); \
    CREATE SCHEMA octopus; \
    CREATE TABLE octopus.\"Vectors\" (key bigint PRIMARY KEY, of text, document int, version int, embedding float8[], note text); \
    INSERT INTO octopus.\"Vectors\" SELECT n, 'a', 1, 1, ARRAY[n, 0.5], 'it''s' FROM generate_series(1, 2300) AS n; \
    INSERT INTO octopus.\"Vectors\" SELECT n, 'a', 2, 1, ARRAY[n], NULL FROM generate_series(3001, 4200) AS n; \
    INSERT INTO octopus.\"Vectors\" VALUES (5001, 'b', 3, 1, '{1}', 'old'), (6001, 'c', 9, 1, '{2}', 'whose'), (6002, 'c', 9, 1, '{3}', NULL)";

/// What it gives on a database, and the store beside it.
async fn reconciled(
    server: &Postgres,
    name: &str,
    store: &std::path::Path,
    more: Value,
) -> Result<Value, StepError> {
    let values = serde_json::from_value(json!({ "url": store })).unwrap();
    let settings = Settings { values, folder: store.into(), attempt: "r1/step/1".into() };
    let backups = ArtifactsTarget.connect(settings).await.unwrap();
    let host =
        TestHost::new(store).target("backups", backups).server("t", Arc::new(Target), server.settings());
    let mut with = json!({
        "truth": "t", "derived": "t", "database": name, "agents": "SELECT id FROM agents",
        "documents": "SELECT id, agent_id AS agentid, version FROM documents",
        "table": { "database": name, "table": "octopus.Vectors", "id": "key", "agent": "of" },
        "fields": { "document": "document" },
    });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let kind: &dyn Kind = &Reconcile;
    match execute(kind, &Arc::new(host).ctx(Some("backups")), with).await? {
        Ended::Outputs(outputs) => Ok(outputs),
        Ended::Waits(message) => panic!("it waits: {message}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_document_or_agent_are_found_kept_and_taken_out() {
    for major in BOTH {
        let name = "reconciled";
        let server = database(major, name, TABLES).await;
        let dir = tempfile::tempdir().unwrap();
        let found = reconciled(server, name, dir.path(), json!({ "on_orphans": "list" })).await.unwrap();
        assert_eq!(
            found["counts"],
            json!({ "orphans": 1202, "missing": 1, "missing_collections": 0, "stale": 1 })
        );
        assert_eq!(found["missing"][0]["ids"], json!(["4"]));
        assert_eq!(found["stale"][0]["ids"], json!([{ "id": "3", "vectors": "1", "truth": "2" }]));
        let more = json!({ "on_orphans": "quarantine", "on_stale": "delete" });
        let mended = reconciled(server, name, dir.path(), more).await.unwrap();
        assert_eq!(mended["deleted"], 1203);
        let text = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(text("quarantine/r1/agent_a.jsonl").lines().count(), 1200);
        let rows: Vec<Value> = text("quarantine/r1/agent_c/rows.jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let first =
            json!({ "key": 6001, "of": "c", "document": 9, "version": 1, "embedding": [2], "note": "whose" });
        assert_eq!((rows.len(), &rows[0]), (2, &first));
        assert_eq!(mended["orphans"][1]["artifacts"], json!(["quarantine/r1/agent_c/rows.jsonl"]));
        let left = reconciled(server, name, dir.path(), json!({ "on_orphans": "fail" })).await.unwrap();
        assert_eq!((&left["points"], &left["counts"]["orphans"]), (&json!(2300), &json!(0)));
        std::fs::write(dir.path().join("erasures.txt"), "document 1\n").unwrap();
        let erase = json!({ "agent": [], "document": ["DELETE FROM documents WHERE id::text = {id}"] });
        let more = json!({ "erasures": "erasures.txt", "erase": erase });
        let erased = reconciled(server, name, dir.path(), more).await.unwrap();
        assert_eq!(erased["erased"], json!({ "agents": [], "documents": ["1"], "points": 2300 }));
        assert_eq!(erased["points"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_or_column_that_is_not_there_is_named() {
    for major in BOTH {
        let name = "unreconciled";
        let server = database(major, name, TABLES).await;
        let dir = tempfile::tempdir().unwrap();
        let refused = async |table: Value, words: &str| {
            let error = reconciled(server, name, dir.path(), json!({ "table": table })).await.unwrap_err();
            assert!(error.code == "postgres.table" && error.message == words, "{error}");
        };
        let table =
            |table: &str, id: &str| json!({ "database": name, "table": table, "id": id, "agent": "of" });
        refused(table("vectors", "key"), "there is no table vectors in unreconciled").await;
        refused(table("octopus.Vectors", "id"), "table octopus.Vectors has no column id").await;
        let error = reconciled(server, name, dir.path(), json!({ "table": null })).await.unwrap_err();
        assert_eq!(error.code, "point.derived");
        assert!(error.help.unwrap().contains("name the table"));
    }
}
