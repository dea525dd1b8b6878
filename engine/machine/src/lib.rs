//! What happens next in a run, and what has happened: [`Machine`], a plain struct. Inputs go in, [`RunEvent`]s come out; it asks no
//! clock, touches nothing and awaits nothing.

mod agenda;
mod apply;
pub mod attempt;
mod decide;
pub mod event;
pub mod exit;
pub mod machine;
pub mod moment;
mod outcome;
pub mod report;
mod resume;
mod scope;
mod state;
mod wanted;
mod work;

pub use crate::attempt::{AttemptRef, LiveKey};
pub use crate::event::{Ended, Failure, Outcome, RunEvent, RunStatus, Status, Verdict};
pub use crate::exit::Exit;
pub use crate::machine::{Assume, Input, Machine, RunHead, Sitting};
pub use crate::moment::Moment;
pub use crate::report::Report;
pub use crate::wanted::Wanted;
pub use crate::work::Work;
