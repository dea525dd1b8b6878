//! Whether a database can be backed up, asked before anything is done: [`preflight`].

use chrono::DateTime;
use drydock_step::{Ctx, Preflight, PreflightFinding, StepError};
use serde_json::json;

use super::backup_edition::{Edition, Wanted};
use super::backup_file::{exists, stamp};
use super::backup_history::{Earlier, gap};
use super::backup_inputs::BackupInputs;
use super::backup_places::{folder_finding, space_finding};
use super::backup_statement::BackupKind;
use super::database::{DatabaseFacts, State};
use super::files::FileStatus;
use super::finding::{fatal, found, warning};
use super::owners::{LogTaken, owners};
use super::paths::ServerPath;
use super::sql::Identifier;
use super::target::SqlServerConnection;

/// How many of the newest log backups are looked at for their owners.
const RECENT: usize = 200;

/// Everything that stands in the way of a backup, with the numbers of the errors that it would end with.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn preflight(ctx: &Ctx, inputs: &BackupInputs) -> Result<Preflight, StepError> {
    if let Err(error) = inputs.fits_together() {
        return Ok(Preflight { facts: json!({}), findings: vec![found(error)] });
    }
    let connection = ctx.connection().await?;
    let server = SqlServerConnection::of(&*connection)?;
    let (mut findings, mut facts, mut folders) = (Vec::new(), json!({}), Vec::new());
    if inputs.to.value().is_some() && inputs.mirror.value().is_some() {
        match inputs.folders(server).await {
            Ok(found) => {
                for folder in &found {
                    findings.extend(folder_finding(server, folder).await?);
                }
                let texts: Vec<&str> = found.iter().map(ServerPath::as_str).collect();
                facts = json!({ "folder": texts.first(), "folders": texts });
                folders = found;
            }
            Err(error) => findings.push(found(error)),
        }
    }
    let Some((database, wanted)) = inputs.database.value().zip(Wanted::of(inputs, &folders)) else {
        return Ok(Preflight { facts, findings });
    };
    let there = DatabaseFacts::ask(server.session(), database).await?;
    let edition = Edition::ask(server).await?;
    findings.extend(edition.findings(wanted, server.facts().await?));
    findings.extend(checked(database, wanted, there.as_ref()));
    if let Some(there) = there {
        findings.extend(around(server, database, wanted, &there, &folders).await?);
        findings.extend(certificate(server, inputs).await?);
        findings.extend(collisions(ctx, server, inputs, !folders.is_empty()).await?);
    }
    Ok(Preflight { facts, findings })
}

/// What the database itself does not allow.
fn checked(name: &Identifier, wanted: Wanted, database: Option<&DatabaseFacts>) -> Vec<PreflightFinding> {
    let Some(database) = database else {
        let message = format!("there is no database {name} on this server");
        return vec![fatal("sqlserver.911", message, "is the name spelled right, and is it this server?")];
    };
    let mut findings = Vec::new();
    if database.is_snapshot {
        let message = format!("{name} is a snapshot of another database");
        findings.push(fatal("sqlserver.3002", message, "back up the database that it was made of"));
    }
    let salvages =
        wanted.kind == BackupKind::Tail && wanted.no_truncate && database.state != State::Restoring;
    if (database.state != State::Online || database.is_standby) && !salvages {
        let message = format!("database {name} is {}, not ONLINE", database.state_word);
        let help = match (wanted.kind, database.state) {
            (_, State::Restoring) => "it is in the middle of a restore; finish that first",
            (BackupKind::Tail, _) => "bring it online first, or say `no_truncate: true` where it is damaged",
            _ => "bring it online first",
        };
        findings.push(fatal("sqlserver.927", message, help));
        return findings;
    }
    findings.extend(sequence(name, wanted.kind, database));
    findings
}

/// What the sequence of backups lacks.
fn sequence(name: &Identifier, kind: BackupKind, database: &DatabaseFacts) -> Option<PreflightFinding> {
    let take_full = "take a full backup first";
    match kind {
        BackupKind::Log | BackupKind::Tail if database.recovery_model == "SIMPLE" => Some(fatal(
            "sqlserver.4208",
            format!("database {name} is in the SIMPLE recovery model, which has no log backups"),
            format!("ALTER DATABASE {} SET RECOVERY FULL, then take a full backup", name.bracketed()),
        )),
        // A login that may not see the row, or the files, is told that there is nothing: that is no reason to stop.
        BackupKind::Log | BackupKind::Tail
            if database.last_log_backup.is_none() && database.state == State::Online =>
        {
            let finding = if database.family.is_some() { fatal } else { warning };
            Some(finding(
                "sqlserver.4214",
                format!("database {name} has no full backup yet that its log could follow"),
                take_full,
            ))
        }
        BackupKind::Differential if !database.files.iter().any(|file| file.has_base) => {
            let finding = if database.files.is_empty() { warning } else { fatal };
            let message =
                format!("database {name} has no full backup yet that a differential could build on");
            Some(finding("sqlserver.3035", message, take_full))
        }
        _ => None,
    }
}

/// What is going on around the database: its replicas, other backups, its history, its volume.
async fn around(
    server: &SqlServerConnection,
    name: &Identifier,
    wanted: Wanted,
    database: &DatabaseFacts,
    folders: &[ServerPath],
) -> Result<Vec<PreflightFinding>, StepError> {
    let mut findings = replica(server, name, wanted, database).await?;
    findings.extend(other_backup(server, name, wanted.kind).await?);
    // A login that may not read msdb is told so where it matters: when the set is looked for.
    let Ok(sets) = Earlier::ask(server.session(), server.facts().await?, name).await else {
        return Ok(findings);
    };
    findings.extend(base(server, name, wanted.kind, &sets).await?);
    if wanted.kind.is_log() {
        let missing = gap(&sets, database.fork.as_ref(), database.last_log_backup);
        findings.extend(missing.map(|gap| {
            let message = format!(
                "no known backup holds the log of {name} from {} to {}: no restore leads beyond that place by logs alone",
                gap.from, gap.to
            );
            let help = "find the log backup that another job took, or take a differential or full backup now, which bridges the gap";
            warning("backup.gap", message, help)
        }));
        findings.extend(several_owners(name, &sets));
    }
    let letter = wanted.kind.letter();
    let last = sets.iter().find(|set| set.kind == letter).map(|set| set.size);
    if let Some(last) = last {
        findings.extend(space_finding(server, folders, last).await?);
    }
    Ok(findings)
}

/// Whether the recent log backups are of one owner alone.
fn several_owners(name: &Identifier, sets: &[Earlier]) -> Option<PreflightFinding> {
    let logs = sets.iter().filter(|set| set.kind == 'L' && !set.copy_only).take(RECENT);
    let logs: Vec<LogTaken> = logs.map(|set| set.taken.clone()).collect();
    let mut found = owners(&logs);
    if !found.iter().any(|owner| owner.program == "drydock") {
        // This backup makes us one of them.
        if found.is_empty() {
            return None;
        }
    } else if found.len() < 2 {
        return None;
    } else {
        found.sort_by_key(|owner| owner.program == "drydock");
    }
    let words: Vec<String> = found.iter().map(super::owners::Owner::words).collect();
    let message = format!("the log of {name} is backed up by others, too: {}", words.join("; "));
    let help = "each holds a part of the chain, and neither can restore alone: stop one of them, or bring both folders into the chain with `sqlserver.history`";
    Some(warning("backup.owners", message, help))
}

/// Whether a replica may take this backup, and whether it should.
async fn replica(
    server: &SqlServerConnection,
    name: &Identifier,
    wanted: Wanted,
    database: &DatabaseFacts,
) -> Result<Vec<PreflightFinding>, StepError> {
    if !database.is_replica {
        return Ok(Vec::new());
    }
    let name_text = name.quoted();
    let sql = format!(
        "SELECT sys.fn_hadr_is_primary_replica({name_text}) AS is_primary, sys.fn_hadr_backup_is_preferred_replica({name_text}) AS is_preferred"
    );
    let answer = server.session().ask("asking for the database's replica", &sql).await?;
    let row = answer.first()?;
    let mut findings = Vec::new();
    let fits = wanted.kind == BackupKind::Full && wanted.copy_only
        || wanted.kind == BackupKind::Log && !wanted.copy_only;
    if row.number("is_primary")? == Some(0) && !fits {
        let message = format!(
            "database {name} is a secondary replica here, which takes only copy-only fulls and log backups"
        );
        findings.push(fatal(
            "sqlserver.3059",
            message,
            "ask the primary replica, or say `copy_only: true` for a full",
        ));
    }
    if row.number("is_preferred")? == Some(0) {
        let message =
            format!("this is not the replica on which the availability group of {name} prefers its backups");
        let help = "point the target at the preferred replica, or change the group's backup preference";
        findings.push(warning("backup.replica", message, help));
    }
    if wanted.kind == BackupKind::Tail {
        let message = format!(
            "database {name} belongs to an availability group, and cannot be left RESTORING by a tail"
        );
        findings.push(fatal(
            "sqlserver.3104",
            message,
            "take it out of the group first, and join it again afterwards",
        ));
    }
    Ok(findings)
}

/// Whether another backup of the database runs, of the kind that this one would clash with.
async fn other_backup(
    server: &SqlServerConnection,
    name: &Identifier,
    kind: BackupKind,
) -> Result<Option<PreflightFinding>, StepError> {
    let sql = format!(
        "SELECT r.session_id, r.command, s.program_name FROM sys.dm_tran_locks AS l JOIN sys.dm_exec_requests AS r \
         ON r.session_id = l.request_session_id JOIN sys.dm_exec_sessions AS s ON s.session_id = r.session_id \
         WHERE l.resource_type = N'DATABASE' AND l.resource_database_id = DB_ID({}) AND r.command LIKE N'BACKUP%'",
        name.quoted()
    );
    // A login that may not see other sessions is told of none.
    let Ok(answer) = server.session().ask("asking for running backups", &sql).await else { return Ok(None) };
    for row in answer.rows() {
        let command = row.text("command")?.unwrap_or_default();
        if (command == "BACKUP LOG") != kind.is_log() {
            continue;
        }
        let (session, program) =
            (row.number("session_id")?.unwrap_or_default(), row.text("program_name")?.unwrap_or("?"));
        let message = format!("{command} of {name} is running: session {session}, `{program}`");
        let help = "two backups of one kind do not run at once: this one waits, or fails with 3023; let the other one end";
        return Ok(Some(warning("sqlserver.3023", message, help)));
    }
    Ok(None)
}

/// Whether a differential builds on a full of ours.
async fn base(
    server: &SqlServerConnection,
    name: &Identifier,
    kind: BackupKind,
    sets: &[Earlier],
) -> Result<Option<PreflightFinding>, StepError> {
    if kind != BackupKind::Differential {
        return Ok(None);
    }
    let sql = format!(
        "SELECT TOP (1) differential_base_guid FROM sys.master_files WHERE database_id = DB_ID({}) AND differential_base_guid IS NOT NULL",
        name.quoted()
    );
    let answer = server.session().ask("asking for the differential base", &sql).await?;
    let Some(row) = answer.rows().next() else { return Ok(None) };
    let Some(guid) = row.guid("differential_base_guid")? else { return Ok(None) };
    let help = "take a full backup first, or keep that file with this differential: without it the differential restores nothing";
    let Some(full) = sets.iter().find(|set| set.guid.as_ref() == Some(&guid)) else {
        let message = format!("the differential would build on set {guid}, which msdb does not know");
        return Ok(Some(warning("backup.base", message, help)));
    };
    let is_ours =
        full.taken.name.as_deref().is_some_and(|name| name.split(' ').any(|word| word == "drydock"));
    let message = format!(
        "the differential would build on a full that {} took at {} into {}",
        full.taken.user,
        drydock_recovery::backup::clock(full.taken.at),
        full.taken.device
    );
    Ok((!is_ours).then(|| warning("backup.base", message, help)))
}

/// Whether the certificate is there, with its private key, and whether that is anywhere else.
async fn certificate(
    server: &SqlServerConnection,
    inputs: &BackupInputs,
) -> Result<Option<PreflightFinding>, StepError> {
    let Some(encryption) = inputs.encryption.value().and_then(Option::as_ref) else { return Ok(None) };
    let name = &encryption.certificate;
    let sql = format!(
        "SELECT pvt_key_encryption_type, expiry_date, pvt_key_last_backup_date FROM master.sys.certificates WHERE name = {}",
        name.quoted()
    );
    let answer = server.session().ask("asking for the certificate", &sql).await?;
    let Some(row) = answer.rows().next() else {
        let message = format!("the server has no certificate {name}, or the login does not see it");
        let help = "CREATE CERTIFICATE in `master`, or bring one back with `sqlserver.certificate`";
        return Ok(Some(fatal("sqlserver.15151", message, help)));
    };
    if row.text("pvt_key_encryption_type")? == Some("NA") {
        let message = format!("certificate {name} has no private key here");
        return Ok(Some(fatal(
            "sqlserver.33101",
            message,
            "bring it back with its private key, with `sqlserver.certificate`",
        )));
    }
    let is_backed_up = row.time("pvt_key_last_backup_date")?.is_some();
    let message = format!(
        "the private key of certificate {name} was never backed up: once this server is lost, nobody can restore what it encrypts"
    );
    Ok((!is_backed_up).then(|| {
        warning("backup.key", message, "back it up with `sqlserver.certificate`, and keep it elsewhere")
    }))
}

/// Files that are there already.
async fn collisions(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &BackupInputs,
    has_folders: bool,
) -> Result<Option<PreflightFinding>, StepError> {
    if !has_folders || inputs.stripes.value().is_none() || inputs.file.value().is_none() {
        return Ok(None);
    }
    let now = DateTime::from_timestamp_millis(ctx.now_ms()).unwrap_or_default();
    let copies = match inputs.paths(server, &stamp(now), &ctx.attempt).await {
        Ok(copies) => copies,
        Err(error) => return Ok(Some(found(error))),
    };
    for path in copies.iter().flatten().filter(|path| !path.is_url()) {
        if FileStatus::ask(server.session(), path).await?.is_file {
            return Ok(Some(found(exists(path))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use drydock_recovery::guid::Guid;
    use drydock_recovery::lsn::Lsn;

    use super::super::backup_edition::tests::{codes, wanted};
    use super::*;
    use crate::sqlserver::database::FileFacts;

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

    #[track_caller]
    fn check(kind: BackupKind, database: Option<DatabaseFacts>, expected: &[(&str, bool)]) {
        let name = Identifier::parse("X").unwrap();
        assert_eq!(codes(&checked(&name, wanted(kind), database.as_ref())), expected);
    }

    #[test]
    fn what_a_backup_would_fail_with_is_found_before() {
        check(BackupKind::Full, Some(database()), &[]);
        check(BackupKind::Log, Some(database()), &[]);
        check(BackupKind::Full, None, &[("sqlserver.911", true)]);
        let simple = DatabaseFacts { recovery_model: "SIMPLE".into(), ..database() };
        check(BackupKind::Log, Some(simple.clone()), &[("sqlserver.4208", true)]);
        check(BackupKind::Tail, Some(simple.clone()), &[("sqlserver.4208", true)]);
        check(BackupKind::Full, Some(simple), &[]);
        let unseen = DatabaseFacts { last_log_backup: None, files: vec![], ..database() };
        check(BackupKind::Log, Some(unseen.clone()), &[("sqlserver.4214", false)]);
        check(BackupKind::Differential, Some(unseen.clone()), &[("sqlserver.3035", false)]);
        let mut fresh = DatabaseFacts { family: Some(Guid::new("fam")), files: database().files, ..unseen };
        fresh.files.iter_mut().for_each(|file| file.has_base = false);
        check(BackupKind::Log, Some(fresh.clone()), &[("sqlserver.4214", true)]);
        check(BackupKind::Differential, Some(fresh), &[("sqlserver.3035", true)]);
        let restoring = DatabaseFacts { state: State::Restoring, is_snapshot: true, ..database() };
        check(BackupKind::Full, Some(restoring), &[("sqlserver.3002", true), ("sqlserver.927", true)]);
        let pending = DatabaseFacts { state: State::RecoveryPending, ..database() };
        check(BackupKind::Tail, Some(pending.clone()), &[("sqlserver.927", true)]);
        let name = Identifier::parse("X").unwrap();
        let salvage = Wanted { no_truncate: true, ..wanted(BackupKind::Tail) };
        assert_eq!(codes(&checked(&name, salvage, Some(&pending))), []);
    }
}
