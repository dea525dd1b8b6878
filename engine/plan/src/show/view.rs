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

/// Sources, with the starts of their lines: there may be many findings.
#[derive(Debug)]
pub(super) struct Lines<'s> {
    sources: &'s [SourceFile],
    starts: Vec<Vec<usize>>,
}

impl<'s> Lines<'s> {
    /// The lines of these sources.
    pub(super) fn of(sources: &'s [SourceFile]) -> Self {
        let starts = |source: &SourceFile| {
            std::iter::once(0).chain(source.text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        };
        Self { sources, starts: sources.iter().map(starts).collect() }
    }

    /// The number, from 1, and the start of the line with this byte of a source.
    pub(super) fn line(&self, source: usize, byte: usize) -> (usize, usize) {
        let Some(starts) = self.starts.get(source) else { return (1, 0) };
        let number = starts.partition_point(|start| *start <= byte);
        (number, starts.get(number.saturating_sub(1)).copied().unwrap_or(0))
    }

    /// The view of a place; places of no source are at the start of nothing.
    pub(super) fn view(&self, place: Place) -> View<'s> {
        let Some(source) = self.sources.get(usize::from(place.source)) else {
            return View { file: "", line: 1, column: 1, length: 0 };
        };
        let span = first_line(&source.text, place.span);
        let (line, start) = self.line(usize::from(place.source), place.span.start as usize);
        let before = source.text.get(start..place.span.start as usize).map_or(0, |text| text.chars().count());
        let length = source.text.get(span.range()).map_or(0, |text| text.chars().count());
        View { file: &source.name, line, column: before + 1, length }
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
