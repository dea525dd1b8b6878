//! A file of HTTP requests as it was written: [`RequestsFile`].

use crate::codes;
use crate::finding::{Finding, Findings};

use super::fields::{Fields, at_value};
use super::keys::REQUESTS;
use super::tree::{Entry, Node};

/// A list of requests; what each may say is the business of the kind that sends them.
#[derive(Debug)]
pub struct RequestsFile<'n> {
    /// The requests, each a mapping.
    pub requests: Vec<&'n [Entry]>,
}

impl<'n> RequestsFile<'n> {
    /// The requests that this document holds.
    pub fn of(node: &'n Node, findings: &mut Findings) -> Self {
        let top = node.map().and_then(|entries| entries.first()).map_or(node.place, |entry| entry.key_place);
        let Some(fields) = Fields::of(node, top, &REQUESTS, findings) else {
            return Self { requests: Vec::new() };
        };
        super::file::version(&fields, findings);
        fields.text("description", findings);
        let mut requests = Vec::new();
        for item in fields.items("requests", findings) {
            match item.map() {
                Some(entries) => requests.push(entries),
                None => findings.push(
                    Finding::error(codes::WRONG_TYPE, at_value(item, top), "a request must be a mapping")
                        .label(format!("this is {}", item.words()))
                        .help("write for example `- { path: /health, expect: { status: 200 } }`"),
                ),
            }
        }
        Self { requests }
    }
}
