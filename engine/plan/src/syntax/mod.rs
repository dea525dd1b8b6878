//! Text to trees with places, and trees to files as they were written: [`yaml::read`].

mod arena;
pub mod offsets;
mod scalar;
pub mod tree;
mod trouble;
pub mod yaml;
