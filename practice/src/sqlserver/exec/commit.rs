//! Locks, changes and their end: a transaction is in every log before it is in any data file. Main function:
//! [`Session::commit`].

use std::sync::PoisonError;

use super::halt::{Done, Halt, sql_error};
use super::history::note_marks;
use super::session::{SERVER, Session};
use crate::ledger::Line;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::RecoveryModel;
use crate::sqlserver::store::log::{Entry, Log};
use crate::sqlserver::store::lsn::Lsn;
use crate::sqlserver::store::record::note_applied;

/// A log that nobody backs up is emptied when it has grown to so many records.
const LOG_LIMIT: usize = 256;

impl Session {
    /// Gets a database ready to be changed: one writer at a time, within a transaction of SQLite's.
    pub fn lock_for_writing(&mut self, id: u32) -> Done<()> {
        self.attach(id)?;
        {
            let catalog = self.instance.catalog();
            if let Some(database) = catalog.databases.get(&id).filter(|d| d.read_only || d.standby.is_some())
            {
                let text = format!(
                    "Failed to update database \"{}\" because the database is read-only.",
                    database.name
                );
                return Err(SqlError::new(3906, text).into());
            }
        }
        if !self.transaction.locked.contains(&id) {
            let me = self.id;
            let got = self.instance.wait_for(&self.stop, self.patience(), |catalog| {
                let database = catalog.databases.get_mut(&id)?;
                if database.writer.is_some_and(|writer| writer != me) {
                    return None;
                }
                database.writer = Some(me);
                Some(())
            })?;
            if got.is_none() {
                return Err(self.lock_timeout().into());
            }
            self.transaction.locked.insert(id);
        }
        if !self.transaction.open {
            self.sqlite("BEGIN")?;
            self.transaction.open = true;
        }
        Ok(())
    }

    /// Runs a change of the schema and notes it for the log. `statements` gives SQLite's text for a database alias.
    pub fn change_schema(&mut self, id: u32, statements: impl Fn(&str) -> Vec<String>) -> Done<()> {
        if id == 0 {
            return statements("main").iter().try_for_each(|sql| self.sqlite(sql));
        }
        self.lock_for_writing(id)?;
        self.transaction
            .read_rows(&self.connection, &self.touched)
            .map_err(|error| Halt::from(sql_error(&error)))?;
        statements(&format!("d{id}")).iter().try_for_each(|sql| self.sqlite(sql))?;
        self.touched.clear();
        let noted = self.transaction.schema_changed(&self.connection, &self.touched, id, statements("main"));
        noted.map_err(|error| sql_error(&error).into())
    }

    /// Runs the changes of one statement: all of them or none, and committed unless a transaction is open.
    pub fn atomically<T>(&mut self, work: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        let explicit = self.transaction.depth > 0;
        if explicit && self.transaction.open {
            self.sqlite("SAVEPOINT statement")?;
        }
        let inside = explicit && self.transaction.open;
        let done = work(self);
        match &done {
            Ok(_) if explicit => {
                if inside {
                    self.sqlite("RELEASE statement")?;
                }
            }
            Ok(_) => self.commit()?,
            Err(_) if inside => self.sqlite("ROLLBACK TO statement; RELEASE statement")?,
            // Nothing was changed before this statement, so the whole of SQLite's transaction is its own.
            Err(_) => self.roll_back_rows(),
        }
        done
    }

    fn roll_back_rows(&mut self) {
        if self.transaction.open {
            let _ = self.connection.execute_batch("ROLLBACK");
            self.transaction.open = false;
        }
        self.touched.clear();
        self.transaction.bulk.clear();
        let _ = self.transaction.take_changes();
        self.release_writers();
    }

    fn release_writers(&mut self) {
        let locked = std::mem::take(&mut self.transaction.locked);
        if locked.is_empty() {
            return;
        }
        let mut catalog = self.instance.catalog();
        for id in locked {
            if let Some(database) = catalog.databases.get_mut(&id).filter(|d| d.writer == Some(self.id)) {
                database.writer = None;
            }
        }
        drop(catalog);
        self.instance.wake();
    }

    /// Rolls everything back; locks of the transaction are freed. That what was changed is undone is a line of the ledger.
    pub fn rollback(&mut self) {
        let undone = self.transaction.depth > 0 && self.transaction.open;
        self.roll_back_rows();
        self.end_transaction();
        if undone {
            let (server, attempt) = (SERVER.to_owned(), self.attempt().map(str::to_owned));
            self.instance.ledger.record(Line { server, attempt, op: "rollback".into(), ..Line::default() });
        }
    }

    fn end_transaction(&mut self) {
        self.transaction.depth = 0;
        self.transaction.mark = None;
        self.transaction.held = false;
        self.transaction.bulk.clear();
        let mut catalog = self.instance.catalog();
        catalog.locks.retain(|lock| !(lock.of_transaction && lock.session == self.id));
        if let Some(entry) = catalog.sessions.get_mut(&self.id) {
            entry.open_transactions = 0;
        }
    }

    /// Commits: every database's log first, then the rows; one time for all.
    pub fn commit(&mut self) -> Done<()> {
        let committed = self.commit_rows();
        if committed.is_err() {
            self.roll_back_rows();
        }
        self.release_writers();
        self.end_transaction();
        committed
    }

    fn commit_rows(&mut self) -> Done<()> {
        if !self.transaction.open {
            return Ok(());
        }
        let read = self.transaction.read_rows(&self.connection, &self.touched);
        read.map_err(|error| Halt::from(sql_error(&error)))?;
        let changes = self.transaction.take_changes();
        let mut logs = Vec::new();
        let decider = {
            let catalog = self.instance.catalog();
            for id in changes.keys() {
                let database =
                    catalog.databases.get(id).ok_or_else(|| SqlError::internal("a database is gone"))?;
                let bulk = database.model == RecoveryModel::BulkLogged && self.transaction.bulk.contains(id);
                logs.push((*id, database.open_log()?, database.model != RecoveryModel::Simple, bulk));
            }
            // The log that is written last decides whether a transaction over several databases happened.
            logs.last().filter(|_| logs.len() > 1).map(|(id, ..)| *id)
        };
        let mut held: Vec<_> =
            logs.iter().map(|(_, log, ..)| log.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        let at = self.instance.clock.now();
        let shared = decider.map(|id| (at.timestamp_micros().unsigned_abs(), id));
        let mut marked = Vec::new();
        let mut appended = 0;
        let bulk: Vec<bool> = logs.iter().map(|(.., bulk)| *bulk).collect();
        let each = held.iter_mut().zip(changes).zip(bulk);
        let logged = each.into_iter().try_for_each(|((log, (id, changes)), bulk)| {
            let entry = Entry { at: Some(at), mark: self.transaction.mark.clone(), shared, bulk, changes };
            let lsn = append(log, entry)?;
            appended += 1;
            marked.push((id, lsn));
            note_applied(&self.connection, &format!("d{id}"), log.next()).map_err(|error| sql_error(&error))
        });
        let committed =
            logged.and_then(|()| self.connection.execute_batch("COMMIT").map_err(|error| sql_error(&error)));
        if let Err(error) = committed {
            for log in held.iter_mut().take(appended) {
                log.take_back().map_err(SqlError::internal)?;
            }
            return Err(error.into());
        }
        self.transaction.open = false;
        for (log, (_, _, keeps, _)) in held.iter_mut().zip(&logs) {
            if !keeps && log.records().len() > LOG_LIMIT {
                let next = log.next();
                log.truncate_to(next).map_err(SqlError::internal)?;
            }
        }
        drop(held);
        match self.transaction.mark.take() {
            Some(mark) => Ok(note_marks(&self.instance, &mark, &marked, at)?),
            None => Ok(()),
        }
    }
}

fn append(log: &mut Log, entry: Entry) -> Result<Lsn, SqlError> {
    log.append(entry).map_err(|error| {
        let text = format!("The transaction log for the database is full or cannot be written: {error}.");
        SqlError::new(9002, text).class(17)
    })
}
