//! Tests of the decision-maker: cases as data, and random plans against a reference model.

mod plans;
mod world;

mod needs;
