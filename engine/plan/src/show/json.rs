//! Findings as JSON.

use serde_json::{Value, json};

use crate::finding::Finding;
use crate::source::SourceFile;

use super::view::{Lines, severity};

/// `{"findings": [{code, severity, file, line, column, length, message, label, help, suggestion, related}]}`; columns and lengths count
/// characters, columns from 1.
pub fn json(findings: &[Finding], sources: &[SourceFile]) -> Value {
    let lines = Lines::of(sources);
    let one = |finding: &Finding| {
        let view = lines.view(finding.place);
        let related = |(place, words): &(crate::source::Place, String)| {
            let view = lines.view(*place);
            json!({"file": view.file, "line": view.line, "column": view.column, "length": view.length, "label": words})
        };
        json!({
            "code": finding.code.0,
            "severity": severity(finding.severity),
            "file": view.file,
            "line": view.line,
            "column": view.column,
            "length": view.length,
            "message": finding.message,
            "label": finding.label,
            "help": finding.help,
            "suggestion": finding.suggestion,
            "related": finding.related.iter().map(related).collect::<Value>(),
        })
    };
    json!({ "findings": findings.iter().map(one).collect::<Value>() })
}
