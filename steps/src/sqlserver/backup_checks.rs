//! Whether a database can be backed up: [`checked`], [`folder_finding`].

use drydock_step::{PreflightFinding, StepError};

use super::backup_statement::BackupKind;
use super::database::{DatabaseFacts, State};
use super::files::FileStatus;
use super::finding::{fatal, warning};
use super::paths::ServerPath;
use super::server::ServerFacts;
use super::sql::Identifier;
use super::target::SqlServerConnection;

/// What stands in the way of a backup, with the numbers of the errors that it would end with.
pub(super) fn checked(
    name: &Identifier,
    kind: BackupKind,
    compresses: bool,
    database: Option<&DatabaseFacts>,
    server: &ServerFacts,
) -> Vec<PreflightFinding> {
    let Some(database) = database else {
        let message = format!("there is no database {name} on this server");
        return vec![fatal("sqlserver.911", message, "is the name spelled right, and is it this server?")];
    };
    let mut findings = Vec::new();
    if compresses && server.is_express {
        let message = "this is an Express edition, which cannot compress backups";
        findings.push(fatal("sqlserver.1844", message, "leave `compression` out, or say false"));
    }
    if database.is_snapshot {
        let message = format!("{name} is a snapshot of another database");
        findings.push(fatal("sqlserver.3002", message, "back up the database that it was made of"));
    }
    if database.state != State::Online || database.is_standby {
        let message = format!("database {name} is {}, not ONLINE", database.state_word);
        findings.push(fatal("sqlserver.927", message, "bring it online first"));
        return findings;
    }
    findings.extend(sequence(name, kind, database));
    findings
}

/// What the sequence of backups lacks.
fn sequence(name: &Identifier, kind: BackupKind, database: &DatabaseFacts) -> Option<PreflightFinding> {
    let take_full = "take a full backup first";
    match kind {
        BackupKind::Log if database.recovery_model == "SIMPLE" => Some(fatal(
            "sqlserver.4208",
            format!("database {name} is in the SIMPLE recovery model, which has no log backups"),
            format!("ALTER DATABASE {} SET RECOVERY FULL, then take a full backup", name.bracketed()),
        )),
        // Nothing is fatal that an earlier step of the same plan may mend.
        BackupKind::Log if database.last_log_backup.is_none() => Some(warning(
            "sqlserver.4214",
            format!("database {name} has no full backup yet that its log could follow"),
            take_full,
        )),
        BackupKind::Differential if !database.files.iter().any(|file| file.has_base) => Some(warning(
            "sqlserver.3035",
            format!("database {name} has no full backup yet that a differential could build on"),
            take_full,
        )),
        _ => None,
    }
}

/// What is wrong with the folder that the file is written into.
///
/// # Errors
/// What the server says.
pub(super) async fn folder_finding(
    server: &SqlServerConnection,
    folder: &ServerPath,
) -> Result<Option<PreflightFinding>, StepError> {
    if FileStatus::ask(server.session(), folder).await?.is_folder {
        return Ok(None);
    }
    let message = format!("the server sees no folder {folder}");
    let help = "make it, and let the server's service account write into it; is the path the server's own, not the runner's?";
    // To a login that is no administrator the server may show no files at all.
    let finding = if server.facts().await?.is_sysadmin { fatal } else { warning };
    Ok(Some(finding("sqlserver.3201", message, help)))
}

#[cfg(test)]
mod tests {
    use drydock_recovery::lsn::Lsn;

    use super::*;
    use crate::sqlserver::database::FileFacts;
    use crate::sqlserver::paths::PathStyle;

    fn database() -> DatabaseFacts {
        let file = FileFacts {
            logical: "X".into(),
            path: "/x".into(),
            is_data: true,
            redo_start: None,
            redo_fork: None,
            has_base: true,
            size: 0,
        };
        DatabaseFacts {
            state: State::Online,
            state_word: "ONLINE".into(),
            is_multi_user: true,
            is_standby: false,
            recovery_model: "FULL".into(),
            is_replica: false,
            is_snapshot: false,
            family: None,
            fork: None,
            last_log_backup: Some(Lsn::from(1)),
            files: vec![file],
        }
    }

    fn server(is_express: bool) -> ServerFacts {
        ServerFacts {
            name: "SQL01".into(),
            version: "16.0.1".into(),
            session_id: 51,
            style: PathStyle::Posix,
            data_path: None,
            log_path: None,
            is_sysadmin: true,
            is_express,
            offset_minutes: 0,
            time_zone: None,
        }
    }

    #[track_caller]
    fn check(kind: BackupKind, database: Option<DatabaseFacts>, expected: &[(&str, bool)]) {
        let name = Identifier::parse("X").unwrap();
        let found = checked(&name, kind, true, database.as_ref(), &server(false));
        let found: Vec<_> = found.iter().map(|finding| (finding.code.as_str(), finding.fatal)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_backup_would_fail_with_is_found_before() {
        check(BackupKind::Full, Some(database()), &[]);
        check(BackupKind::Log, Some(database()), &[]);
        check(BackupKind::Full, None, &[("sqlserver.911", true)]);
        let simple = DatabaseFacts { recovery_model: "SIMPLE".into(), ..database() };
        check(BackupKind::Log, Some(simple.clone()), &[("sqlserver.4208", true)]);
        check(BackupKind::Full, Some(simple), &[]);
        let fresh = DatabaseFacts { last_log_backup: None, files: vec![], ..database() };
        check(BackupKind::Log, Some(fresh.clone()), &[("sqlserver.4214", false)]);
        check(BackupKind::Differential, Some(fresh), &[("sqlserver.3035", false)]);
        let restoring = DatabaseFacts { state: State::Restoring, is_snapshot: true, ..database() };
        check(BackupKind::Full, Some(restoring), &[("sqlserver.3002", true), ("sqlserver.927", true)]);
        let name = Identifier::parse("X").unwrap();
        let express = checked(&name, BackupKind::Full, true, Some(&database()), &server(true));
        assert_eq!(express[0].code, "sqlserver.1844");
    }
}
