//! Who may import whom.

use crate::tree::{CRATES, read};

/// The table of DESIGN: crate, and the crates of ours that it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("drydock-plan", &[]),
    ("drydock-recovery", &[]),
    ("drydock-practice", &[]),
    ("drydock-machine", &["drydock-plan"]),
    ("drydock-step", &["drydock-plan", "drydock-recovery"]),
    ("drydock-run", &["drydock-plan", "drydock-machine", "drydock-step"]),
    ("drydock-steps", &["drydock-step", "drydock-recovery"]),
    (
        "drydock",
        &[
            "drydock-plan",
            "drydock-recovery",
            "drydock-practice",
            "drydock-machine",
            "drydock-step",
            "drydock-run",
            "drydock-steps",
        ],
    ),
];

/// The dependencies of a section of a `Cargo.toml`.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let body = manifest.split_once(&format!("\n[{section}]\n")).map_or("", |(_, rest)| rest);
    body.lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_import_only_what_they_may() {
    for (name, folder) in CRATES {
        let allowed = ALLOWED.iter().find(|(of, _)| of == name).expect("every crate is in the table").1;
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let ours =
            dependencies(&manifest, "dependencies").into_iter().filter(|name| name.starts_with("drydock"));
        for import in ours {
            assert!(allowed.contains(&import.as_str()), "{name} may not import {import}");
        }
    }
}

#[test]
fn every_dependency_is_named_once_for_the_workspace() {
    for (name, folder) in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        for line in manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1) {
            let entry = !line.is_empty() && !line.starts_with(['[', '#']);
            let shared =
                line.contains("workspace = true") || line.contains("path = ") || line.contains("harness");
            assert!(
                !entry || shared || !line.contains('"') || line.starts_with("name"),
                "{name}: `{line}` belongs into the workspace"
            );
        }
    }
}
