//! `postgres.wal` under load and under kills, by the program itself: a short one with every run of the tests, and as long a one as
//! `scripts/wal-torture` asks for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../runs/world.rs"]
#[allow(dead_code, reason = "the runs use all of it")]
mod world;
#[path = "../../steps/tests/support/postgres.rs"]
mod postgres_server;
#[path = "../conformance/postgres_world.rs"]
#[allow(dead_code, reason = "the conformance suite uses all of it")]
mod postgres_world;
mod load;
mod watch;
mod cluster;
mod streams;
