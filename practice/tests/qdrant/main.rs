//! The practice Qdrant over HTTP, as a client meets it.

mod faults;
mod points;
mod replay;
mod server;
mod snapshots;
