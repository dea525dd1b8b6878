//! The kinds of recovery points on a real folder: a point is opened, sealed, found again and held against the stores that it came from.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../support/object_stores.rs"]
#[allow(dead_code, reason = "Azure's part of it is asked elsewhere")]
mod object_stores;
#[path = "../support/without_delete.rs"]
mod without_delete;
mod servers;
mod world;
mod opening;
mod sealing;
mod clusters;
mod locking;
mod past;
mod selecting;
mod verifying;
mod pruning;
mod doubted;
mod reconciling;
mod undeletable;
