//! A believable Octopus over the practice servers: its schema and data, a life that goes on, a disaster,
//! and the API that its users talk to. Everything goes over the wire, as the real one would.
//!
//! Main functions: [`fill`], [`live_on`], [`disaster`]; main type: [`api::Api`].

mod addresses;

mod words;

mod story;

mod embedding;

mod error;

mod database;

mod vectors;

mod schema;

mod life;

mod data;

pub mod api;

pub use addresses::{Addresses, QdrantAddress, SqlServerAddress};
pub use data::{Data, NoData, fill_from};
pub use error::OctopusError;
pub use life::{disaster, fill, live_on};
pub use schema::DATABASE;
