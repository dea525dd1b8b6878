//! Findings as programs read them: JSON, SARIF, annotations; and what text does not show.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "these are tests")]

mod kinds;

use std::collections::BTreeMap;

use drydock_plan::check::{CheckInput, Checked, Demand, Files, check};
use drydock_plan::params::GivenParams;
use drydock_plan::show::{Look, Shown, annotations, json, sarif, summary, text};
use drydock_plan::source::SourceFile;
use serde_json::json;

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Err("not here".to_owned())
    }
}

fn checked(name: &str, file: &str, environment: Option<&str>, flags: &[&str]) -> Checked {
    let catalog = kinds::catalog();
    let file = SourceFile::new(name, file);
    let environment = environment.map(|text| SourceFile::new("env.yaml", text));
    let given = GivenParams {
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..GivenParams::default()
    };
    check(&CheckInput {
        file: &file,
        environment: environment.as_ref(),
        catalog: &catalog,
        given: &given,
        variables: &BTreeMap::new(),
        files: &NoFiles,
        demand: Demand::Form,
    })
}

const UMLAUTS: &str = "drydock: v1\nname: umlauts\nsteps:\n  größe: { uses: flow.noop }\n  b: { uses: flow.noop, description: ü, need: [] }\n";

#[test]
fn json_counts_characters_from_one() {
    let checked = checked("a b.yaml", UMLAUTS, None, &[]);
    assert_eq!(
        json(&checked.findings, &checked.sources),
        json!({"findings": [
            {
                "code": "DD205", "severity": "error", "file": "a b.yaml", "line": 4, "column": 3, "length": 5,
                "message": "`größe` is not a name", "label": "only a to z, 0 to 9 and `_` may be in it",
                "help": "a name begins with a to z and goes on with a to z, 0 to 9 and `_`, at most 63 in all",
                "suggestion": null, "related": [],
            },
            {
                "code": "DD202", "severity": "error", "file": "a b.yaml", "line": 5, "column": 41, "length": 4,
                "message": "a step has no key `need`", "label": "unknown", "help": "did you mean `needs`?",
                "suggestion": "needs", "related": [],
            },
        ]})
    );
}

#[test]
fn further_places_are_told_with_their_files() {
    let plan = "drydock: v1\nname: bound\ntargets: { sql: sqlserver }\nsteps:\n  a: { uses: target.ping, target: sql }\n";
    let environment = "drydock: v1\nenvironment: drill\ntargets:\n  sql: { kind: http, url: 'http://x' }\n";
    let checked = checked("plan.yaml", plan, Some(environment), &[]);
    let shown = json(&checked.findings, &checked.sources);
    assert_eq!(shown["findings"][0]["code"], "DD403");
    assert_eq!(
        shown["findings"][0]["related"],
        json!([{"file": "env.yaml", "line": 4, "column": 16, "length": 4, "label": "the environment's kind"}])
    );
    let log = sarif(&checked.findings, &checked.sources, "1.2.3");
    let result = &log["runs"][0]["results"][0];
    assert_eq!(log["runs"][0]["tool"]["driver"]["version"], "1.2.3");
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][0]["id"], "DD403");
    assert_eq!(result["level"], "error");
    assert_eq!(
        result["locations"][0]["physicalLocation"],
        json!({"artifactLocation": {"uri": "plan.yaml"}, "region": {"startLine": 3, "startColumn": 17, "endColumn": 26}})
    );
    assert_eq!(result["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"], "env.yaml");
}

#[test]
fn annotations_are_one_line_each() {
    let checked = checked("plans/100%,a.yaml", UMLAUTS, None, &[]);
    let lines = annotations(&checked.findings, &checked.sources);
    assert_eq!(
        lines.lines().last(),
        Some(
            "::error file=plans/100%25%2Ca.yaml,line=5,col=41,endColumn=45,title=DD202::a step has no key `need`%0Adid you mean `needs`?"
        )
    );
    assert_eq!(lines.lines().count(), 2);
    let uri = &sarif(&checked.findings, &checked.sources, "0")["runs"][0]["results"][0]["locations"][0];
    assert_eq!(uri["physicalLocation"]["artifactLocation"]["uri"], "plans/100%25%2Ca.yaml");
}

#[test]
fn a_secret_in_plain_text_is_never_shown() {
    let plan = "drydock: v1\nname: leak\nparams: { token: { type: secret, default: hunter2hunter2 } }\ntargets: { sql: sqlserver, q: qdrant }\n\
                steps:\n  a: { uses: target.ping, target: sql, description: hunter2 }\n  b: { uses: target.ping, target: q }\n";
    let environment = "drydock: v1\nenvironment: drill\ntargets:\n  sql: { kind: sqlserver, host: h, password: \"hunter2\\\n    hunter2\" }\n  \
                       q: { kind: qdrant, nodes: ['http://u:hunter2@q:6333'] }\n";
    let checked = checked("plan.yaml", plan, Some(environment), &["token=hunter2hunter2"]);
    let codes: Vec<&str> = checked.findings.iter().map(|finding| finding.code.0).collect();
    assert_eq!(codes, ["DD417", "DD407", "DD407", "DD407", "DD410"]);
    let shown = [
        text(&checked.findings, &checked.sources, Look::default()),
        text(&checked.findings, &checked.sources, Look { color: true, width: Some(60) }),
        json(&checked.findings, &checked.sources).to_string(),
        sarif(&checked.findings, &checked.sources, "0").to_string(),
        annotations(&checked.findings, &checked.sources),
    ];
    for shown in shown {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn several_checks_are_shown_as_one() {
    let mut all = Shown::default();
    for name in ["one.yaml", "two.yaml"] {
        let checked = checked(name, UMLAUTS, None, &[]);
        all.add(&checked.findings, &checked.sources);
    }
    let files: Vec<_> = json(&all.findings, &all.sources)["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["file"].clone())
        .collect();
    assert_eq!(files, ["one.yaml", "one.yaml", "two.yaml", "two.yaml"]);
    assert_eq!(summary(&all.findings).as_deref(), Some("4 errors"));
    assert_eq!(summary(&[]), None);
}
