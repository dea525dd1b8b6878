//! Inside a crate and inside a folder, a module uses only what is named above it.

use crate::tree::{Source, shipped};

/// The modules that a file declares, in order.
fn declared(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.lines_without_tests() {
        let line = line
            .trim_start()
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ");
        if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'))
            && !found.contains(&name.to_owned())
        {
            found.push(name.to_owned());
        }
    }
    found
}

/// The names that a text imports below `prefix::`, such as `crate::` or `super::`.
fn imported(source: &Source, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.lines_without_tests() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let name: String =
                code[at + prefix.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

/// Complains where a module under `folder` uses a sibling that is declared below it.
fn check(root: &Source, folder: &str, files: &[Source], problems: &mut Vec<String>) {
    let order = declared(root);
    for (at, module) in order.iter().enumerate() {
        let inside = |path: &str| {
            path == format!("{folder}{module}.rs") || path.starts_with(&format!("{folder}{module}/"))
        };
        for file in files.iter().filter(|file| inside(&file.path)) {
            let top = file.path == format!("{folder}{module}.rs")
                || file.path == format!("{folder}{module}/mod.rs");
            let crate_root = folder.ends_with("/src/");
            let names = if crate_root {
                imported(file, "crate::")
            } else if top {
                imported(file, "super::")
            } else {
                Vec::new()
            };
            for name in names {
                if let Some(other) = order.iter().position(|known| *known == name)
                    && other > at
                {
                    problems.push(format!(
                        "{}: uses `{name}`, which {} names below `{module}`",
                        file.path, root.path
                    ));
                }
            }
        }
    }
}

#[test]
fn modules_use_only_what_is_named_above_them() {
    let files = shipped();
    let mut problems = Vec::new();
    for root in files.iter().filter(|file| {
        file.path.ends_with("/lib.rs") || file.path.ends_with("/main.rs") || file.path.ends_with("/mod.rs")
    }) {
        let folder = root.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        check(root, &folder, &files, &mut problems);
    }
    problems.sort();
    problems.dedup();
    assert!(problems.is_empty(), "{} modules look down:\n{}", problems.len(), problems.join("\n"));
}
