//! The rooms that think touch nothing, and no library speaks or looks around.

use crate::tree::{read, shipped};

/// The rooms that think.
const THINKING: &[&str] = &["engine/plan", "engine/machine", "engine/recovery"];

/// Crates that act.
const ACTING: &[&str] = &[
    "tokio",
    "reqwest",
    "tiberius",
    "tokio-postgres",
    "axum",
    "rusqlite",
    "rustix",
    "async-trait",
    "tempfile",
];

/// Calls that act.
const TOUCHES: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "async fn",
    ".await",
];

/// Calls by which a library would speak or look around.
const SPEAKS: &[&str] = &[
    "println!",
    "eprintln!",
    "print!(",
    "eprint!(",
    "std::env::var",
    "home_dir",
    "SystemTime::now",
    "Utc::now",
];

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .map(|line| line.split("//").next().unwrap_or_default())
}

#[test]
fn thinking_rooms_have_no_crate_that_acts() {
    for room in THINKING {
        let manifest = read(&format!("{room}/Cargo.toml"));
        let own = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for acting in ACTING {
            assert!(
                !own.lines().any(|line| line.starts_with(&format!("{acting}."))),
                "{room} imports {acting}"
            );
        }
    }
}

#[test]
fn thinking_rooms_call_nothing_outside() {
    let mut found = Vec::new();
    for source in shipped().iter().filter(|source| THINKING.iter().any(|room| source.path.starts_with(room)))
    {
        for line in code_lines(&source.text) {
            found.extend(
                TOUCHES
                    .iter()
                    .filter(|touch| line.contains(**touch))
                    .map(|touch| format!("{}: {touch}", source.path)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_library_speaks_or_looks_around() {
    let mut found = Vec::new();
    for source in shipped().iter().filter(|source| !source.path.starts_with("cli/")) {
        for line in code_lines(&source.text) {
            found.extend(
                SPEAKS
                    .iter()
                    .filter(|call| line.contains(**call))
                    .map(|call| format!("{}: {call}", source.path)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn yaml_is_named_in_one_file() {
    let named: Vec<String> = shipped()
        .into_iter()
        .filter(|source| {
            code_lines(&source.text).any(|line| line.contains("serde_yaml") || line.contains("saphyr"))
        })
        .map(|source| source.path)
        .collect();
    assert_eq!(named, ["engine/plan/src/syntax/yaml.rs"]);
}

#[test]
fn the_template_engine_s_unstable_part_is_named_in_one_file() {
    let named: Vec<String> = shipped()
        .into_iter()
        .filter(|source| code_lines(&source.text).any(|line| line.contains("minijinja::machinery")))
        .map(|source| source.path)
        .collect();
    assert_eq!(named, ["engine/plan/src/expr/ast.rs"]);
}

#[test]
fn folders_of_steps_never_import_each_other() {
    let folders =
        ["sqlserver", "qdrant", "postgres", "artifact", "point", "ef", "process", "http", "flow", "target"];
    let mut found = Vec::new();
    for source in shipped().iter().filter(|source| source.path.starts_with("steps/src/")) {
        let own = source.path.trim_start_matches("steps/src/").split('/').next().unwrap_or_default();
        for other in folders.iter().filter(|other| **other != own && source.path != "steps/src/lib.rs") {
            if code_lines(&source.text).any(|line| line.contains(&format!("crate::{other}::"))) {
                found.push(format!("{} imports {other}", source.path));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The kinds whose other side cannot be asked what became of an attempt.
const UNKNOWING: [&str; 2] = ["steps/src/http/request.rs", "steps/src/process/run.rs"];

#[test]
fn no_other_kind_can_say_that_nobody_knows() {
    let says = |source: &&crate::tree::Source| {
        source.path.starts_with("steps/src/")
            && code_lines(&source.text).any(|line| line.contains("Reconciled::Unknown"))
    };
    let shipped = shipped();
    let saying: Vec<&str> = shipped.iter().filter(says).map(|source| source.path.as_str()).collect();
    assert_eq!(saying, UNKNOWING);
}
