//! The practice Qdrant: the REST interface of Qdrant 1.17.1 over points in memory, with snapshots that are
//! real tar files, on one node or several. Main type: [`Qdrant`].
//!
//! What it answers was recorded from a real server; `tests/qdrant/replay.rs` asks it the same again. What it
//! does not do it refuses in words, with 501 or as an unknown field: named and sparse vectors, replicas,
//! shard keys, tokens, recovery of single shards, and the segments of a real server's snapshots.

mod point;

mod ring;

mod filter;

mod refusal;

mod config;

mod store;

mod select;

mod archive;

mod keys;

mod node;

mod snapshot;

mod recover;

mod download;

mod extract;

mod service;

mod collections;

mod points;

mod snapshots;

mod routes;

pub use routes::{Qdrant, QdrantOptions};
