//! The Qdrant kinds against servers that speak Qdrant's wire: the practice server in this process, or, where no fault is committed on
//! purpose, the real one that `DRYDOCK_TEST_QDRANT` names (its nodes, with commas between; `DRYDOCK_TEST_QDRANT_KEY` is its key).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it cannot go on")]

mod world;
mod cutting;
mod snapshot;
mod fetch;
mod recover;
mod ways;
mod shards;
mod resume;
mod reads;
mod tokens;
mod health;
mod recall;
mod prune;
mod quarantine;
mod story;
