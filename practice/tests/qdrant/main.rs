//! The practice Qdrant over HTTP, as a client meets it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it cannot go on")]

mod faults;
mod health;
mod keys;
mod points;
mod replicas;
mod replay;
mod server;
mod sharding;
mod shards;
mod snapshots;
mod vectors;
