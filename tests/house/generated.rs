//! What is made from the code is committed, and equal to what the code makes. `UPDATE=1` writes it anew.

use std::process::Command;

use crate::tree::root;

fn check(path: &str, arguments: &[&str]) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_drydock")).args(arguments).output().expect("drydock starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).expect("text");
    let file = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &made).expect("written");
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == made, "{path} is stale: run the house tests with UPDATE=1");
}

#[test]
fn the_schema_of_plans_is_up_to_date() {
    check("schemas/plan.schema.json", &["schema", "plan"]);
}

#[test]
fn the_schema_of_environments_is_up_to_date() {
    check("schemas/environment.schema.json", &["schema", "environment"]);
}

#[test]
fn the_schema_of_requests_files_is_up_to_date() {
    check("schemas/requests.schema.json", &["schema", "requests"]);
}

#[test]
fn the_reference_of_kinds_is_up_to_date() {
    check("docs/reference/kinds.md", &["kinds", "--format", "markdown"]);
}
