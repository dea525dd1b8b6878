//! Everything about a plan that can be known before it runs: [`check`] makes of a [`CheckInput`] a [`Plan`], or says what is wrong, all
//! of it at once.

mod files;
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
mod touching;
mod proving;
mod conflicts;
mod unreachable;
mod lowering;
mod inner_plans;
mod drill;
mod whole;

pub use files::Files;
pub use whole::{CheckInput, Checked, Demand, NamedSource, check};
