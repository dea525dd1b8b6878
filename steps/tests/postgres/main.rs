//! The kinds of PostgreSQL against real servers, which `scripts/postgres` installs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../support/postgres.rs"]
mod server;
mod world;
mod connecting;
mod session;
<<<<<<< HEAD
mod basebackup;
=======
mod query;
mod count;
mod verify;
mod programs;
mod grants;
>>>>>>> 1cae5237c62361c4fe4226fe3936109df5e3be08
