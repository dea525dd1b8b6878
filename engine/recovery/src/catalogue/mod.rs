//! The catalogue: every recovery point and log point that a store holds, and what is chosen of it for a restore.
//!
//! It is made of manifests, records and marks alone; nothing else need have survived.

pub mod record;
pub mod store;
pub mod to;
mod clocks;
pub mod clusters;
pub mod selection;
pub mod select;

pub use clusters::{ClusterChoice, ClusterStop};
pub use record::Record;
pub use select::{SelectError, select};
pub use selection::{ChainPart, Price, Reindex, Selection, StopAtMark};
pub use store::{Catalogue, Current, Doubted, Listing, Untrusted};
pub use to::To;
