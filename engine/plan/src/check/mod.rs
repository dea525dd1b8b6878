//! Everything about a plan that can be known before it runs: [`check`] makes of a [`CheckInput`] a [`Plan`], or says what is wrong, all
//! of it at once.

mod calls;
mod inputs;
mod lowering;
mod references;
mod shapes;
mod sites;
mod seat;
mod keywords;
mod foreach;
mod validations;
mod steps;
mod table;
mod targets;
mod whole;

pub use whole::{CheckInput, Checked, Demand, Files, NamedSource, check};
