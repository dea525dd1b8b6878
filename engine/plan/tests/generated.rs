//! What is made from the key tables and a catalog: schemas say what `check` says, and the committed reference is up to date.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "these are tests")]

mod kinds;

use drydock_plan::codes;
use drydock_plan::reference::keywords;
use drydock_plan::schema::{environment_schema, plan_schema, requests_schema};
use drydock_plan::syntax::keys::{CLAIM, EXPECT, PLAN, REQUEST, REQUESTS, STEP};
use serde_json::{Value, json};

#[test]
fn the_reference_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/keywords.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, keywords()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == keywords(), "docs/reference/keywords.md is stale: run with UPDATE=1");
}

#[test]
fn a_schema_has_every_key_and_every_kind() {
    let catalog = kinds::catalog();
    let schema = plan_schema(&catalog);
    let keys = |schema: &Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&schema), PLAN.names().collect::<Vec<_>>());
    assert_eq!(keys(&schema["$defs"]["step"]), STEP.names().collect::<Vec<_>>());
    assert_eq!(schema["required"], json!(["drydock", "name", "steps"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    for kind in catalog.kinds.values() {
        let inputs = &schema["$defs"][format!("with.{}", kind.name)];
        assert_eq!(
            keys(inputs),
            kind.inputs.iter().map(|field| field.name).collect::<Vec<_>>(),
            "{}",
            kind.name
        );
    }
    let branches = schema["$defs"]["step"]["allOf"].as_array().unwrap();
    let query = branches
        .iter()
        .find(|branch| branch["if"]["properties"]["uses"]["const"] == "sqlserver.query")
        .unwrap();
    assert_eq!(query["then"]["required"], json!(["with", "target"]));
    let noop =
        branches.iter().find(|branch| branch["if"]["properties"]["uses"]["const"] == "flow.noop").unwrap();
    assert_eq!(noop["then"]["properties"]["target"], json!(false));
    assert_eq!(schema, plan_schema(&kinds::catalog()), "the same each time");
}

#[test]
fn a_schema_of_requests_has_every_key() {
    let schema = requests_schema();
    let keys = |schema: &Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&schema), REQUESTS.names().collect::<Vec<_>>());
    assert_eq!(schema["properties"]["requests"]["items"]["$ref"], "#/$defs/request");
    for table in [&REQUEST, &EXPECT, &CLAIM] {
        assert_eq!(keys(&schema["$defs"][table.name]), table.names().collect::<Vec<_>>());
    }
    assert_eq!(schema["$defs"]["request"]["properties"]["method"]["enum"][0], "GET");
    assert_eq!(schema["$defs"]["claim"]["required"], json!(["path"]));
}

#[test]
fn an_environment_takes_secrets_only_from_their_sources() {
    let schema = environment_schema(&kinds::catalog());
    let sql = &schema["$defs"]["target.sqlserver"]["properties"];
    assert_eq!(sql["password"]["$ref"], "#/$defs/secret");
    assert_eq!(sql["host"], json!({"type": "string", "description": "An input."}));
    assert_eq!(sql["kind"], json!({"const": "sqlserver"}));
    assert_eq!(schema["$defs"]["secret"]["oneOf"].as_array().unwrap().len(), 3);
}

#[test]
fn every_code_is_explained_once() {
    let pages: Vec<&str> = codes::CODES.iter().map(|page| page.code).collect();
    assert!(pages.windows(2).all(|pair| pair[0] < pair[1]), "{pages:?}");
    for page in codes::CODES {
        assert!(
            !page.title.is_empty() && page.what.len() > page.title.len() && !page.remedy.is_empty(),
            "{}",
            page.code
        );
    }
    assert_eq!(codes::page_of("dd215").unwrap().title, "circle");
    assert_eq!(codes::page_of("DD999"), None);
}
