//! Our JSON Schemas take every file that ships, and every example of a kind: an editor that reads them marks nothing in it.

use drydock_plan::finding::Findings;
use drydock_plan::schema::{environment_schema, plan_schema, requests_schema};
use drydock_plan::source::SourceFile;
use drydock_plan::syntax::yaml;
use drydock_step::Registry;
use serde_json::Value;

use crate::tree::{read, root};

fn catalog() -> drydock_plan::catalog::Catalog {
    let mut registry = Registry::new();
    drydock_steps::register(&mut registry);
    registry.catalog()
}

/// What a validator has against this text.
#[track_caller]
fn against(schema: &jsonschema::Validator, name: &str, text: &str) -> Vec<String> {
    let mut findings = Findings::new();
    let node = yaml::read(&SourceFile::new(name, text), 0, &mut findings);
    let value = node.unwrap_or_else(|| panic!("{name}: {:?}", findings.into_sorted())).json();
    schema.iter_errors(&value).map(|error| format!("{name}: {}: {error}", error.instance_path())).collect()
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::validator_for(schema).expect("a schema")
}

#[test]
fn every_file_that_ships_is_valid() {
    let catalog = catalog();
    let plan = validator(&plan_schema(&catalog));
    let environment = validator(&environment_schema(&catalog));
    let requests = validator(&requests_schema());
    let mut count = [0; 3];
    for folder in ["plans/octopus", "plans/environments", "cli/src/commands/init"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("it is there").flatten() {
            let name = entry.file_name().into_string().expect("a name");
            if !name.ends_with(".yaml") {
                continue;
            }
            let text = read(&format!("{folder}/{name}"));
            let begins = |key: &str| text.lines().any(|line| line.starts_with(key));
            let (at, schema) = match (begins("environment:"), begins("requests:")) {
                (true, _) => (1, &environment),
                (_, true) => (2, &requests),
                _ => (0, &plan),
            };
            count[at] += 1;
            let wrong = against(schema, &name, &text);
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }
    assert!(count[0] >= 18 && count[1] >= 4 && count[2] >= 1, "{count:?}");
}

#[test]
fn every_example_of_a_kind_is_valid() {
    let catalog = catalog();
    let plan = validator(&plan_schema(&catalog));
    for kind in catalog.kinds.values() {
        let steps: String = kind.example.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!("drydock: v1\nname: example\nsteps:\n{steps}");
        let wrong = against(&plan, kind.name, &text);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// What yaml-language-server shows and completes: words for every key and input, and the default of each that has one.
#[test]
fn every_key_and_input_is_described() {
    let catalog = catalog();
    for schema in [plan_schema(&catalog), environment_schema(&catalog), requests_schema()] {
        described("", &schema);
    }
    let plan = plan_schema(&catalog);
    let uses = &plan["$defs"]["step"]["properties"]["uses"];
    assert_eq!(uses["enum"].as_array().map(Vec::len), Some(catalog.kinds.len()));
    for kind in catalog.kinds.values() {
        let with = &plan["$defs"][format!("with.{}", kind.name)]["properties"];
        for field in kind.inputs {
            let default = field.default.map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
            assert_eq!(with[field.name].get("default"), default.as_ref(), "{}.{}", kind.name, field.name);
        }
    }
}

/// Every property, however deep, has a description; what stands in branches says more about a key that has one.
fn described(at: &str, schema: &Value) {
    let Some(map) = schema.as_object() else { return };
    for (key, value) in map {
        let here = format!("{at}/{key}");
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    let is_branch =
                        at.contains("/allOf/") || property.get("const").is_some() || property == false;
                    let says = property["description"].as_str().is_some_and(|text| !text.trim().is_empty());
                    assert!(says || is_branch || at.contains("/secret/"), "{here}/{name} has no description");
                    described(&format!("{here}/{name}"), property);
                }
            }
            (_, Value::Array(items)) => {
                items.iter().for_each(|item| described(&format!("{here}/"), item));
            }
            _ => described(&here, value),
        }
    }
}
