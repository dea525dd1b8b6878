//! The repository as the rules see it: [`Source`] files of our crates.

use std::path::{Path, PathBuf};

/// The crates with their folders, from the ground up.
pub(crate) const CRATES: &[(&str, &str)] = &[
    ("drydock-plan", "engine/plan"),
    ("drydock-recovery", "engine/recovery"),
    ("drydock-practice", "practice"),
    ("drydock-machine", "engine/machine"),
    ("drydock-step", "engine/step"),
    ("drydock-run", "engine/run"),
    ("drydock-steps", "steps"),
    ("drydock", "cli"),
];

/// One Rust file of ours.
pub(crate) struct Source {
    /// Relative to the repository.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli lies in the repository").to_owned()
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files under these folders, sorted by path.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no source under {folders:?}");
    found
}

/// The `src` folders of all crates.
pub(crate) fn src_folders() -> Vec<String> {
    CRATES.iter().map(|(_, folder)| format!("{folder}/src")).collect()
}

/// All Rust files that ship.
pub(crate) fn shipped() -> Vec<Source> {
    let folders = src_folders();
    sources(&folders.iter().map(String::as_str).collect::<Vec<_>>())
}

fn walk(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                walk(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative =
                path.strip_prefix(root()).expect("under the root").to_string_lossy().replace('\\', "/");
            found.push(Source {
                path: relative,
                text: std::fs::read_to_string(&path).expect("a source is text"),
            });
        }
    }
}

impl Source {
    /// Its lines without the tests at its end.
    pub(crate) fn lines_without_tests(&self) -> Vec<&str> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
    }
}
