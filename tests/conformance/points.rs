//! Cases of the kinds of recovery points.

use serde_json::json;

use crate::case::{Acting, Case, Seen};
use crate::practice::{document, octopus, point};

cases! {
    open
    seal
    log_point
    verify
    restored
    prune
    quarantine
    removal
}

fn open() -> Case {
    Case::on_servers(
        "point.open",
        Seen::Store("points/", "/opened.json"),
        Acting::Never("its one act is to give a file of the artifact store its name"),
        "
targets: { backups: artifacts }
steps:
  step: { uses: point.open, target: backups }
",
    )
}

/// The seal writes into the store alone; while it acts, a server reads a backup for it.
fn seal() -> Case {
    Case::on_servers(
        "point.seal",
        Seen::Store("points/", "/manifest.json"),
        Acting::Held(&[("restore verifyonly*", 1), ("restore headeronly*", 2)]),
        "
targets: { sql: sqlserver, vectors: qdrant, backups: artifacts }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  open: { uses: point.open, target: backups, needs: [full] }
  made: { uses: qdrant.snapshot, target: vectors, needs: [open], with: { collections: agent_aa } }
  mark:
    uses: sqlserver.mark
    target: sql
    needs: [made]
    with: { mark: \"{{ steps.open.outputs.mark }}\", databases: { octopus: OctopusDB }, rows: [Octopus_Agents] }
  log: { uses: sqlserver.backup, target: sql, needs: [mark], with: { database: OctopusDB, type: log } }
  fetched:
    uses: qdrant.fetch
    target: vectors
    needs: [log]
    foreach: steps.made.outputs.collections
    key: item.collection
    with: { snapshot: \"{{ item }}\", to: backups, prefix: \"{{ steps.open.outputs.prefix }}/qdrant\" }
  step:
    uses: point.seal
    target: backups
    needs: [full, fetched]
    with:
      point: \"{{ steps.open.outputs }}\"
      mark: \"{{ steps.mark.outputs }}\"
      sqlserver: { octopus: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"] }
      qdrant: { snapshot: \"{{ steps.made.outputs }}\", fetched: \"{{ steps.fetched.outputs }}\" }
      truth: sql
      derived: vectors
",
    )
}

/// A log point: what lies between two points.
fn log_point() -> Case {
    Case::on_servers(
        "point.seal",
        Seen::Store("points/", "/log_point.json"),
        Acting::Held(&[("restore verifyonly*", 1), ("restore headeronly*", 1)]),
        "
targets: { sql: sqlserver, backups: artifacts }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  open: { uses: point.open, target: backups, needs: [full] }
  mark:
    uses: sqlserver.mark
    target: sql
    needs: [open]
    with: { mark: \"{{ steps.open.outputs.mark }}\", databases: { octopus: OctopusDB } }
  log: { uses: sqlserver.backup, target: sql, needs: [mark], with: { database: OctopusDB, type: log } }
  step:
    uses: point.seal
    target: backups
    needs: [log]
    with:
      point: \"{{ steps.open.outputs }}\"
      mark: \"{{ steps.mark.outputs }}\"
      log_point: log
      sqlserver: { octopus: [\"{{ steps.log.outputs }}\"] }
      truth: sql
",
    )
}

/// What follows a step that has sealed a first point, `seal`.
const SEALED: &str = "
targets: { sql: sqlserver, vectors: qdrant, backups: artifacts }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  open: { uses: point.open, target: backups, needs: [full] }
  made: { uses: qdrant.snapshot, target: vectors, needs: [open], with: { collections: agent_aa } }
  mark: { uses: sqlserver.mark, target: sql, needs: [made], with: { mark: \"{{ steps.open.outputs.mark }}\", databases: { octopus: OctopusDB } } }
  log: { uses: sqlserver.backup, target: sql, needs: [mark], with: { database: OctopusDB, type: log } }
  fetched:
    uses: qdrant.fetch
    target: vectors
    needs: [log]
    foreach: steps.made.outputs.collections
    key: item.collection
    with: { snapshot: \"{{ item }}\", to: backups, prefix: \"{{ steps.open.outputs.prefix }}/qdrant\" }
  seal:
    uses: point.seal
    target: backups
    needs: [full, fetched]
    with:
      point: \"{{ steps.open.outputs }}\"
      mark: \"{{ steps.mark.outputs }}\"
      sqlserver: { octopus: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"] }
      qdrant: { snapshot: \"{{ steps.made.outputs }}\", fetched: \"{{ steps.fetched.outputs }}\" }
      truth: sql
      derived: vectors
";

/// The plan that begins with a sealed point and goes on like this. It lives as long as the tests.
fn after_seal(rest: &str) -> &'static str {
    Box::leak(format!("{}{rest}", SEALED.trim_end()).into_boxed_str())
}

fn verify() -> Case {
    Case::on_servers(
        "point.verify",
        Seen::Store("points/", "-verified.json"),
        Acting::Never("its one act is to give a file of the artifact store its name"),
        after_seal(
            "\n  step: { uses: point.verify, target: backups, needs: [seal], with: { point: latest, deep: true } }\n",
        ),
    )
}

fn restored() -> Case {
    Case::on_servers(
        "point.restored",
        Seen::Store("points/", "-verified.json"),
        Acting::Never("its one act is to give a file of the artifact store its name"),
        after_seal(
            "\n  step: { uses: point.restored, target: backups, needs: [seal], with: { point: \"{{ steps.seal.outputs.id }}\" } }\n",
        ),
    )
}

/// A second point without vectors takes the first one's place; the backups that both need stay.
fn prune() -> Case {
    Case::on_servers(
        "point.prune",
        Seen::Lost("points/", ".snapshot"),
        Acting::Never("its acts are to put and to remove files of the artifact store"),
        after_seal(
            "
  later: { uses: point.open, target: backups, needs: [seal] }
  again: { uses: sqlserver.mark, target: sql, needs: [later], with: { mark: \"{{ steps.later.outputs.mark }}\", databases: { octopus: OctopusDB } } }
  more: { uses: sqlserver.backup, target: sql, needs: [again], with: { database: OctopusDB, type: log } }
  newer:
    uses: point.seal
    target: backups
    needs: [more]
    with:
      point: \"{{ steps.later.outputs }}\"
      mark: \"{{ steps.again.outputs }}\"
      sqlserver: { octopus: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\", \"{{ steps.more.outputs }}\"] }
      truth: sql
  step: { uses: point.prune, target: backups, needs: [newer], with: { keep: { last: 1 }, max_share: 100, min_verified: 0 } }
",
        ),
    )
}

/// An Octopus with a collection whose agent is gone, and in another a point whose document is.
fn with_orphans(case: Case) -> Case {
    let mut data = octopus();
    let gone = [point(1, "zz", &document("f1")), point(2, "zz", &document("f1"))];
    data["qdrant"]["agent_zz"] = json!({ "size": 4, "distance": "Dot", "points": gone });
    data["qdrant"]["agent_bb"]["points"].as_array_mut().unwrap().push(point(7, "bb", &document("f2")));
    Case { data: Some(data), ..case }
}

/// The two requests that take orphans out.
const TAKEN_OUT: Acting = Acting::Held(&[("POST */points/delete", 1), ("DELETE /collections/agent_zz", 1)]);

fn quarantine() -> Case {
    with_orphans(Case::on_servers(
        "point.reconcile",
        Seen::Store("quarantine/", ".jsonl"),
        TAKEN_OUT,
        "
targets: { sql: sqlserver, vectors: qdrant, backups: artifacts }
steps:
  step:
    uses: point.reconcile
    target: backups
    with: { truth: sql, derived: vectors, database: OctopusDB, on_orphans: quarantine }
",
    ))
}

fn removal() -> Case {
    with_orphans(Case::on_servers(
        "point.reconcile",
        Seen::Ledger,
        TAKEN_OUT,
        "
targets: { sql: sqlserver, vectors: qdrant, backups: artifacts }
steps:
  step:
    uses: point.reconcile
    target: backups
    with: { truth: sql, derived: vectors, database: OctopusDB, on_orphans: delete }
",
    ))
}
