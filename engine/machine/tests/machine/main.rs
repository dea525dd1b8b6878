//! Tests of the decision-maker: cases as data, and random plans against a reference model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests, also what they share")]

mod plans;
mod world;
mod dice;
mod random_plans;
mod reference;
mod witness;

mod needs;
mod foreach;
mod validations;
mod retries;
mod people;
mod resuming;
mod changed;
mod recorded;
mod many;
mod planted;
mod random_runs;
