//! Every file says what it is for, and is named for what is in it.

use crate::tree::sources;

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "types", "misc"];

fn all() -> Vec<crate::tree::Source> {
    sources(&["engine", "steps", "practice", "cli", "tests"])
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let silent: Vec<String> = all()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "without a head:\n{}", silent.join("\n"));
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let named: Vec<String> = all()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| path.trim_end_matches(".rs").split('/').any(|part| EMPTY_NAMES.contains(&part)))
        .collect();
    assert!(named.is_empty(), "{}", named.join("\n"));
}

#[test]
fn getters_have_no_get() {
    let found: Vec<String> = crate::tree::shipped()
        .iter()
        .flat_map(|source| {
            let path = source.path.clone();
            source
                .text
                .lines()
                .filter(|line| line.contains("fn get_"))
                .map(move |line| format!("{path}: {}", line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
