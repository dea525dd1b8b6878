//! The API that Octopus' users talk to: agents, episodes, documents, search, a conversation, and the fence
//! that keeps writers out. Every answer comes from the stores, asked over the wire. Main type: [`Api`].

mod answer;

mod maintenance;

mod state;

mod health;

mod agents;

mod conversation;

mod routes;

pub use routes::{Api, ApiOptions};
