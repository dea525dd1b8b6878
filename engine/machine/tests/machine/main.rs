//! Tests of the decision-maker: cases as data, and random plans against a reference model.

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
mod recorded;
mod many;
mod random_runs;
