//! Kinds that act inside the run alone: they wait, give values, fail, ask a person, run another plan.

pub mod approve;
pub mod fail;
pub mod noop;
pub mod plan_run;
pub mod set;
pub mod wait;
