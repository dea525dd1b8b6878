//! What a log holds: committed transactions as changes of rows and of the schema. Main type: [`Record`].

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use serde::{Deserialize, Serialize};

use super::lsn::Lsn;
use crate::sqlserver::cast::{hex, unhex};

/// The table that says up to where the log has been applied to the data file.
pub const APPLIED: &str = "__applied";

/// A value in the log. A real number travels as its bits, so that it comes back as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Cell {
    #[serde(rename = "n")]
    Null,
    #[serde(rename = "i")]
    Integer(i64),
    #[serde(rename = "r")]
    Real(u64),
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "b")]
    Blob(String),
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number.to_bits()),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Blob(hex(bytes)),
        }
    }
}

impl From<&Cell> for Value {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Integer(number) => Self::Integer(*number),
            Cell::Real(bits) => Self::Real(f64::from_bits(*bits)),
            Cell::Text(text) => Self::Text(text.clone()),
            Cell::Blob(digits) => Self::Blob(unhex(digits).unwrap_or_default()),
        }
    }
}

/// One change. A row is logged as it was when the transaction ended, so that applying it needs no expression
/// to be evaluated again, and applying it twice does no harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// The row is there with these values, in the order of the table's columns.
    #[serde(rename = "put")]
    Put {
        /// The table.
        table: String,
        /// SQLite's own key of the row.
        row: i64,
        /// Its values.
        values: Vec<Cell>,
    },
    /// The row is gone.
    #[serde(rename = "del")]
    Delete {
        /// The table.
        table: String,
        /// SQLite's own key of the row.
        row: i64,
    },
    /// A change of the schema: SQLite statements over the database `main`.
    #[serde(rename = "ddl")]
    Schema(Vec<String>),
}

/// A mark that a transaction left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// Who began the transaction.
    pub user: String,
}

/// A committed transaction, or a checkpoint, which changes nothing and has no time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Where it stands.
    pub lsn: Lsn,
    /// Where the next one begins.
    pub next: Lsn,
    /// When the transaction was committed.
    pub at: Option<DateTime<Utc>>,
    /// Its mark.
    pub mark: Option<Mark>,
    /// Its time in microseconds and the database whose log decides whether it happened, when it changed several.
    pub shared: Option<(u64, u32)>,
    /// Whether it holds pages of a bulk operation: a log with one can only be restored whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bulk: bool,
    /// What it changed.
    pub changes: Vec<Change>,
}

/// A name quoted for SQLite.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Applies records to a data file opened as `main`, and notes how far it has come.
///
/// # Errors
/// SQLite's, when the file does not fit the records.
pub fn apply(data: &Connection, records: &[Record], through: Lsn) -> rusqlite::Result<()> {
    data.execute_batch("BEGIN IMMEDIATE")?;
    let applied =
        records.iter().flat_map(|record| &record.changes).try_for_each(|change| apply_one(data, change));
    let noted = applied.and_then(|()| note_applied(data, "main", through));
    match noted {
        Ok(()) => data.execute_batch("COMMIT"),
        Err(error) => {
            data.execute_batch("ROLLBACK")?;
            Err(error)
        }
    }
}

fn apply_one(data: &Connection, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Schema(statements) => statements.iter().try_for_each(|sql| data.execute_batch(sql)),
        Change::Delete { table, row } => {
            let sql = format!("DELETE FROM main.{} WHERE _rowid_ = ?", quoted(table));
            match data.prepare_cached(&sql) {
                Ok(mut delete) => delete.execute([row]).map(|_| ()),
                // The table went later in the same transaction.
                Err(_) => Ok(()),
            }
        }
        Change::Put { table, row, values } => {
            let holders = vec!["?"; values.len() + 1].join(", ");
            let columns = columns(data, "main", table)?;
            let sql = format!(
                "INSERT OR REPLACE INTO main.{}(_rowid_, {columns}) VALUES ({holders})",
                quoted(table)
            );
            let row = std::iter::once(Value::Integer(*row)).chain(values.iter().map(Value::from));
            data.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(row)).map(|_| ())
        }
    }
}

/// The columns of a table, quoted and joined by commas, in their order.
///
/// # Errors
/// SQLite's.
pub fn columns(data: &Connection, schema: &str, table: &str) -> rusqlite::Result<String> {
    let mut list = data.prepare_cached("SELECT name FROM pragma_table_info(?, ?) ORDER BY cid")?;
    let names = list.query_map([table, schema], |row| row.get::<_, String>(0))?;
    let names: Vec<String> = names.map(|name| name.map(|name| quoted(&name))).collect::<Result<_, _>>()?;
    Ok(names.join(", "))
}

/// Notes in a data file that its log has been applied up to `lsn`.
///
/// # Errors
/// SQLite's.
pub fn note_applied(data: &Connection, schema: &str, lsn: Lsn) -> rusqlite::Result<()> {
    data.execute(&format!("UPDATE {schema}.{APPLIED} SET lsn = ?"), [lsn.to_string()]).map(|_| ())
}
