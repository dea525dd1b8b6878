//! The kinds of PostgreSQL against real servers, which `scripts/postgres` installs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../support/postgres.rs"]
mod server;
mod world;
mod small_disk;
mod connecting;
mod session;
mod basebackup;
mod recover;
mod combine;
mod dump;
mod load;
mod wal;
mod wal_faults;
mod wal_timeline;
mod wal_disk;
mod wal_outlook;
mod archive;
mod restore_point;
mod query;
mod count;
mod verify;
mod recall;
mod vector_table;
mod programs;
mod preflight;
mod facts;
mod grants;
