//! `postgres.sample` and `postgres.recall`: what was found is found again, and what is lost has its name.

use std::sync::Arc;

use drydock_step::Reconciled;
use drydock_step::test_host::{TestHost, reconcile};
use drydock_steps::postgres::recall::Recall;
use drydock_steps::postgres::sample::Sample;
use serde_json::{Value, json};

use crate::basebackup::{host, run};
use crate::server::{Major, Postgres};
use crate::world::database;

/// Two columns of vectors: one with an index by cosine, and one without.
const TABLE: &str = "CREATE SCHEMA store; CREATE EXTENSION vector SCHEMA store; CREATE SCHEMA agents; SET search_path = agents, store;
    CREATE TABLE agents.\"Vectors\" (\"Id\" bigint PRIMARY KEY, embedding vector(8) NOT NULL, short halfvec(2), other int);
    INSERT INTO agents.\"Vectors\" SELECT n, ARRAY(SELECT sin(n * k + k) FROM generate_series(1, 8) AS k)::vector,
        ARRAY[cos(n), n % 5]::halfvec, n FROM generate_series(1, 600) AS n;
    CREATE INDEX nearest ON agents.\"Vectors\" USING hnsw (embedding vector_cosine_ops)";

struct World {
    server: &'static Postgres,
    name: &'static str,
    dir: tempfile::TempDir,
}

impl World {
    async fn start(name: &'static str) -> Self {
        let server = database(Major::Eighteen, name, TABLE).await;
        Self { server, name, dir: tempfile::tempdir().unwrap() }
    }

    async fn host(&self) -> Arc<TestHost> {
        host(self.server, self.dir.path()).await
    }

    fn sampling(&self, more: Value) -> Value {
        let mut with = json!({ "database": self.name, "table": "agents.\"Vectors\"", "column": "embedding", "to": "backups", "queries": 20 });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    }

    async fn recalled(&self, sample: &Value) -> Result<Value, drydock_step::StepError> {
        let with = json!({ "from": "backups", "samples": [sample], "min_recall": 0.99 });
        run(&Recall, &self.host().await, &with).await
    }
}

#[track_caller]
fn refused(found: Result<Value, drydock_step::StepError>, code: &str, words: &str) {
    let error = found.unwrap_err();
    assert!(error.code == code && error.message.contains(words), "{error}");
}

#[tokio::test]
async fn what_was_found_is_found_again_and_what_is_lost_has_its_name() {
    let world = World::start("recalled").await;
    let host = world.host().await;
    let sample = run(&Sample, &host, &world.sampling(json!({}))).await.unwrap();
    assert_eq!((&sample["sampled"], &sample["k"]), (&json!(20), &json!(10)));
    assert_eq!(sample["table"], "agents.\"Vectors\"");
    assert_eq!(sample["artifact"]["path"], "postgres/recalled/agents.%22Vectors%22@embedding.sample.json");
    let file =
        std::fs::read(world.dir.path().join("store").join(sample["artifact"]["path"].as_str().unwrap()));
    let file: Value = serde_json::from_slice(&file.unwrap()).unwrap();
    assert_eq!(
        (&file["metric"], &file["key"], &file["points"]),
        (&json!("cosine"), &json!("Id"), &json!(600))
    );
    let first = &file["queries"][0];
    assert_eq!(first["neighbours"].as_array().unwrap().len(), 11);
    // By the server's own word: the exact distance to the first neighbour but itself.
    let sql = format!(
        "SELECT (a.embedding OPERATOR(store.<=>) b.embedding)::float8 FROM agents.\"Vectors\" a, agents.\"Vectors\" b \
         WHERE a.\"Id\" = {} AND b.\"Id\" = {}",
        first["point"].as_str().unwrap(),
        first["neighbours"][1]["id"].as_str().unwrap()
    );
    let distance = world.server.one("recalled", &sql).await.as_f64().unwrap();
    assert!(
        (distance - first["neighbours"][1]["score"].as_f64().unwrap()).abs() < 1e-6,
        "{distance} {first}"
    );
    let again = world.recalled(&sample).await.unwrap();
    assert_eq!(
        (&again["agreement"], &again["queries"], &again["worst"]),
        (&json!(1.0), &json!(20), &json!([]))
    );
    assert_eq!(
        reconcile(&Sample, &host.ctx(Some("t")), world.sampling(json!({}))).await.unwrap(),
        Reconciled::Done(sample.clone())
    );
    // Another attempt, such as one that was asked for, has taken nothing yet.
    let other = Arc::new(TestHost::new(world.dir.path()).attempt("r1/step/2").noted(host.notes()));
    assert_eq!(
        reconcile(&Sample, &other.ctx(Some("t")), world.sampling(json!({}))).await.unwrap(),
        Reconciled::NotDone
    );

    // Rows that are lost.
    world.server.run_script("recalled", "DELETE FROM agents.\"Vectors\" WHERE \"Id\" % 3 = 0").await;
    let error = world.recalled(&sample).await.unwrap_err();
    assert_eq!(error.code, "postgres.recall");
    assert!(
        error
            .message
            .starts_with("of the neighbours that were stored of agents.\"Vectors\", a search finds 0."),
        "{error}"
    );
    assert!(error.message.contains(" are not there at all"), "{error}");
    assert!(
        error.help.as_ref().unwrap().starts_with("what is there is as it was, and some rows are not there"),
        "{error:?}"
    );
    // Vectors that are others.
    world.server.run_script("recalled", "UPDATE agents.\"Vectors\" SET embedding = ARRAY(SELECT cos(\"Id\" * k) FROM generate_series(1, 8) AS k)::store.vector").await;
    let error = world.recalled(&sample).await.unwrap_err();
    assert!(error.help.as_ref().unwrap().starts_with("the data are others"), "{error:?}");
}

#[tokio::test]
async fn an_index_that_finds_less_is_told_from_data_that_are_others() {
    let world = World::start("index_recalled").await;
    let sample = run(&Sample, &world.host().await, &world.sampling(json!({ "k": 45 }))).await.unwrap();
    // Lists that were made of nothing find next to nothing.
    let script = "DROP INDEX agents.nearest; SET search_path = agents, store;
        CREATE TABLE kept AS SELECT * FROM \"Vectors\"; DELETE FROM \"Vectors\";
        CREATE INDEX nearest ON \"Vectors\" USING ivfflat (embedding vector_cosine_ops) WITH (lists = 50);
        INSERT INTO \"Vectors\" SELECT * FROM kept";
    world.server.run_script("index_recalled", script).await;
    let error = world.recalled(&sample).await.unwrap_err();
    assert!(error.message.contains(", and 1 are there with the scores"), "{error}");
    assert!(
        error.help.as_ref().unwrap().starts_with("the data are the same, and the index finds less"),
        "{error:?}"
    );
    world.server.run_script("index_recalled", "DROP INDEX agents.nearest").await;
    assert_eq!(
        world.recalled(&sample).await.unwrap()["recall"],
        1.0,
        "without an index all rows are compared"
    );
}

#[tokio::test]
async fn a_table_that_cannot_be_meant_is_refused() {
    let world = World::start("sample_refused").await;
    world
        .server
        .run_script(
            "sample_refused",
            "CREATE TABLE agents.plain (id int); CREATE TABLE agents.keyless (v store.vector(2))",
        )
        .await;
    let sampled = async |more: Value| {
        let mut with = world.sampling(more);
        if with["column"] == "none" {
            with["column"] = Value::Null;
        }
        run(&Sample, &world.host().await, &with).await
    };
    for (more, words) in [
        (
            json!({ "table": "agents.vectors" }),
            "there is no table agents.vectors, or it has no column of vectors",
        ),
        (json!({ "table": "agents.plain" }), "or it has no column of vectors"),
        (json!({ "column": "none" }), "has several columns of vectors: embedding, short"),
        (json!({ "column": "other" }), "has no column of vectors other; it has embedding, short"),
        (
            json!({ "table": "agents.keyless", "column": "none" }),
            "agents.keyless has no primary key of one column",
        ),
        (json!({ "k": 0 }), "`k` is 0, and must be 1 to 999"),
        (json!({ "queries": 1000 }), "`queries` is 1000, and must be 1 to 999"),
    ] {
        refused(sampled(more).await, "input", words);
    }
    let by_hand =
        sampled(json!({ "column": "short", "key": "other", "metric": "l1", "k": 3 })).await.unwrap();
    assert_eq!((&by_hand["column"], &by_hand["recall"]), (&json!("short"), &json!(1.0)));
    assert_eq!(world.recalled(&by_hand).await.unwrap()["agreement"], 1.0);
    let path = world.dir.path().join("store").join(by_hand["artifact"]["path"].as_str().unwrap());
    std::fs::write(&path, "{}").unwrap();
    refused(world.recalled(&by_hand).await, "artifact.damaged", "is now 2 bytes");
}
