//! BACKUP DATABASE and BACKUP LOG. Main function: [`backup`].

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::backup_media::{Prepared, prepare};
use super::backup_rules::{alone_of_its_kind, can_do, checked, damage, encrypted};
use super::databases::checkpoint;
use super::devices::{Device, cannot_open};
use super::halt::{Done, Halt, sql_error};
use super::history;
use super::output::Output;
use super::principals;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Backup, Body, RecoveryModel};
use crate::sqlserver::store::certificate::enciphered;
use crate::sqlserver::store::database::{Base, Chain, DataFile, Database, Redo, State};
use crate::sqlserver::store::files::Snapshot;
use crate::sqlserver::store::instance::same_name;
use crate::sqlserver::store::log::Log;
use crate::sqlserver::store::logins::Role;
use crate::sqlserver::store::lsn::Lsn;
use crate::sqlserver::store::media::{Encrypted, MediaHeader, Payload, SetHeader, SetKind, SetWriter};
use crate::sqlserver::tds::tokens::Command;

/// In so many steps a backup or restore goes; between two it can be stopped.
pub const STEPS: u32 = 20;

/// 3013, for the statements that it follows.
#[must_use]
pub fn terminating(body: &Body) -> Option<SqlError> {
    let what = match body {
        Body::Backup(backup) => {
            if backup.log {
                "BACKUP LOG"
            } else {
                "BACKUP DATABASE"
            }
        }
        Body::Restore(restore) => {
            if restore.log {
                "RESTORE LOG"
            } else {
                "RESTORE DATABASE"
            }
        }
        Body::ReadMedia(read) => match super::operation::reading(read.what) {
            "FILELISTONLY" => "RESTORE FILELIST",
            "VERIFYONLY" => "VERIFY DATABASE",
            "LABELONLY" => "RESTORE LABELONLY",
            _ => "RESTORE HEADERONLY",
        },
        _ => return None,
    };
    Some(SqlError::new(3013, format!("{what} is terminating abnormally.")))
}

/// The same halt with 3013 after its errors.
pub fn terminated<T>(done: Done<T>, body: &Body) -> Done<T> {
    done.map_err(|halt| match halt {
        // What is found while compiling is not followed by it.
        Halt::Errors(errors) if errors.iter().all(|error| error.class != 15) => {
            Halt::Errors(errors.into_iter().chain(terminating(body)).collect())
        }
        other => other,
    })
}

/// What is about to be backed up, fixed at one moment.
struct Taken {
    kind: SetKind,
    database: Database,
    payload: Payload,
    first: Lsn,
    last: Lsn,
    started: DateTime<Utc>,
    last_valid: Option<DateTime<Utc>>,
    encrypted: Option<Encrypted>,
    is_damaged: bool,
    has_bulk: bool,
}

/// BACKUP DATABASE, BACKUP LOG.
pub fn backup(session: &mut Session, options: &Backup, out: &mut Output) -> Done<()> {
    let done = backed_up(session, options, out);
    session.instance.catalog().backups.retain(|(_, _, by)| *by != session.id);
    terminated(done, &Body::Backup(Box::new(options.clone())))
}

fn backed_up(session: &mut Session, options: &Backup, out: &mut Output) -> Done<()> {
    if session.transaction.depth > 0 {
        let text = "Cannot perform a backup or restore operation within a transaction.";
        return Err(SqlError::new(3021, text).state(0).into());
    }
    let name = options.database.as_ref().map(|name| session.text(name)).transpose()?.unwrap_or_default();
    let kind = if options.log {
        SetKind::Log
    } else if options.differential {
        SetKind::Differential
    } else {
        SetKind::Full
    };
    can_do(session, options)?;
    may_back_up(session, &name, options.log)?;
    let database = checked(session, &name, kind, options)?;
    let encrypted = encrypted(session, options, out)?;
    let target = prepare(session, options)?;
    alone_of_its_kind(session, database.id, options.log)?;
    if options.norecovery || options.standby.is_some() {
        take_alone(session, database.id)?;
    }
    let is_damaged = match damage(session, &database, options) {
        Ok(is_damaged) => is_damaged,
        Err(error) => {
            release(session);
            return Err(error.into());
        }
    };
    let written = taken(session, database, kind, options)
        .map_err(Halt::from)
        .map(|taken| Taken { encrypted, is_damaged, ..taken })
        .and_then(|taken| write(session, &taken, &target, options, out).map(|set| (taken, set)));
    let (taken, set) = match written {
        Ok(written) => written,
        Err(halt) => {
            release(session);
            return Err(halt);
        }
    };
    settle(session, &taken, &set, options)?;
    let copies = &target.copies;
    let media: Vec<MediaHeader> = copies.iter().flat_map(|copy| copy.headers.clone()).collect();
    let names: Vec<String> =
        copies.iter().flat_map(|copy| &copy.devices).map(|device| device.name.clone()).collect();
    if let Err(error) = history::note_backup(&session.instance, &media, &names, &set) {
        out.message(&error.class(10));
    }
    report(&taken, &set, options, out);
    Ok(())
}

/// 262 for a login that is neither an administrator, nor the owner, nor has the right in the database.
fn may_back_up(session: &mut Session, name: &str, is_log: bool) -> Result<(), SqlError> {
    let id = {
        let catalog = session.instance.catalog();
        let login = &session.client.login;
        let Some(database) = catalog.named(name) else { return Ok(()) };
        let owns = database.owner.as_ref().is_some_and(|owner| same_name(owner, login));
        if owns || catalog.has_role(login, Role::SysAdmin) {
            return Ok(());
        }
        database.id
    };
    let right = if is_log { "BACKUP LOG" } else { "BACKUP DATABASE" };
    session.attach(id)?;
    match session.allows(id, right, None)? {
        true => Ok(()),
        false => Err(principals::denied(session, id, right)),
    }
}

/// Makes sure that nobody else is in a database that is about to go into the restoring state.
fn take_alone(session: &mut Session, id: u32) -> Result<(), SqlError> {
    session.detach_all()?;
    let mut catalog = session.instance.catalog();
    if !catalog.inside(id, 0).is_empty() {
        return Err(SqlError::new(
            3101,
            "Exclusive access could not be obtained because the database is in use.",
        ));
    }
    if let Some(database) = catalog.databases.get_mut(&id) {
        database.taken_by = Some(session.id);
    }
    Ok(())
}

fn release(session: &Session) {
    let mut catalog = session.instance.catalog();
    for database in catalog.databases.values_mut().filter(|database| database.taken_by == Some(session.id)) {
        database.taken_by = None;
    }
}

/// Fixes the moment and reads what belongs to it; commits wait only until the moment is fixed.
fn taken(session: &Session, database: Database, kind: SetKind, options: &Backup) -> Result<Taken, SqlError> {
    let started = session.instance.clock.now();
    let log = match database.open_log() {
        Ok(log) => log,
        // A database that could not be opened still has its log on disk.
        Err(_) if options.log => {
            Arc::new(Mutex::new(Log::open(&database.log_path()).map_err(|_| database.inaccessible())?))
        }
        Err(error) => return Err(error),
    };
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    if kind == SetKind::Log {
        let first = database.chain.as_ref().map_or(log.start(), |chain| chain.from);
        let records = log.records().iter().filter(|record| record.lsn >= first);
        let mut lines = Vec::new();
        let (mut last_valid, mut has_bulk) = (None, false);
        for record in records {
            serde_json::to_writer(&mut lines, record).map_err(SqlError::internal)?;
            lines.push(b'\n');
            last_valid = record.at.or(last_valid);
            has_bulk |= record.bulk;
        }
        let payload = Payload { image: Vec::new(), records: lines };
        let last = log.next();
        drop(log);
        return Ok(Taken {
            kind,
            database,
            payload,
            first,
            last,
            started,
            last_valid,
            encrypted: None,
            is_damaged: false,
            has_bulk,
        });
    }
    let first = checkpoint(&mut log)?;
    let last = log.next();
    let snapshot =
        Snapshot::take(&database.data_path(), &session.instance.guids).map_err(|error| sql_error(&error))?;
    let last_valid = Some(session.instance.clock.now());
    // The end of a backup is in the log too, so a log that is backed up next always reaches beyond it.
    checkpoint(&mut log)?;
    drop(log);
    let scratch = session.instance.setup.dir.join(format!("snapshot-{}.tmp", session.id));
    let image = snapshot.image(&scratch).map_err(SqlError::internal)?;
    let payload = Payload { image, records: Vec::new() };
    Ok(Taken {
        kind,
        database,
        payload,
        first,
        last,
        started,
        last_valid,
        encrypted: None,
        is_damaged: false,
        has_bulk: false,
    })
}

fn header(
    session: &Session,
    taken: &Taken,
    target: &Prepared,
    options: &Backup,
) -> Result<SetHeader, SqlError> {
    let (position, compressed) = (target.position, target.compressed);
    let installation = &session.instance.setup.installation();
    let database = &taken.database;
    let text = |text: &Option<_>| text.as_ref().map(|text| session.text(text)).transpose();
    let (first_fork, fork) = (database.fork_at(taken.first), database.forks.last());
    let damaged_pages = session.instance.catalog().damaged_pages(database);
    // Media tell of paths as the server writes them.
    let paths = session.instance.setup.paths();
    let written = |file: &DataFile| DataFile { path: paths.shown(&file.path).into(), ..file.clone() };
    let no_fork = || SqlError::internal("a database has no history");
    let (first_fork, fork) = (first_fork.ok_or_else(no_fork)?, fork.ok_or_else(no_fork)?);
    let first_fork = if taken.kind == SetKind::Log { first_fork } else { fork };
    let file_size = |file: &DataFile| match (file.is_log, taken.payload.image.len()) {
        (false, size @ 1..) => size as u64,
        _ => std::fs::metadata(&file.path).map(|meta| meta.len()).unwrap_or(0),
    };
    Ok(SetHeader {
        kind: taken.kind,
        position,
        name: text(&options.name)?,
        description: text(&options.description)?,
        user: session.client.login.clone(),
        server: session.instance.setup.server_name.clone(),
        database: database.name.clone(),
        database_created: database.created,
        size: (taken.payload.image.len() + taken.payload.records.len()) as u64,
        first: taken.first,
        last: taken.last,
        checkpoint: if taken.kind == SetKind::Log { database.last_checkpoint } else { taken.first },
        database_backup: database.last_full.unwrap_or(Lsn::ZERO),
        started: taken.started,
        finished: session.instance.clock.now(),
        last_valid_restore: taken.last_valid,
        guid: session.instance.guids.next(),
        binding: database.binding,
        compatibility: database.compatibility,
        family: database.family,
        forks: database.forks.clone(),
        first_fork: first_fork.id,
        fork: fork.id,
        fork_point: (first_fork.id != fork.id).then_some(fork.from),
        model: database.model,
        access: database.access,
        read_only: database.read_only,
        differential_base: database.differential_base.clone().filter(|_| taken.kind == SetKind::Differential),
        has_checksums: options.checksum,
        compressed,
        copy_only: options.copy_only && !options.differential || options.no_truncate,
        begins_chain: taken.kind == SetKind::Log && database.chain.as_ref().is_some_and(|chain| chain.begins),
        tail: options.norecovery || options.no_truncate,
        tail_with_norecovery: options.norecovery,
        files: database.files.iter().map(written).collect(),
        file_sizes: database.files.iter().map(file_size).collect(),
        database_version: installation.database_version(),
        created_by: statement(taken.kind).to_owned(),
        algorithm: compressed.then(|| options.algorithm.clone().unwrap_or_else(|| "MS_XPRESS".into())),
        encrypted: taken.encrypted.clone(),
        is_damaged: taken.is_damaged,
        damaged_pages: if taken.kind == SetKind::Log { Vec::new() } else { damaged_pages },
        has_bulk: taken.has_bulk,
        software: (i64::from(installation.major), installation.build()),
        device_type: target.copies.iter().flat_map(|copy| &copy.devices).next().map_or(2, Device::kind),
    })
}

/// The statement that makes a set of this kind, as messages name it.
#[must_use]
pub const fn statement(kind: SetKind) -> &'static str {
    match kind {
        SetKind::Full => "BACKUP DATABASE",
        SetKind::Log => "BACKUP LOG",
        SetKind::Differential => "BACKUP DATABASE WITH DIFFERENTIAL",
    }
}

fn write(
    session: &Session,
    taken: &Taken,
    target: &Prepared,
    options: &Backup,
    out: &mut Output,
) -> Done<SetHeader> {
    let set = header(session, taken, target, options)?;
    let mut bytes = taken.payload.joined();
    if let Some(lock) = &taken.encrypted {
        bytes = enciphered(&bytes, &lock.thumbprint);
    }
    let part = bytes.len().div_ceil(target.families()).max(1);
    let parts: Vec<&[u8]> = bytes.chunks(part).collect();
    let mut writers = Vec::new();
    for copy in &target.copies {
        for (at, (device, fresh)) in copy.devices.iter().zip(&copy.fresh).enumerate() {
            let data = parts.get(at).map_or(Vec::new(), |part| part.to_vec());
            let writer = SetWriter::begin(&device.path, fresh.as_ref(), &set, data);
            writers.push((device, writer.map_err(|error| cannot_open(device, &error, 1))?));
        }
    }
    let mut told = 0;
    for step in 1..=STEPS {
        session.pause(session.pace)?;
        for (device, writer) in &mut writers {
            if session.disk_is_full && step > STEPS / 2 {
                let text = format!(
                    "Write on \"{}\" failed: 112(There is not enough space on the disk.)",
                    device.name
                );
                return Err(SqlError::new(3202, text).into());
            }
            let failed = |error| SqlError::new(3202, format!("Write on \"{}\" failed: {error}", device.name));
            writer.write_part(step as usize, STEPS as usize).map_err(failed)?;
        }
        let percent = step * 100 / STEPS;
        session.progress(f64::from(percent));
        told = tell_progress(options.stats, told, percent, command_of(options), out);
    }
    let set = SetHeader { finished: session.instance.clock.now(), ..set };
    for (device, writer) in writers {
        writer
            .finish(&set)
            .map_err(|error| SqlError::new(3202, format!("Write on \"{}\" failed: {error}", device.name)))?;
    }
    Ok(set)
}

const fn command_of(options: &Backup) -> Command {
    if options.log { Command::BackupLog } else { Command::BackupDatabase }
}

/// Sends 3211 whenever another `stats` percent are done; what has been told.
pub fn tell_progress(stats: Option<u32>, told: u32, percent: u32, command: Command, out: &mut Output) -> u32 {
    let Some(stats) = stats else { return told };
    if percent < told + stats && !(percent == 100 && told < 100) {
        return told;
    }
    out.step_now(&SqlError::new(3211, format!("{percent} percent processed.")).class(10), command);
    percent
}

/// What the backup changes: the base of differentials, the chain of logs, the state after a tail.
fn settle(session: &Session, taken: &Taken, set: &SetHeader, options: &Backup) -> Result<(), SqlError> {
    let mut catalog = session.instance.catalog();
    let Some(database) = catalog.databases.get_mut(&taken.database.id) else { return Ok(()) };
    if taken.kind != SetKind::Log {
        database.last_checkpoint = set.checkpoint;
    }
    if taken.kind == SetKind::Full && !options.copy_only {
        database.differential_base = Some(Base { lsn: set.checkpoint, guid: set.guid });
        database.last_full = Some(set.checkpoint);
    }
    let begins = database.chain.is_none() && database.model != RecoveryModel::Simple && !options.copy_only;
    if taken.kind != SetKind::Log && begins {
        database.chain = Some(Chain { from: set.first, begins: true, last: None });
        truncate(database, set.first)?;
    }
    let moves_on = !options.copy_only && !options.no_truncate;
    if let (SetKind::Log, true) = (taken.kind, moves_on) {
        database.chain = Some(Chain { from: set.last, begins: false, last: Some(set.last) });
        truncate(database, set.last)?;
    }
    if options.norecovery || options.standby.is_some() {
        let redo = Redo { lsn: set.last, last_commit: taken.last_valid, rolled_forward: true };
        database.redo = Some(redo);
        database.log = None;
        database.generation += 1;
        database.taken_by = None;
        match &options.standby {
            Some(file) => database.standby = Some(session.text(file)?),
            None => database.state = State::Restoring,
        }
    }
    session.instance.save(&catalog)
}

fn truncate(database: &Database, before: Lsn) -> Result<(), SqlError> {
    let Some(log) = &database.log else { return Ok(()) };
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.truncate_to(before).map_err(SqlError::internal)
}

fn report(taken: &Taken, set: &SetHeader, options: &Backup, out: &mut Output) {
    let command = command_of(options);
    let mut total = 0;
    for (file, size) in set.files.iter().zip(&set.file_sizes) {
        if taken.kind == SetKind::Log && !file.is_log {
            continue;
        }
        let pages = match (taken.kind, file.is_log) {
            (SetKind::Log, _) => set.size.div_ceil(8192),
            (_, true) => 2,
            (_, false) => size.div_ceil(8192),
        };
        total += pages;
        let text = format!(
            "Processed {pages} pages for database '{}', file '{}' on file {}.",
            set.database, file.logical, set.position
        );
        out.step(&SqlError::new(4035, text).class(10), command);
    }
    out.message(&finished(statement(taken.kind), total, set.started, set.finished));
    out.done(0, command, 0);
}

/// 3014.
#[must_use]
pub fn finished(what: &str, pages: u64, started: DateTime<Utc>, ended: DateTime<Utc>) -> SqlError {
    let seconds = (ended - started).num_milliseconds().max(1) as f64 / 1000.0;
    let speed = pages as f64 / 128.0 / seconds;
    let text =
        format!("{what} successfully processed {pages} pages in {seconds:.3} seconds ({speed:.3} MB/sec).");
    SqlError::new(3014, text).class(10)
}
