//! The kinds of SQL Server against a server: the practice one, or a real one that `DRYDOCK_TEST_SQLSERVER` names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod world;
mod connecting;
mod names;
mod query;
mod script;
mod mark;
mod open;
mod backup;
mod media;
mod verify;
mod placing;
mod history;
mod certificate;
mod objects;
mod adopt;
mod restore_story;
mod restore;
mod restore_cut;
mod restore_beside;
mod restore_preflight;
mod ef;
mod grants;
mod windows;
