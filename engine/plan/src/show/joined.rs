//! The findings of several checks as those of one: [`Shown`].

use crate::finding::Finding;
use crate::source::{Place, SourceFile};

/// Findings with the sources that they point into.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The findings.
    pub findings: Vec<Finding>,
    /// The sources, by index.
    pub sources: Vec<SourceFile>,
}

impl Shown {
    /// Add the findings of one more check.
    pub fn add(&mut self, findings: &[Finding], sources: &[SourceFile]) {
        let by = u16::try_from(self.sources.len()).unwrap_or(u16::MAX);
        let moved = |place: Place| Place { source: place.source.saturating_add(by), ..place };
        self.sources.extend_from_slice(sources);
        self.findings.extend(findings.iter().cloned().map(|mut finding| {
            finding.place = moved(finding.place);
            finding.related.iter_mut().for_each(|(place, _)| *place = moved(*place));
            finding
        }));
    }
}
