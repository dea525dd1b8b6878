//! Every code that a finding or a failure can bear has its page.

use std::collections::BTreeSet;

use crate::tree::{root, shipped};

/// All codes of the form `DDnnn` that our sources name.
fn named() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in shipped() {
        for line in source.lines_without_tests() {
            for (at, _) in line.match_indices("\"DD") {
                let code: String = line[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
                if code.len() == 5 && code[2..].bytes().all(|b| b.is_ascii_digit()) {
                    found.insert(code);
                }
            }
        }
    }
    found
}

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    let named = named();
    assert!(named.len() > 20, "only {} codes were found", named.len());
    let pages: BTreeSet<String> = std::fs::read_dir(root().join("docs/codes"))
        .expect("docs/codes is there")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name.starts_with("DD"))
        .collect();
    let without: Vec<&String> = named.difference(&pages).collect();
    let lonely: Vec<&String> = pages.difference(&named).collect();
    assert!(without.is_empty(), "codes without a page: {without:?}");
    assert!(lonely.is_empty(), "pages without a code: {lonely:?}");
}
