//! Qdrant: its target kind, and the kinds that make, fetch, recover and question what lies in it.
//!
//! One target is all nodes of a cluster: snapshots are made, fetched and recovered node by node. Facts about the server are those of
//! version 1.17.

mod answers;
mod requests;
mod refusal;
mod node;
mod claims;
mod members;
pub mod entry;
mod standing;
pub mod target;
mod belongings;
mod selection;
mod rename;
mod notes;
mod making;
pub mod snapshot;
mod download;
mod archive;
pub mod fetch;
mod collections;
mod settle;
mod frame;
mod serving;
mod placing;
mod recovery;
pub mod recover;
pub mod drop;
mod measure;
pub mod count;
pub mod query;
pub mod sample_entry;
mod nearest;
mod sample_choice;
pub mod sample;
pub mod recall;
mod prune_listing;
mod prune_points;
mod prune_verdict;
pub mod prune;
