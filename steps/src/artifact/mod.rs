//! The artifact store that is a folder, and the kinds that work on artifact stores.

mod durable;
pub mod folder;
pub mod target;
mod expected;
pub mod verify;
pub mod read;
