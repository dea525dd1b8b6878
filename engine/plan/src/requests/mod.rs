//! A file of HTTP requests as it is meant: [`Requests`]. `check` reads it, and what sends the requests is given the same.

mod method;
mod status;
mod json_path;
mod claim;
mod request;

pub use claim::Claim;
pub use json_path::JsonPath;
pub use method::{METHODS, Method};
pub use request::{Request, Requests};
pub use status::{STATUS_SET, StatusSet};
