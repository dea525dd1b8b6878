//! Every key of the language has a test at every stage, and the reference names it.

use std::collections::BTreeSet;

use drydock_plan::reference::{STAGES, test_of};
use drydock_plan::syntax::keys::TABLES;

use crate::tree::read;

/// The tests that are there: what the files of `tests/runs/keywords` hand to `keywords!`, at the stages that it makes tests of.
fn made() -> BTreeSet<String> {
    let root = read("tests/runs/keywords/mod.rs");
    let stages: Vec<&str> = STAGES
        .into_iter()
        .filter(|stage| {
            root.contains(&format!(
                "#[test]\n            fn {stage}() {{\n                super::$key().{stage}();"
            ))
        })
        .collect();
    let mut made = BTreeSet::new();
    for mapping in root.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let text = read(&format!("tests/runs/keywords/{mapping}.rs"));
        let keys = text
            .split_once("\nkeywords! {")
            .and_then(|(_, rest)| rest.split_once('}'))
            .map_or("", |(keys, _)| keys);
        for key in keys.split_whitespace() {
            assert!(
                text.contains(&format!("\nfn {key}() -> Keyword {{")),
                "{mapping}.rs does not say what {key} does"
            );
            made.extend(stages.iter().map(|stage| format!("keywords::{mapping}::{key}::{stage}")));
        }
    }
    made
}

/// The cells of the rows that name tests, without their quotes.
fn named(page: &str) -> Vec<Vec<String>> {
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.contains(" `keywords::"));
    let cells = |row: &str| {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn every_key_has_its_tests_and_the_reference_names_them() {
    let (made, rows) = (made(), named(&read("docs/reference/keywords.md")));
    let keys = TABLES.into_iter().flat_map(|table| table.keys.iter().map(move |key| (table, key)));
    let mut wanted = BTreeSet::new();
    for ((table, key), row) in keys.clone().zip(&rows) {
        let tests = STAGES.map(|stage| test_of(table, key, stage));
        assert_eq!(row[0], key.name);
        assert_eq!(row[1..], tests, "the row of {}.{}", table.name, key.name);
        wanted.extend(tests);
    }
    assert_eq!(rows.len(), keys.count(), "the reference has another number of rows");
    let missing: Vec<&String> = wanted.difference(&made).collect();
    let lonely: Vec<&String> = made.difference(&wanted).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
    assert!(lonely.is_empty(), "tests of no key: {lonely:?}");
}

/// A table of a page, for the refusals below.
const PAGE: &str = "| key | check |\n|---|---|\n| `a` | `keywords::step::a::check` |\n| `b` | `keywords::step::b::check` |  |\n";

#[test]
fn an_empty_cell_is_seen() {
    assert_eq!(named(PAGE)[1], ["b", "keywords::step::b::check", ""]);
}
