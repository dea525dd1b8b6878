//! The `{{ name }}` in the texts of a requests file: [`Blank`].

use crate::expr::{Origin, braces_of};
use crate::finding::{Finding, Findings};
use crate::name::Name;
use crate::source::Place;

use super::offsets::origin;
use super::tree::Text;

/// One pair of braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blank {
    /// What stands between them.
    pub(super) name: String,
    /// Where that stands.
    pub(super) place: Place,
}

/// Those of the text that stands at this place of `source`; what is wrong with its braces is found.
pub(super) fn blanks_of(text: &Text, source: &str, place: Place, findings: &mut Findings) -> Vec<Blank> {
    found(&text.text, &origin(text, source, place), findings)
}

/// Those of a key.
pub(super) fn blanks_in_key(key: &str, place: Place, findings: &mut Findings) -> Vec<Blank> {
    found(key, &place.into(), findings)
}

fn found(text: &str, origin: &Origin, findings: &mut Findings) -> Vec<Blank> {
    match braces_of(text) {
        Ok(braces) => {
            let blank = |(at, inner): (usize, &str)| Blank {
                name: inner.to_owned(),
                place: origin.part(at..at + inner.len()),
            };
            braces.into_iter().map(blank).collect()
        }
        Err(finding) => {
            let help =
                "a requests file has `{{ name }}` alone; other braces come as a value of the step's `vars`";
            let place = origin.part(finding.place.span.range());
            findings.push(Finding { place, help: Some(help.to_owned()), ..*finding });
            Vec::new()
        }
    }
}

/// Whether a text between braces is anything but a name.
pub(super) fn not_a_name(text: &str) -> bool {
    Name::parse(text).is_err()
}
