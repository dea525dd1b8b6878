//! What happens next in a run, and what has happened: [`Machine`], a plain struct. Inputs go in, [`RunEvent`]s come out; it asks no
//! clock, touches nothing and awaits nothing.

pub mod moment;
pub mod exit;
pub mod attempt;
pub mod event;
mod state;
mod agenda;
pub mod machine;
mod scope;
mod refresh;
mod apply;
mod outcome;
mod resume;
pub mod changed;
mod decide;
mod wanted;
mod work;
pub mod report;

pub use crate::attempt::{AttemptRef, LiveKey};
pub use crate::changed::{Done, TooLate};
pub use crate::event::{Ended, Failure, Outcome, RunEvent, RunStatus, Status, Verdict};
pub use crate::exit::Exit;
pub use crate::machine::{Assume, Input, Machine, RunHead, Sitting};
pub use crate::moment::Moment;
pub use crate::report::Report;
pub use crate::wanted::Wanted;
pub use crate::work::Work;
