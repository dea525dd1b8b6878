//! A finding with its places counted in lines and columns: [`View`].

use crate::codes;
use crate::finding::{Finding, Severity};
use crate::source::{Place, SourceFile, Span};
use crate::syntax::tree::first_line;

/// A place in lines and columns, both from 1; columns and length count characters of the first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View<'s> {
    pub(super) file: &'s str,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

impl<'s> View<'s> {
    /// The view of a place; places of no source are at the start of the first.
    pub(super) fn of(place: Place, sources: &'s [SourceFile]) -> Self {
        let Some(source) = sources.get(usize::from(place.source)) else {
            return Self { file: "", line: 1, column: 1, length: 0 };
        };
        let (line, column) = source.line_column(place.span.start as usize);
        let span = first_line(&source.text, place.span);
        let length = source.text.get(span.range()).map_or(0, |text| text.chars().count());
        Self { file: &source.name, line, column, length }
    }
}

/// The word for a severity.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Where secrets stand in plain text in this source: nothing of them is shown.
pub(super) fn plain_secrets(findings: &[Finding], source: u16) -> Vec<Span> {
    findings
        .iter()
        .filter(|finding| finding.code == codes::SECRET_IN_PLAIN && finding.place.source == source)
        .map(|finding| finding.place.span)
        .collect()
}
