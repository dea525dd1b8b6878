//! The pages of the codes: one for each, with the words of the table, an example that is wrong in just this way, and one that is
//! right.

use std::collections::BTreeSet;
use std::path::PathBuf;

use drydock_plan::expr::{CODES, Ref, Root, Shapes, Site, compile_expr, compile_text};
use drydock_plan::finding::Findings;
use drydock_plan::owned_shape::OwnedShape;
use drydock_plan::rendered::{Piece, Rendered};
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::world::{World, is_secret, place};

const CONDITION: Site = Site { roots: &Root::ALL, what: "a condition" };
const INPUT: Site =
    Site { roots: &[Root::Params, Root::Steps, Root::Item, Root::Run], what: "a step's input" };

fn page(code: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/codes").join(format!("{code}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_code_has_its_page() {
    for code in CODES {
        let page = page(code.code);
        assert!(page.starts_with(&format!("# {}: {}\n", code.code, code.title)), "{}", code.code);
        assert!(page.contains(&code.what[1..]) && page.contains(code.remedy), "{}", code.code);
    }
}

#[test]
fn the_examples_are_wrong_and_right() {
    for code in CODES {
        let page = page(code.code);
        let example = |from: &str, to: &str| {
            let (_, rest) = page.split_once(from).unwrap();
            rest.split_once(to).unwrap().0.trim().to_owned()
        };
        // An expression that is too large would not fit the page.
        if code.code != "DD306" {
            let found = codes_of(&example("# wrong", "# right"));
            assert_eq!(found, BTreeSet::from([code.code.to_owned()]), "{}", code.code);
        }
        assert_eq!(codes_of(&example("# right", "```")), BTreeSet::new(), "{}", code.code);
    }
}

struct Known;

impl Shapes for Known {
    fn shape_of(&self, reference: &Ref) -> OwnedShape {
        match reference.dotted().as_str() {
            "steps.mark.outputs.lsn" => OwnedShape::Decimal,
            "result.rows" => OwnedShape::list(OwnedShape::Any),
            _ => OwnedShape::Any,
        }
    }
}

fn world() -> World {
    let world = World::new(&json!({
        "params": {
            "name": "Octopus", "size": "5", "count": 3, "full": true, "database": "x", "which": "restore_sql",
            "text": "a".repeat(3_000), "long": "b".repeat(3_000),
        },
        "result": {"n": 5, "name": "x", "rows": [{"last": "x"}]},
        "run": {"status": "failed"},
        "steps": {
            "restore_sql": {"status": "succeeded", "outputs": {"rows": 1}},
            "mark": {"status": "succeeded", "outputs": {"lsn": "44000000037600005"}},
            "list": {"status": "succeeded", "outputs": {"names": ["a", "b"]}},
            "ready": {"status": "succeeded", "outputs": {"all": true}},
        },
    }));
    let holes = Rendered::Holes(vec![Piece::Secret("params.token".to_owned())]);
    let text = |text: &str| Rendered::Text(text.to_owned());
    let points = Rendered::from(json!({"low": 1, "high": 9}));
    world.item(&Rendered::Map(IndexMap::from([
        ("header".to_owned(), holes),
        ("id".to_owned(), text("a")),
        ("points".to_owned(), points),
    ])))
}

/// All codes that checking and evaluating this line of a step gives.
fn codes_of(line: &str) -> BTreeSet<String> {
    let yaml: Value = serde_yaml::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let (mut findings, mut errors, world) = (Findings::new(), Vec::new(), world());
    for (key, value) in yaml.as_object().unwrap() {
        match value.as_str() {
            Some(text) if key == "when" || key == "assert" => {
                if let Some(expr) = compile_expr(text, place(text), &CONDITION, &is_secret, &mut findings) {
                    expr.check_condition(&Known, &mut findings);
                    errors.extend(expr.truth(&world.scope()).err().filter(|_| !findings.has_errors()));
                }
            }
            Some(_) => {}
            None => texts(value, &mut |text| {
                if let Some(template) = compile_text(text, place(text), &INPUT, &is_secret, &mut findings) {
                    template.check_shapes(&Known, &mut findings);
                    errors.extend(template.render(&world.scope()).err().filter(|_| !findings.has_errors()));
                }
            }),
        }
    }
    let found = findings.iter().map(|finding| finding.code.0.to_owned());
    found.chain(errors.iter().map(|error| error.code.0.to_owned())).collect()
}

fn texts(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Object(map) => map.values().for_each(|value| texts(value, visit)),
        _ => {}
    }
}
