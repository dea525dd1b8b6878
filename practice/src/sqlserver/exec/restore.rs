//! RESTORE DATABASE and RESTORE LOG. Main function: [`restore`].

use super::backup::{STEPS, finished, statement, tell_progress, terminated};
use super::backup_rules::no_replica;
use super::databases::may_not_create;
use super::devices::{Opened, devices, open};
use super::halt::{Done, Halt, sql_error};
use super::history::{Restored, note_restore};
use super::output::Output;
use super::recovery::{check_damage, claim, has_unsaved_by, has_unsaved_tail, leave, recover_only};
use super::roll_forward::{Plan, Target, beyond_target, datetime, history, plan};
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Body, Ending, RecoveryModel, Restore, Stop};
use crate::sqlserver::store::database::{Base, DataFile, Database, Redo, State};
use crate::sqlserver::store::files;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::installation::{Installation, names};
use crate::sqlserver::store::instance::no_directory;
use crate::sqlserver::store::media::{SetHeader, SetKind};
use crate::sqlserver::store::record::Record;
use crate::sqlserver::tds::tokens::Command;
use crate::sqlserver::value::moment_text;

/// RESTORE DATABASE, RESTORE LOG.
pub fn restore(session: &mut Session, options: &Restore, out: &mut Output) -> Done<()> {
    let done = restored(session, options, out);
    {
        let mut catalog = session.instance.catalog();
        for database in
            catalog.databases.values_mut().filter(|database| database.taken_by == Some(session.id))
        {
            database.taken_by = None;
        }
    }
    terminated(done, &Body::Restore(Box::new(options.clone())))
}

fn restored(session: &mut Session, options: &Restore, out: &mut Output) -> Done<()> {
    if session.transaction.depth > 0 {
        let text = "Cannot perform a backup or restore operation within a transaction.";
        return Err(SqlError::new(3021, text).state(0).into());
    }
    let name = options.database.as_ref().map(|name| session.text(name)).transpose()?.unwrap_or_default();
    check_options(options)?;
    may_restore(session, &name)?;
    if options.devices.is_empty() {
        return recover_only(session, &name, options, out);
    }
    let target = target(session, options)?;
    let opened = open(devices(session, &options.devices)?, true)?;
    let position = position(session, options)?;
    let set = opened.set(position)?.clone();
    let installation = session.instance.setup.installation();
    check_set(&set, &opened, options, target.as_ref(), &installation)?;
    check_damage(&set, options, out)?;
    if names(&installation.replicas, &name) || names(&installation.mirrored, &name) {
        let text = format!(
            "RESTORE cannot operate on database '{name}' because it is configured for database mirroring or has joined an availability group. If you intend to restore the database, use ALTER DATABASE to remove mirroring or to remove the database from its availability group."
        );
        return Err(SqlError::new(3104, text).into());
    }
    session.detach_all()?;
    let job = Job { name, options, opened: &opened, position, set, target };
    match job.set.kind {
        SetKind::Full => job.full(session, out),
        SetKind::Differential => job.differential(session, out),
        SetKind::Log => job.log(session, out),
    }
}

/// What is said when a database is opened cannot be said when it is not, and what is said of media not without any.
fn check_options(options: &Restore) -> Result<(), SqlError> {
    let ending = match &options.ending {
        Some(Ending::NoRecovery) => Some("NORECOVERY"),
        Some(Ending::Standby(_)) => Some("STANDBY"),
        Some(Ending::Recovery) | None => None,
    };
    let kept = options.keep.or(options.restricted_user.then_some("RESTRICTED_USER"));
    if let (Some(kept), Some(ending)) = (kept, ending) {
        return Err(conflict(kept, ending));
    }
    let of_media = [
        ("checksum", options.checksum.is_some()),
        ("file", options.file.is_some()),
        ("move", !options.moves.is_empty()),
        ("replace", options.replace),
        ("stopat", options.stop.is_some()),
    ];
    match of_media.into_iter().find(|(_, given)| *given && options.devices.is_empty()) {
        Some((option, _)) => {
            let text = format!(
                "One or more of the options ({option}) are not supported for this statement. Review the documentation for supported options."
            );
            Err(SqlError::new(3032, text))
        }
        None => Ok(()),
    }
}

/// 3110 for a database that is another's, 262 where one would have to be created.
fn may_restore(session: &Session, name: &str) -> Result<(), SqlError> {
    let catalog = session.instance.catalog();
    let existing = catalog.named(name);
    if catalog.commands(&session.client.login, existing) {
        return Ok(());
    }
    let text = format!("User does not have permission to RESTORE database '{name}'.");
    Err(existing.map_or_else(may_not_create, |_| SqlError::new(3110, text).class(14)))
}

fn conflict(option: &str, with: &str) -> SqlError {
    let (option, with) = (option.to_lowercase(), with.to_lowercase());
    SqlError::new(
        3031,
        format!(
            "Option '{option}' conflicts with option(s) '{with}'. Remove the conflicting option and reissue the statement."
        ),
    )
}

/// FILE, 1 by default.
pub(super) fn position(session: &Session, options: &Restore) -> Result<usize, SqlError> {
    let Some(file) = &options.file else { return Ok(1) };
    let text = session.text(file)?;
    text.parse().map_err(|_| SqlError::not_understood(format_args!("FILE = {text}")))
}

fn target(session: &Session, options: &Restore) -> Result<Option<Target>, SqlError> {
    match &options.stop {
        None => Ok(None),
        Some(Stop::At(time)) => datetime(&session.text(time)?).map(|time| Some(Target::Time(time))),
        Some(Stop::Mark { name, after, before }) => {
            let target = Target::mark(name, after.as_deref(), *before)?;
            if !options.log && !matches!(target, Target::Lsn { .. }) {
                let text = "The point-in-time clause of this RESTORE statement is for use by RESTORE LOG statements only. Omit the clause or use a clause that includes a timestamp.";
                return Err(SqlError::new(4340, text));
            }
            Ok(Some(target))
        }
    }
}

/// Whether the set is of the kind that the statement restores, and carries what it demands.
fn check_set(
    set: &SetHeader,
    opened: &Opened,
    options: &Restore,
    target: Option<&Target>,
    installation: &Installation,
) -> Result<(), SqlError> {
    if options.log != (set.kind == SetKind::Log) {
        let device = opened.names().into_iter().next().unwrap_or_default();
        let made_by = statement(set.kind);
        return Err(SqlError::new(
            3135,
            format!(
                "The backup set in file '{device}' was created by {made_by} and cannot be used for this restore operation."
            ),
        ));
    }
    if options.checksum == Some(true) && !set.has_checksums {
        let text = "RESTORE WITH CHECKSUM cannot be specified because the backup set does not contain checksum information.";
        return Err(SqlError::new(3187, text));
    }
    let own = (i64::from(installation.major), installation.build());
    if set.software.0 > own.0 {
        let text = format!(
            "The database was backed up on a server running version {:02}.00.{:04}. That version is incompatible with this server, which is running version {:02}.00.{:04}. Either restore the database on a server that supports the backup, or use a backup that is compatible with this server.",
            set.software.0, set.software.1, own.0, own.1
        );
        return Err(SqlError::new(3169, text));
    }
    if set.kind != SetKind::Log {
        let end = set.last_valid_restore.map(|at| at.naive_utc());
        match target {
            Some(Target::Time(_)) if set.model == RecoveryModel::Simple => {
                return Err(SqlError::new(
                    3145,
                    "The STOPAT option is not supported for databases that use the SIMPLE recovery model.",
                ));
            }
            Some(Target::Time(time)) if end.is_some_and(|end| *time < end) => return Err(beyond_target()),
            Some(Target::Lsn { lsn, .. }) if *lsn < set.last => return Err(beyond_target()),
            _ => {}
        }
    }
    Ok(())
}

/// One restore from media.
struct Job<'a> {
    name: String,
    options: &'a Restore,
    opened: &'a Opened,
    position: usize,
    set: SetHeader,
    target: Option<Target>,
}

impl Job<'_> {
    fn ending(&self) -> &Ending {
        self.options.ending.as_ref().unwrap_or(&Ending::Recovery)
    }

    fn payload(&self) -> Result<crate::sqlserver::store::media::Payload, SqlError> {
        let verify = self.options.checksum != Some(false);
        self.opened.payload(self.position, &self.set, verify, &self.name)
    }

    /// Tells progress and looks whether to stop.
    fn steps(&self, session: &Session, out: &mut Output) -> Done<()> {
        let mut told = 0;
        for step in 1..=STEPS {
            session.pause(session.pace)?;
            let percent = step * 100 / STEPS;
            session.progress(f64::from(percent));
            told = tell_progress(self.options.stats, told, percent, Command::RestoreDatabase, out);
        }
        Ok(())
    }

    fn full(&self, session: &mut Session, out: &mut Output) -> Done<()> {
        let files = self.plan_full(session)?;
        let id = claim(session, &self.name, &self.set, &files)?;
        self.steps(session, out)?;
        let payload = self.payload()?;
        let path = files.iter().find(|file| !file.is_log).map(|file| file.path.clone()).unwrap_or_default();
        files::write_image(&path, &payload.image).map_err(SqlError::internal)?;
        let redo = Redo { lsn: self.set.last, last_commit: None, rolled_forward: false };
        files::redo(&path, &session.instance.guids, &[], self.set.last)
            .map_err(|error| self.damaged(&error))?;
        self.update(session, id, |database, set| {
            database.redo = Some(redo);
            database.forks.clone_from(&set.forks);
            let base = Base { lsn: set.checkpoint, guid: set.guid };
            database.differential_base = Some(base).filter(|_| !set.copy_only);
            database.last_full =
                Some(set.checkpoint).filter(|_| !set.copy_only).or(Some(set.database_backup));
            database.last_checkpoint = set.checkpoint;
        })?;
        self.bring_damage(session, id)?;
        self.finish(session, id, payload.image.len().div_ceil(8192) as u64, true, out)
    }

    /// Damaged pages are restored as they were backed up.
    fn bring_damage(&self, session: &Session, id: u32) -> Result<(), SqlError> {
        let mut catalog = session.instance.catalog();
        let Some(binding) = catalog.databases.get(&id).map(|database| database.binding) else {
            return Ok(());
        };
        catalog.damaged.retain(|(own, _)| *own != binding);
        catalog.damaged.extend(self.set.damaged_pages.iter().map(|page| (binding, *page)));
        session.instance.save(&catalog)
    }

    fn damaged(&self, error: &rusqlite::Error) -> SqlError {
        tracing::debug!(%error, "a restored image is no database");
        SqlError::new(3189, "Damage to the backup set was detected.")
    }

    /// Everything that can be refused before the target is touched; the files that it will have.
    fn plan_full(&self, session: &Session) -> Result<Vec<DataFile>, Halt> {
        let catalog = session.instance.catalog();
        let existing = catalog.named(&self.name);
        if let Some(database) = existing {
            self.check_access(session, database, &catalog.inside(database.id, session.id))?;
            if database.family != self.set.family && !self.options.replace {
                let text = format!(
                    "The backup set holds a backup of a database other than the existing '{}' database.",
                    self.name
                );
                return Err(SqlError::new(3154, text).state(4).into());
            }
            if database.state == State::Online
                && self.target.is_none()
                && !self.options.replace
                && has_unsaved_tail(database)
            {
                let text = format!(
                    "The tail of the log for the database \"{}\" has not been backed up. Use BACKUP LOG WITH NORECOVERY to backup the log if it contains work you do not want to lose. Use the WITH REPLACE or WITH STOPAT clause of the RESTORE statement to just overwrite the contents of the log.",
                    self.name
                );
                return Err(SqlError::new(3159, text).into());
            }
        }
        self.check_tail_by_target(existing)?;
        let moves = self.moved_files(session)?;
        let own_id = existing.map_or(0, |database| database.id);
        let paths = session.instance.setup.paths();
        let mut errors = Vec::new();
        for (at, file) in moves.iter().enumerate() {
            let path = paths.shown(&file.path);
            let is_it = |other: &&DataFile| paths.same(&other.path, &file.path);
            if let Some(other) = moves[..at].iter().find(is_it) {
                errors.push(SqlError::new(3176, format!("File '{path}' is claimed by '{}'({}) and '{}'({}). The WITH MOVE clause can be used to relocate one or more files.", file.logical, file.id, other.logical, other.id)));
                continue;
            }
            let owner = catalog.owner_of(&file.path, own_id, &paths);
            let own = existing.is_some_and(|database| database.files.iter().any(|other| is_it(&other)));
            let cause = match owner {
                Some(owner) => Some(SqlError::new(
                    1834,
                    format!(
                        "The file '{path}' cannot be overwritten.  It is being used by database '{}'.",
                        owner.name
                    ),
                )),
                None if !file.path.parent().is_some_and(std::path::Path::is_dir) => {
                    Some(no_directory(&paths, &file.path))
                }
                None if file.path.exists() && !own && !self.options.replace => Some(SqlError::new(
                    3142,
                    format!(
                        "File \"{path}\" cannot be restored over the existing \"{path}\". Reissue the RESTORE statement using WITH REPLACE to overwrite pre-existing files, or WITH MOVE to identify an alternate location."
                    ),
                )),
                None => None,
            };
            if let Some(cause) = cause {
                errors.push(cause);
                errors.push(SqlError::new(3156, format!("File '{}' cannot be restored to '{path}'. Use WITH MOVE to identify a valid location for the file.", file.logical)).state(4));
            }
        }
        if errors.is_empty() {
            errors.extend(self.missing_space(session, &moves, existing));
        }
        if errors.is_empty() {
            return Ok(moves);
        }
        errors.push(SqlError::new(3119, "Problems were identified while planning for the RESTORE statement. Previous messages provide details."));
        Err(Halt::Errors(errors))
    }

    /// 3173 where the moment to stop at lies in a tail that no backup holds.
    fn check_tail_by_target(&self, existing: Option<&Database>) -> Result<(), SqlError> {
        if let (Some(database), Some(Target::Time(time))) = (existing, &self.target)
            && database.state == State::Online
            && !self.options.replace
            && has_unsaved_by(database, *time)
        {
            let text = format!(
                "The STOPAT clause provided with this RESTORE statement indicates that the tail of the log contains changes that must be backed up to reach the target point in time. The tail of the log for the database \"{}\" has not been backed up. Use BACKUP LOG WITH NORECOVERY to backup the log, or use the WITH REPLACE clause in your RESTORE statement to overwrite the tail of the log.",
                self.name
            );
            return Err(SqlError::new(3173, text));
        }
        Ok(())
    }

    /// 3257 for the first volume that the files do not fit on; what is replaced becomes free.
    fn missing_space(
        &self,
        session: &Session,
        files: &[DataFile],
        existing: Option<&Database>,
    ) -> Option<SqlError> {
        let (installation, paths) = (session.instance.setup.installation(), session.instance.setup.paths());
        let volumes = &installation.volumes;
        volumes.iter().find_map(|volume| {
            let on = |path: &std::path::Path| paths.volume_of(path, volumes) == Some(volume);
            let sized = files.iter().zip(&self.set.file_sizes).filter(|(file, _)| on(&file.path));
            let new: i64 = sized.map(|(_, size)| i64::try_from(*size).unwrap_or(i64::MAX)).sum();
            let replaced = existing.into_iter().flat_map(|database| &database.files);
            let replaced = replaced.filter(|old| files.iter().any(|new| new.path == old.path) && on(&old.path));
            let size = |file: &DataFile| std::fs::metadata(&file.path).map_or(0, |meta| meta.len());
            let old: i64 = replaced.map(|file| i64::try_from(size(file)).unwrap_or(0)).sum();
            (new - old > volume.available_bytes).then(|| {
                let text = format!(
                    "There is insufficient free space on disk volume '{}' to create the database. The database requires {} additional free bytes, while only {} bytes are available.",
                    volume.mount,
                    new - old,
                    volume.available_bytes
                );
                SqlError::new(3257, text)
            })
        })
    }

    fn moved_files(&self, session: &Session) -> Result<Vec<DataFile>, SqlError> {
        let setup = &session.instance.setup;
        let here = |file: &DataFile| {
            let path = setup.file_path(&file.path.to_string_lossy(), file.is_log);
            DataFile { path, ..file.clone() }
        };
        let mut files: Vec<DataFile> = self.set.files.iter().map(here).collect();
        for (logical, path) in &self.options.moves {
            let file = files.iter_mut().find(|file| compare(&file.logical, logical).is_eq()).ok_or_else(|| {
                let text = format!("Logical file '{logical}' is not part of database '{}'. Use RESTORE FILELISTONLY to list the logical file names.", self.name);
                SqlError::new(3234, text).state(2)
            })?;
            file.path = setup.file_path(path, file.is_log);
        }
        Ok(files)
    }

    fn check_access(&self, session: &Session, database: &Database, inside: &[i16]) -> Result<(), SqlError> {
        no_replica(session, database)?;
        if database.id == session.current {
            let text = format!(
                "RESTORE cannot process database '{}' because it is in use by this session. It is recommended that the master database be used when performing this operation.",
                database.name
            );
            return Err(SqlError::new(3102, text));
        }
        if !inside.is_empty() || database.taken_by.is_some_and(|taker| taker != session.id) {
            return Err(SqlError::new(
                3101,
                "Exclusive access could not be obtained because the database is in use.",
            ));
        }
        Ok(())
    }

    /// The database that a differential or a log goes onto, taken for this session, and how far it has come.
    fn ready(&self, session: &Session) -> Result<(Database, Redo), SqlError> {
        let mut catalog = session.instance.catalog();
        let Some(database) = catalog.named(&self.name).cloned() else {
            let text = format!(
                "The database \"{}\" does not exist. RESTORE can only create a database when restoring either a full backup or a file backup of the primary file.",
                self.name
            );
            return Err(SqlError::new(3118, text));
        };
        let inside = catalog.inside(database.id, session.id);
        let open = database.state == State::Restoring || database.standby.is_some();
        let redo = database.redo.clone().filter(|_| open).ok_or_else(|| {
            SqlError::new(3117, "The log or differential backup cannot be restored because no files are ready to rollforward.")
        })?;
        self.check_access(session, &database, &inside)?;
        if database.family != self.set.family {
            let text = format!(
                "The backup set holds a backup of a database other than the existing '{}' database.",
                self.name
            );
            return Err(SqlError::new(3154, text).state(4));
        }
        self.moved_files(session)?;
        if let Some(database) = catalog.databases.get_mut(&database.id) {
            database.taken_by = Some(session.id);
            database.generation += 1;
        }
        Ok((database, redo))
    }

    fn differential(&self, session: &mut Session, out: &mut Output) -> Done<()> {
        let (database, redo) = self.ready(session)?;
        if database.differential_base.is_none() || database.differential_base != self.set.differential_base {
            let text = "This differential backup cannot be restored because the database has not been restored to the correct earlier state.";
            return Err(SqlError::new(3136, text).into());
        }
        if self.set.last <= redo.lsn {
            let text = "This backup set will not be restored because all data has already been restored to a point beyond the time covered by this backup set.";
            return Err(SqlError::new(3120, text).into());
        }
        if redo.rolled_forward {
            // The real server's answer here is not known; this is the stricter of the two possible.
            let text = "This differential backup cannot be restored because the database has not been restored to the correct earlier state.";
            return Err(SqlError::new(3136, text).into());
        }
        self.steps(session, out)?;
        let payload = self.payload()?;
        let path = database.data_path();
        files::write_image(&path, &payload.image).map_err(SqlError::internal)?;
        files::redo(&path, &session.instance.guids, &[], self.set.last)
            .map_err(|error| self.damaged(&error))?;
        let redo = Redo { lsn: self.set.last, last_commit: None, rolled_forward: false };
        self.update(session, database.id, |database, set| {
            database.redo = Some(redo);
            database.forks.clone_from(&set.forks);
            database.last_checkpoint = set.checkpoint;
        })?;
        self.bring_damage(session, database.id)?;
        self.finish(session, database.id, payload.image.len().div_ceil(8192) as u64, true, out)
    }

    fn log(&self, session: &mut Session, out: &mut Output) -> Done<()> {
        let (database, redo) = self.ready(session)?;
        let payload = self.payload()?;
        let lines = payload.records.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let records: Vec<Record> = lines
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|_| SqlError::new(3189, "Damage to the backup set was detected."))?;
        let Plan { end, through, reached } =
            plan(&self.set, &records, &redo, &database.forks, self.target.as_ref())?;
        self.steps(session, out)?;
        let ahead: Vec<Record> =
            records[..end].iter().filter(|record| record.lsn >= redo.lsn).cloned().collect();
        let path = database.data_path();
        files::redo(&path, &session.instance.guids, &ahead, through).map_err(|error| sql_error(&error))?;
        let last_commit = ahead.iter().rev().find_map(|record| record.at).or(redo.last_commit);
        self.update(session, database.id, |database, set| {
            database.redo = Some(Redo { lsn: through, last_commit, rolled_forward: true });
            // What was restored before the fork may lie beyond what a longer history says.
            database.forks = history(&set.forks, through);
            database.model = set.model;
        })?;
        self.finish(session, database.id, payload.records.len().div_ceil(8192) as u64, reached, out)
    }

    fn update(
        &self,
        session: &Session,
        id: u32,
        change: impl FnOnce(&mut Database, &SetHeader),
    ) -> Result<(), SqlError> {
        let mut catalog = session.instance.catalog();
        if let Some(database) = catalog.databases.get_mut(&id) {
            change(database, &self.set);
        }
        session.instance.save(&catalog)
    }

    /// Leaves the database as the statement says, and says what was done.
    fn finish(
        &self,
        session: &mut Session,
        id: u32,
        pages: u64,
        reached: bool,
        out: &mut Output,
    ) -> Done<()> {
        let started = session.now;
        // A data set never reaches a point in time by itself: the log after it has to be there.
        let reached = reached && (self.set.kind == SetKind::Log || self.target.is_none());
        let recovers = matches!(self.ending(), Ending::Recovery) && reached;
        if !reached {
            let (number, point) = match self.target {
                Some(Target::Time(_)) | None => (4322, "point in time"),
                _ => (4329, "mark"),
            };
            let text = format!(
                "This backup set contains records that were logged before the designated {point}. The database is being left in the restoring state so that more roll forward can be performed."
            );
            out.step(&SqlError::new(number, text).class(10), Command::RestoreDatabase);
        }
        let standby = match self.ending() {
            Ending::Standby(file) if reached => Some(session.text(file)?),
            _ => None,
        };
        leave(session, id, recovers, standby, self.options.restricted_user)?;
        self.note(session, id, recovers, out);
        let is_log = self.set.kind == SetKind::Log;
        let mut total = 0;
        for file in &self.set.files {
            let pages = match (is_log, file.is_log) {
                (true, false) => 0,
                (true, true) | (false, false) => pages,
                (false, true) => 2,
            };
            total += pages;
            let text = format!(
                "Processed {pages} pages for database '{}', file '{}' on file {}.",
                self.name, file.logical, self.position
            );
            out.step(&SqlError::new(4035, text).class(10), Command::RestoreDatabase);
        }
        let what = if is_log { "RESTORE LOG" } else { "RESTORE DATABASE" };
        if self.set.is_damaged {
            let text = "RESTORE WITH CONTINUE_AFTER_ERROR was successful but some damage was encountered. Inconsistencies in the database are possible.";
            out.message(&SqlError::new(3184, text).class(10));
        }
        out.message(&finished(what, total, started, session.instance.clock.now()));
        out.done(0, Command::RestoreDatabase, 0);
        Ok(())
    }

    fn note(&self, session: &Session, id: u32, recovery: bool, out: &mut Output) {
        let files = session.instance.catalog().databases.get(&id).map(|database| database.files.clone());
        let restored = Restored {
            database: &self.name,
            user: &session.client.login,
            replace: self.options.replace,
            recovery,
            stop_at: match &self.target {
                Some(Target::Time(time)) => Some(moment_text(*time, 3)),
                _ => None,
            },
            mark: match &self.target {
                Some(Target::Mark { name, before, .. }) => Some((name.clone(), *before)),
                Some(Target::Lsn { lsn, before }) => Some((format!("lsn:{lsn}"), *before)),
                _ => None,
            },
            files: files.as_deref().unwrap_or_default(),
        };
        let noted = note_restore(
            &session.instance,
            &self.opened.headers(),
            &self.opened.names(),
            &self.set,
            &restored,
        );
        if let Err(error) = noted {
            out.message(&error.class(10));
        }
    }
}
