//! Findings as workflow commands, which CI jobs turn into annotations of the lines.

use crate::finding::Finding;
use crate::source::SourceFile;

use super::view::{Lines, severity};

/// A line for each finding: `::error file=…,line=…,col=…,endColumn=…,title=DD104::message`.
pub fn annotations(findings: &[Finding], sources: &[SourceFile]) -> String {
    let lines = Lines::of(sources);
    let mut out = String::new();
    for finding in findings {
        let view = lines.view(finding.place);
        let text = match &finding.help {
            Some(help) => format!("{}\n{help}", finding.message),
            None => finding.message.clone(),
        };
        out.push_str(&format!(
            "::{} file={},line={},col={},endColumn={},title={}::{}\n",
            severity(finding.severity),
            property(view.file),
            view.line,
            view.column,
            view.column + view.length,
            finding.code,
            data(&text)
        ));
    }
    out
}

/// Text after the last `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
