//! What an editor makes of our schemas: a JSON Schema validator takes every good file of `tests/plans`, and refuses every bad one whose
//! mistake a schema can see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "these are tests")]

mod kinds;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drydock_plan::check::{CheckInput, Demand, Files, check};
use drydock_plan::finding::{Findings, Severity};
use drydock_plan::params::GivenParams;
use drydock_plan::schema::{environment_schema, plan_schema, requests_schema};
use drydock_plan::source::SourceFile;
use drydock_plan::syntax::yaml;
use jsonschema::Validator;
use serde_json::Value;

/// The codes whose mistakes a schema sees, whatever the plan.
const SEEN: [&str; 13] = [
    "DD202", // an unknown key
    "DD203", // a missing key
    "DD204", // a value of another type
    "DD205", // a name that is none
    "DD206", // another version
    "DD207", // none of the words
    "DD404", // an unknown setting
    "DD405", // a missing setting
    "DD501", // an unknown kind
    "DD503", // a target that the kind does not take
    "DD507", // an unknown input
    "DD508", // a missing input
    "DD401", // an unknown target kind
];

/// The codes of which a schema sees one mistake and not another. All others need more than one place of a file, its text, or another file:
/// no schema sees those, and none may refuse a file for anything else.
const SEEN_SOMETIMES: [(&str, &str); 5] = [
    ("DD502", "a step without a target is seen, a validation that would take its step's is not"),
    ("DD509", "the shape of an input is in the schema, what its kind makes of the values together is not"),
    (
        "DD407",
        "a text where the source of a secret belongs is seen, one that only looks like a secret is not",
    ),
    ("DD408", "another mapping than a source is seen, a variable that cannot be one is not"),
    ("DD409", "a source where a text belongs is seen, a secret inside a text is not"),
];

struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plans").join(folder);
    let paths = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .filter(|path| !path.to_str().unwrap().ends_with(".values.yaml"))
        .collect();
    paths.sort();
    paths
}

struct Schemas {
    plan: Validator,
    environment: Validator,
    requests: Validator,
}

impl Schemas {
    fn new() -> Self {
        let catalog = kinds::catalog();
        let of = |schema: Value| jsonschema::validator_for(&schema).unwrap();
        Self {
            plan: of(plan_schema(&catalog)),
            environment: of(environment_schema(&catalog)),
            requests: of(requests_schema()),
        }
    }

    /// What a validator has against a file; `None` where it is no YAML, or of no kind.
    fn against(&self, source: &SourceFile) -> Option<Vec<String>> {
        let value = yaml::read(source, 0, &mut Findings::new())?.json();
        let has = |key: &str| value.get(key).is_some();
        let schema = match (has("steps"), has("environment"), has("requests")) {
            (true, false, false) => &self.plan,
            (false, true, false) => &self.environment,
            (false, false, true) => &self.requests,
            _ => return None,
        };
        Some(schema.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect())
    }
}

/// The codes of the errors that `check` finds in a file by itself.
fn errors(source: &SourceFile) -> Vec<&'static str> {
    let catalog = kinds::catalog();
    let checked = check(&CheckInput {
        file: source,
        environment: None,
        catalog: &catalog,
        given: &GivenParams::default(),
        variables: &BTreeMap::new(),
        files: &Nothing,
        demand: Demand::Form,
    });
    let errors = checked.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.code.0).collect()
}

fn source(path: &Path) -> SourceFile {
    SourceFile::of_bytes(path.file_name().unwrap().to_str().unwrap(), &std::fs::read(path).unwrap())
}

#[test]
fn good_files_are_valid() {
    let schemas = Schemas::new();
    for path in files("good") {
        let against = schemas.against(&source(&path)).unwrap();
        assert!(against.is_empty(), "{}: {against:#?}", path.display());
    }
}

#[test]
fn bad_files_are_refused_where_a_schema_can_see_why() {
    let schemas = Schemas::new();
    let (mut missed, mut too_strict) = (Vec::new(), Vec::new());
    for path in files("bad") {
        let source = source(&path);
        let Some(against) = schemas.against(&source) else { continue };
        let errors = errors(&source);
        let seen = errors.iter().any(|code| SEEN.contains(code));
        let sometimes = errors.iter().any(|code| SEEN_SOMETIMES.iter().any(|(one, _)| one == code));
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if seen && against.is_empty() {
            missed.push(format!("{name}: {errors:?}"));
        } else if !seen && !sometimes && !against.is_empty() {
            too_strict.push(format!("{name}: {errors:?}, {against:?}"));
        }
    }
    for (code, why) in SEEN_SOMETIMES {
        assert!(!SEEN.contains(&code) && drydock_plan::codes::page_of(code).is_some(), "{code}: {why}");
    }
    assert!(missed.is_empty() && too_strict.is_empty(), "missed: {missed:#?}\ntoo strict: {too_strict:#?}");
}

#[test]
fn what_is_deprecated_is_marked_so_that_editors_strike_it_through() {
    let schema = plan_schema(&kinds::catalog());
    let with = &schema["$defs"]["with.sqlserver.backup"]["properties"];
    assert_eq!(with["compress"]["deprecated"], true);
    assert_eq!(with["compress"]["description"], "Deprecated: write `compression`. An input.");
    assert_eq!(with["compression"].get("deprecated"), None);
}
