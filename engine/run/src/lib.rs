//! Executes a plan: journal and locks on disk, the one loop, attempts, children, and the trait that reporters implement.

pub mod bound;
pub mod journal;
pub mod state;
pub mod reporter;
pub mod children;
pub mod saved;
pub mod shown;
pub mod probing;
pub mod world;
pub mod secrets;
pub mod message;
pub mod services;
mod host;
pub mod attempts;
pub mod sitting;
mod dry_host;
mod servers;
mod mending;
mod rooms;
mod probe;
pub mod dry_run;
