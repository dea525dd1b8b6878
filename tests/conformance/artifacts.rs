//! Cases of the kinds between artifact stores.

use crate::case::{Acting, Case, Seen};

cases! {
    collected
    copied
    placed
}

/// Neither asks a server, and what each of them does is to give files of a store their names.
const NO_SERVER: Acting = Acting::Never("it reads and writes files and asks nothing of a server");

/// The next attempt looks at each artifact before it stores it.
const LOOKED_AT: Option<&str> = Some("what is there with the same length and hash is not stored again");

fn of(kind: &'static str, seen: Seen, plan: &'static str) -> Case {
    Case { not_done: LOOKED_AT, ..Case::on_servers(kind, seen, NO_SERVER, plan) }
        .with_file("full.bak", "bytes of a backup")
        .with_file("log.trn", "bytes of a log")
}

fn collected() -> Case {
    of(
        "artifact.collect",
        Seen::Store("collected/", ".bak"),
        "
targets: { backups: artifacts }
steps:
  step: { uses: artifact.collect, target: backups, with: { folder: ., files: [full.bak, log.trn], prefix: collected } }
",
    )
}

fn copied() -> Case {
    of(
        "artifact.copy",
        Seen::Store("offsite/in/", ".trn"),
        "
targets: { backups: artifacts }
steps:
  taken: { uses: artifact.collect, target: backups, with: { folder: ., files: [full.bak, log.trn], prefix: in } }
  step: { uses: artifact.copy, target: backups, needs: [taken], with: { to: backups, prefix: in, into: offsite } }
",
    )
}

fn placed() -> Case {
    of(
        "artifact.place",
        Seen::Store("seen/in/", ".bak"),
        "
targets: { backups: artifacts }
steps:
  taken: { uses: artifact.collect, target: backups, with: { folder: ., files: [full.bak, log.trn], prefix: in } }
  step:
    uses: artifact.place
    target: backups
    needs: [taken]
    with: { artifacts: \"{{ steps.taken.outputs.artifacts }}\", folder: ./artifacts/seen }
",
    )
}
