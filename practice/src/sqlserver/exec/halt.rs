//! Why a statement did not come to its end. Main type: [`Halt`].

use crate::sqlserver::error::SqlError;
use crate::sqlserver::store::functions::raised_in;
use crate::sqlserver::store::sessions::Reason;

/// Why a statement did not come to its end.
#[derive(Debug)]
pub enum Halt {
    /// Errors, the cause first; the batch may go on.
    Errors(Vec<SqlError>),
    /// The session was stopped.
    Stopped(Reason),
    /// A fault: the connection is dropped.
    Cut,
    /// A fault: the answer is held back.
    Hold,
}

/// What a statement's execution gives.
pub type Done<T> = Result<T, Halt>;

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        Self::Errors(vec![error])
    }
}

impl From<Reason> for Halt {
    fn from(reason: Reason) -> Self {
        Self::Stopped(reason)
    }
}

/// SQLite's error in the server's words; constraints that need names are worded where they are known.
#[must_use]
pub fn sql_error(error: &rusqlite::Error) -> SqlError {
    use rusqlite::ffi;
    if let rusqlite::Error::SqliteFailure(code, message) = error {
        let message = message.clone().unwrap_or_default();
        if let Some(raised) = raised_in(&message) {
            return raised;
        }
        match code.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE
            | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_ROWID => {
                let columns = message.rsplit("failed: ").next().unwrap_or_default().to_owned();
                return SqlError::new(2627, columns);
            }
            ffi::SQLITE_BUSY_SNAPSHOT | ffi::SQLITE_BUSY | ffi::SQLITE_BUSY_TIMEOUT => return deadlock(),
            _ => {}
        }
        if code.code == ffi::ErrorCode::DiskFull {
            return SqlError::new(1105, "Could not allocate space because the filegroup is full.")
                .state(2)
                .class(17);
        }
    }
    SqlError::internal(error)
}

/// Whether SQLite stopped because it was asked to.
#[must_use]
pub fn was_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

/// 1205.
#[must_use]
pub fn deadlock() -> SqlError {
    let text = "Transaction was deadlocked on lock resources with another process and has been chosen as the deadlock \
                victim. Rerun the transaction.";
    SqlError::new(1205, text).state(51).class(13)
}
