//! HTTP servers: requests, waits, scenarios, and the target kind `http`.

mod status;
mod outgoing;
mod answer;
pub mod target;
pub mod request;
pub mod wait;
mod json_path;
mod claims;
mod blanks;
mod requests_file;
pub mod scenario;
