//! Findings as SARIF 2.1.0, which code hosts show beside the lines of a change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::codes;
use crate::finding::Finding;
use crate::source::{Place, SourceFile};

use super::view::{Lines, severity};

/// One SARIF log with one run.
pub fn sarif(findings: &[Finding], sources: &[SourceFile], version: &str) -> Value {
    let lines = Lines::of(sources);
    let used: BTreeSet<&str> = findings.iter().map(|finding| finding.code.0).collect();
    let rule = |code: &&str| match codes::page_of(code) {
        Some(page) => json!({
            "id": page.code,
            "shortDescription": {"text": page.title},
            "fullDescription": {"text": page.what},
            "help": {"text": page.remedy},
        }),
        None => json!({ "id": code }),
    };
    json!({
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "drydock",
                "version": version,
                "rules": used.iter().map(rule).collect::<Value>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(|finding| result(finding, &lines)).collect::<Value>(),
        }],
    })
}

fn result(finding: &Finding, lines: &Lines<'_>) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}; {help}", finding.message),
        None => finding.message.clone(),
    };
    let further = |(ix, (place, words)): (usize, &(Place, String))| {
        let mut location = location(*place, lines);
        location["id"] = json!(ix);
        location["message"] = json!({ "text": words });
        location
    };
    json!({
        "ruleId": finding.code.0,
        "level": severity(finding.severity),
        "message": {"text": text},
        "locations": [location(finding.place, lines)],
        "relatedLocations": finding.related.iter().enumerate().map(further).collect::<Value>(),
    })
}

fn location(place: Place, lines: &Lines<'_>) -> Value {
    let view = lines.view(place);
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(view.file)},
        "region": {"startLine": view.line, "startColumn": view.column, "endColumn": view.column + view.length},
    }})
}

/// A path as a relative URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'\\' => uri.push('/'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
