//! What kinds have against their inputs is found by `check`, at its place, before there is any server.

use serde_json::{Value, json};

use crate::world::World;

/// A plan of one step, its inputs a line each from line 9 on.
fn plan(uses: &str, with: &str) -> String {
    let with: String = with.lines().map(|line| format!("      {}\n", line.trim())).collect();
    format!(
        "drydock: v1\nname: p\nparams: {{ at: {{ type: string, default: x }} }}\ntargets: {{ sql: sqlserver }}\nsteps:\n  a:\n    uses: {uses}\n    target: sql\n    with:\n{with}"
    )
}

/// Checks that exactly these messages begin the findings, each with the line and column of its place.
#[track_caller]
fn check(uses: &str, with: &str, expected: &[(u64, u64, &str)]) {
    let world = World::plan(&plan(uses, with));
    let ended = world.drydock("check plan.yaml --format json").with_exit(10);
    let told: Value = serde_json::from_str(&ended.stdout).expect("findings");
    let all = told["findings"].as_array().expect("a list");
    // The parameter, which few of these plans read, is a warning.
    let found: Vec<&Value> = all.iter().filter(|found| found["severity"] == "error").collect();
    assert_eq!(found.len(), expected.len(), "{told:#}");
    for (found, (line, column, message)) in found.iter().zip(expected) {
        assert_eq!(found["code"], "DD509", "{told:#}");
        assert_eq!((&found["line"], &found["column"]), (&json!(line), &json!(column)), "{found:#}");
        assert!(found["message"].as_str().is_some_and(|text| text.contains(message)), "{message}: {found:#}");
    }
}

/// Checks that a plan of such a step has nothing wrong with it.
#[track_caller]
fn check_good(uses: &str, with: &str) {
    let ended = World::plan(&plan(uses, with)).drydock("check plan.yaml");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
}

#[test]
fn what_kinds_say_that_they_touch_is_compared() {
    let steps = [
        "restore: { uses: sqlserver.restore, target: sql, with: { database: A, into: B, chain: [], replace: true } }",
        "fill: { uses: sqlserver.script, target: sql, with: { database: B, sql: DELETE FROM t } }",
        "beside: { uses: sqlserver.script, target: sql, with: { database: A, sql: DELETE FROM t } }",
        "late: { uses: sqlserver.script, target: sql, needs: [fill], with: { database: B, sql: DELETE FROM t } }",
        "gone: { uses: qdrant.drop, target: vectors, with: { collection: C } }",
        "back: { uses: qdrant.recover, target: vectors, with: { collection: C, snapshot: \"{{ params.snapshot }}\", from: store } }",
    ];
    let steps: String = steps.iter().map(|step| format!("  {step}\n")).collect();
    let head = "drydock: v1\nname: p\npurpose: restore\nparams: { snapshot: { type: map, required: true } }\ntargets: { sql: sqlserver, vectors: qdrant, store: artifacts }\nsteps:\n";
    let ended = World::plan(&format!("{head}{steps}")).drydock("check plan.yaml --format json").with_exit(10);
    let told: Value = serde_json::from_str(&ended.stdout).expect("findings");
    let found: Vec<_> = told["findings"].as_array().expect("a list").iter().collect();
    let found: Vec<_> = found.iter().map(|one| (one["code"].as_str(), one["line"].as_u64())).collect();
    assert_eq!(
        found,
        [
            (Some("DD232"), Some(7)),
            (Some("DD231"), Some(8)),
            (Some("DD231"), Some(10)),
            (Some("DD231"), Some(12)),
            (Some("DD232"), Some(12))
        ],
        "{told:#}"
    );
}

#[test]
fn what_no_server_takes_is_found_all_at_once() {
    check(
        "sqlserver.backup",
        "database: X
         type: full
         stripes: 65
         block_size: 3KiB
         max_transfer_size: 100KiB
         compression: { algorithm: ms_xpress, level: low }",
        &[
            (12, 16, "a set has 1 to 64 stripes, not 65"),
            (13, 19, "a block is 512B, 1KiB, 2KiB"),
            (14, 26, "a transfer is a multiple of 64KiB"),
            (15, 20, "only `zstd` has a `level`"),
        ],
    );
    check_good(
        "sqlserver.backup",
        "database: X
         type: full
         stripes: 64
         block_size: 4KiB
         max_transfer_size: 128KiB
         compression: { algorithm: zstd, level: low }",
    );
}

#[test]
fn inputs_that_do_not_go_together_are_found_where_the_culprit_stands() {
    check(
        "sqlserver.backup",
        "database: X
         type: differential
         copy_only: true
         no_truncate: true
         format: false
         encryption: { certificate: c }",
        &[
            (12, 18, "only full and log backups can be `copy_only`"),
            (13, 20, "`no_truncate` belongs to a `tail`"),
            (14, 15, "an encrypted set cannot be appended"),
        ],
    );
    check(
        "sqlserver.restore",
        "database: X
         chain: { backups: [] }
         standby: /u
         keep_replication: true
         strategy: beside
         stop_at: 2026-07-14T03:00:00Z
         stop_at_mark: m",
        &[
            (13, 25, "`keep_replication` is said when a database is opened"),
            (14, 17, "`strategy` is said when a database is opened"),
            (15, 16, "a restore stops at one place"),
        ],
    );
    check(
        "sqlserver.restore",
        "group: [{ database: A, chain: { backups: [] } }]
         standby: /u",
        &[(11, 16, "`standby` cannot leave a group at one mark")],
    );
    check("sqlserver.restore", "replace: true", &[(7, 11, "it is not said what to restore")]);
    check("sqlserver.verify", "checksum: true", &[(7, 11, "there is nothing to verify")]);
    check(
        "ef.update",
        "database: X
         script: ./plan.yaml
         args: [x]",
        &[(12, 13, "a script takes no `args`")],
    );
}

#[test]
fn what_only_the_run_knows_is_not_judged() {
    check_good(
        "sqlserver.restore",
        "database: X
         chain: { backups: [] }
         stop_at: '{{ params.at }}'
         stop_at_mark: '{{ params.at }}'",
    );
    check_good("sqlserver.backup", "database: X\ntype: '{{ params.at }}'\nno_truncate: true");
}
