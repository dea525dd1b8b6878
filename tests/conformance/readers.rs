//! Kinds that only read: an attempt of theirs that was begun is not done, and is simply made again.

use serde_json::{Value, json};

use crate::postgres_server::{Major, Options, Postgres};
use crate::postgres_world::bind;
use crate::practice::{Practice, octopus};
use crate::world::{World, ended};

/// A step of each, named for its kind with `_` for the dot. What comes before gives them something to read. The one that fails stands
/// last, for a resume tries again what has failed.
pub(crate) const PLAN: &str = r#"
drydock: v1
name: readers
targets: { sql: sqlserver, vectors: qdrant, pg: postgres, backups: artifacts, api: http }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  open: { uses: point.open, target: backups, needs: [full] }
  mark: { uses: sqlserver.mark, target: sql, needs: [open], with: { mark: "{{ steps.open.outputs.mark }}", databases: { octopus: OctopusDB } } }
  log: { uses: sqlserver.backup, target: sql, needs: [mark], with: { database: OctopusDB, type: log } }
  seal:
    uses: point.seal
    target: backups
    needs: [log]
    with: { point: "{{ steps.open.outputs }}", mark: "{{ steps.mark.outputs }}", truth: sql, sqlserver: { octopus: ["{{ steps.full.outputs }}", "{{ steps.log.outputs }}"] } }
  flow_noop: { uses: flow.noop, needs: [seal] }
  flow_set: { uses: flow.set, needs: [flow_noop], with: { values: { n: 1 } } }
  flow_wait: { uses: flow.wait, needs: [flow_set], with: { for: 5ms } }
  target_ping: { uses: target.ping, target: sql, needs: [flow_wait] }
  sqlserver_query: { uses: sqlserver.query, target: sql, needs: [target_ping], with: { database: OctopusDB, sql: SELECT Id FROM Octopus_Agents } }
  sqlserver_verify: { uses: sqlserver.verify, target: sql, needs: [sqlserver_query], with: { chain: ["{{ steps.full.outputs }}", "{{ steps.log.outputs }}"], checkdb: { database: OctopusDB } } }
  sqlserver_history: { uses: sqlserver.history, target: sql, needs: [sqlserver_verify], with: { database: OctopusDB } }
  http_wait: { uses: http.wait, target: api, needs: [sqlserver_history], with: { path: /agents } }
  http_request: { uses: http.request, target: api, needs: [http_wait], with: { method: GET, path: /agents } }
  process_run: { uses: process.run, needs: [http_request], with: { argv: [echo, read], effect: reads } }
  artifact_verify: { uses: artifact.verify, target: backups, needs: [process_run], with: { prefix: sql } }
  artifact_read: { uses: artifact.read, target: backups, needs: [artifact_verify, seal], with: { path: "points/{{ steps.seal.outputs.id }}/manifest.json" } }
  point_select: { uses: point.select, target: backups, needs: [artifact_read, seal], with: { to: "{{ steps.seal.outputs.id }}" } }
  point_verify: { uses: point.verify, target: backups, needs: [point_select], with: { point: latest, effect: reads } }
  qdrant_count: { uses: qdrant.count, target: vectors, needs: [point_verify], with: { collection: agent_aa } }
  qdrant_query: { uses: qdrant.query, target: vectors, needs: [qdrant_count], with: { collection: agent_aa, point: 1, limit: 1 } }
  sampled: { uses: qdrant.sample, target: vectors, with: { collection: agent_aa, to: backups } }
  qdrant_recall: { uses: qdrant.recall, target: vectors, needs: [qdrant_query, sampled], with: { collection: agent_aa, from: backups, samples: ["{{ steps.sampled.outputs }}"] } }
  postgres_query: { uses: postgres.query, target: pg, needs: [qdrant_recall], with: { sql: "SELECT 1 AS n" } }
  postgres_count: { uses: postgres.count, target: pg, needs: [postgres_query], with: { database: postgres } }
  postgres_verify: { uses: postgres.verify, target: pg, needs: [postgres_count], with: { database: postgres } }
  postgres_wal_status: { uses: postgres.wal_status, needs: [postgres_verify], with: { from: backups, prefix: pg/wal } }
  pg_sampled: { uses: postgres.sample, target: pg, with: { database: postgres, table: public.v, to: backups } }
  postgres_recall: { uses: postgres.recall, target: pg, needs: [postgres_wal_status, pg_sampled], with: { from: backups, samples: ["{{ steps.pg_sampled.outputs }}"] } }
  based: { uses: postgres.basebackup, target: pg, with: { to: backups, prefix: pg/base } }
  streamed: { uses: postgres.wal, target: pg, needs: [based], with: { to: backups, prefix: pg/wal, spool: ./spool, until: "{{ steps.based.outputs.end_lsn }}" } }
  postgres_wal_range: { uses: postgres.wal_range, target: backups, needs: [postgres_recall, based, streamed], with: { prefix: pg/wal, base: "{{ steps.based.outputs }}", to: "{{ steps.based.outputs.end_lsn }}", within: 1m } }
  postgres_archive: { uses: postgres.archive, needs: [postgres_wal_range], with: { at: { folder: ./artifacts } } }
  flow_fail: { uses: flow.fail, needs: [postgres_archive], on_failure: ignore, with: { message: as planned } }
"#;

/// The steps of kinds that read, in their order, each with its kind.
pub(crate) fn steps() -> Vec<(String, String)> {
    let step = |line: &str| {
        let (name, rest) = line.strip_prefix("  ")?.split_once(": { uses: ")?;
        let kind = rest.split([',', ' ']).next()?;
        (name == kind.replace('.', "_")).then(|| (name.to_owned(), kind.to_owned()))
    };
    PLAN.lines().filter_map(step).collect()
}

#[test]
fn killed_when_begun_they_are_not_done_and_made_again() {
    let world = World::plan(PLAN);
    let _servers = Practice::start(&world, &json!([]), &octopus(), "");
    let postgres = Postgres::start(Major::Eighteen, Options::default());
    let vectors = "CREATE EXTENSION vector; CREATE TABLE v (id int PRIMARY KEY, at vector(2)); INSERT INTO v SELECT n, ARRAY[n, 1]::vector FROM generate_series(1, 20) AS n";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(postgres.run_script("postgres", vectors));
    bind(&world, &[("pg", postgres.settings())]);
    let mut arguments = "run plan.yaml --run-id r --no-progress -e env.yaml";
    let steps = steps();
    for (step, _) in &steps {
        let mut command = world.command(arguments);
        let killed = ended(command.env("DRYDOCK_KILL_AT", format!("{step}:begun")));
        assert_eq!(killed.code, None, "{step} was not killed\n{}{}", killed.stdout, killed.stderr);
        arguments = "resume r --no-progress";
    }
    drop(world.drydock(arguments).with_exit(0));
    let (journal, shown) = (world.journal(), world.shown());
    for (step, kind) in &steps {
        let of_step = |event: &&Value| event["step"] == step.as_str();
        let verdicts: Vec<&Value> = journal
            .iter()
            .filter(|event| event["event"] == "reconciled")
            .filter(of_step)
            .map(|event| &event["verdict"])
            .collect();
        // The machine need not ask about an attempt of a kind that never writes.
        let not_done = verdicts.iter().all(|verdict| **verdict == json!("not_done"));
        assert!(not_done, "{kind}: what it says of an attempt that only began: {verdicts:?}");
        let attempts = shown["steps"][step]["attempts"].as_array().unwrap();
        let outcomes: Vec<&Value> = attempts.iter().map(|attempt| &attempt["outcome"]).collect();
        let last = if kind == "flow.fail" { "failed" } else { "succeeded" };
        assert_eq!(outcomes, [&json!("lost"), &json!(last)], "{kind}");
    }
}
