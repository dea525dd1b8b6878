//! What the fuzz targets begin with goes through every parser, whomever it was meant for: each says what is wrong, and none breaks.

use std::collections::BTreeSet;

use crate::tree::{read, root};

#[allow(unreachable_pub, reason = "the fuzz targets, a crate each, ask the same")]
#[path = "../../fuzz/checks/mod.rs"]
mod checks;
#[allow(unreachable_pub, reason = "the fuzz target asks the same")]
#[path = "../../fuzz/checks/tds.rs"]
mod tds;

/// What must hold of any bytes.
type Check = fn(&[u8]);

/// Every target, by the name of its folder.
const CHECKS: [(&str, Check); 7] = [
    ("environment", checks::environment::check),
    ("expression", checks::expression::check),
    ("journal", checks::journal::check),
    ("plan", checks::plan::check),
    ("recovery", checks::recovery::check),
    ("requests", checks::requests::check),
    ("tds", tds::check),
];

/// The files of all corpora.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (name, _) in CHECKS {
        let folder = root().join("fuzz/corpus").join(name);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries.flatten() {
            let bytes = std::fs::read(entry.path()).expect("it is read");
            files.push((entry.path().display().to_string(), bytes));
        }
    }
    files
}

#[test]
fn no_file_of_a_corpus_breaks_a_parser() {
    let files = corpus();
    assert!(files.len() >= 35, "{} files", files.len());
    for (path, bytes) in &files {
        for (name, check) in CHECKS {
            let outcome = std::panic::catch_unwind(|| check(bytes));
            assert!(outcome.is_ok(), "{path} breaks {name}");
        }
    }
}

#[test]
fn every_fuzz_target_has_a_corpus_and_a_check() {
    let expected: BTreeSet<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    let names = |folder: &str, end: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(root().join(folder)).expect("it is there").flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_suffix(end).map(str::to_owned))
            .filter(|name| name != "mod")
            .collect()
    };
    let manifest = read("fuzz/Cargo.toml");
    for (folder, end) in [("fuzz/corpus", ""), ("fuzz/checks", ".rs"), ("fuzz/fuzz_targets", ".rs")] {
        let found = names(folder, end);
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{folder}");
    }
    for name in expected {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml has no {name}");
    }
}
