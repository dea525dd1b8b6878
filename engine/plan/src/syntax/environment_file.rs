//! An environment as it was written: [`EnvironmentFile`].

use crate::finding::Findings;
use crate::source::Place;

use super::fields::{Fields, Spanned};
use super::keys::ENVIRONMENT;
use super::tree::{Entry, Node};

/// An environment as it was written; what its targets are is asked of the catalog later.
#[derive(Debug)]
pub struct EnvironmentFile<'n> {
    /// Its name, when it has one.
    pub name: Option<Spanned<&'n str>>,
    /// Where its head stands.
    pub place: Place,
    /// Whether destructive runs ask for a server's own name.
    pub protected: bool,
    /// Its targets, by name.
    pub targets: &'n [Entry],
    /// Values of parameters, by name.
    pub params: &'n [Entry],
}

impl<'n> EnvironmentFile<'n> {
    /// The environment that this document is.
    pub fn of(node: &'n Node, findings: &mut Findings) -> Self {
        let top = node.map().and_then(|entries| entries.first()).map_or(node.place, |entry| entry.key_place);
        let Some(fields) = Fields::of(node, top, &ENVIRONMENT, findings) else {
            return Self { name: None, place: top, protected: false, targets: &[], params: &[] };
        };
        super::file::version(&fields, findings);
        fields.text("description", findings);
        Self {
            name: fields.text("environment", findings),
            place: fields.entry("environment").map_or(top, |entry| entry.key_place),
            protected: fields.boolean("protected", findings).unwrap_or(false),
            targets: fields.entries("targets", findings),
            params: fields.entries("params", findings),
        }
    }
}
