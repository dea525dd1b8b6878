//! What backups there are and how to get back to a moment: backup facts, the chain that leads to a time or a mark,
//! the manifest of a recovery point, the catalogue of all points, and which of them may be pruned.
//!
//! Everything here is data and pure functions: no file, clock, network or server is touched. Modules are named from
//! the ground up; each uses only those above it.

pub mod sealed;
pub mod guid;
pub mod lsn;
pub mod wal;
pub mod backup;
pub mod history;
pub mod chain;
pub mod manifest;
pub mod catalogue;
pub mod retention;
pub mod pruning;

/// A moment, always in UTC.
pub type Time = chrono::DateTime<chrono::Utc>;
