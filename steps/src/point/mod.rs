//! Recovery points: opened, sealed with everything proved, chosen for a restore, and what was restored brought into agreement. The
//! catalogue of a store is read from its files alone.

pub use crate::points_layout as layout;

pub mod catalogue;
mod moment;
pub mod open;
mod given;
mod read_back;
mod asked;
mod evidence;
mod sealed;
pub mod seal;
mod selected;
mod changed;
pub mod select;
mod truth;
mod erasures;
mod scan;
mod mend;
mod agreement;
pub mod reconcile;
