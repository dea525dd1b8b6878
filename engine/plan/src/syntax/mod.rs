//! Text to trees with places ([`yaml::read`]), and trees to files as they were written ([`plan_file::PlanFile`]).

pub mod tree;
mod scalar;
mod arena;
mod trouble;
mod walk;
pub mod offsets;
pub mod yaml;
pub mod keys;
mod foreign;
pub mod fields;
pub(crate) mod plain_texts;
pub mod file;
mod retry;
pub mod plan_file;
pub mod environment_file;
mod blanks;
pub mod requests_file;
