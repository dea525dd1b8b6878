//! How a step differs between two readings of its plan: what counts as a change of it, and what does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod kinds;

use std::collections::BTreeMap;

use drydock_plan::change::{Part, changes_of};
use drydock_plan::check::{CheckInput, Demand, Files, check};
use drydock_plan::model::Plan;
use drydock_plan::params::GivenParams;
use drydock_plan::source::SourceFile;

/// One content for whatever is named.
struct Content(String);

impl Files for Content {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.as_bytes().to_vec())
    }
}

/// A step `s` among others, with what it reads.
const PLAN: &str = r#"
drydock: v1
name: p
params: { db: { type: string, default: A }, other: { type: string, default: x }, list: { type: list, default: [1] }, token: { type: secret, default: { env: T } } }
targets: { sql: sqlserver, vectors: qdrant, backups: artifacts, api: http, other: http }
steps:
  first: { uses: flow.noop }
  second: { uses: flow.set, with: { values: { v: "{{ params.other }}" } } }
  s:
    uses: sqlserver.restore
    target: sql
    needs: [first, second]
    when: params.db != 'B C'
    with: { database: "{{ params.db }}", chain: [a, b], replace: true }
    outputs: { extra: "at {{ outputs.recovered_to }}" }
    validate: [{ name: it is there, uses: sqlserver.query, with: { sql: SELECT 1 }, assert: result.count == 1 }]
  each: { uses: qdrant.recover, target: vectors, foreach: params.list, key: item, with: { from: backups, snapshot: "{{ item }}" } }
  send: { uses: http.scenario, target: api, with: { file: talk.yaml } }
  call: { uses: http.request, target: api, with: { headers: { Authorization: "Bearer {{ params.token }}" } } }
finally:
  end: { uses: flow.noop, undoes: [first] }
"#;

const ENVIRONMENT: &str = r#"
drydock: v1
environment: e
targets:
  sql: { kind: sqlserver, host: sql01, password: { env: P } }
  vectors: { kind: qdrant, nodes: ["http://q0:1"] }
  backups: { kind: artifacts, url: "file:///a" }
  api: { kind: http, url: "http://a" }
  other: { kind: http, url: "http://o" }
"#;

fn plan(text: &str, environment: &str, content: &str) -> Plan {
    let checked = check(&CheckInput {
        file: &SourceFile::new("plan.yaml", text),
        environment: Some(&SourceFile::new("env.yaml", environment)),
        catalog: &kinds::catalog(),
        given: &GivenParams::default(),
        variables: &BTreeMap::new(),
        files: &Content(content.to_owned()),
        demand: Demand::Form,
    });
    checked.plan.unwrap_or_else(|| panic!("{:?}", checked.findings))
}

/// All differences of all steps, `step: difference`.
fn differences(was: &Plan, now: &Plan) -> Vec<String> {
    let of = |step: &drydock_plan::model::Step| {
        let other = now.steps.iter().find(|other| other.id == step.id).unwrap();
        let found = changes_of((was, step), (now, other));
        found.into_iter().map(|change| format!("{}: {change}", step.id)).collect::<Vec<_>>()
    };
    was.steps.iter().flat_map(of).collect()
}

/// The differences that replacing a text makes, in the plan or in the environment.
#[track_caller]
fn check_change(from: &str, to: &str, expected: &[&str]) {
    let text = format!("{PLAN}\u{0}{ENVIRONMENT}");
    assert!(text.contains(from), "no `{from}`");
    let changed = text.replace(from, to);
    let (new_plan, new_environment) = changed.split_once('\u{0}').unwrap();
    let found = differences(&plan(PLAN, ENVIRONMENT, "c"), &plan(new_plan, new_environment, "c"));
    assert_eq!(found, expected, "{from} => {to}");
}

#[test]
fn each_part_that_counts() {
    check_change("chain: [a, b]", "chain: [a, c]", &[r#"s: with.chain[1]: "b" -> "c""#]);
    check_change("chain: [a, b]", "chain: [a]", &[r#"s: with.chain: ["a","b"] -> ["a"]"#]);
    check_change(", replace: true", "", &["s: with.replace: true -> (nothing)"]);
    check_change(
        "database: \"{{ params.db }}\"",
        "database: \"x{{ params.db }}\"",
        &[r#"s: with.database: "{{ params.db }}" -> "x{{ params.db }}""#],
    );
    check_change(
        "needs: [first, second]",
        "needs: [first]",
        &[r#"s: needs: ["first","second"] -> ["first"]"#],
    );
    check_change("'B C'", "'B  C'", &[r#"s: when: "params.db != 'B C'" -> "params.db != 'B  C'""#]);
    check_change(
        "\"at {{",
        "\"by {{",
        &[r#"s: outputs.extra: "at {{ outputs.recovered_to }}" -> "by {{ outputs.recovered_to }}""#],
    );
    check_change(
        "SELECT 1 }",
        "SELECT 2 }",
        &[r#"s: validation `it is there`: with.sql: "SELECT 1" -> "SELECT 2""#],
    );
    check_change(
        "count == 1",
        "count == 2",
        &[r#"s: validation `it is there`: assert: "result.count == 1" -> "result.count == 2""#],
    );
    check_change("foreach: params.list,", "foreach: \"[1]\",", &[r#"each: foreach: "params.list" -> "[1]""#]);
    check_change("key: item,", "key: \"'a' ~ item\",", &[r#"each: key: "item" -> "'a' ~ item""#]);
    check_change(
        "uses: flow.noop }\n  second",
        "uses: flow.wait, with: { for: 1s } }\n  second",
        &[r#"first: uses: "flow.noop" -> "flow.wait""#, r#"first: with.for: (nothing) -> "1s""#],
    );
    check_change("api, with: { file", "other, with: { file", &[r#"send: target: "api" -> "other""#]);
    check_change(
        "undoes: [first]",
        "undoes: [first, second]",
        &[r#"end: undoes: ["first"] -> ["first","second"]"#],
    );
}

#[test]
fn values_servers_and_files_that_a_step_uses_count_for_it_and_for_no_other() {
    check_change("default: A", "default: Z", &[r#"s: params.db: "A" -> "Z""#, r#"s: params.db: "A" -> "Z""#]);
    check_change("default: x", "default: y", &[r#"second: params.other: "x" -> "y""#]);
    check_change(
        "host: sql01",
        "host: sql02",
        &[r#"s: target sql.host: "sql01" -> "sql02""#, r#"s: target sql.host: "sql01" -> "sql02""#],
    );
    check_change("file:///a", "file:///b", &[r#"each: target backups.url: "file:///a" -> "file:///b""#]);
    let found = differences(&plan(PLAN, ENVIRONMENT, "c"), &plan(PLAN, ENVIRONMENT, "d"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("send: the file talk.yaml: \"sha256 "), "{found:?}");
}

#[test]
fn how_it_is_written_tried_or_kept_secret_is_no_change() {
    for (from, to) in [
        ("uses: sqlserver.restore\n", "uses: sqlserver.restore # again\n    description: In words.\n"),
        ("needs: [first, second]", "needs:\n      - second\n      - first"),
        (
            "target: sql\n",
            "target: 'sql'\n    timeout: 2h\n    retry: { attempts: 3 }\n    on_failure: continue\n",
        ),
        ("{{ params.db }}", "{{params.db}}"),
        ("when: params.db != 'B C'", "when: >-\n      params.db\n      !='B C'"),
        ("key: item,", "key: item, max_parallel: 2,"),
        ("default: { env: T }", "default: { file: t }"),
        ("password: { env: P }", "password: { file: p }"),
        ("name: p\n", "name: p\ndescription: Other words.\nmax_parallel: 3\n"),
        ("environment: e", "environment: e\nprotected: true"),
    ] {
        check_change(from, to, &[]);
    }
}

#[test]
fn each_difference_says_which_part_it_is_of() {
    let changed = PLAN.replace("chain: [a, b]", "chain: []").replace("count == 1", "count == 2");
    let (was, now) = (plan(PLAN, ENVIRONMENT, "c"), plan(&changed, ENVIRONMENT, "c"));
    let step = |plan: &Plan| plan.index_of("s").unwrap().ix();
    let found = changes_of((&was, &was.steps[step(&was)]), (&now, &now.steps[step(&now)]));
    let parts: Vec<Part> = found.iter().map(|change| change.part).collect();
    assert_eq!(parts, [Part::Call, Part::Validation(0)]);
}
