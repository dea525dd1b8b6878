//! The choice of a chain: [`choose`] says which backups, in which order, lead to a moment, or why none do.
//!
//! Backups are merged and sifted (`sets`), sorted into lines of history by family and recovery fork (`line`), and
//! on each line the logs are followed from the newest base (`logs`, `route`). What stands in the way is a
//! [`Reason`], what is worth knowing about a chain is a [`Problem`].

pub mod problem;
pub mod reason;
pub mod request;
mod sets;
pub mod line;
mod logs;
mod base;
mod route;
mod remarks;
pub mod choice;
pub mod explained;

pub use choice::choose;
pub use explained::{Explained, Why, explain};
pub use line::Lineage;
pub use problem::Problem;
pub use reason::{Gap, Reason};
pub use request::{Chain, ChainOutcome, ChainRequest, Goal, Refusal};
