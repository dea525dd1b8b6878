//! Octopus over the practice servers: filled, alive, talked to, lost; and the servers as a whole.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it cannot go on")]

mod api;
mod life;
mod servers;
mod world;
