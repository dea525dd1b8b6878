//! Whole runs, from the command line to the journal, as a user has them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod world;
#[path = "../../steps/tests/support/postgres.rs"]
mod postgres_server;
mod first;
mod crashes;
mod resuming;
mod exits;
mod judged;
mod shapes;
mod disk;
mod drills;
mod dry_runs;
mod secrets;
mod signals;
mod shipped;
mod rehearsing;
mod reviewed;
mod points;
mod sql_plans;
mod log_points;
mod clocks;
mod slow_backups;
mod flipped;
mod warning;
mod two_databases;
mod pgvector;
mod pgvector_warning;
mod beginning;
mod chains;
mod grants;
mod inner_plans;
mod keywords;
mod formats;
mod answers;
mod ahead;
mod probing;
mod reasons;
