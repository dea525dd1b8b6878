//! The API that Octopus' users talk to: agents, episodes, documents, search, a conversation, and the fence
//! that keeps writers out. Every answer comes from the stores, asked over the wire. A request with an `Idempotency-Key` that was answered
//! before is answered so again and changes nothing, which an application of one's own may or may not do. Main type: [`Api`].

mod answer;

mod maintenance;

mod state;

mod health;

mod agents;

mod conversation;

mod routes;

pub use routes::{Api, ApiOptions};
