//! Kinds that work on a target of any kind.

pub mod ping;
