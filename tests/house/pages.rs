//! Every code that a finding or a failure can bear has its page.

use std::collections::BTreeSet;

use drydock_step::Registry;

use crate::tree::{read, root, shipped};

/// The pages of `docs/codes`, by the names of their files.
fn pages() -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join("docs/codes")).expect("docs/codes is there").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".md").map(str::to_owned)).collect()
}

/// All codes of the form `DDnnn` that our sources name.
fn numbered() -> BTreeSet<String> {
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

/// What makes a failure or a finding of a code that is its first argument.
const MAKERS: [&str; 7] = [
    "StepError::new(",
    "StepError::transient(",
    "StepError::unknown(",
    "Failure::new(",
    "fatal(",
    "warning(",
    "error(",
];

/// Codes that are words, as our sources name them: where a failure is made of one, and wherever something with a dot has the form of
/// one and the beginning of another; kinds are called alike.
fn worded() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut literals = BTreeSet::new();
    for source in shipped().iter().filter(|source| is_ours(&source.path)) {
        let text = source.lines_without_tests().join("\n");
        for maker in MAKERS {
            for (at, _) in text.match_indices(maker) {
                let rest = text[at + maker.len()..].trim_start();
                found.extend(literal(rest).filter(|code| is_code(code)).map(str::to_owned));
            }
        }
        for (at, _) in text.match_indices('"') {
            literals.extend(literal(&text[at..]).filter(|code| is_code(code)).map(str::to_owned));
        }
    }
    let families: BTreeSet<String> =
        found.iter().filter_map(|code| Some(code.split_once('.')?.0.to_owned())).collect();
    let kinds = kinds();
    let of_a_family = |code: &String| {
        let Some((family, rest)) = code.split_once('.') else { return false };
        families.contains(family) && !kinds.contains(code) && !["rs", "yaml", "json", "md"].contains(&rest)
    };
    found.extend(literals.into_iter().filter(of_a_family));
    found
}

/// The engine, the kinds and the command line; practice servers word the errors of others.
fn is_ours(path: &str) -> bool {
    !path.starts_with("practice/")
        && !path.starts_with("engine/plan/")
        && !path.contains("test_host")
        && !path.contains("conformance")
}

/// The text of a literal that begins here.
fn literal(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.split('"').next()
}

fn is_code(text: &str) -> bool {
    let is_word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    };
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.split('.').count() <= 2
        && text.split('.').all(is_word)
}

fn kinds() -> BTreeSet<String> {
    let mut registry = Registry::new();
    drydock_steps::register(&mut registry);
    registry.catalog().kinds.keys().map(|kind| (*kind).to_owned()).collect()
}

/// Whether a code is a number of a server.
fn is_number(code: &str) -> bool {
    code.strip_prefix("sqlserver.").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a code is a state of a server.
fn is_state(code: &str) -> bool {
    code.strip_prefix("postgres.")
        .is_some_and(|state| state.len() == 5 && state.bytes().any(|b| b.is_ascii_digit()))
}

#[test]
fn every_numbered_code_has_its_page_and_every_page_its_code() {
    let named = numbered();
    assert!(named.len() > 20, "only {} codes were found", named.len());
    let pages: BTreeSet<String> = pages().into_iter().filter(|name| name.starts_with("DD")).collect();
    let without: Vec<&String> = named.difference(&pages).collect();
    let lonely: Vec<&String> = pages.difference(&named).collect();
    assert!(without.is_empty(), "codes without a page: {without:?}");
    assert!(lonely.is_empty(), "pages without a code: {lonely:?}");
}

/// The pages that the codes share which a server gives itself.
const FAMILIES: [&str; 2] = ["sqlserver.number", "postgres.sqlstate"];

#[test]
fn every_worded_code_has_its_page_and_every_page_its_code() {
    let named: BTreeSet<String> =
        worded().into_iter().filter(|code| !is_number(code) && !is_state(code)).collect();
    assert!(named.len() > 90, "only {} codes were found: {named:?}", named.len());
    let pages: BTreeSet<String> = pages().into_iter().filter(|name| !name.starts_with("DD")).collect();
    let without: Vec<&String> = named.difference(&pages).collect();
    let lonely: Vec<&String> =
        pages.difference(&named).filter(|page| !FAMILIES.contains(&page.as_str())).collect();
    assert!(without.is_empty(), "codes without a page: {without:?}");
    assert!(lonely.is_empty(), "pages without a code: {lonely:?}");
    let shown = read("cli/src/pages.rs");
    let unshown: Vec<&String> =
        pages.iter().filter(|page| !shown.contains(&format!("    \"{page}\",\n"))).collect();
    assert!(unshown.is_empty(), "`explain` does not know {unshown:?}");
}

/// Files in which a failure is made of a code that is no literal, each because it gives what others named.
const HANDED_ON: [&str; 7] = [
    "engine/step/src/error.rs",
    "engine/machine/src/decide/mod.rs",
    "steps/src/qdrant/refusal.rs",
    "steps/src/point/selected.rs",
    "steps/src/sqlserver/failure.rs",
    "steps/src/postgres/failure.rs",
    "cli/src/load.rs",
];

#[test]
fn a_failure_is_made_of_a_code_that_can_be_found() {
    let mut hidden = BTreeSet::new();
    for source in shipped().iter().filter(|source| is_ours(&source.path)) {
        let text = source.lines_without_tests().join("\n");
        for maker in &MAKERS[..4] {
            for (at, _) in text.match_indices(maker) {
                if literal(text[at + maker.len()..].trim_start()).is_none() {
                    hidden.insert(source.path.clone());
                }
            }
        }
    }
    let hidden: Vec<&String> = hidden.iter().filter(|path| !HANDED_ON.contains(&path.as_str())).collect();
    assert!(hidden.is_empty(), "codes that no test can find in {hidden:?}");
}

/// The numbers in a list such as `&[3101, 3102]` at the beginning of a text.
fn numbers(text: &str) -> Vec<String> {
    let list = text.split(']').next().unwrap_or_default();
    list.split(',')
        .map(|number| number.trim().to_owned())
        .filter(|number| number.bytes().all(|b| b.is_ascii_digit()))
        .collect()
}

/// What the first column of a page's table lists.
fn told_of(page: &str) -> BTreeSet<String> {
    let page = read(&format!("docs/codes/{page}.md"));
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.split(", ").map(str::to_owned))
        .collect()
}

#[test]
fn every_state_that_is_known_stands_in_the_page_of_states() {
    let source = read("steps/src/postgres/failure.rs");
    let (_, known) = source.split_once("const KNOWN").expect("the table of known errors");
    let known = known.split("];\n\n").next().expect("its end");
    let wanted: BTreeSet<String> = known
        .split('"')
        .filter(|word| word.len() == 5 && is_state(&format!("postgres.{word}")))
        .map(str::to_owned)
        .collect();
    assert!(wanted.len() > 30, "only {} states were found", wanted.len());
    let told = told_of(FAMILIES[1]);
    let without: Vec<&String> = wanted.difference(&told).collect();
    assert!(without.is_empty(), "states that the page does not have: {without:?}");
}

#[test]
fn every_number_that_is_known_stands_in_the_page_of_numbers() {
    let source = read("steps/src/sqlserver/failure.rs");
    let (_, known) = source.split_once("const KNOWN").expect("the table of known errors");
    let known = known.split("];").next().expect("its end");
    let mut wanted: BTreeSet<String> =
        known.match_indices("(&[").flat_map(|(at, _)| numbers(&known[at + 3..])).collect();
    wanted.extend(known.match_indices("\n        &[").flat_map(|(at, _)| numbers(&known[at + 11..])));
    assert!(wanted.len() > 80, "only {} numbers were found", wanted.len());
    wanted.extend(
        worded().iter().filter(|code| is_number(code)).map(|code| code["sqlserver.".len()..].to_owned()),
    );
    let told = told_of(FAMILIES[0]);
    let without: Vec<&String> = wanted.difference(&told).collect();
    assert!(without.is_empty(), "numbers that the page does not have: {without:?}");
}
