//! Databases as a whole: made, dropped, entered, taken for one session. Main functions: [`create`], [`alter`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::halt::{Done, Halt};
use super::output::Output;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{DatabaseChange, DeclaredFile, RecoveryModel, Termination};
use crate::sqlserver::store::database::{Access, DataFile, Database, State};
use crate::sqlserver::store::files;
use crate::sqlserver::store::instance::Catalog;
use crate::sqlserver::store::log::{Entry, Log};
use crate::sqlserver::store::sessions::Reason;
use crate::sqlserver::tds::tokens::{Change, Command};
use crate::sqlserver::value::Value;

/// Fails inside a transaction.
fn not_in_transaction(session: &Session, statement: &str) -> Result<(), SqlError> {
    if session.transaction.depth == 0 {
        return Ok(());
    }
    Err(SqlError::new(226, format!("{statement} statement not allowed within multi-statement transaction."))
        .state(6))
}

/// `CREATE DATABASE`.
pub fn create(session: &mut Session, name: &str, declared: &[DeclaredFile]) -> Done<()> {
    not_in_transaction(session, "CREATE DATABASE")?;
    if !session.instance.catalog().commands(&session.client.login, None) {
        return Err(may_not_create().into());
    }
    let mut files = session.instance.default_files(name);
    for file in declared {
        let path = session.instance.setup.file_path(&file.path, file.is_log);
        match files.iter_mut().find(|default| default.is_log == file.is_log && declared_once(declared, file))
        {
            Some(default) => *default = DataFile { logical: file.logical.clone(), path, ..default.clone() },
            None => {
                return Err(SqlError::not_understood("databases with more than one data or log file").into());
            }
        }
    }
    let created = session.instance.create_database(name, files, RecoveryModel::Full);
    if let Ok(id) = &created
        && let Some(database) = session.instance.catalog().databases.get_mut(id)
    {
        database.owner = Some(session.client.login.clone());
    }
    created.map(|_| ()).map_err(|error| match error.number {
        5133 | 5170 => Halt::Errors(vec![
            error,
            SqlError::new(
                1802,
                "CREATE DATABASE failed. Some file names listed could not be created. Check related errors.",
            ),
        ]),
        _ => error.into(),
    })
}

/// 262.
pub(super) fn may_not_create() -> SqlError {
    SqlError::new(262, "CREATE DATABASE permission denied in database 'master'.").class(14)
}

fn declared_once(declared: &[DeclaredFile], file: &DeclaredFile) -> bool {
    declared.iter().filter(|other| other.is_log == file.is_log).count() == 1
}

/// `DROP DATABASE`.
pub fn drop_database(session: &mut Session, name: &str, if_exists: bool) -> Done<()> {
    not_in_transaction(session, "DROP DATABASE")?;
    session.detach_all()?;
    let dropped = {
        let mut catalog = session.instance.catalog();
        let login = &session.client.login;
        let Some(database) = catalog.named(name).filter(|database| catalog.commands(login, Some(database)))
        else {
            if if_exists {
                return Ok(());
            }
            let text = format!(
                "Cannot drop the database '{name}', because it does not exist or you do not have permission."
            );
            return Err(SqlError::new(3701, text).class(11).into());
        };
        if database.is_system() {
            let text = format!("Cannot drop the database '{name}' because it is a system database.");
            return Err(SqlError::new(3708, text).state(4).into());
        }
        let id = database.id;
        if !catalog.inside(id, 0).is_empty() || database.taken_by.is_some_and(|taker| taker != session.id) {
            let text = format!("Cannot drop database \"{name}\" because it is currently in use.");
            return Err(SqlError::new(3702, text).state(3).into());
        }
        let dropped = catalog.databases.remove(&id);
        session.instance.save(&catalog)?;
        dropped
    };
    for file in dropped.iter().flat_map(|database| &database.files) {
        files::remove_data(&file.path).map_err(SqlError::internal)?;
    }
    Ok(())
}

/// `USE`.
pub fn enter(session: &mut Session, name: &str, out: &mut Output) -> Done<()> {
    let (id, to) = {
        let catalog = session.instance.catalog();
        let database = catalog.named(name).ok_or_else(|| SqlError::no_database(name).state(1))?;
        session.may_use(&catalog, database)?;
        (database.id, database.name.clone())
    };
    session.attach(id)?;
    let from = move_to(session, id);
    out.change(&Change::Database(to.clone(), from));
    out.message(&SqlError::new(5701, format!("Changed database context to '{to}'.")).class(10));
    out.done(0, Command::Use, 0);
    Ok(())
}

/// Makes a database the current one; the name of the one before.
pub fn move_to(session: &mut Session, id: u32) -> String {
    let mut catalog = session.instance.catalog();
    let from =
        catalog.databases.get(&session.current).map(|database| database.name.clone()).unwrap_or_default();
    session.current = id;
    if let Some(entry) = catalog.sessions.get_mut(&session.id) {
        entry.database = id;
    }
    drop(catalog);
    session.instance.wake();
    from
}

/// `ALTER DATABASE`.
pub fn alter(
    session: &mut Session,
    name: Option<&str>,
    change: &DatabaseChange,
    termination: Termination,
    out: &mut Output,
) -> Done<()> {
    let failed =
        |error: SqlError| Halt::Errors(vec![error, SqlError::new(5069, "ALTER DATABASE statement failed.")]);
    not_in_transaction(session, "ALTER DATABASE")?;
    let (id, state, shown) = {
        let catalog = session.instance.catalog();
        let database = match name {
            Some(name) => catalog.named(name),
            None => catalog.databases.get(&session.current),
        };
        let missing = || {
            SqlError::new(5011, format!("User does not have permission to alter database '{}', the database does not exist, or the database is not in a state that allows access checks.", name.unwrap_or_default())).state(5).class(14)
        };
        let login = &session.client.login;
        let may = |database: &&Database| {
            catalog.commands(login, Some(database)) || catalog.allows(login, "ALTER ANY DATABASE")
        };
        let database = database.filter(may);
        let database = database.ok_or_else(|| failed(missing()))?;
        (database.id, database.state, database.name.clone())
    };
    if state == State::Restoring {
        let text = "ALTER DATABASE is not permitted while a database is in the Restoring state.";
        return Err(failed(SqlError::new(5052, text)));
    }
    if matches!(
        change,
        DatabaseChange::Offline
            | DatabaseChange::SingleUser
            | DatabaseChange::RestrictedUser
            | DatabaseChange::ReadOnly(_)
            | DatabaseChange::Rename(_)
            | DatabaseChange::Broker(true)
            | DatabaseChange::NewBroker
    ) {
        if *change == DatabaseChange::Offline && session.current == id {
            move_to(session, 1);
        }
        session.detach_all()?;
        clear_sessions(session, id, &shown, change, termination, out).map_err(|halt| match halt {
            Halt::Errors(errors) => errors.into_iter().next().map_or(Halt::Errors(Vec::new()), failed),
            other => other,
        })?;
    }
    apply(session, id, change).map_err(failed)?;
    out.done(0, Command::AlterDatabase, 0);
    Ok(())
}

fn apply(session: &mut Session, id: u32, change: &DatabaseChange) -> Result<(), SqlError> {
    let instance = Arc::clone(&session.instance);
    let mut catalog = instance.catalog();
    let taken = |new: &String| catalog.named(new).is_some_and(|other| other.id != id);
    if let DatabaseChange::Rename(new) = change
        && taken(new)
    {
        let text = format!("Database '{new}' already exists. Choose a different database name.");
        return Err(SqlError::new(1801, text));
    }
    if *change == DatabaseChange::Broker(true) {
        check_broker(&catalog, id)?;
    }
    let Some(database) = catalog.databases.get_mut(&id) else {
        return Err(SqlError::internal("a database is gone"));
    };
    if database.taken_by == Some(session.id) {
        database.taken_by = None;
    }
    match change {
        DatabaseChange::SingleUser => database.access = Access::SingleUser,
        DatabaseChange::RestrictedUser => database.access = Access::RestrictedUser,
        DatabaseChange::MultiUser => database.access = Access::MultiUser,
        DatabaseChange::ReadOnly(read_only) => database.read_only = *read_only,
        DatabaseChange::Rename(new) => new.clone_into(&mut database.name),
        DatabaseChange::Broker(enabled) => database.broker_enabled = *enabled,
        DatabaseChange::Compatibility(level) => {
            let newest = instance.setup.installation().compatibility();
            let levels: Vec<i64> = (10..=newest / 10).map(|level| level * 10).collect();
            if !levels.contains(level) {
                let list = levels.iter().map(ToString::to_string).collect::<Vec<_>>();
                let (last, first) =
                    list.split_last().map_or((String::new(), &[][..]), |(last, first)| (last.clone(), first));
                let text = format!(
                    "Valid values of the database compatibility level are {} or {last}.",
                    first.join(", ")
                );
                return Err(SqlError::new(15_048, text));
            }
            database.compatibility = Some(*level);
        }
        DatabaseChange::Trustworthy(on) => database.trustworthy = *on,
        DatabaseChange::NewBroker => {
            database.broker = instance.guids.next();
            database.broker_enabled = true;
        }
        DatabaseChange::Recovery(model) => {
            // A switch to SIMPLE breaks the chain; a switch back does not mend it.
            if *model == RecoveryModel::Simple {
                database.chain = None;
            }
            database.model = *model;
        }
        DatabaseChange::Offline => {
            database.state = State::Offline;
            database.log = None;
            database.generation += 1;
        }
        DatabaseChange::Online if database.state != State::Online => {
            let opened = Log::open(&database.log_path()).ok().filter(|_| database.data_path().is_file());
            match opened {
                Some(log) => {
                    database.log = Some(Arc::new(Mutex::new(log)));
                    database.state = State::Online;
                }
                None => {
                    database.state = State::RecoveryPending;
                    return Err(database.inaccessible());
                }
            }
        }
        DatabaseChange::Online | DatabaseChange::Ignored => {}
    }
    instance.save(&catalog)
}

/// 9772 where another database delivers under the same identity: a copy needs a broker of its own.
fn check_broker(catalog: &Catalog, id: u32) -> Result<(), SqlError> {
    let Some(own) = catalog.databases.get(&id) else { return Ok(()) };
    let is_taken = |other: &Database| other.id != id && other.broker_enabled && other.broker == own.broker;
    if !catalog.databases.values().any(is_taken) {
        return Ok(());
    }
    let text = format!(
        "The Service Broker in database \"{}\" cannot be enabled because there is already an enabled Service Broker with the same ID.",
        own.name
    );
    Err(SqlError::new(9772, text))
}

/// Sees to it that nobody but this session is in a database, by the rules of the statement.
fn clear_sessions(
    session: &mut Session,
    id: u32,
    name: &str,
    change: &DatabaseChange,
    termination: Termination,
    out: &mut Output,
) -> Done<()> {
    let kill_after = match termination {
        Termination::RollbackImmediate => Some(Duration::ZERO),
        Termination::RollbackAfter(seconds) => Some(Duration::from_secs(seconds)),
        Termination::Wait | Termination::NoWait => None,
    };
    let patience = match (termination, kill_after) {
        (Termination::NoWait, _) => Duration::ZERO,
        (_, Some(time)) => time,
        _ => session.patience(),
    };
    let me = session.id;
    let restricts = *change == DatabaseChange::RestrictedUser;
    let inside = move |catalog: &Catalog| -> Vec<i16> {
        let database = catalog.databases.get(&id);
        let may_stay = |session: &i16| {
            let login = catalog.sessions.get(session).map(|entry| entry.login.as_str());
            restricts && login.is_some_and(|login| catalog.commands(login, database))
        };
        catalog.inside(id, me).into_iter().filter(|session| !may_stay(session)).collect()
    };
    let empty = move |catalog: &mut Catalog| {
        let free = inside(catalog).is_empty();
        if let (true, Some(database)) = (free, catalog.databases.get_mut(&id)) {
            database.taken_by = Some(me);
        }
        free.then_some(())
    };
    let left = session.instance.wait_for(&session.stop, patience, empty)?;
    if left.is_some() {
        return Ok(());
    }
    if kill_after.is_none() {
        let text = format!(
            "ALTER DATABASE failed because a lock could not be placed on database '{name}'. Try again later."
        );
        return Err(SqlError::new(5061, text).into());
    }
    {
        let mut catalog = session.instance.catalog();
        if let Some(database) = catalog.databases.get_mut(&id) {
            // From here on nobody can slip in.
            database.taken_by = Some(me);
        }
        for other in inside(&catalog) {
            if let Some(entry) = catalog.sessions.get(&other) {
                entry.stop.ask(Reason::Killed);
            }
        }
    }
    for percent in [0, 100] {
        let text = format!(
            "Nonqualified transactions are being rolled back. Estimated rollback completion: {percent}%."
        );
        out.message(&SqlError::new(5060, text).class(10));
    }
    match session.instance.wait_for(&session.stop, session.patience(), empty)? {
        Some(()) => Ok(()),
        None => {
            let text = format!(
                "ALTER DATABASE failed because a lock could not be placed on database '{name}'. Try again later."
            );
            Err(SqlError::new(5061, text).into())
        }
    }
}

/// `KILL`.
pub fn kill(session: &mut Session, number: i64, status_only: bool, out: &mut Output) -> Done<()> {
    if !session.instance.catalog().allows(&session.client.login, "ALTER ANY CONNECTION") {
        return Err(SqlError::new(6102, "User does not have permission to use the KILL statement.")
            .class(14)
            .into());
    }
    let found = i16::try_from(number).ok().and_then(|id| {
        let catalog = session.instance.catalog();
        catalog.sessions.get(&id).map(|entry| (id, Arc::clone(&entry.stop)))
    });
    match found {
        None => Err(SqlError::new(6106, format!("Process ID {number} is not an active process ID."))
            .state(2)
            .into()),
        Some((id, _)) if id == session.id => {
            Err(SqlError::new(6104, "Cannot use KILL to kill your own process.").into())
        }
        Some((id, _)) if status_only => {
            let text = format!(
                "Status report cannot be obtained. Rollback operation for Process ID {id} is not in progress."
            );
            Err(SqlError::new(6120, text).into())
        }
        Some((_, stop)) => {
            stop.ask(Reason::Killed);
            session.instance.wake();
            out.done(0, Command::None, 0);
            Ok(())
        }
    }
}

/// A checkpoint record in a database's log, so that what follows has an LSN of its own.
///
/// # Errors
/// When the log cannot be written.
pub fn checkpoint(log: &mut Log) -> Result<crate::sqlserver::store::lsn::Lsn, SqlError> {
    log.append(Entry::default()).map_err(SqlError::internal)
}

/// The text of a value that must be one, for names given as expressions.
#[must_use]
pub fn plain_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}
