//! A session: its connection to the data, its variables, its transaction. Main type: [`Session`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Statement};

use super::halt::{Done, Halt, deadlock, sql_error, was_interrupted};
use super::rights::{Standing, Who};
use super::transaction::{Touched, Transaction};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::Text;
use crate::sqlserver::query::names::TypedValue;
use crate::sqlserver::store::database::{Access, Database};
use crate::sqlserver::store::instance::{Catalog, Instance};
use crate::sqlserver::store::sessions::{SessionEntry, Stop, Work};
use crate::sqlserver::store::{files, functions};
use crate::sqlserver::value::Value;

/// What the ledger and the fault rules call this server.
pub(super) const SERVER: &str = "sqlserver";

/// How long a lock is waited for when the session says nothing about it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many databases SQLite holds open at once.
const ATTACHED: usize = 10;

/// Options of SET.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// No counts in DONE tokens.
    pub no_count: bool,
    /// An error ends the batch and rolls back.
    pub xact_abort: bool,
    /// Milliseconds to wait for a lock; negative for as long as the server allows.
    pub lock_timeout: Option<i64>,
    /// The table, with its database, whose IDENTITY may be given.
    pub identity_insert: Option<(u32, String)>,
}

/// Who logged in, from where, with what.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The login's name.
    pub login: String,
    /// The client's machine.
    pub host: String,
    /// The program's name; `drydock <attempt>` names an attempt.
    pub program: String,
}

/// A session.
pub struct Session {
    /// Its number.
    pub id: i16,
    /// The server.
    pub instance: Arc<Instance>,
    /// How others stop it.
    pub stop: Arc<Stop>,
    /// Who it belongs to.
    pub client: Client,
    /// The current database.
    pub current: u32,
    /// What SET has set.
    pub options: Options,
    /// Variables of the batch by lower-case name.
    pub variables: BTreeMap<String, TypedValue>,
    /// What it has not committed.
    pub transaction: Transaction,
    /// `@@ROWCOUNT`.
    pub row_count: i64,
    /// `@@ERROR`.
    pub last_error: i32,
    /// `SCOPE_IDENTITY()`.
    pub identity: Option<i64>,
    /// The error that a CATCH block deals with.
    pub caught: Option<SqlError>,
    /// The time of the statement.
    pub now: DateTime<Utc>,
    /// A fault: what the statement writes to disk fails.
    pub disk_is_full: bool,
    /// A fault: how long each step of a backup or restore takes.
    pub pace: Duration,
    /// SHA-256 of the request's text, for the ledger.
    pub request_digest: Option<String>,
    /// The request's text, for the ledger.
    pub request_text: String,
    /// The logins that it had before it put others on.
    pub played: Vec<String>,
    /// What the statement does to the first table that it names, where it does not read it.
    pub writes: Option<&'static str>,
    /// How many batches stand around this one.
    pub nesting: u32,
    /// How many TRY blocks stand around the statement.
    pub tries: u32,
    pub(super) connection: Connection,
    pub(super) touched: Touched,
    attached: BTreeMap<u32, u64>,
}

/// The functions that tell logins from SIDs: they ask the catalogue row by row.
fn name_logins(connection: &Connection, instance: &Arc<Instance>) -> rusqlite::Result<()> {
    let flags = rusqlite::functions::FunctionFlags::SQLITE_UTF8;
    let of = Arc::clone(instance);
    connection.create_scalar_function("dd_suser_sname", 1, flags, move |context| {
        let sid: Option<Vec<u8>> = context.get(0)?;
        Ok(sid.and_then(|sid| of.catalog().login_of(&sid)))
    })?;
    let of = Arc::clone(instance);
    connection.create_scalar_function("dd_suser_sid", 1, flags, move |context| {
        let name: Option<String> = context.get(0)?;
        Ok(name.and_then(|name| of.catalog().sid_of(&name)))
    })
}

impl Session {
    /// Opens a session in `master` and lists it; the program's name is as the client gave it.
    ///
    /// # Errors
    /// When SQLite cannot be opened.
    pub fn open(instance: &Arc<Instance>, client: Client) -> Result<Self, SqlError> {
        let open = || -> rusqlite::Result<(Connection, Touched)> {
            let mut connection = Connection::open_in_memory()?;
            functions::install(&connection, &instance.guids)?;
            connection.busy_timeout(files::PATIENCE)?;
            connection.set_prepared_statement_cache_capacity(64);
            files::lay_out(&connection)?;
            let touched = Touched::default();
            name_logins(&connection, instance)?;
            touched.listen(&mut connection)?;
            Ok((connection, touched))
        };
        let (connection, touched) = open().map_err(|error| sql_error(&error))?;
        let stop = Arc::new(Stop::default());
        stop.interrupts(connection.get_interrupt_handle());
        let now = instance.clock.now();
        let mut catalog = instance.catalog();
        let id = (51..).find(|id| !catalog.sessions.contains_key(id)).unwrap_or(i16::MAX);
        let entry = SessionEntry {
            login: client.login.clone(),
            host: client.host.clone(),
            program: client.program.clone(),
            since: now,
            database: 1,
            open_transactions: 0,
            work: None,
            stop: Arc::clone(&stop),
        };
        catalog.sessions.insert(id, entry);
        drop(catalog);
        Ok(Self {
            id,
            instance: Arc::clone(instance),
            stop,
            client,
            current: 1,
            options: Options::default(),
            variables: BTreeMap::new(),
            transaction: Transaction::default(),
            row_count: 0,
            last_error: 0,
            identity: None,
            caught: None,
            now,
            disk_is_full: false,
            pace: Duration::ZERO,
            request_digest: None,
            request_text: String::new(),
            tries: 0,
            played: Vec::new(),
            writes: None,
            nesting: 0,
            connection,
            touched,
            attached: BTreeMap::new(),
        })
    }

    /// Ends the session: what is open is rolled back, its locks are freed.
    pub fn close(mut self) {
        self.rollback();
        let mut catalog = self.instance.catalog();
        catalog.sessions.remove(&self.id);
        catalog.locks.retain(|lock| lock.session != self.id);
        for database in catalog.databases.values_mut().filter(|database| database.taken_by == Some(self.id)) {
            database.taken_by = None;
        }
        drop(catalog);
        self.instance.wake();
    }

    /// The attempt that the program's name tells.
    #[must_use]
    pub fn attempt(&self) -> Option<&str> {
        self.client.program.strip_prefix("drydock ")
    }

    /// Fails when the session is to be stopped.
    pub fn check_stop(&self) -> Done<()> {
        self.stop.reason().map_or(Ok(()), |reason| Err(Halt::Stopped(reason)))
    }

    /// A name or text, read from its variable where it stands in one.
    ///
    /// # Errors
    /// 137 for a variable that is not declared.
    pub fn text(&self, text: &Text) -> Result<String, SqlError> {
        match text {
            Text::Literal(text) => Ok(text.clone()),
            Text::Variable(name) => {
                let (value, ty) = self.variables.get(name).ok_or_else(|| {
                    let text = format!("Must declare the scalar variable \"{name}\".");
                    SqlError::new(137, text).state(2).class(15)
                })?;
                Ok(functions::shown(value, *ty))
            }
        }
    }

    /// Whether this session may use a database, single and restricted users considered.
    ///
    /// # Errors
    /// As [`Database::usable_by`]; 923 when it is restricted and this is nobody for whom it is; 924 when someone else is its single user.
    pub fn may_use(&self, catalog: &Catalog, database: &Database) -> Result<(), SqlError> {
        database.usable_by(self.id)?;
        if database.access == Access::RestrictedUser && !catalog.commands(&self.client.login, Some(database))
        {
            let text = format!(
                "Database '{}' is in restricted mode. Only the database owner and members of the dbcreator and sysadmin roles can access it.",
                database.name
            );
            return Err(SqlError::new(923, text).class(14));
        }
        if database.access == Access::SingleUser && !catalog.inside(database.id, self.id).is_empty() {
            let text =
                format!("Database '{}' is already open and can only have one user at a time.", database.name);
            return Err(SqlError::new(924, text).class(14));
        }
        Ok(())
    }

    /// Makes a database's rows reachable under its alias.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn attach(&mut self, id: u32) -> Result<(), SqlError> {
        let (path, generation) = {
            let catalog = self.instance.catalog();
            let database =
                catalog.databases.get(&id).ok_or_else(|| SqlError::internal("a database is gone"))?;
            self.may_use(&catalog, database)?;
            (database.data_path(), database.generation)
        };
        if self.attached.get(&id) == Some(&generation) {
            return Ok(());
        }
        self.detach(id)?;
        if self.attached.len() == ATTACHED {
            if self.transaction.open {
                return Err(SqlError::not_understood("a transaction over more than ten databases"));
            }
            let other = self.attached.keys().copied().find(|other| *other != self.current);
            other.map_or(Ok(()), |other| self.detach(other))?;
        }
        if !path.is_file() {
            let catalog = self.instance.catalog();
            return Err(catalog
                .databases
                .get(&id)
                .map_or_else(|| SqlError::internal("no file"), Database::inaccessible));
        }
        // Within a transaction SQLite lets nobody say how it syncs; then it syncs as it likes.
        let unsynced =
            if self.transaction.open { String::new() } else { format!("PRAGMA d{id}.synchronous = OFF") };
        self.connection
            .execute(&format!("ATTACH DATABASE ? AS d{id}"), [path.to_string_lossy()])
            .and_then(|_| self.connection.execute_batch(&unsynced))
            .map_err(|error| sql_error(&error))?;
        self.attached.insert(id, generation);
        // Who may not enter has nothing of it.
        self.standing(id).enter().or_else(|error| self.detach(id).and(Err(error)))
    }

    fn standing(&self, database: u32) -> Standing<'_> {
        Standing {
            connection: &self.connection,
            instance: &self.instance,
            login: self.client.login.as_str(),
            database,
        }
    }

    /// As whom its login stands in an attached database.
    ///
    /// # Errors
    /// SQLite's.
    pub fn who(&self, database: u32) -> Result<Who, SqlError> {
        self.standing(database).who()
    }

    /// The numbers of the roles that its login is in there, and its user's own.
    ///
    /// # Errors
    /// SQLite's.
    pub fn identities(&self, database: u32) -> Result<Vec<i64>, SqlError> {
        self.standing(database).identities()
    }

    /// Whether its login has a right on a certificate of an attached database.
    ///
    /// # Errors
    /// SQLite's.
    pub fn allows_certificate(&self, database: u32, right: &str, certificate: u32) -> Result<bool, SqlError> {
        self.standing(database).allows_certificate(right, certificate)
    }

    /// Whether its login has a right on a table, as its number and its schema's, or in an attached database as a whole.
    ///
    /// # Errors
    /// SQLite's.
    pub fn allows(&self, database: u32, right: &str, table: Option<(i64, i64)>) -> Result<bool, SqlError> {
        // Temporary tables are the session's own.
        Ok(database == 0 || self.standing(database).allows(right, table)?)
    }

    fn detach(&mut self, id: u32) -> Result<(), SqlError> {
        if self.attached.remove(&id).is_some() {
            self.connection.flush_prepared_statement_cache();
            self.connection
                .execute_batch(&format!("DETACH DATABASE d{id}"))
                .map_err(|error| sql_error(&error))?;
        }
        Ok(())
    }

    /// Lets go of all data files, so that they can be replaced.
    ///
    /// # Errors
    /// SQLite's.
    pub fn detach_all(&mut self) -> Result<(), SqlError> {
        let ids: Vec<u32> = self.attached.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.detach(id))
    }

    /// Says what the session is doing.
    pub fn working(&self, command: &'static str) {
        let work = Work { command, since: self.now, percent: 0.0, blocked_by: 0 };
        if let Some(entry) = self.instance.catalog().sessions.get_mut(&self.id) {
            entry.work = Some(work);
        }
    }

    /// Says how much of it is done.
    pub fn progress(&self, percent: f64) {
        if let Some(work) =
            self.instance.catalog().sessions.get_mut(&self.id).and_then(|entry| entry.work.as_mut())
        {
            work.percent = percent;
        }
    }

    /// Says that it is done.
    pub fn idle(&self) {
        if let Some(entry) = self.instance.catalog().sessions.get_mut(&self.id) {
            entry.work = None;
            entry.open_transactions = self.transaction.depth;
        }
    }

    /// Waits in small steps that a stop ends.
    pub fn pause(&self, time: Duration) -> Done<()> {
        self.instance.wait_for(&self.stop, time, |_| None::<()>)?;
        Ok(())
    }

    /// How long a lock may be waited for.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self.options.lock_timeout {
            Some(millis) if millis >= 0 => Duration::from_millis(millis.unsigned_abs()),
            _ => PATIENCE,
        }
    }

    /// What is said when the patience is over.
    #[must_use]
    pub fn lock_timeout(&self) -> SqlError {
        match self.options.lock_timeout {
            Some(0..) => SqlError::new(1222, "Lock request time out period exceeded.").state(45),
            _ => deadlock(),
        }
    }

    /// Runs statements of SQLite's without a result.
    pub fn sqlite(&self, sql: &str) -> Done<()> {
        self.connection.execute_batch(sql).map_err(|error| self.halted(&error))
    }

    /// SQLite's error, or the stop that caused it.
    pub fn halted(&self, error: &rusqlite::Error) -> Halt {
        match self.stop.reason() {
            Some(reason) if was_interrupted(error) => Halt::Stopped(reason),
            _ => sql_error(error).into(),
        }
    }

    /// One value of a query of ours.
    ///
    /// # Errors
    /// SQLite's, in the server's words.
    pub fn single(&self, sql: &str, parameters: &[Value]) -> Result<Option<Value>, SqlError> {
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut select| {
                let parameters = bound(&select, parameters);
                let mut rows = select.query(rusqlite::params_from_iter(parameters))?;
                rows.next()?.map(|row| row.get(0)).transpose()
            })
            .map_err(|error| sql_error(&error))?;
        Ok(found)
    }

    /// The rows of a query of ours.
    ///
    /// # Errors
    /// SQLite's, in the server's words.
    pub fn all(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, SqlError> {
        let read = || -> rusqlite::Result<Vec<Vec<Value>>> {
            let mut select = self.connection.prepare_cached(sql)?;
            let width = select.column_count();
            let parameters = bound(&select, parameters);
            let rows = select.query_map(rusqlite::params_from_iter(parameters), |row| {
                (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>()
            })?;
            rows.collect()
        };
        read().map_err(|error| sql_error(&error))
    }
}

/// As many parameters as a statement names: compiling may number some that only its names needed.
pub(super) fn bound<'a>(statement: &Statement<'_>, parameters: &'a [Value]) -> &'a [Value] {
    &parameters[..statement.parameter_count().min(parameters.len())]
}
