//! Cases of the kinds of SQL Server, and of migrations.

use crate::case::{Acting, Case, Seen};

cases! {
    full_backup
    log_backup
    tail_backup
    striped_backup
    mirrored_backup
    encrypted_backup
    backup_to_a_url
    certificate_backup
    certificate_from_files
    objects_into_the_store
    objects_from_the_store
    adoption
    mark
    script_once
    script_that_may_run_twice
    restore_into_a_new_database
    restore_over_a_database
    restore_for_administrators
    restore_to_a_standby
    restore_of_a_group
    restore_beside
    open_to_everybody
    database_dropped
    migrations_by_a_script
    migrations_that_are_expected
    migrations_by_a_command
}

/// What a kill in the middle of a backup leaves behind.
const LEFTOVER: &str = "what is left of an unfinished backup lies under a name that no other uses";

fn full_backup() -> Case {
    let case = Case::on_servers(
        "sqlserver.backup",
        Seen::Ledger,
        Acting::HeldAndMiddle(&[("backup database *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  step: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
",
    );
    Case { repeats: &[("sql/OctopusDB_full_#_r_step_#.bak", LEFTOVER)], ..case }
}

/// A tail throws everybody out first; what was closed by a lost attempt is not closed again.
fn tail_backup() -> Case {
    let case = Case::on_servers(
        "sqlserver.backup",
        Seen::Ledger,
        Acting::HeldAndMiddle(&[("backup log *", 1), ("alter database *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  step: { uses: sqlserver.backup, target: sql, needs: [full], with: { database: OctopusDB, type: tail } }
",
    );
    Case { repeats: &[("sql/OctopusDB_tail_#_r_step_#.trn", LEFTOVER)], ..case }
}

fn striped_backup() -> Case {
    Case::on_servers(
        "sqlserver.backup",
        Seen::Store("sql/OctopusDB_full_", "of#.bak"),
        Acting::Held(&[("backup database *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  step: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full, stripes: 3 } }
",
    )
}

fn mirrored_backup() -> Case {
    Case::on_servers(
        "sqlserver.backup",
        Seen::Store("sql/mirror/OctopusDB_full_", ".bak"),
        Acting::Held(&[("backup database *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  step: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full, mirror: [sql/mirror] } }
",
    )
}

/// A certificate for backups.
const CERTIFICATE: &str = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'\nGO\nCREATE CERTIFICATE backups WITH SUBJECT = 'Backups'";

fn encrypted_backup() -> Case {
    Case::on_servers(
        "sqlserver.backup",
        Seen::Ledger,
        Acting::Held(&[("backup database *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  step: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full, encryption: { certificate: backups } } }
",
    )
    .with_setup(CERTIFICATE)
}

fn backup_to_a_url() -> Case {
    Case::on_servers(
        "sqlserver.backup",
        Seen::Store("sql/blobs/OctopusDB_full_", ".bak"),
        Acting::Held(&[("backup database *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  step:
    uses: sqlserver.backup
    target: sql
    with: { database: OctopusDB, type: full, to: \"https://octopus.blob.core.windows.net/backups\" }
",
    )
    .with_setup(
        "CREATE CREDENTIAL [https://octopus.blob.core.windows.net/backups] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = 'sv=1'",
    )
}

fn certificate_backup() -> Case {
    Case::on_servers(
        "sqlserver.certificate",
        Seen::Store("sql/backups_", ".pvk"),
        Acting::Held(&[("backup certificate *", 1)]),
        "
params: { key: { type: secret, default: { file: ./key } } }
targets: { sql: sqlserver }
steps:
  step: { uses: sqlserver.certificate, target: sql, with: { name: backups, password: \"{{ params.key }}\" } }
",
    )
    .with_file("key", "Harbour-9")
    .with_setup(CERTIFICATE)
}

fn certificate_from_files() -> Case {
    Case::on_servers(
        "sqlserver.certificate",
        Seen::Ledger,
        Acting::Held(&[("create certificate *", 1)]),
        "
params: { key: { type: secret, default: { file: ./key } } }
targets: { sql: sqlserver }
steps:
  step:
    uses: sqlserver.certificate
    target: sql
    with: { name: backups, password: \"{{ params.key }}\", from: { certificate: sql/moved.cer, key: sql/moved.pvk } }
",
    )
    .with_file("key", "Harbour-9")
    .with_setup(
        "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'
GO
CREATE CERTIFICATE moved WITH SUBJECT = 'Backups'
GO
BACKUP CERTIFICATE moved TO FILE = '{sql}/moved.cer' WITH PRIVATE KEY (FILE = '{sql}/moved.pvk', ENCRYPTION BY PASSWORD = 'Harbour-9')
GO
DROP CERTIFICATE moved",
    )
}

/// Two logins that are not on the server any more when the step under test begins.
const LOGINS: &str = "CREATE LOGIN [app] WITH PASSWORD = N'Pier-22x'\nGO\nCREATE LOGIN [old] WITH PASSWORD = N'Pier-23x'\nGO\nALTER LOGIN [old] DISABLE";

fn objects_into_the_store() -> Case {
    Case::on_servers(
        "sqlserver.server_objects",
        Seen::Store("sql/server/", ".sql"),
        Acting::Held(&[("select", 5)]),
        "
targets: { sql: sqlserver, backups: artifacts }
steps:
  step: { uses: sqlserver.server_objects, target: sql, with: { to: backups } }
",
    )
    .with_setup(LOGINS)
}

fn objects_from_the_store() -> Case {
    Case::on_servers(
        "sqlserver.restore_objects",
        Seen::Ledger,
        Acting::Held(&[("create login app", 1), ("create login old", 1), ("alter login old", 1)]),
        "
targets: { sql: sqlserver, backups: artifacts }
steps:
  kept: { uses: sqlserver.server_objects, target: sql, with: { to: backups } }
  lost:
    uses: sqlserver.script
    target: sql
    needs: [kept]
    with: { database: master, idempotent: true, sql: \"DROP LOGIN [app]; DROP LOGIN [old]\" }
  step:
    uses: sqlserver.restore_objects
    target: sql
    needs: [lost]
    with: { from: backups, script: \"{{ steps.kept.outputs.artifact.path }}\" }
",
    )
    .with_setup(LOGINS)
}

fn adoption() -> Case {
    Case::on_servers(
        "sqlserver.adopt",
        Seen::Ledger,
        Acting::Held(&[("alter user app", 1), ("alter authorization *", 1), ("alter database *", 2)]),
        "
targets: { sql: sqlserver }
steps:
  step:
    uses: sqlserver.adopt
    target: sql
    with: { database: OctopusDB, owner: owner, compatibility_level: 150, broker: new, application: app, reads: [Octopus_Agents] }
",
    )
    .with_setup(
        "CREATE LOGIN [app] WITH PASSWORD = N'Pier-22x'; CREATE LOGIN [owner] WITH PASSWORD = N'Pier-23x'
GO
USE [OctopusDB]; CREATE USER [app]; GRANT SELECT TO [app]; USE [master]
GO
DROP LOGIN [app]; CREATE LOGIN [app] WITH PASSWORD = N'Pier-22x'",
    )
}

fn log_backup() -> Case {
    Case::on_servers(
        "sqlserver.backup",
        Seen::Store("sql/OctopusDB_log_", ".trn"),
        Acting::Held(&[("backup log *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  step: { uses: sqlserver.backup, target: sql, needs: [full], with: { database: OctopusDB, type: log } }
",
    )
}

fn mark() -> Case {
    Case::on_servers(
        "sqlserver.mark",
        Seen::Ledger,
        Acting::HeldAndWithin(&[("mark *", 1)], ("mark *", 1), "insert"),
        "
targets: { sql: sqlserver }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  step:
    uses: sqlserver.mark
    target: sql
    needs: [full]
    with: { mark: dd_conformance, databases: { octopus: OctopusDB }, rows: [Octopus_Agents] }
",
    )
}

/// All batches are one transaction, which leaves a record.
fn script_once() -> Case {
    Case::on_servers(
        "sqlserver.script",
        Seen::Ledger,
        Acting::HeldAndWithin(&[("commit", 1)], ("commit", 1), "insert"),
        "
targets: { sql: sqlserver }
steps:
  step:
    uses: sqlserver.script
    target: sql
    with: { database: OctopusDB, file: ./tidy.sql, parameters: { outcome: completed } }
",
    )
    .with_file(
        "tidy.sql",
        "UPDATE [Octopus_Episodes] SET [Outcome] = N'kept' WHERE [Outcome] = @outcome\nGO\nINSERT INTO [Octopus_Agents] VALUES (N'cc', N'Cy', N'small', N'embed', '2026-01-01T00:00:00')\nGO\nSELECT [Id], [Outcome] FROM [Octopus_Episodes] ORDER BY [Id]\n",
    )
}

fn script_that_may_run_twice() -> Case {
    Case::on_servers(
        "sqlserver.script",
        Seen::Ledger,
        Acting::Held(&[("create table *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  step:
    uses: sqlserver.script
    target: sql
    with: { database: OctopusDB, idempotent: true, sql: \"IF OBJECT_ID(N'[dbo].[Octopus_Tools]', N'U') IS NULL CREATE TABLE [Octopus_Tools] ([Id] int NOT NULL PRIMARY KEY)\" }
",
    )
}

/// What leads to a mark: a full backup, the mark, a log backup.
macro_rules! to_a_mark {
    ($restore:literal) => {
        concat!(
            "
targets: { sql: sqlserver }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  mark: { uses: sqlserver.mark, target: sql, needs: [full], with: { mark: dd_conformance, databases: { octopus: OctopusDB } } }
  log: { uses: sqlserver.backup, target: sql, needs: [mark], with: { database: OctopusDB, type: log } }
  step:
    uses: sqlserver.restore
    target: sql
    needs: [full, log]
",
            $restore
        )
    };
}

fn restore_into_a_new_database() -> Case {
    Case::on_servers(
        "sqlserver.restore",
        Seen::Ledger,
        Acting::Held(&[
            ("restore database *", 1),
            ("restore log *", 1),
            ("recover *", 1),
            ("alter database *", 1),
        ]),
        to_a_mark!(
            "    with: { database: OctopusDB, into: Copy, chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"] }\n"
        ),
    )
}

fn restore_over_a_database() -> Case {
    Case::on_servers(
        "sqlserver.restore",
        Seen::Ledger,
        Acting::Held(&[
            ("alter database *", 1),
            ("restore database *", 1),
            ("restore log *", 1),
            ("recover *", 1),
            ("alter database *", 2),
        ]),
        to_a_mark!(
            "    with: { database: OctopusDB, chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"], replace: true, strategy: in_place }\n"
        ),
    )
}

fn restore_for_administrators() -> Case {
    Case::on_servers(
        "sqlserver.restore",
        Seen::Ledger,
        Acting::Held(&[("restore log *", 1), ("recover *", 1)]),
        to_a_mark!(
            "    with: { database: OctopusDB, into: Copy, chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"], stop_at_mark: \"{{ steps.mark.outputs.mark }}\", restricted_user: true }\n"
        ),
    )
}

fn restore_to_a_standby() -> Case {
    Case::on_servers(
        "sqlserver.restore",
        Seen::Ledger,
        Acting::Held(&[("restore database *", 1), ("restore log *", 1), ("recover *", 1)]),
        to_a_mark!(
            "    with: { database: OctopusDB, into: Copy, chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"], stop_before_mark: \"{{ steps.mark.outputs.databases.octopus.lsn }}\", standby: \"{{ steps.full.outputs.media[0] ~ '.undo' }}\" }\n"
        ),
    )
}

/// Two databases to one mark, by the place that msdb knows for each.
fn restore_of_a_group() -> Case {
    Case::on_servers(
        "sqlserver.restore",
        Seen::Ledger,
        Acting::Held(&[
            ("restore database *", 1),
            ("restore log *", 1),
            ("restore database *", 2),
            ("restore log *", 2),
            ("recover *", 1),
            ("recover *", 2),
            ("alter database *", 1),
            ("alter database *", 2),
        ]),
        to_a_mark!(
            "    with:
      stop_at_mark: \"{{ steps.mark.outputs.mark }}\"
      group:
        - { database: OctopusDB, into: Left, chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"] }
        - { database: OctopusDB, into: Right, chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"] }
"
        ),
    )
}

/// The names are swapped at the end: 3 and 4 are of the patient, the next gives the name, the last lets everybody in.
fn restore_beside() -> Case {
    Case {
        repeats: &[(
            "step sqlserver alter database OctopusDB",
            "where the swap of the names was cut off after the patient was closed, it is closed again: who holds the single place nobody knows",
        )],
        ..Case::on_servers(
            "sqlserver.restore",
            Seen::Ledger,
            Acting::Held(&[
                ("restore database *", 1),
                ("restore log *", 1),
                ("recover *", 1),
                ("alter database *", 1),
                ("alter database *", 2),
                ("alter database *", 3),
                ("alter database *", 4),
                ("alter database *", 5),
            ]),
            to_a_mark!(
                "    with: { database: OctopusDB, chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"], stop_at_mark: \"{{ steps.mark.outputs.mark }}\", replace: true, strategy: beside }\n"
            ),
        )
    }
}

fn open_to_everybody() -> Case {
    Case::on_servers(
        "sqlserver.open",
        Seen::Ledger,
        Acting::Held(&[("alter database *", 1), ("alter database *", 2)]),
        "
targets: { sql: sqlserver }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  copy:
    uses: sqlserver.restore
    target: sql
    needs: [full]
    with: { database: OctopusDB, into: Copy, chain: [\"{{ steps.full.outputs }}\"], restricted_user: true }
  step: { uses: sqlserver.open, target: sql, needs: [copy], with: { database: Copy, broker: new } }
",
    )
}

fn database_dropped() -> Case {
    let case = Case::on_servers(
        "sqlserver.drop",
        Seen::Ledger,
        Acting::Held(&[("alter database *", 1), ("drop database *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  copy:
    uses: sqlserver.restore
    target: sql
    needs: [full]
    with: { database: OctopusDB, into: Copy, chain: [\"{{ steps.full.outputs }}\"] }
  step: { uses: sqlserver.drop, target: sql, needs: [copy], with: { database: Copy } }
",
    );
    Case {
        repeats: &[(
            "step sqlserver alter database Copy",
            "whoever came while nobody was there has the one place in it, and must leave again",
        )],
        ..case
    }
}

/// Two migrations in the form that EF Core writes them.
const SCRIPT: &str = "BEGIN TRANSACTION;
IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20250201000000_Second')
BEGIN
    ALTER TABLE [Octopus_Agents] ADD [Colour] nvarchar(20) NULL;
END;

IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20250201000000_Second')
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion]) VALUES (N'20250201000000_Second', N'9.0.0');
END;

COMMIT;
GO

BEGIN TRANSACTION;
IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20250301000000_Third')
BEGIN
    CREATE TABLE [Octopus_Tools] ([Id] int NOT NULL PRIMARY KEY, [Name] nvarchar(40) NOT NULL);
END;

IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20250301000000_Third')
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion]) VALUES (N'20250301000000_Third', N'9.0.0');
END;

COMMIT;
GO
";

fn migrations_by_a_script() -> Case {
    Case::on_servers(
        "ef.update",
        Seen::Ledger,
        Acting::HeldAndWithin(&[("commit", 1), ("commit", 2)], ("commit", 2), "create table Octopus_Tools"),
        "
targets: { sql: sqlserver }
steps:
  step: { uses: ef.update, target: sql, with: { database: OctopusDB, script: ./migrations.sql } }
",
    )
    .with_file("migrations.sql", SCRIPT)
}

fn migrations_that_are_expected() -> Case {
    Case::on_servers(
        "ef.update",
        Seen::Ledger,
        Acting::HeldAndWithin(&[("commit", 1), ("commit", 2)], ("commit", 2), "create table Octopus_Tools"),
        "
targets: { sql: sqlserver }
steps:
  step:
    uses: ef.update
    target: sql
    with:
      database: OctopusDB
      script: ./migrations.sql
      expected: [20250101000000_First, 20250201000000_Second, 20250301000000_Third]
",
    )
    .with_file("migrations.sql", SCRIPT)
}

/// A bundle skips the migrations that are applied; so does this program.
fn migrations_by_a_command() -> Case {
    Case::on_servers(
        "ef.update",
        Seen::File,
        Acting::Program,
        "
targets: { sql: sqlserver }
steps:
  step: { uses: ef.update, target: sql, with: { database: OctopusDB, command: [sh, ./bundle.sh] } }
",
    )
    .with_file(
        "bundle.sh",
        "grep -q Second effects 2>/dev/null || echo Second >> effects\nif [ -e patient ] && ! [ -e held ]; then touch held; sleep 600; fi\n",
    )
}
