//! What Qdrant answers, as far as it is read. Fields that are not named here are passed over.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use drydock_recovery::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The envelope of every answer in JSON but that of `GET /`.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) result: T,
}

/// `GET /`.
#[derive(Debug, Deserialize)]
pub(super) struct About {
    pub(super) version: String,
}

/// `GET /cluster`.
#[derive(Debug, Deserialize)]
pub(super) struct Cluster {
    /// `enabled` or `disabled`; the rest is there only when it is enabled.
    pub(super) status: String,
    pub(super) peer_id: Option<u64>,
    #[serde(default)]
    pub(super) peers: BTreeMap<String, Peer>,
    raft_info: Option<Raft>,
    consensus_thread_status: Option<Consensus>,
}

/// How a node stands in the cluster's agreement.
#[derive(Debug, Deserialize)]
struct Raft {
    leader: Option<u64>,
}

/// Whether a node takes part in it.
#[derive(Debug, Deserialize)]
struct Consensus {
    /// `working`, `stopped` or `stopped_with_err`.
    consensus_thread_status: String,
    err: Option<String>,
}

impl Cluster {
    /// What is wrong with its agreement, in words that follow the node's name.
    pub(super) fn ails(&self) -> Option<String> {
        if let Some(Consensus { consensus_thread_status: status, err }) = &self.consensus_thread_status
            && status != "working"
        {
            let why = err.as_ref().map_or(String::new(), |why| format!(": {why}"));
            return Some(format!("takes no part in the cluster's agreement any more ({status}{why})"));
        }
        match &self.raft_info {
            Some(Raft { leader: None }) => Some("knows no leader of its cluster".into()),
            _ => None,
        }
    }
}

/// A peer, with the address that peers speak to each other over.
#[derive(Debug, Deserialize)]
pub(super) struct Peer {
    pub(super) uri: String,
}

/// `GET /collections`.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    pub(super) collections: Vec<Named>,
}

/// A collection in a [`Listing`].
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// `GET /aliases`.
#[derive(Debug, Deserialize)]
pub(super) struct Aliases {
    pub(super) aliases: Vec<Alias>,
}

/// A second name of a collection.
#[derive(Debug, Deserialize)]
pub(super) struct Alias {
    pub(super) alias_name: String,
    pub(super) collection_name: String,
}

/// `GET /collections/{name}`.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    /// `green`, `yellow` (also while a snapshot runs), `grey` (nothing was optimised since the start) or `red`.
    pub(super) status: String,
    /// What the collection is configured to be; its `params` decide where points lie.
    pub(super) config: Value,
    #[serde(default)]
    pub(super) payload_schema: Map<String, Value>,
    #[serde(default)]
    pub(super) update_queue: Queue,
    #[serde(default)]
    optimizer_status: Value,
}

impl Info {
    /// Why the optimizer has failed, if it has.
    pub(super) fn optimizer_error(&self) -> Option<&str> {
        self.optimizer_status.get("error").and_then(Value::as_str)
    }
}

/// Updates that were accepted and not yet applied; servers before 1.17 do not tell.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Queue {
    #[serde(default)]
    pub(super) length: u64,
}

/// `GET /collections/{name}/cluster`: where the shards are, as one node sees it.
#[derive(Debug, Deserialize)]
pub(super) struct Placement {
    pub(super) peer_id: u64,
    pub(super) shard_count: usize,
    pub(super) local_shards: Vec<LocalShard>,
    pub(super) remote_shards: Vec<RemoteShard>,
    pub(super) shard_transfers: Vec<Value>,
}

/// A shard on the node that was asked.
#[derive(Debug, Deserialize)]
pub(super) struct LocalShard {
    pub(super) shard_id: u32,
    /// About so many.
    pub(super) points_count: u64,
    pub(super) state: String,
    /// Where the collection has shard keys of its own.
    #[serde(default)]
    pub(super) shard_key: Option<Value>,
}

/// A shard on another node.
#[derive(Debug, Deserialize)]
pub(super) struct RemoteShard {
    pub(super) shard_id: u32,
    #[serde(default)]
    pub(super) shard_key: Option<Value>,
}

/// A snapshot as it is listed, and as its making answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) size: u64,
    /// Absent for uploaded files, and on servers that keep snapshots in S3.
    #[serde(default)]
    pub(super) checksum: Option<String>,
    /// UTC without a zone, `2026-11-22T06:46:31`.
    #[serde(default)]
    pub(super) creation_time: Option<String>,
}

impl Description {
    /// When it was made, by the server's clock.
    pub(super) fn created_at(&self) -> Option<Time> {
        let text = self.creation_time.as_deref()?;
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc())
    }
}

/// `POST …/points/count`.
#[derive(Debug, Deserialize)]
pub(super) struct Count {
    pub(super) count: u64,
}

/// `POST …/points/scroll`.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) points: Vec<Record>,
    /// The id that the next page begins with.
    pub(super) next_page_offset: Option<Value>,
}

/// A point in a [`Page`].
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) id: Value,
    #[serde(default)]
    pub(super) payload: Option<Map<String, Value>>,
    /// Its vector, or by their names its vectors, where they were asked for.
    #[serde(default)]
    pub(super) vector: Option<Value>,
}

/// `POST …/points/query`.
#[derive(Debug, Deserialize)]
pub(super) struct Hits {
    pub(super) points: Vec<Hit>,
}

/// A point that a query found.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hit {
    pub(super) id: Value,
    pub(super) score: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<Map<String, Value>>,
}

/// `GET /telemetry`, the part about snapshots.
#[derive(Debug, Deserialize)]
pub(super) struct Telemetry {
    pub(super) collections: CollectionsTelemetry,
}

/// What collections are busy with.
#[derive(Debug, Deserialize)]
pub(super) struct CollectionsTelemetry {
    #[serde(default)]
    pub(super) snapshots: Vec<Activity>,
}

/// What one collection is busy with on the node that was asked.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Activity {
    /// The collection's name.
    pub(super) id: String,
    #[serde(default)]
    running_snapshots: Value,
    #[serde(default)]
    running_snapshot_recovery: Value,
}

impl Activity {
    /// Whether a snapshot of it is being made.
    pub(super) fn makes_snapshot(&self) -> bool {
        goes_on(&self.running_snapshots)
    }

    /// Whether it is being recovered.
    pub(super) fn recovers(&self) -> bool {
        goes_on(&self.running_snapshot_recovery)
    }
}

/// Whether a count of what runs is more than none, or a flag is set.
fn goes_on(value: &Value) -> bool {
    value.as_u64().is_some_and(|count| count > 0) || value == &Value::Bool(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_tells_what_ails_it() {
        let check = |leader: Value, thread: Value, expected: Option<&str>| {
            let cluster = json!({
                "status": "enabled", "peer_id": 1, "raft_info": { "leader": leader }, "consensus_thread_status": thread,
            });
            let found: Cluster = serde_json::from_value(cluster).unwrap();
            assert_eq!(found.ails().as_deref(), expected);
        };
        let working = json!({ "consensus_thread_status": "working", "last_update": "2026-11-22T06:47:42Z" });
        check(json!(1), working.clone(), None);
        check(Value::Null, working, Some("knows no leader of its cluster"));
        let stopped = json!({ "consensus_thread_status": "stopped_with_err", "err": "disk full" });
        let words = "takes no part in the cluster's agreement any more (stopped_with_err: disk full)";
        check(json!(1), stopped, Some(words));
        let alone: Cluster = serde_json::from_value(json!({ "status": "disabled" })).unwrap();
        assert_eq!(alone.ails(), None);
    }

    #[test]
    fn an_optimizer_s_error_is_read() {
        let told = |status: Value| {
            let info = json!({ "status": "green", "config": {}, "optimizer_status": status });
            serde_json::from_value::<Info>(info).unwrap().optimizer_error().map(str::to_owned)
        };
        assert_eq!(told(json!("ok")), None);
        assert_eq!(told(json!({ "error": "no space" })).as_deref(), Some("no space"));
    }
}
