//! Artifact stores, a folder or a part of a bucket, with what settings lay around them, and the kinds that work on artifact stores.

mod durable;
pub mod folder;
mod location;
mod settings;
mod bucket_error;
mod bucket_put;
mod bucket_read;
mod bucket_wire;
mod bucket;
mod bucket_target;
mod age_keys;
mod age_sum;
mod age_file;
mod encrypted;
mod rate;
pub mod target;
mod expected;
mod transfer;
mod ahead;
mod sample;
pub mod verify;
pub mod read;
pub mod copy;
pub mod place;
pub mod collect;
