//! The expressions of the plan language, from outside: what they are worth, what is found wrong with them and where.

mod world;

mod findings;
mod judgements;
mod kleene;
mod limits;
mod pages;
mod shapes;
mod templates;
mod values;
