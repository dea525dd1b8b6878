//! The file of a snapshot: a tar with the layout of a real one, whose segments hold our own data files.
//! Main functions: [`write_collection`], [`unpack`].

mod read;

mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::Config;
use super::point::{Point, PointId};

pub(super) use read::{Unpacked, unpack};
pub(super) use write::{write_collection, write_full, write_shard};

/// The version that a real snapshot carries, whatever the server's.
const COLLECTION_VERSION: &str = "0.4.2";

/// The version that a real segment carries.
const SEGMENT_VERSION: &str = "0.6.0";

/// Our own file of a segment: a line a point, with everything but its vector.
const POINTS_FILE: &str = "practice.points.jsonl";

/// Our own file of a segment: the vectors, little-endian 32-bit floats, in the order of the points.
const VECTORS_FILE: &str = "practice.vectors.f32";

/// What a collection snapshot of one node holds.
#[derive(Debug)]
pub(super) struct CollectionImage {
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) indexes: IndexMap<String, Value>,
    /// The node that takes the snapshot.
    pub(super) this_peer: u64,
    /// Which snapshot of the collection this is, counted from 1: two of them never have the same bytes.
    pub(super) number: u64,
    pub(super) shards: Vec<ShardImage>,
}

/// One shard in it; only those that the node holds have data.
#[derive(Debug)]
pub(super) struct ShardImage {
    pub(super) owner: u64,
    pub(super) points: BTreeMap<PointId, Arc<Point>>,
    pub(super) operations: u64,
}

/// `replica_state.json`.
#[derive(Debug, Serialize, Deserialize)]
struct ReplicaState {
    is_local: bool,
    this_peer_id: u64,
    peers: Map<String, Value>,
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
}

#[cfg(test)]
mod tests;
