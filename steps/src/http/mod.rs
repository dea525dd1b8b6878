//! HTTP servers: requests, waits, scenarios, and the target kind `http`.

mod outgoing;
mod answer;
pub mod target;
pub mod request;
pub mod wait;
mod blanks;
mod planned;
pub mod scenario;
