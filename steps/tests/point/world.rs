//! A store with what a night's backup leaves in it: [`World`].

use std::path::PathBuf;
use std::sync::Arc;

use drydock_step::test_host::{TEST_BEGINS_MS, TestHost, execute, reconcile};
use drydock_step::{
    ArtifactStore, Connection, Ctx, Ended, Kind, Reconciled, Settings, StepError, TargetKind,
};
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::point::open::Open;
use drydock_steps::point::seal::Seal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::servers::{Sql, Vectors};

/// A folder, two servers, and an engine between them.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) store: Arc<dyn Connection>,
    pub(crate) sql: Arc<Sql>,
    pub(crate) vectors: Arc<Vectors>,
    pub(crate) host: Arc<TestHost>,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(json!({})).await
    }

    /// With these settings of the store, whose place is a folder where they name none.
    pub(crate) async fn with(mut store: Value) -> World {
        let folder = tempfile::tempdir().unwrap();
        if store.get("url").is_none() {
            store["url"] = json!(folder.path());
        }
        let values = serde_json::from_value(store).unwrap();
        let settings = Settings { values, folder: PathBuf::new(), attempt: "r1/step/1".into() };
        let store = ArtifactsTarget.connect(settings).await.unwrap();
        let (sql, vectors) = (Arc::new(Sql::default()), Arc::new(Vectors::default()));
        let host = Self::engine(&folder, &store, &sql, &vectors);
        World { folder, store, sql, vectors, host }
    }

    fn engine(
        folder: &TempDir,
        store: &Arc<dyn Connection>,
        sql: &Arc<Sql>,
        vectors: &Arc<Vectors>,
    ) -> Arc<TestHost> {
        let host = TestHost::new(folder.path()).target("backups", store.clone());
        Arc::new(host.target("sql", sql.clone()).target("vectors", vectors.clone()))
    }

    /// Another run: its notes are its own.
    pub(crate) fn forget(&mut self) {
        self.host = Self::engine(&self.folder, &self.store, &self.sql, &self.vectors);
    }

    pub(crate) fn files(&self) -> &dyn ArtifactStore {
        self.store.store().unwrap()
    }

    pub(crate) fn ctx(&self) -> Ctx {
        self.host.ctx(Some("backups"))
    }

    pub(crate) async fn outputs(&self, kind: &dyn Kind, with: Value) -> Value {
        match self.execute(kind, with).await {
            Ok(Ended::Outputs(outputs)) => outputs,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn execute(&self, kind: &dyn Kind, with: Value) -> Result<Ended, StepError> {
        execute(kind, &self.ctx(), with).await
    }

    pub(crate) async fn error(&self, kind: &dyn Kind, with: Value) -> StepError {
        self.execute(kind, with).await.unwrap_err()
    }

    pub(crate) async fn asked(&self, kind: &dyn Kind, with: Value) -> Reconciled {
        reconcile(kind, &self.ctx(), with).await.unwrap()
    }

    pub(crate) async fn put(&self, path: &str, text: &str) -> Value {
        json!(self.files().put(path, drydock_step::artifact::stream_of(text.to_owned())).await.unwrap())
    }

    pub(crate) async fn read(&self, path: &str) -> String {
        let bytes = self.files().open(path, 0).await.unwrap();
        String::from_utf8(drydock_step::artifact::bytes_of(bytes, 1 << 20).await.unwrap()).unwrap()
    }

    pub(crate) async fn backup(
        &self,
        name: &str,
        kind: &str,
        first_lsn: &str,
        last_lsn: &str,
        ended: i64,
    ) -> Value {
        let media = format!(r"D:\Backups\{name}");
        let path = format!("sql/{name}");
        self.put(&path, &format!("the bytes of {name}")).await;
        let header = json!({
            "server": "SQL01", "availability_group": null, "database": "OctopusDB", "type": kind, "copy_only": false,
            "position": 1, "backup_set_guid": name, "first_lsn": first_lsn, "last_lsn": last_lsn, "checkpoint_lsn": first_lsn,
            "database_backup_lsn": null, "differential_base_lsn": null, "first_recovery_fork_id": "fork-a",
            "recovery_fork_id": "fork-a", "started_at": at(ended - 5), "finished_at": at(ended), "media": [&media],
            "family_guid": "family-1", "has_bulk_logged_data": false, "recovery_model": "FULL", "media_count": 1,
        });
        let read =
            json!({"backup": &header, "size": 10, "has_checksums": true, "encryptor_thumbprint": null});
        self.sql.headers.lock().unwrap().insert(media.clone(), Ok(read));
        json!({
            "backup": header, "media": [media], "artifacts": [path], "size": 10, "has_checksums": true,
            "encryptor_thumbprint": null, "server": {"name": "SQL01", "version": "16.0.4135.4"}, "recovery_model": "FULL",
            "family_guid": "family-1", "recovery_fork": "fork-a",
        })
    }

    async fn snapshot(&self, collection: &str, prefix: &str) -> (Value, Value) {
        let name = format!("{collection}-1.snapshot");
        let artifact =
            self.put(&format!("{prefix}/qdrant/{name}"), &format!("the vectors of {collection}")).await;
        let mut file = json!({
            "node": "http://qdrant-0:6333", "peer_id": 1, "shards": [0], "name": name, "size": artifact["size"],
            "sha256": artifact["sha256"], "started_at": at(10), "answered_at": at(12),
        });
        let entry = |file: &Value| {
            json!({
                "collection": collection, "points": {"low": 2, "high": 3}, "params": {"shard_number": 1},
                "payload_indexes": {}, "aliases": [], "shards": [0], "transfers": 0, "snapshots": [file],
            })
        };
        let made = entry(&file);
        file["artifact"] = artifact;
        let fetched =
            json!({"key": collection, "status": "succeeded", "item": made, "outputs": entry(&file)});
        (made, fetched)
    }

    /// A night up to its seal: what `point.seal` is given.
    pub(crate) async fn night(&self) -> Value {
        let full = self.backup("full.bak", "full", "100", "200", 0).await;
        let point = self.outputs(&Open, json!({})).await;
        let prefix = point["prefix"].as_str().unwrap();
        let (a, fetched_a) = self.snapshot("agent_a", prefix).await;
        let (b, fetched_b) = self.snapshot("agent_b", prefix).await;
        let log = self.backup("log.trn", "log", "100", "300", 30).await;
        json!({
            "point": point,
            "mark": {
                "mark": point["mark"], "sent_at": at(20), "answered_at": at(21),
                "databases": {"octopus": {"database": "OctopusDB", "lsn": "250", "at": at(20)}},
                "rows": {"octopus": {"Octopus_Episodes": {"before": 7, "after": 8}}},
                "migrations": {"octopus": ["20250101000000_Initial"]},
            },
            "sqlserver": {"octopus": [full, log]},
            "qdrant": {
                "snapshot": {"version": "1.17.1", "collections": [a, b], "listed_after": ["agent_a", "agent_b"]},
                "fetched": [fetched_a, fetched_b],
            },
            "truth": "sql",
            "derived": "vectors",
        })
    }

    /// A night with a sample of the first collection, as the instance of a `foreach`.
    pub(crate) async fn with_sample(&self, mut night: Value) -> Value {
        let path = format!("{}/qdrant/agent_a.sample.json", night["point"]["prefix"].as_str().unwrap());
        let artifact = self.put(&path, "what was searched").await;
        let outputs = json!({
            "collection": "agent_a", "points": 2, "sampled": 2, "k": 10, "recall": 1.0, "artifact": artifact,
        });
        let instance = json!({"key": "agent_a", "item": {}, "status": "succeeded", "outputs": outputs});
        night["qdrant"]["samples"] = json!([instance, {"key": "agent_b", "item": {}, "status": "failed"}]);
        night
    }

    /// A sealed point; the seal's outputs.
    pub(crate) async fn point(&self) -> Value {
        let night = self.night().await;
        self.outputs(&Seal, night).await
    }
}

/// So many seconds after the test's beginning.
pub(crate) fn at(seconds: i64) -> String {
    let time = drydock_recovery::Time::from_timestamp_millis(TEST_BEGINS_MS + seconds * 1000).unwrap();
    drydock_recovery::backup::clock(time)
}
