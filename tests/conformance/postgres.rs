//! Cases of the kinds of PostgreSQL, on a real server.

use crate::case::{Case, Seen};

cases! {
    basebackup
    recover
    promote
    stop
    wal
    wal_stop
}

const ROWS: &str = "CREATE TABLE t AS SELECT generate_series(1, 100) AS n";

fn basebackup() -> Case {
    Case::on_postgres(
        "postgres.basebackup",
        Seen::Store("postgres/base/", "/backup_manifest"),
        ROWS,
        "
targets: { pg: postgres, backups: artifacts }
steps:
  step: { uses: postgres.basebackup, target: pg, with: { to: backups } }
",
    )
}

fn recover() -> Case {
    let case = Case::on_postgres(
        "postgres.recover",
        Seen::Runner("drill"),
        ROWS,
        "
targets: { pg: postgres, drill: postgres, backups: artifacts }
steps:
  base: { uses: postgres.basebackup, target: pg, with: { to: backups } }
  step:
    uses: postgres.recover
    target: drill
    needs: [base]
    with: { from: backups, base: \"{{ steps.base.outputs }}\", to: { immediate: true }, into: ./drill, port: {port}, programs: [\"{bin}\"], os_user: {os_user} }
",
    );
    Case { not_done: Some("what an attempt has put into the folder goes before it is filled again"), ..case }
}

fn promote() -> Case {
    let case = Case::on_postgres(
        "postgres.promote",
        Seen::Runner("drill/pg_wal/00000002.history"),
        ROWS,
        "
targets: { pg: postgres, drill: postgres, backups: artifacts }
steps:
  base: { uses: postgres.basebackup, target: pg, with: { to: backups } }
  recover:
    uses: postgres.recover
    target: drill
    needs: [base]
    with: { from: backups, base: \"{{ steps.base.outputs }}\", to: { immediate: true }, into: ./drill, port: {port}, programs: [\"{bin}\"], os_user: {os_user} }
  step: { uses: postgres.promote, target: drill, needs: [recover] }
",
    );
    Case { not_done: Some("a server that opens is asked again, and opens once"), ..case }
}

fn stop() -> Case {
    let case = Case::on_postgres(
        "postgres.stop",
        Seen::Gone("drill"),
        ROWS,
        "
targets: { pg: postgres, drill: postgres, backups: artifacts }
steps:
  base: { uses: postgres.basebackup, target: pg, with: { to: backups } }
  recover:
    uses: postgres.recover
    target: drill
    needs: [base]
    with: { from: backups, base: \"{{ steps.base.outputs }}\", to: { immediate: true }, into: ./drill, port: {port}, programs: [\"{bin}\"], os_user: {os_user} }
  step: { uses: postgres.stop, needs: [recover], with: { into: ./drill, remove: true, programs: [\"{bin}\"], os_user: {os_user} } }
",
    );
    Case { not_done: Some("what is stopped and removed is passed over"), ..case }
}

/// The segment that the slot begins in is whole before anybody streams.
const SEGMENT: &str = "SELECT pg_create_physical_replication_slot('archive', true); CREATE TABLE t AS SELECT generate_series(1, 100) AS n; SELECT pg_switch_wal()";

fn wal() -> Case {
    Case::on_postgres(
        "postgres.wal",
        Seen::Store("pg/wal/#/", "#"),
        SEGMENT,
        "
targets: { pg: postgres, backups: artifacts }
steps:
  step: { uses: postgres.wal, target: pg, with: { to: backups, prefix: pg/wal, spool: ./spool, slot: archive, until: 0/1800000 } }
",
    )
}

fn wal_stop() -> Case {
    let case = Case::on_postgres(
        "postgres.wal_stop",
        Seen::Journal("step_ended"),
        SEGMENT,
        "
targets: { pg: postgres, backups: artifacts }
steps:
  step_streams: { uses: postgres.wal, target: pg, with: { to: backups, prefix: pg/wal, spool: ./spool, slot: archive } }
  begun:
    uses: process.run
    with: { argv: [sh, -c, \"until grep -q 'flushed_lsn...[0-9]' artifacts/pg/wal/streaming.json; do sleep 0.05; done\"], effect: reads }
  step: { uses: postgres.wal_stop, needs: [begun], with: { to: backups, prefix: pg/wal } }
",
    );
    Case { not_done: Some("a streamer that is asked twice ends once"), ..case }
}
