//! How large things may grow. Excuses are few, and listed.

use crate::tree::{Source, shipped};

/// Files that may be longer than 600 lines, with the reason.
const EXCUSED_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer than 80 lines, with the reason.
const EXCUSED_FUNCTIONS: &[(&str, &str, &str)] = &[
    ("engine/machine/src/apply.rs", "apply", "one match over all events"),
    ("cli/src/reporters/lines.rs", "of", "one match over all events"),
];

/// The functions of a file with their lengths, by rustfmt's indentation.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let lines = source.lines_without_tests();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe "];
        let mut rest = bare;
        while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
            rest = shorter;
        }
        let Some(name) = rest.strip_prefix("fn ") else { continue };
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = format!("{}}}", " ".repeat(indent));
        let one_line = line.ends_with('}') || line.ends_with(';');
        let length = if one_line {
            1
        } else {
            lines[at..].iter().position(|line| *line == end).map_or(1, |found| found + 1)
        };
        found.push((name, length));
    }
    found
}

fn percentile(mut sizes: Vec<usize>, percent: usize) -> usize {
    sizes.sort_unstable();
    sizes.get(sizes.len() * percent / 100).copied().unwrap_or(0)
}

#[test]
fn files_stay_small() {
    let files = shipped();
    let sizes: Vec<usize> = files.iter().map(|source| source.lines_without_tests().len()).collect();
    let long: Vec<String> = files
        .iter()
        .filter(|source| {
            source.lines_without_tests().len() > 600
                && !EXCUSED_FILES.iter().any(|(path, _)| *path == source.path)
        })
        .map(|source| format!("{} ({})", source.path, source.lines_without_tests().len()))
        .collect();
    assert!(long.is_empty(), "longer than 600 lines:\n{}", long.join("\n"));
    let (median, p90) = (percentile(sizes.clone(), 50), percentile(sizes, 90));
    assert!(median <= 140, "the median file has {median} lines");
    assert!(p90 <= 400, "one file in ten has more than {p90} lines");
}

#[test]
fn functions_stay_small() {
    let mut lengths = Vec::new();
    let mut long = Vec::new();
    for source in shipped() {
        for (name, length) in functions(&source) {
            lengths.push(length);
            if length > 80
                && !EXCUSED_FUNCTIONS
                    .iter()
                    .any(|(path, function, _)| *path == source.path && *function == name)
            {
                long.push(format!("{} {name} ({length})", source.path));
            }
        }
    }
    assert!(long.is_empty(), "longer than 80 lines:\n{}", long.join("\n"));
    let p90 = percentile(lengths, 90);
    assert!(p90 <= 35, "one function in ten has more than {p90} lines");
}

#[test]
fn excuses_are_needed() {
    let files = shipped();
    for (path, name, _) in EXCUSED_FUNCTIONS {
        let source =
            files.iter().find(|source| source.path == *path).unwrap_or_else(|| panic!("{path} is gone"));
        let needed = functions(source).iter().any(|(function, length)| function == name && *length > 80);
        assert!(needed, "{path} {name} needs no excuse any more");
    }
}
