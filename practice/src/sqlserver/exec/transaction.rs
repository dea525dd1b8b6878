//! What a session has changed and not yet committed. Main type: [`Transaction`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::Action;

use crate::sqlserver::store::record::{APPLIED, Change, Mark, quoted};

/// Rows that SQLite says it has changed: database, table, key. Shared with the connection's hook.
#[derive(Debug, Clone, Default)]
pub struct Touched(Arc<Mutex<Vec<(u32, String, i64)>>>);

impl Touched {
    /// Begins to listen to a connection.
    ///
    /// # Errors
    /// SQLite's.
    pub fn listen(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let touched = Arc::clone(&self.0);
        connection.update_hook(Some(move |_: Action, alias: &str, table: &str, row: i64| {
            let database = alias.strip_prefix('d').and_then(|id| id.parse().ok());
            if let Some(database) = database.filter(|_| table != APPLIED) {
                let mut rows = touched.lock().unwrap_or_else(PoisonError::into_inner);
                // Most statements touch a row once; what is touched again at once is noted once.
                let again =
                    rows.last().is_some_and(|(d, t, r)| (*d, t.as_str(), *r) == (database, table, row));
                if !again {
                    rows.push((database, table.to_owned(), row));
                }
            }
        }))
    }

    fn take(&self) -> Vec<(u32, String, i64)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets what was noted.
    pub fn clear(&self) {
        self.take();
    }
}

/// A transaction, explicit or of one statement.
#[derive(Debug, Default)]
pub struct Transaction {
    /// `@@TRANCOUNT`.
    pub depth: u32,
    /// Its number, for the client.
    pub id: u64,
    /// The mark that it leaves in the logs of the databases that it changes.
    pub mark: Option<Mark>,
    /// Whether SQLite has one open.
    pub open: bool,
    /// A fault: the answer to its end is held back.
    pub held: bool,
    /// The databases that it has locked for writing.
    pub locked: BTreeSet<u32>,
    /// The databases in which it has done what the bulk-logged model logs by its pages alone.
    pub bulk: BTreeSet<u32>,
    changes: BTreeMap<u32, Vec<Change>>,
}

impl Transaction {
    /// Notes a change of the schema, given as statements over `main`.
    ///
    /// # Errors
    /// SQLite's, while the rows that were changed before it are read.
    pub fn schema_changed(
        &mut self,
        connection: &Connection,
        touched: &Touched,
        database: u32,
        statements: Vec<String>,
    ) -> rusqlite::Result<()> {
        self.read_rows(connection, touched)?;
        self.changes.entry(database).or_default().push(Change::Schema(statements));
        Ok(())
    }

    /// Turns the rows that were touched into changes, as the rows are now.
    ///
    /// # Errors
    /// SQLite's.
    pub fn read_rows(&mut self, connection: &Connection, touched: &Touched) -> rusqlite::Result<()> {
        let mut seen = BTreeSet::new();
        for (database, table, row) in touched.take() {
            if !seen.insert((database, table.clone(), row)) {
                continue;
            }
            let sql = format!("SELECT * FROM d{database}.{} WHERE _rowid_ = ?", quoted(&table));
            // A table that is gone takes its rows with it.
            let Ok(mut select) = connection.prepare_cached(&sql) else { continue };
            let mut rows = select.query([row])?;
            let change = match rows.next()? {
                None => Change::Delete { table, row },
                Some(found) => {
                    // Asked of the row: a cached statement learns of new columns when it runs.
                    let width = found.as_ref().column_count();
                    let cells = (0..width).map(|at| found.get_ref(at).map(Into::into));
                    Change::Put { table, row, values: cells.collect::<rusqlite::Result<_>>()? }
                }
            };
            self.changes.entry(database).or_default().push(change);
        }
        Ok(())
    }

    /// The changes by database, taken out.
    #[must_use]
    pub fn take_changes(&mut self) -> BTreeMap<u32, Vec<Change>> {
        std::mem::take(&mut self.changes)
    }
}
