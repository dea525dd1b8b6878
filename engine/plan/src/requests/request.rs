//! One request of a file, and all of them: [`Request`], [`Requests`].

use serde_json::{Map, Value};

use crate::catalog::Effect;
use crate::duration::Millis;

use super::json_path::JsonPath;
use super::method::Method;
use super::status::StatusSet;

/// The requests of a file, in order. Nothing is wrong with it: every name in braces is known where it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requests {
    /// The names of the values that whoever sends them must give.
    pub vars: Vec<String>,
    /// The requests.
    pub requests: Vec<Request>,
}

/// One request: what to send, with `{{ name }}` anywhere in its texts, and what must come back.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it is called in messages.
    pub name: Option<String>,
    /// Its method.
    pub method: Method,
    /// Below the target's URL.
    pub path: String,
    /// Added to the query.
    pub query: Vec<(String, String)>,
    /// Added to the target's headers.
    pub headers: Vec<(String, String)>,
    /// A JSON body; not beside `body`.
    pub json: Option<Value>,
    /// A body of text.
    pub body: Option<String>,
    /// Whether it writes, where the file says so; its method says it else.
    pub effect: Option<Effect>,
    /// The statuses that are expected.
    pub status: StatusSet,
    /// What must hold of the answer's JSON: the mappings of [`Claim`](super::Claim)s, with names in braces.
    pub claims: Vec<Map<String, Value>>,
    /// What is kept of the answer's JSON, by name.
    pub captures: Vec<(String, JsonPath)>,
    /// The longest that it may take.
    pub timeout: Option<Millis>,
}
