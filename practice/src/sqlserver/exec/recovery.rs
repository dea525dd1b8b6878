//! What becomes of a database that is restored: taken over, left restoring, recovered. Main function: [`leave`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDateTime;

use super::backup::finished;
use super::databases::checkpoint;
use super::halt::{Done, sql_error};
use super::output::Output;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Ending, RecoveryModel, Restore};
use crate::sqlserver::store::database::{Access, Chain, DataFile, Database, Fork, State};
use crate::sqlserver::store::files;
use crate::sqlserver::store::instance::no_directory;
use crate::sqlserver::store::log::Log;
use crate::sqlserver::store::media::SetHeader;
use crate::sqlserver::tds::tokens::Command;

/// 3182 for a set that was written of a damaged database, unless the restore is to go on all the same.
pub(super) fn check_damage(set: &SetHeader, options: &Restore, out: &mut Output) -> Result<(), SqlError> {
    if !set.is_damaged {
        return Ok(());
    }
    if options.continue_after_error {
        let text = "The backup set was written with damaged data by a BACKUP WITH CONTINUE_AFTER_ERROR.";
        out.message(&SqlError::new(3188, text).class(10));
        return Ok(());
    }
    let text = "The backup set cannot be restored because the database was damaged when the backup occurred. Salvage attempts may exploit WITH CONTINUE_AFTER_ERROR.";
    Err(SqlError::new(3182, text))
}

/// Whether a database has committed what no log backup holds.
pub(super) fn has_unsaved_tail(database: &Database) -> bool {
    let (Some(chain), Some(log)) = (&database.chain, &database.log) else { return false };
    if database.model == RecoveryModel::Simple {
        return false;
    }
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.records().iter().any(|record| record.lsn >= chain.from && record.at.is_some())
}

/// Whether it has committed by that time what no log backup holds.
pub(super) fn has_unsaved_by(database: &Database, time: NaiveDateTime) -> bool {
    let (Some(chain), Some(log)) = (&database.chain, &database.log) else { return false };
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let is_there = |at: Option<chrono::DateTime<chrono::Utc>>| at.is_some_and(|at| at.naive_utc() <= time);
    log.records().iter().any(|record| record.lsn >= chain.from && is_there(record.at))
}

/// Makes or takes over the database of that name: from here on the old one is lost.
pub(super) fn claim(
    session: &Session,
    name: &str,
    set: &SetHeader,
    files: &[DataFile],
) -> Result<u32, SqlError> {
    let mut catalog = session.instance.catalog();
    let existing = catalog.named(name).cloned();
    let id = existing.as_ref().map(|database| database.id);
    let id = id.or_else(|| (5..).find(|id| !catalog.databases.contains_key(id))).unwrap_or(u32::MAX);
    let old_files = existing.iter().flat_map(|database| &database.files).map(|file| file.path.clone());
    let stale: Vec<PathBuf> = old_files.chain(files.iter().map(|file| file.path.clone())).collect();
    let database = Database {
        id,
        name: existing.as_ref().map_or(name, |database| &database.name).to_owned(),
        created: set.database_created,
        files: files.to_vec(),
        state: State::Restoring,
        standby: None,
        read_only: set.read_only,
        access: set.access,
        model: set.model,
        family: set.family,
        binding: session.instance.guids.next(),
        forks: set.forks.clone(),
        differential_base: None,
        last_full: None,
        last_checkpoint: set.checkpoint,
        chain: None,
        redo: None,
        owner: match &existing {
            Some(existing) => existing.owner.clone(),
            None => Some(session.client.login.clone()),
        },
        compatibility: set.compatibility,
        trustworthy: false,
        // A restore disables the broker, and keeps its identity.
        broker: set.family,
        broker_enabled: false,
        generation: existing.as_ref().map_or(0, |database| database.generation + 1),
        log: None,
        writer: None,
        taken_by: Some(session.id),
    };
    catalog.databases.insert(id, database);
    session.instance.save(&catalog)?;
    drop(catalog);
    stale.iter().try_for_each(|path| files::remove_data(path)).map_err(SqlError::internal)?;
    Ok(id)
}

/// Leaves a database recovered, readable between two restores, or restoring.
pub(super) fn leave(
    session: &Session,
    id: u32,
    recovers: bool,
    standby: Option<String>,
    restricted: bool,
) -> Result<(), SqlError> {
    let instance = &session.instance;
    let mut catalog = instance.catalog();
    let Some(database) = catalog.databases.get_mut(&id) else {
        return Err(SqlError::internal("a database is gone"));
    };
    database.generation += 1;
    if let Some(file) = standby {
        if file.is_empty() {
            return Err(SqlError::new(3170, "The STANDBY filename is invalid."));
        }
        let undo = instance.setup.file_path(&file, false);
        if !undo.parent().is_some_and(std::path::Path::is_dir) {
            return Err(no_directory(&instance.setup.paths(), &undo));
        }
        std::fs::write(&undo, "undo").map_err(SqlError::internal)?;
        database.standby = Some(file);
        database.state = State::Online;
        return instance.save(&catalog);
    }
    database.standby = None;
    database.state = State::Restoring;
    if recovers {
        let before = database.binding;
        recover(session, database)?;
        if restricted {
            database.access = Access::RestrictedUser;
        }
        // What is damaged stays so under the new binding.
        let after = database.binding;
        for (binding, _) in catalog.damaged.iter_mut().filter(|(binding, _)| *binding == before) {
            *binding = after;
        }
    }
    instance.save(&catalog)
}

/// Brings a database online where its redo has come to: a new stretch of its history begins.
pub(super) fn recover(session: &Session, database: &mut Database) -> Result<(), SqlError> {
    let Some(redo) = database.redo.take() else {
        return Err(SqlError::new(
            4333,
            "The database cannot be recovered because the log was not restored.",
        ));
    };
    let mut log = Log::create(&database.log_path(), redo.lsn).map_err(SqlError::internal)?;
    checkpoint(&mut log)?;
    files::redo(&database.data_path(), &session.instance.guids, &[], log.next())
        .map_err(|error| sql_error(&error))?;
    database.log = Some(Arc::new(Mutex::new(log)));
    database.forks.push(Fork { id: session.instance.guids.next(), from: redo.lsn });
    database.binding = session.instance.guids.next();
    let keeps = database.model != RecoveryModel::Simple;
    database.chain = keeps.then_some(Chain { from: redo.lsn, begins: false, last: None });
    database.state = State::Online;
    Ok(())
}

/// `RESTORE DATABASE x WITH RECOVERY`, without media.
pub(super) fn recover_only(
    session: &mut Session,
    name: &str,
    options: &Restore,
    out: &mut Output,
) -> Done<()> {
    let Some(ending) = &options.ending else { return Err(SqlError::syntax(name).into()) };
    session.detach_all()?;
    let started = session.instance.clock.now();
    let (id, open) = {
        let catalog = session.instance.catalog();
        let database = catalog.named(name).ok_or_else(|| SqlError::no_database(name))?;
        if database.id == session.current || !catalog.inside(database.id, session.id).is_empty() {
            return Err(SqlError::new(
                3101,
                "Exclusive access could not be obtained because the database is in use.",
            )
            .into());
        }
        (database.id, database.state == State::Restoring || database.standby.is_some())
    };
    if !open {
        return Err(SqlError::new(3153, "The database is already fully recovered.").into());
    }
    let standby = match ending {
        Ending::Standby(file) => Some(session.text(file)?),
        _ => None,
    };
    leave(session, id, *ending == Ending::Recovery, standby, options.restricted_user)?;
    let what = if options.log { "RESTORE LOG" } else { "RESTORE DATABASE" };
    out.message(&finished(what, 0, started, session.instance.clock.now()));
    out.done(0, Command::RestoreDatabase, 0);
    Ok(())
}
