//! Practice servers: stand-ins that speak the real wire protocols of SQL Server and Qdrant, with a small
//! Octopus over both, so that a plan can be rehearsed where nothing is installed.
//!
//! The modules are named from the ground up; each uses only those above it (a blank line keeps rustfmt from
//! sorting them). Nothing here knows the rest of the workspace: a stand-in that shared code with what it
//! checks would agree with its mistakes.

pub mod clock;

pub mod seed;

pub mod ledger;

pub mod faults;

pub mod tls;

pub mod http;

pub mod sqlserver;

pub mod qdrant;

pub mod octopus;

pub mod server;
