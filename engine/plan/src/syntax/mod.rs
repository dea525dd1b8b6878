//! Text to trees with places ([`yaml::read`]), and trees to files as they were written ([`plan_file::PlanFile`]).

mod arena;
pub mod environment_file;
pub mod fields;
pub mod file;
pub mod keys;
pub mod offsets;
pub mod plan_file;
pub mod requests_file;
mod scalar;
pub mod tree;
mod trouble;
mod walk;
pub mod yaml;
