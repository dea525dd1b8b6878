//! A database as its server sees it now: [`DatabaseFacts`].

use drydock_recovery::guid::Guid;
use drydock_recovery::lsn::Lsn;
use drydock_step::StepError;

use super::answer::{Row, present};
use super::session::Session;
use super::sql::Identifier;

/// `sys.databases.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It can be used.
    Online,
    /// It waits for further backups.
    Restoring,
    /// It is being opened.
    Recovering,
    /// It could not be opened yet.
    RecoveryPending,
    /// It is damaged.
    Suspect,
    /// An administrator looks at it.
    Emergency,
    /// It is closed.
    Offline,
    /// One that only managed services have.
    Other,
}

impl State {
    fn of(number: i64) -> Self {
        match number {
            0 => Self::Online,
            1 => Self::Restoring,
            2 => Self::Recovering,
            3 => Self::RecoveryPending,
            4 => Self::Suspect,
            5 => Self::Emergency,
            6 => Self::Offline,
            _ => Self::Other,
        }
    }
}

/// One file of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileFacts {
    /// Its logical name.
    pub(super) logical: String,
    /// Its path, as the server writes it.
    pub(super) path: String,
    /// Whether it holds data and not the log.
    pub(super) is_data: bool,
    /// Where a restore goes on.
    pub(super) redo_start: Option<Lsn>,
    /// On which fork.
    pub(super) redo_fork: Option<Guid>,
    /// Whether a full backup stands behind it, on which a differential can build.
    pub(super) has_base: bool,
    /// Bytes that it takes now.
    pub(super) size: i64,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatabaseFacts {
    /// Its state.
    pub(super) state: State,
    /// The state in the server's word.
    pub(super) state_word: String,
    /// Whether anybody who may can enter.
    pub(super) is_multi_user: bool,
    /// Whether it waits, readable, for further logs.
    pub(super) is_standby: bool,
    /// `FULL`, `BULK_LOGGED` or `SIMPLE`.
    pub(super) recovery_model: String,
    /// Whether it belongs to an availability group.
    pub(super) is_replica: bool,
    /// Whether it is a snapshot of another.
    pub(super) is_snapshot: bool,
    /// It stays through every restore; not known while it is closed.
    pub(super) family: Option<Guid>,
    /// The fork that it is on; each restore that ends begins one.
    pub(super) fork: Option<Guid>,
    /// Where the next log backup begins; nothing while there is no full backup.
    pub(super) last_log_backup: Option<Lsn>,
    /// Its files.
    pub(super) files: Vec<FileFacts>,
}

fn statement(name: &Identifier) -> String {
    format!(
        "SELECT d.database_id, d.state, d.state_desc, d.user_access, d.is_in_standby, d.recovery_model_desc, d.replica_id, \
         d.source_database_id, r.family_guid, r.recovery_fork_guid, r.last_log_backup_lsn FROM sys.databases AS d \
         LEFT JOIN sys.database_recovery_status AS r ON r.database_id = d.database_id WHERE d.name = {}",
        name.quoted()
    )
}

fn files_of(database: i64) -> String {
    format!(
        "SELECT name, physical_name, type, redo_start_lsn, redo_start_fork_guid, differential_base_lsn, size FROM sys.master_files \
         WHERE database_id = {database} ORDER BY file_id"
    )
}

impl DatabaseFacts {
    /// The database of this name; nothing when there is none.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn ask(session: &Session, name: &Identifier) -> Result<Option<Self>, StepError> {
        let doing = format!("asking for the state of database {name}");
        let answer = session.ask(&doing, &statement(name)).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        let id = present(row.number("database_id")?, "database_id")?;
        let files = session.ask(&doing, &files_of(id)).await?;
        let files = files.rows().map(FileFacts::of).collect::<Result<_, _>>()?;
        Self::of(row, files).map(Some)
    }

    fn of(row: Row<'_>, files: Vec<FileFacts>) -> Result<Self, StepError> {
        Ok(Self {
            state: State::of(present(row.number("state")?, "state")?),
            state_word: row.text("state_desc")?.unwrap_or_default().to_owned(),
            is_multi_user: row.number("user_access")? == Some(0),
            is_standby: row.flag("is_in_standby")?,
            recovery_model: row.text("recovery_model_desc")?.unwrap_or_default().to_owned(),
            is_replica: row.guid("replica_id")?.is_some(),
            is_snapshot: row.number("source_database_id")?.is_some(),
            family: row.guid("family_guid")?,
            fork: row.guid("recovery_fork_guid")?,
            last_log_backup: row.lsn("last_log_backup_lsn")?,
            files,
        })
    }

    /// Where a restore that has begun goes on: the position and its fork. Nothing when the full backup was not restored to its end.
    pub(super) fn redo(&self) -> Option<(Lsn, Option<&Guid>)> {
        let data = || self.files.iter().filter(|file| file.is_data);
        let least = data().map(|file| file.redo_start).min().flatten()?;
        let fork =
            data().find(|file| file.redo_start == Some(least)).and_then(|file| file.redo_fork.as_ref());
        Some((least, fork))
    }
}

impl FileFacts {
    fn of(row: Row<'_>) -> Result<Self, StepError> {
        Ok(Self {
            logical: present(row.text("name")?, "name")?.to_owned(),
            path: present(row.text("physical_name")?, "physical_name")?.to_owned(),
            is_data: row.number("type")? == Some(0),
            redo_start: row.lsn("redo_start_lsn")?.filter(|lsn| !lsn.is_zero()),
            redo_fork: row.guid("redo_start_fork_guid")?,
            has_base: row.lsn("differential_base_lsn")?.is_some_and(|lsn| !lsn.is_zero()),
            // Counted in pages of 8 KiB.
            size: row.number("size")?.unwrap_or(0).saturating_mul(8192),
        })
    }
}
