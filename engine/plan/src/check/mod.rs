//! Everything about a plan that can be known before it runs: [`check`] makes of a [`CheckInput`] a [`Plan`], or says what is wrong, all
//! of it at once.

mod sites;
mod table;
mod shapes;
mod references;
mod inputs;
mod targets;
mod calls;
mod seat;
mod keywords;
mod foreach;
mod validations;
mod steps;
mod lowering;
mod whole;

pub use whole::{CheckInput, Checked, Demand, Files, NamedSource, check};
