//! Any bytes as a file of HTTP requests: what `check` takes, `http.scenario` reads alike.

use drydock_plan::finding::Findings;
use drydock_plan::source::SourceFile;
use drydock_plan::syntax::requests_file::requests_of;
use drydock_plan::syntax::yaml;

use super::plan::checked;

/// As a file by itself, and as requests whatever stands at its top.
pub fn check(bytes: &[u8]) {
    let file = SourceFile::of_bytes("fuzzed.yaml", bytes);
    checked(&file, None, false);
    let mut findings = Findings::new();
    if let Some(node) = yaml::read(&file, 0, &mut findings) {
        let _ = requests_of(&node, &file, &mut findings);
    }
    for finding in findings.iter() {
        assert!(file.text.get(finding.place.span.range()).is_some(), "{finding:?} lies nowhere");
    }
}
