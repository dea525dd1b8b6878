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
pub mod target;
