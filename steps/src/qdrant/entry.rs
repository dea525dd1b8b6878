//! A collection in a backup, as the kinds hand it on: [`CollectionEntry`], made by `qdrant.snapshot`, given its files by `qdrant.fetch`,
//! read by `qdrant.recover`.

use drydock_recovery::Time;
use drydock_recovery::manifest::{Artifact, Band};
use drydock_step::{Field, Shape};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact_shape::ARTIFACT;

/// One node's snapshot of a collection, or of one shard of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// The node's URL, as the environment gives it.
    pub node: String,
    /// The node's own peer id; nothing where it is no cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<u64>,
    /// Ids of the shards whose data are in this file.
    pub shards: Vec<u32>,
    /// The shard that it is of, where it is no snapshot of all that the node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// The shard's key, text or a number, in a collection that is sharded by keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_key: Option<Value>,
    /// The snapshot's name on the node.
    pub name: String,
    /// Its length in bytes, as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its SHA-256, as the server says; servers that keep snapshots in S3 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When its request was sent, by the runner's clock.
    pub started_at: Time,
    /// When its answer was there, by the runner's clock.
    pub answered_at: Time,
    /// When it was made, by the node's own clock, to the second; servers that keep snapshots in S3 do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// Where it lies in an artifact store, once it was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Why it is still on the server after it was fetched, where that was not wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_on_server: Option<String>,
}

/// One collection with a snapshot of each node; or of each shard, of the one replica that was chosen, where shards have several or keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionEntry {
    /// Its real name, never an alias.
    pub collection: String,
    /// Exact point counts before and after the snapshots.
    pub points: Band,
    /// `config.params` as the server gave it.
    pub params: Value,
    /// The whole `config` as the server gave it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// `payload_schema` as the server gave it.
    #[serde(default)]
    pub payload_indexes: Value,
    /// Its aliases, which snapshots do not hold.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Ids of all its shards.
    #[serde(default)]
    pub shards: Vec<u32>,
    /// How many shards were being moved.
    #[serde(default)]
    pub transfers: u32,
    /// How many updates were accepted and not applied, before the snapshots or after them.
    #[serde(default)]
    pub waiting: u64,
    /// Whether it was deleted before its snapshots could be fetched; then it has none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// A snapshot of each node, or of each shard.
    pub snapshots: Vec<SnapshotEntry>,
}

const SNAPSHOT: Shape = Shape::Record(&[
    Field::required("node", Shape::Text, "The node's URL."),
    Field::optional("peer_id", Shape::Integer, "The node's peer id, where it is a cluster."),
    Field::required("shards", Shape::List(&Shape::Integer), "Ids of the shards whose data are in the file."),
    Field::optional(
        "shard",
        Shape::Integer,
        "The shard that it is of, where it is of one replica of one shard.",
    ),
    Field::optional("shard_key", Shape::Any, "The shard's key, in a collection that is sharded by keys."),
    Field::required("name", Shape::Text, "The snapshot's name on the node."),
    Field::optional("size", Shape::Integer, "Its length in bytes."),
    Field::optional("sha256", Shape::Text, "Its SHA-256, as the server says."),
    Field::required("started_at", Shape::Datetime, "When its request was sent."),
    Field::required("answered_at", Shape::Datetime, "When its answer was there."),
    Field::optional("created_at", Shape::Datetime, "When it was made, by the node's own clock."),
    Field::optional("artifact", ARTIFACT, "Where it lies in the artifact store, once it was fetched."),
    Field::optional("left_on_server", Shape::Text, "Why it could not be removed from the server."),
]);

/// The fields of a [`CollectionEntry`].
pub(super) const ENTRY_FIELDS: &[Field] = &[
    Field::required("collection", Shape::Text, "Its real name."),
    Field::required("points", Shape::Band, "Exact point counts before and after."),
    Field::required("params", Shape::Any, "Its parameters as the server gave them."),
    Field::optional("config", Shape::Any, "Its whole configuration as the server gave it."),
    Field::optional("payload_indexes", Shape::Any, "Its payload indexes as the server gave them."),
    Field::optional("aliases", Shape::List(&Shape::Text), "Its aliases."),
    Field::optional("shards", Shape::List(&Shape::Integer), "Ids of all its shards."),
    Field::optional("transfers", Shape::Integer, "How many shards were being moved; always 0."),
    Field::optional(
        "waiting",
        Shape::Integer,
        "How many updates were accepted and not applied, before the snapshots or after them.",
    ),
    Field::optional(
        "gone",
        Shape::Boolean,
        "Whether it was deleted before its snapshots could be fetched; then it has none, and the point is sealed incomplete.",
    ),
    Field::required("snapshots", Shape::List(&SNAPSHOT), "A snapshot of each node, or of each shard."),
    Field::optional(
        "samples",
        Shape::List(&Shape::Any),
        "What `qdrant.sample` stored of it, where it comes from a point.",
    ),
];

/// The shape of a [`CollectionEntry`].
pub(super) const ENTRY: Shape = Shape::Record(ENTRY_FIELDS);

impl CollectionEntry {
    /// Whether its snapshots are of single shards, which are put into a collection that is made before.
    pub(super) fn is_by_shard(&self) -> bool {
        self.snapshots.iter().any(|one| one.shard.is_some())
    }

    /// Whether it has shard keys of its own, which a recovery of whole nodes under another name does not bring back.
    pub(super) fn is_custom_sharded(&self) -> bool {
        is_custom_sharded(&self.params)
    }
}

/// Whether a collection with these parameters is sharded by keys.
pub(super) fn is_custom_sharded(params: &Value) -> bool {
    params.get("sharding_method").and_then(Value::as_str) == Some("custom")
}

/// How many numbers the vectors of one point have; 0 where that is not told.
pub(super) fn dimensions(params: &Value) -> u64 {
    let size = |vector: &Value| vector.get("size").and_then(Value::as_u64);
    let Some(vectors) = params.get("vectors") else { return 0 };
    match size(vectors) {
        Some(one) => one,
        None => vectors.as_object().into_iter().flatten().filter_map(|(_, vector)| size(vector)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_manifest_says_of_a_collection_is_an_entry() {
        let manifest = json!({
            "collection": "agent_a",
            "points": { "low": 3, "high": 4 },
            "snapshots": [{
                "node": "http://q:6333",
                "peer_id": null,
                "shards": [0],
                "name": "agent_a-1-2026-11-22-06-46-22.snapshot",
                "artifact": { "path": "p/x", "size": 5, "sha256": "00" },
                "started_at": "2026-11-22T06:46:22Z",
                "answered_at": "2026-11-22T06:46:23Z",
            }],
            "params": { "vectors": { "size": 4 }, "sharding_method": "custom" },
            "payload_indexes": {},
            "aliases": ["current"],
            "skew_s": 1.5,
        });
        let entry: CollectionEntry = serde_json::from_value(manifest).unwrap();
        assert_eq!(entry.snapshots[0].artifact.as_ref().map(|artifact| artifact.size), Some(5));
        assert!(entry.is_custom_sharded());
    }

    #[test]
    fn dimensions_are_those_of_all_vectors() {
        let check =
            |vectors: Value, expected: u64| assert_eq!(dimensions(&json!({ "vectors": vectors })), expected);
        check(json!({ "size": 128, "distance": "Cosine" }), 128);
        check(json!({ "a": { "size": 3 }, "b": { "size": 4 } }), 7);
        check(json!({}), 0);
        assert_eq!(dimensions(&json!({})), 0);
    }
}
