//! The file of a snapshot: a tar with the layout of a real one, whose segments hold our own data files.
//! Main functions: [`write_collection`], [`unpack`]; for a shard alone [`write_shard`], [`unpack_shard`].

mod read;

mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::Config;
use super::point::{Point, PointId};
use super::replica::{ReplicaState, ShardKey};
use super::vector::Vector;

pub(super) use read::{UnpackedShard, unpack, unpack_shard};
pub(super) use write::{write_collection, write_full, write_shard};

/// The version that a real snapshot carries, whatever the server's.
const COLLECTION_VERSION: &str = "0.4.2";

/// The version that a real segment carries.
const SEGMENT_VERSION: &str = "0.6.0";

/// Our own file of a segment: a line a point, with everything but its dense vectors.
const POINTS_FILE: &str = "practice.points.jsonl";

/// Our own file of a segment: the dense vectors, little-endian 32-bit floats, in the order of the points, and of
/// each in the order of the names.
const VECTORS_FILE: &str = "practice.vectors.f32";

/// The points of a shard and the number of its last operation.
pub(super) type Loaded = (BTreeMap<PointId, Arc<Point>>, u64);

/// What a collection snapshot of one node holds.
#[derive(Debug)]
pub(super) struct CollectionImage {
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) indexes: IndexMap<String, Value>,
    /// The node that takes the snapshot.
    pub(super) this_peer: u64,
    /// Which snapshot of the collection this is, counted from 1: two of them never have the same bytes. None
    /// where no write-ahead log goes with it, as with a shard alone.
    pub(super) number: Option<u64>,
    pub(super) shards: Vec<ShardImage>,
}

/// One shard in it.
#[derive(Debug)]
pub(super) struct ShardImage {
    pub(super) id: u32,
    pub(super) key: Option<ShardKey>,
    /// The state of each replica, by the peer id of its node.
    pub(super) peers: BTreeMap<u64, ReplicaState>,
    /// Points and the number of the last operation; only of a shard that the node holds.
    pub(super) data: Option<Loaded>,
}

/// The form of a shard's snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each segment is a tar in the tar.
    Stored,
    /// Each segment is a folder, so that it can be sent while it is read.
    Streamed,
}

/// `replica_state.json`.
#[derive(Debug, Serialize, Deserialize)]
struct ReplicaSetState {
    is_local: bool,
    this_peer_id: u64,
    peers: BTreeMap<String, ReplicaState>,
}

/// An entry of `shard_key_mapping.json`.
#[derive(Debug, Serialize, Deserialize)]
struct KeyMapping {
    key: ShardKey,
    shard_ids: Vec<u32>,
}

/// `payload_index.json`.
#[derive(Debug, Serialize, Deserialize)]
struct PayloadIndex {
    schema: IndexMap<String, Value>,
}

/// A line of [`POINTS_FILE`].
#[derive(Debug, Serialize, Deserialize)]
struct PointLine {
    id: PointId,
    version: u64,
    payload: Map<String, Value>,
    /// The names of its dense vectors, which lie in [`VECTORS_FILE`].
    dense: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sparse: BTreeMap<String, Vector>,
}

#[cfg(test)]
mod tests;
