//! [`QdrantPart`]: what a point says of a Qdrant cluster's collections.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Time;
use crate::manifest::artifact::Artifact;
use crate::manifest::band::Band;

/// One node's snapshot of a collection, or of one shard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The node by the name or URL that the environment gives it.
    pub node: String,
    /// The node's own peer id; nothing where it is no cluster.
    pub peer_id: Option<u64>,
    /// Ids of the shards whose data are in this file.
    pub shards: Vec<u32>,
    /// The shard that it is of, where it is no snapshot of all that the node has: of each shard one replica was chosen then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// The shard's key, text or a number, in a collection that is sharded by keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_key: Option<Value>,
    /// The snapshot's name on the node; it has the time to the second alone.
    pub name: String,
    /// Where it lies.
    pub artifact: Artifact,
    /// When the request was sent, by the runner's clock.
    pub started_at: Time,
    /// When the answer was there, by the runner's clock.
    pub answered_at: Time,
    /// When it was made, by the node's own clock, to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
}

/// Searches of a collection that were stored when the point was made, to ask the same after a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplePart {
    /// The name of the vector that was searched by; nothing where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<String>,
    /// How many points were searched around.
    pub sampled: u64,
    /// How many others were looked for around each.
    pub k: u64,
    /// The share of the true neighbours that the index found then, 0 to 1.
    pub recall: f64,
    /// Where they lie.
    pub artifact: Artifact,
}

/// One collection of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionPart {
    /// Its real name, never an alias.
    pub collection: String,
    /// Exact point counts before and after the snapshots.
    pub points: Band,
    /// A snapshot per node, or one per shard.
    pub snapshots: Vec<SnapshotPart>,
    /// `config.params` as the server gave it.
    pub params: Value,
    /// The whole `config` as the server gave it: snapshots of single shards do not make their collection.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// `payload_schema` as the server gave it.
    pub payload_indexes: Value,
    /// Its aliases, which snapshots do not hold.
    pub aliases: Vec<String>,
    /// Seconds from the start of its first snapshot to the mark.
    pub skew_s: f64,
    /// What was sampled of it, a vector each. A restore needs none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SamplePart>,
}

/// The collections of a point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QdrantPart {
    /// Version of the servers; snapshots do not tell it.
    pub version: String,
    /// All collections, in the order of their names.
    pub collections: Vec<CollectionPart>,
}
