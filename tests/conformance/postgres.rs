//! Cases of the kinds of PostgreSQL, on a real server.

use crate::case::{Case, Seen};

cases! {
    basebackup
    combine
    recover
    promote
    stop
    dump
    load
    restore_point
    sample
    wal
    wal_stop
}

const ROWS: &str = "CREATE TABLE t AS SELECT generate_series(1, 100) AS n";

/// A plan with a base backup, a step of this name that recovers it, and more steps.
macro_rules! recovered {
    ($name:literal, $more:literal) => {
        concat!(
            "
targets: { pg: postgres, drill: postgres, backups: artifacts }
steps:
  base: { uses: postgres.basebackup, target: pg, with: { to: backups } }
  ",
            $name,
            ":
    uses: postgres.recover
    target: drill
    needs: [base]
    with: { from: backups, base: \"{{ steps.base.outputs }}\", to: { immediate: true }, into: ./drill, port: {port}, programs: [\"{bin}\"], os_user: {os_user} }
",
            $more
        )
    };
}

fn basebackup() -> Case {
    Case::on_postgres(
        "postgres.basebackup",
        Seen::Store("postgres/base/", "/backup.json"),
        ROWS,
        "
targets: { pg: postgres, backups: artifacts }
steps:
  step: { uses: postgres.basebackup, target: pg, with: { to: backups } }
",
    )
}

fn combine() -> Case {
    Case::on_postgres(
        "postgres.combine",
        Seen::Store("postgres/full/", "/backup.json"),
        ROWS,
        "
targets: { pg: postgres, backups: artifacts }
steps:
  base: { uses: postgres.basebackup, target: pg, with: { to: backups } }
  more: { uses: postgres.basebackup, target: pg, needs: [base], with: { to: backups, against: \"{{ steps.base.outputs }}\" } }
  step:
    uses: postgres.combine
    needs: [more]
    with: { from: backups, base: \"{{ steps.more.outputs }}\", to: backups, prefix: postgres/full, programs: [\"{bin}\"] }
",
    )
}

fn recover() -> Case {
    let case = Case::on_postgres("postgres.recover", Seen::Runner("drill"), ROWS, recovered!("step", ""));
    Case { not_done: Some("what an attempt has put into the folder goes before it is filled again"), ..case }
}

fn promote() -> Case {
    let case = Case::on_postgres(
        "postgres.promote",
        Seen::Runner("drill/pg_wal/00000002.history"),
        ROWS,
        recovered!(
            "recover",
            "  step: { uses: postgres.promote, target: drill, needs: [recover] }
"
        ),
    );
    Case { not_done: Some("a server that opens is asked again, and opens once"), ..case }
}

fn stop() -> Case {
    let case = Case::on_postgres(
        "postgres.stop",
        Seen::Gone("drill"),
        ROWS,
        recovered!(
            "recover",
            "  step: { uses: postgres.stop, needs: [recover], with: { into: ./drill, remove: true, programs: [\"{bin}\"], os_user: {os_user} } }
"
        ),
    );
    Case { not_done: Some("what is stopped and removed is passed over"), ..case }
}

fn dump() -> Case {
    Case::on_postgres(
        "postgres.dump",
        Seen::Store("postgres/dump/", "/database.dump"),
        ROWS,
        "
targets: { pg: postgres, backups: artifacts }
steps:
  step: { uses: postgres.dump, target: pg, with: { database: postgres, to: backups, globals: no_passwords } }
",
    )
}

fn load() -> Case {
    Case::on_postgres(
        "postgres.load",
        Seen::Inside("database drill"),
        ROWS,
        "
targets: { pg: postgres, backups: artifacts }
steps:
  dump: { uses: postgres.dump, target: pg, with: { database: postgres, to: backups } }
  step: { uses: postgres.load, target: pg, needs: [dump], with: { dump: \"{{ steps.dump.outputs }}\", from: backups, database: drill } }
",
    )
}

/// Its name is as long as can be: one that a second attempt makes of it has another number at its end and is as long.
fn restore_point() -> Case {
    Case::on_postgres(
        "postgres.restore_point",
        Seen::Inside("restore point"),
        ROWS,
        "
targets: { pg: postgres }
steps:
  step: { uses: postgres.restore_point, target: pg, with: { name: before_the_release_of_a_thing_with_a_very_long_name_at_midnig_1 } }
",
    )
}

fn sample() -> Case {
    Case::on_postgres(
        "postgres.sample",
        Seen::Store("samples/", ".sample.json"),
        "CREATE EXTENSION vector; CREATE TABLE v (id int PRIMARY KEY, at vector(2)); \
         INSERT INTO v SELECT n, ARRAY[n, 1]::vector FROM generate_series(1, 100) AS n",
        "
targets: { pg: postgres, backups: artifacts }
steps:
  step: { uses: postgres.sample, target: pg, with: { database: postgres, table: public.v, to: backups, prefix: samples } }
",
    )
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
