//! Programs on the runner.

mod quoted;
mod captured;
pub mod run;
