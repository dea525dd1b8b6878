//! What the crate promises: chains over histories with expectations and over a model server, sealing claim by claim,
//! the catalogue and what may be pruned of it.

mod asked;
mod model;
mod world;

mod catalogue;
mod clusters;
mod claims;
mod catalogues;
mod explained;
mod golden;
mod formats;
mod histories;
mod pauses;
mod properties;
mod pruning;
mod real_histories;
mod retention;
mod seal;
