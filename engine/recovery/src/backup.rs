//! [`Backup`]: what msdb and a media header know of one backup set, as `drydock chain` reads it.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::guid::Guid;
use crate::lsn::{Lsn, LsnRange};

/// What a backup set holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum BackupType {
    /// The whole database, and the log written meanwhile.
    Full,
    /// What changed since its base, a full.
    Differential,
    /// The log since the log backup before it.
    Log,
    /// Another type by its name (file, partial and their differentials); kept, and never chosen for a chain.
    Other(String),
}

impl From<String> for BackupType {
    fn from(text: String) -> BackupType {
        match text.as_str() {
            "full" => BackupType::Full,
            "differential" => BackupType::Differential,
            "log" => BackupType::Log,
            _ => BackupType::Other(text),
        }
    }
}

impl From<BackupType> for String {
    fn from(kind: BackupType) -> String {
        kind.as_str().to_owned()
    }
}

impl BackupType {
    /// The word in a history: `full`, `differential`, `log`, or the other name as it was read.
    pub fn as_str(&self) -> &str {
        match self {
            BackupType::Full => "full",
            BackupType::Differential => "differential",
            BackupType::Log => "log",
            BackupType::Other(name) => name,
        }
    }
}

/// One backup set: the columns of msdb's `backupset` or of RESTORE HEADERONLY that a choice needs. Fields that a
/// reader does not know are ignored; a null and a missing field are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The server that took it.
    pub server: String,
    /// The availability group that the database was in.
    pub availability_group: Option<String>,
    /// The database's name when it was taken.
    pub database: String,
    /// Full, differential or log.
    #[serde(rename = "type")]
    pub kind: BackupType,
    /// A full outside the sequence: it may begin a chain but no differential builds on it.
    pub copy_only: bool,
    /// Which set of the media it is, from 1 (`WITH FILE = n`).
    pub position: u32,
    /// Identity of the set; stripes of one set share it.
    pub backup_set_guid: Guid,
    /// First position of the log that the set holds.
    pub first_lsn: Lsn,
    /// Position after the last; where a restore of this set leads.
    pub last_lsn: Lsn,
    /// The checkpoint of the set; differentials name their base by its full's.
    pub checkpoint_lsn: Option<Lsn>,
    /// Checkpoint of the last conventional full when the set was taken; 0 or null when there was none.
    pub database_backup_lsn: Option<Lsn>,
    /// Of a differential: the checkpoint of its base.
    pub differential_base_lsn: Option<Lsn>,
    /// The recovery fork at `first_lsn`.
    pub first_recovery_fork_id: Option<Guid>,
    /// The recovery fork at `last_lsn`.
    pub recovery_fork_id: Option<Guid>,
    /// When the backup began.
    pub started_at: Time,
    /// When it ended.
    pub finished_at: Time,
    /// The files that hold it; all are needed.
    pub media: Vec<String>,
    /// Of a differential: the set that is its base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differential_base_guid: Option<Guid>,
    /// The database's family: it stays through every restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_guid: Option<Guid>,
    /// Where `recovery_fork_id` left `first_recovery_fork_id`, when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork_point_lsn: Option<Lsn>,
    /// Whether a log holds minimally logged changes; a restore cannot stop inside such a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_bulk_logged_data: Option<bool>,
    /// Whether the server found damage while writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_damaged: Option<bool>,
    /// `FULL`, `BULK-LOGGED` or `SIMPLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_model: Option<String>,
    /// The server's offset from UTC in quarters of an hour; 127 is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<i16>,
    /// The server's major version; 16 is SQL Server 2022.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_major: Option<u8>,
    /// How many files the set was striped over; fewer in `media` make it incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_count: Option<u32>,
}

impl Backup {
    /// The part of the log that the set holds.
    pub fn range(&self) -> LsnRange {
        LsnRange { first: self.first_lsn, last: self.last_lsn }
    }

    /// Whether the set begins on one recovery fork and ends on another: it holds a return to an earlier point.
    pub fn crosses_fork(&self) -> bool {
        self.first_fork().zip(self.fork()).is_some_and(|(first, last)| first != last)
    }

    /// Whether the database was in the SIMPLE model, which has no log backups and no stop at a time.
    pub fn is_simple(&self) -> bool {
        self.recovery_model.as_deref().is_some_and(|model| model.eq_ignore_ascii_case("simple"))
    }

    /// Whether a restore can stop only at the end of this log.
    pub fn is_bulk_logged(&self) -> bool {
        self.has_bulk_logged_data == Some(true)
    }

    /// The fork at the set's beginning, when it is known.
    pub fn first_fork(&self) -> Option<&Guid> {
        known(&self.first_recovery_fork_id).or_else(|| self.fork())
    }

    /// The fork at the set's end, when it is known.
    pub fn fork(&self) -> Option<&Guid> {
        known(&self.recovery_fork_id)
    }

    /// The database's family, when it is known.
    pub fn family(&self) -> Option<&Guid> {
        known(&self.family_guid)
    }

    /// Whether this differential builds on `full`: the base's checkpoint is the full's, and where the base's
    /// identity is known, it is the full's too. Headers that name no base are matched by the last conventional full.
    /// Nothing builds on a copy-only full.
    pub fn builds_on(&self, full: &Backup) -> bool {
        if self.kind != BackupType::Differential || full.kind != BackupType::Full || full.copy_only {
            return false;
        }
        let same_set = known(&self.differential_base_guid).map(|base| *base == full.backup_set_guid);
        let same_checkpoint = self.base_checkpoint().zip(full.checkpoint_lsn).map(|(base, own)| base == own);
        match (same_set, same_checkpoint) {
            (Some(false), _) | (_, Some(false)) | (None, None) => false,
            _ => self.last_lsn >= full.last_lsn,
        }
    }

    /// The checkpoint of the full that this differential says it builds on.
    pub fn base_checkpoint(&self) -> Option<Lsn> {
        let nonzero = |lsn: &Lsn| !lsn.is_zero();
        self.differential_base_lsn.filter(nonzero).or(self.database_backup_lsn.filter(nonzero))
    }

    /// What people call it: `log backup 1326b0cb of 2017-05-04T07:44:47Z`.
    pub fn label(&self) -> String {
        let copy = if self.copy_only { "copy-only " } else { "" };
        format!("{copy}{} backup {} of {}", self.kind.as_str(), self.backup_set_guid, clock(self.finished_at))
    }
}

/// A time as messages write it: RFC 3339 with as many decimals as it needs.
pub fn clock(time: Time) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn known(guid: &Option<Guid>) -> Option<&Guid> {
    guid.as_ref().filter(|guid| !guid.is_nil())
}
