//! What the server knows of a database besides its rows. Main type: [`Database`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::log::Log;
use super::lsn::Lsn;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::RecoveryModel;

/// The collation of the server and of every database.
pub const COLLATION: &str = "SQL_Latin1_General_CP1_CI_AS";
/// The highest id of a system database: master, tempdb, model, msdb.
pub const LAST_SYSTEM_ID: u32 = 4;
/// What `database_version` is for SQL Server 2022.
pub const DATABASE_VERSION: i64 = 957;

/// A file of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// 1 for data, 2 for the log.
    pub id: u32,
    /// Its logical name.
    pub logical: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it is the log.
    pub is_log: bool,
    /// Its own identity.
    pub guid: Uuid,
}

/// Whether a database can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // The variants carry the server's names of the states.
pub enum State {
    Online,
    Restoring,
    RecoveryPending,
    Suspect,
    Offline,
}

impl State {
    /// Its number in `sys.databases`.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Online => 0,
            Self::Restoring => 1,
            Self::RecoveryPending => 3,
            Self::Suspect => 4,
            Self::Offline => 6,
        }
    }

    /// Its name there.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Restoring => "RESTORING",
            Self::RecoveryPending => "RECOVERY_PENDING",
            Self::Suspect => "SUSPECT",
            Self::Offline => "OFFLINE",
        }
    }
}

/// Who may enter a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Access {
    MultiUser,
    SingleUser,
    RestrictedUser,
}

impl Access {
    /// Its number and name in `sys.databases`.
    #[must_use]
    pub const fn shown(self) -> (i64, &'static str) {
        match self {
            Self::MultiUser => (0, "MULTI_USER"),
            Self::SingleUser => (1, "SINGLE_USER"),
            Self::RestrictedUser => (2, "RESTRICTED_USER"),
        }
    }
}

/// The number and name of a recovery model in `sys.databases`.
#[must_use]
pub const fn model_shown(model: RecoveryModel) -> (i64, &'static str) {
    match model {
        RecoveryModel::Full => (1, "FULL"),
        RecoveryModel::BulkLogged => (2, "BULK_LOGGED"),
        RecoveryModel::Simple => (3, "SIMPLE"),
    }
}

/// A stretch of a database's history: each recovery after a restore begins a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Its identity.
    pub id: Uuid,
    /// The LSN at which it left the one before.
    pub from: Lsn,
}

/// The full backup that differentials are taken against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The full's checkpoint.
    pub lsn: Lsn,
    /// The full's identity.
    pub guid: Uuid,
}

/// The part of the log that the next log backup will hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where it begins.
    pub from: Lsn,
    /// Whether it is the first since the chain was begun.
    pub begins: bool,
    /// Whether there is a log backup before it.
    pub last: Option<Lsn>,
}

/// How far a database that is being restored has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redo {
    /// The next record to apply. Nothing while a restore of data files is not over.
    pub lsn: Lsn,
    /// When the last transaction that was applied had been committed.
    pub last_commit: Option<DateTime<Utc>>,
    /// Whether a log has been applied.
    pub rolled_forward: bool,
}

/// A database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// Its number; 1 to 4 are the system's.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Its files, the data file first.
    pub files: Vec<DataFile>,
    /// Whether it can be used.
    pub state: State,
    /// The undo file, while it can be read between two restores.
    pub standby: Option<String>,
    /// Whether it refuses changes.
    pub read_only: bool,
    /// Who may enter.
    pub access: Access,
    /// How much of its log is kept.
    pub model: RecoveryModel,
    /// Given at creation; every restore of it keeps it.
    pub family: Uuid,
    /// Changes with every restore.
    pub binding: Uuid,
    /// Its history, the current stretch last.
    pub forks: Vec<Fork>,
    /// What differentials are taken against.
    pub differential_base: Option<Base>,
    /// The checkpoint of its last full backup that was not copy-only.
    pub last_full: Option<Lsn>,
    /// Its last checkpoint.
    pub last_checkpoint: Lsn,
    /// The log that has not been backed up; nothing when no log backup is possible.
    pub chain: Option<Chain>,
    /// How far its restore has come.
    pub redo: Option<Redo>,
    /// The login that made it; the system's own belong to the administrator.
    #[serde(default)]
    pub owner: Option<String>,
    /// The version whose rules it follows, times ten; the server's own where it is not said.
    #[serde(default)]
    pub compatibility: Option<i64>,
    /// Whether what is in it may reach beyond it.
    #[serde(default)]
    pub trustworthy: bool,
    /// The identity of its Service Broker: its family's, until NEW_BROKER draws another.
    #[serde(default)]
    pub broker: Uuid,
    /// Whether its Service Broker delivers.
    #[serde(default)]
    pub broker_enabled: bool,
    /// Rises whenever its files are replaced, so that sessions open them anew.
    pub generation: u64,
    /// The open log; nothing while it is not online.
    #[serde(skip)]
    pub log: Option<Arc<Mutex<Log>>>,
    /// The session that has changed it in a transaction that is still open.
    #[serde(skip)]
    pub writer: Option<i16>,
    /// The session that restores it or changes its options; nobody else may enter.
    #[serde(skip)]
    pub taken_by: Option<i16>,
}

impl Database {
    /// The data file's path.
    #[must_use]
    pub fn data_path(&self) -> PathBuf {
        self.path_of(false)
    }

    /// The log file's path.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path_of(true)
    }

    fn path_of(&self, is_log: bool) -> PathBuf {
        self.files.iter().find(|file| file.is_log == is_log).map(|file| file.path.clone()).unwrap_or_default()
    }

    /// The name under which a session's connection holds its data file.
    #[must_use]
    pub fn alias(&self) -> String {
        format!("d{}", self.id)
    }

    /// Whether it is one of the system's own.
    #[must_use]
    pub const fn is_system(&self) -> bool {
        self.id <= LAST_SYSTEM_ID
    }

    /// The stretch of history in which a log that begins at `lsn` begins.
    #[must_use]
    pub fn fork_at(&self, lsn: Lsn) -> Option<&Fork> {
        self.forks.iter().rev().find(|fork| fork.from < lsn).or_else(|| self.forks.first())
    }

    /// Whether its log is kept until it has been backed up.
    #[must_use]
    pub fn keeps_log(&self) -> bool {
        self.model != RecoveryModel::Simple && self.chain.is_some()
    }

    /// The open log.
    ///
    /// # Errors
    /// When the database is not online.
    pub fn open_log(&self) -> Result<Arc<Mutex<Log>>, SqlError> {
        self.log
            .clone()
            .ok_or_else(|| SqlError::internal(format_args!("the log of '{}' is not open", self.name)))
    }

    /// Why no session may use it, if so.
    ///
    /// # Errors
    /// 927, 942, 945 or 926 by its state; 924 when another session is its single user.
    pub fn usable_by(&self, session: i16) -> Result<(), SqlError> {
        let name = &self.name;
        let refused = |number, rest: &str| {
            Err(SqlError::new(number, format!("Database '{name}' cannot be opened{rest}")).class(14))
        };
        match self.state {
            State::Restoring => return refused(927, ". It is in the middle of a restore."),
            State::Offline => return refused(942, " because it is offline."),
            State::RecoveryPending => return Err(self.inaccessible()),
            State::Suspect => {
                return refused(
                    926,
                    ". It has been marked SUSPECT by recovery. See the SQL Server errorlog for more information.",
                );
            }
            State::Online => {}
        }
        if self.taken_by.is_some_and(|taker| taker != session) {
            return Err(SqlError::new(
                952,
                format!("Database '{name}' is in transition. Try the statement later."),
            ));
        }
        Ok(())
    }

    /// 945.
    #[must_use]
    pub fn inaccessible(&self) -> SqlError {
        let text = format!(
            "Database '{}' cannot be opened due to inaccessible files or insufficient memory or disk space.  See the \
             SQL Server errorlog for details.",
            self.name
        );
        SqlError::new(945, text).state(2).class(14)
    }
}
