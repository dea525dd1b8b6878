//! The rules of the house, held by tests: who may import whom, in which order, how large things may grow, and that nothing is forgotten.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by a panic and may look around"
)]

mod tree;
mod edges;
mod order;
mod heads;
mod purity;
mod schemas;
mod corpora;
mod sizes;
mod forgotten;
mod pages;
mod keywords;
mod generated;
