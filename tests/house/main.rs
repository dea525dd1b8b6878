//! The rules of the house, held by tests: who may import whom, in which order, how large things may grow, and that nothing is forgotten.

mod tree;
mod edges;
mod order;
mod heads;
mod purity;
mod sizes;
mod forgotten;
mod pages;
mod generated;
