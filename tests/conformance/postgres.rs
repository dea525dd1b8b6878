//! Cases of the kinds of PostgreSQL, on a real server.

use crate::case::{Case, Seen};

cases! {
    basebackup
    combine
    recover
    promote
    stop
}

const ROWS: &str = "CREATE TABLE t AS SELECT generate_series(1, 100) AS n";

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
