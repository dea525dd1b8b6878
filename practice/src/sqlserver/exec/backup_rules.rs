//! What a backup, or a restore over a database, is refused with before anything is written. Main functions: [`can_do`], [`checked`].

use super::check::note_suspects;
use super::output::Output;
use super::security::{certificate, missing};
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Backup, RecoveryModel};
use crate::sqlserver::store::database::{Database, State};
use crate::sqlserver::store::installation::{AZURE_DATABASE, EXPRESS, MANAGED_INSTANCE, names};
use crate::sqlserver::store::media::{Encrypted, SetKind};

/// Refuses a restore over a database of an availability group.
pub(super) fn no_replica(session: &Session, database: &Database) -> Result<(), SqlError> {
    let installation = session.instance.setup.installation();
    if !installation.secondaries.contains(&database.name) && !names(&installation.replicas, &database.name) {
        return Ok(());
    }
    let text = format!(
        "RESTORE cannot operate on database '{}' because it is configured for database mirroring or has joined an availability group. If you intend to restore the database, use ALTER DATABASE to remove mirroring or to remove the database from its availability group.",
        database.name
    );
    Err(SqlError::new(3104, text))
}

/// Whether this edition and version can do it at all.
pub(super) fn can_do(session: &Session, options: &Backup) -> Result<(), SqlError> {
    let installation = &session.instance.setup.installation();
    let statement = if options.log { "BACKUP LOG" } else { "BACKUP DATABASE" };
    let edition = installation.edition();
    if installation.engine == AZURE_DATABASE {
        let text = format!("Statement '{statement}' is not supported in this version of SQL Server.");
        return Err(SqlError::new(40510, text));
    }
    if installation.engine == MANAGED_INSTANCE && (options.log || options.differential || !options.copy_only)
    {
        let text = format!(
            "{statement} failed. SQL Database Managed Instance supports only COPY_ONLY full database backups which are initiated by user."
        );
        return Err(SqlError::new(41904, text));
    }
    let unsupported =
        |feature: &str| Err(SqlError::new(1844, format!("{feature} is not supported on {edition}.")));
    match options.algorithm.as_deref() {
        Some(_) if installation.major < 16 => return Err(SqlError::syntax("(")),
        Some("ZSTD") if installation.major < 17 => {
            return Err(SqlError::new(155, "'ZSTD' is not a recognized BACKUP option.").class(15));
        }
        _ if options.level.is_some() && installation.major < 17 => {
            return Err(SqlError::new(155, "'LEVEL' is not a recognized BACKUP option.").class(15));
        }
        _ => {}
    }
    if options.level.is_some() && options.algorithm.as_deref() != Some("ZSTD") {
        return Err(SqlError::new(155, "'LEVEL' is not a recognized BACKUP option.").class(15));
    }
    if installation.engine == EXPRESS && options.compression == Some(true) {
        return unsupported("BACKUP DATABASE WITH COMPRESSION");
    }
    if installation.engine == EXPRESS && options.encryption.is_some() {
        return unsupported("BACKUP DATABASE WITH ENCRYPTION");
    }
    Ok(())
}

/// What the set is encrypted with.
pub(super) fn encrypted(
    session: &Session,
    options: &Backup,
    out: &mut Output,
) -> Result<Option<Encrypted>, SqlError> {
    let Some(asked) = &options.encryption else { return Ok(None) };
    let catalog = session.instance.catalog();
    let found = certificate(&catalog.secured, &asked.certificate);
    let found = found.ok_or_else(|| missing("certificate", &asked.certificate))?;
    if !found.has_key {
        let text = format!(
            "Cannot use certificate '{}', because its private key is not present or it is not protected by the database master key. SQL Server requires the ability to automatically access the private key of the certificate used for this operation.",
            found.name
        );
        return Err(SqlError::new(33101, text));
    }
    if found.backed_up.is_none() {
        let text = "Warning: The certificate used for encrypting the database encryption key has not been backed up. You should immediately back up the certificate and the private key associated with the certificate. If the certificate ever becomes unavailable or if you must restore or attach the database on another server, you must have backups of both the certificate and the private key or you will not be able to open the database.";
        out.message(&SqlError::new(33091, text).class(10));
    }
    let algorithm = asked.algorithm.to_lowercase();
    Ok(Some(Encrypted { algorithm, thumbprint: found.thumbprint.clone() }))
}

/// Two backups of a database's data, or of its log, do not run at once.
pub(super) fn alone_of_its_kind(session: &Session, database: u32, log: bool) -> Result<(), SqlError> {
    let mut catalog = session.instance.catalog();
    if catalog.backups.iter().any(|(id, is_log, _)| (*id, *is_log) == (database, log)) {
        let text = "Backup, file manipulation operations (such as ALTER DATABASE ADD FILE) and encryption changes on a database must be serialized. Reissue the statement after the current backup or file manipulation operation is completed.";
        return Err(SqlError::new(3023, text).state(2));
    }
    catalog.backups.push((database, log, session.id));
    Ok(())
}

/// Whether damaged pages go into the backup; with checksums they end it, unless it is to go on.
pub(super) fn damage(session: &Session, database: &Database, options: &Backup) -> Result<bool, SqlError> {
    let pages = session.instance.catalog().damaged_pages(database);
    let (false, true, Some(page)) = (options.log, options.checksum, pages.first()) else { return Ok(false) };
    note_suspects(session, database.id, &pages);
    if options.continue_after_error {
        return Ok(true);
    }
    let file = database.data_path();
    let text = format!(
        "BACKUP '{}' detected an error on page (1:{page}) in file '{}'.",
        database.name,
        session.instance.setup.paths().shown(&file)
    );
    Err(SqlError::new(3043, text))
}

/// Whether this backup of this database is possible at all.
pub(super) fn checked(
    session: &Session,
    name: &str,
    kind: SetKind,
    options: &Backup,
) -> Result<Database, SqlError> {
    let installation = session.instance.setup.installation();
    let catalog = session.instance.catalog();
    let database = catalog.named(name).ok_or_else(|| SqlError::no_database(name))?;
    if installation.snapshots.contains(&database.name) {
        return Err(SqlError::new(3002, "Cannot BACKUP or RESTORE a database snapshot."));
    }
    let is_copy = kind == SetKind::Full && options.copy_only || kind == SetKind::Log && !options.copy_only;
    if installation.secondaries.contains(&database.name) && !is_copy {
        let text =
            "This BACKUP or RESTORE command is not supported on a database mirror or secondary replica.";
        return Err(SqlError::new(3059, text));
    }
    let salvage = options.no_truncate || (options.continue_after_error && options.norecovery);
    let damaged = database.state == State::RecoveryPending || !database.data_path().is_file();
    if !(salvage && damaged && options.log) {
        session.may_use(&catalog, database)?;
        if damaged {
            return Err(database.inaccessible());
        }
    }
    in_sequence(database, kind)?;
    Ok(database.clone())
}

/// Whether the sequence of backups has a place for it.
fn in_sequence(database: &Database, kind: SetKind) -> Result<(), SqlError> {
    if database.id == 1 && kind != SetKind::Full {
        let text = "You can only perform a full backup of the master database. Use BACKUP DATABASE to back up the entire master database.";
        return Err(SqlError::new(3024, text));
    }
    match kind {
        SetKind::Log if database.model == RecoveryModel::Simple => {
            let text = "The statement BACKUP LOG is not allowed while the recovery model is SIMPLE. Use BACKUP DATABASE or change the recovery model using ALTER DATABASE.";
            Err(SqlError::new(4208, text))
        }
        SetKind::Log if database.chain.is_none() => Err(SqlError::new(
            4214,
            "BACKUP LOG cannot be performed because there is no current database backup.",
        )),
        SetKind::Differential if database.differential_base.is_none() => {
            let text = format!(
                "Cannot perform a differential backup for database \"{}\", because a current database backup does not exist. Perform a full database backup by reissuing BACKUP DATABASE, omitting the WITH DIFFERENTIAL option.",
                database.name
            );
            Err(SqlError::new(3035, text))
        }
        _ => Ok(()),
    }
}
