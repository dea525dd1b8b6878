//! Text to a [`Plan`](model::Plan) that cannot be wrong: sources and spans, findings, names, values, shapes, expressions, syntax,
//! graph, model, check. This room thinks: it opens no file, asks no clock and starts nothing.

pub mod source;
pub mod finding;
pub mod name;
pub mod suggest;
pub mod duration;
pub mod shape;
pub mod owned_shape;
pub mod rendered;
pub mod catalog;
pub mod expr;
pub mod codes;
pub mod model;
pub mod change;
pub mod requests;
mod plain_secret;
pub mod syntax;
pub mod graph;
mod secret;
mod fit;
pub mod params;
pub mod environment;
pub mod digest;
pub mod check;
pub mod show;
pub mod schema;
pub mod reference;
