//! The practice Qdrant: the REST interface of Qdrant 1.17.1 over points in memory, with snapshots that are
//! real tar files, on one node or several. Main type: [`Qdrant`].
//!
//! What it answers was recorded from a real server; `tests/qdrant/replay.rs` asks it the same again. What it
//! does not do it refuses in words, with 501 or as an unknown field: vectors of several rows,
//! quantization, resharding, partial snapshots, and the segments of a real server's snapshots.

mod deployment;

mod refusal;

mod vector;

mod point;

mod ring;

mod filter;

mod extract;

mod config;

mod replica;

mod transfer;

mod store;

mod transfers;

mod select;

mod archive;

mod access;

mod token;

mod node;

mod keys;

mod agreement;

mod snapshot;

mod recover;

mod download;

mod receive;

mod service;

mod collections;

mod points;

mod shard_snapshots;

mod snapshots;

mod moves;

mod sharding;

mod routes;

pub use deployment::{Consensus, Deployment, Health};
pub use routes::{Qdrant, QdrantOptions};
pub use token::token;
