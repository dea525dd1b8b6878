//! Artifact stores that are buckets, on real servers of object stores, which `scripts/object-stores` installs; and the kinds between stores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../support/object_stores.rs"]
mod server;
mod world;
mod buckets;
mod lines;
mod locks;
mod encryption;
mod points;
mod ahead;
