//! PostgreSQL: queries, counts and proofs, and the target kind `postgres`.

mod sql;
mod tls;
mod settings;
mod failure;
mod cells;
mod answer;
mod wire;
mod reading;
mod session;
mod server;
mod locks;
mod rights;
mod finding;
mod programs;
mod program_access;
pub mod target;
pub mod query;
mod table_pattern;
pub mod count;
mod inspection;
mod amcheck;
pub mod verify;
