//! The expressions of the plan language, from outside: what they are worth, what is found wrong with them and where.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what stands in the way of a test fails it")]

mod world;

mod findings;
mod judgements;
mod kleene;
mod limits;
mod pages;
mod shapes;
mod templates;
mod values;
