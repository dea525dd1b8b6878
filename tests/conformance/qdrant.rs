//! Cases of the kinds of Qdrant.

use crate::case::{Acting, Case, Seen};

cases! {
    snapshots_of_two_collections
    fetch
    fetch_of_each
    recover_under_a_new_name
    recover_over_a_collection
    recover_in_place
    collection_dropped
    sample
    prune
}

fn collection_dropped() -> Case {
    Case::on_servers(
        "qdrant.drop",
        Seen::Ledger,
        Acting::Held(&[("DELETE /collections/agent_aa", 1)]),
        "
targets: { vectors: qdrant }
steps:
  step: { uses: qdrant.drop, target: vectors, with: { collection: agent_aa } }
",
    )
}

fn snapshots_of_two_collections() -> Case {
    Case::on_servers(
        "qdrant.snapshot",
        Seen::Ledger,
        Acting::Held(&[("POST */agent_aa/snapshots", 1), ("POST */agent_bb/snapshots", 1)]),
        "
targets: { vectors: qdrant }
steps:
  step: { uses: qdrant.snapshot, target: vectors, with: { collections: \"agent_*\" } }
",
    )
}

fn fetch() -> Case {
    Case::on_servers(
        "qdrant.fetch",
        Seen::Store("qdrant/agent_aa-", ".snapshot"),
        Acting::Held(&[("GET */snapshots/*", 1), ("DELETE */snapshots/*", 1)]),
        "
targets: { vectors: qdrant, backups: artifacts }
steps:
  made: { uses: qdrant.snapshot, target: vectors, with: { collections: agent_aa } }
  step:
    uses: qdrant.fetch
    target: vectors
    needs: [made]
    with: { snapshot: \"{{ steps.made.outputs.collections[0] }}\", to: backups }
",
    )
}

fn fetch_of_each() -> Case {
    Case::on_servers(
        "qdrant.fetch",
        Seen::Ledger,
        Acting::Held(&[("DELETE */agent_aa/snapshots/*", 1), ("DELETE */agent_bb/snapshots/*", 1)]),
        "
targets: { vectors: qdrant, backups: artifacts }
steps:
  made: { uses: qdrant.snapshot, target: vectors }
  step:
    uses: qdrant.fetch
    target: vectors
    needs: [made]
    foreach: steps.made.outputs.collections
    key: item.collection
    with: { snapshot: \"{{ item }}\", to: backups }
",
    )
}

fn sample() -> Case {
    Case::on_servers(
        "qdrant.sample",
        Seen::Store("qdrant/agent_aa", ".sample.json"),
        Acting::Held(&[("POST */points/scroll", 1), ("POST */points/query", 3)]),
        "
targets: { vectors: qdrant, backups: artifacts }
steps:
  step: { uses: qdrant.sample, target: vectors, with: { collection: agent_aa, to: backups } }
",
    )
}

fn prune() -> Case {
    Case::on_servers(
        "qdrant.prune",
        Seen::Ledger,
        Acting::Held(&[("DELETE */agent_aa/snapshots/*", 1), ("DELETE */agent_bb/snapshots/*", 1)]),
        "
targets: { vectors: qdrant, backups: artifacts }
steps:
  made: { uses: qdrant.snapshot, target: vectors }
  step:
    uses: qdrant.prune
    target: vectors
    needs: [made]
    with: { from: backups, keep_for: 0s, keep_last: 0, unknown: remove }
",
    )
}

/// A collection with its snapshot in the store.
macro_rules! of_a_snapshot {
    ($with:literal) => {
        concat!(
            "
targets: { vectors: qdrant, backups: artifacts }
steps:
  made: { uses: qdrant.snapshot, target: vectors, with: { collections: agent_aa } }
  fetched:
    uses: qdrant.fetch
    target: vectors
    needs: [made]
    with: { snapshot: \"{{ steps.made.outputs.collections[0] }}\", to: backups }
  step:
    uses: qdrant.recover
    target: vectors
    needs: [fetched]
    with: { from: backups, snapshot: \"{{ steps.fetched.outputs }}\"",
            $with,
            " }\n"
        )
    };
}

fn recover_under_a_new_name() -> Case {
    Case::on_servers(
        "qdrant.recover",
        Seen::Ledger,
        Acting::Held(&[("POST */snapshots/upload", 1), ("DELETE */snapshots/*", 1)]),
        of_a_snapshot!(", collection: agent_new"),
    )
}

/// The collection that is there has another number of points, by which the new data are told from the old.
fn recover_over_a_collection() -> Case {
    Case::on_servers(
        "qdrant.recover",
        Seen::Ledger,
        Acting::Held(&[
            ("POST */snapshots/upload", 1),
            ("DELETE /collections/*", 1),
            ("POST */agent_bb/snapshots/upload", 1),
            ("DELETE */agent_bb/snapshots/*", 1),
        ]),
        of_a_snapshot!(", collection: agent_bb"),
    )
}

fn recover_in_place() -> Case {
    let case = Case::on_servers(
        "qdrant.recover",
        Seen::Ledger,
        Acting::Held(&[("POST */snapshots/upload", 1)]),
        of_a_snapshot!(", strategy: in_place"),
    );
    Case {
        repeats: &[(
            "step qdrant POST /collections/agent_aa/snapshots/upload",
            "as many points before as after: nobody can tell whether the file was loaded, and the same file gives the same data",
        )],
        ..case
    }
}
