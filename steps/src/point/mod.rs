//! Recovery points: opened, sealed with everything proved, chosen for a restore, and what was restored brought into agreement. The
//! catalogue of a store is read from its files alone.

pub use crate::points_layout as layout;

mod moment;
pub mod said;
pub mod open;
pub mod catalogue;
mod given;
mod read_back;
mod adopted;
mod asked;
mod evidence;
mod sealed;
pub mod seal;
mod selected;
mod changed;
mod expected;
mod priced;
pub mod select;
pub mod resolved;
pub mod verifying;
pub mod verify;
pub mod restored;
pub mod rpo;
mod prune_bases;
pub mod pruning;
pub mod prune;
mod truth;
mod erasures;
mod scan;
mod mend;
mod agreement;
pub mod reconcile;
