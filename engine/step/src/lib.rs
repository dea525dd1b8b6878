//! The contract between the engine and step kinds, target kinds and stores.
