//! [`DatabasePart`]: what a point says of one SQL Server database.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::backup::Backup;
use crate::guid::Guid;
use crate::lsn::Lsn;
use crate::manifest::artifact::Artifact;

/// The server that a backup came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPart {
    /// `@@SERVERNAME`.
    pub name: String,
    /// Product version, as `16.0.4135.4`.
    pub version: String,
    /// The server's zone by its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The server's offset from UTC at the mark, in minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset_minutes: Option<i16>,
}

/// Where a mark stands in one database's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkPlace {
    /// The marked transaction's LSN.
    pub lsn: Lsn,
    /// When the server committed it.
    pub at: Time,
}

/// How it was proved that a backup can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupProof {
    /// Its files were read back from the store and hashed.
    Hashed,
    /// The server read it: RESTORE HEADERONLY and VERIFYONLY WITH CHECKSUM.
    Server,
}

/// A backup of a chain, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBackup {
    /// The set.
    pub backup: Backup,
    /// Its files in the store, in the order of its media; empty where only the server's own media hold it.
    pub artifacts: Vec<Artifact>,
    /// How it was proved.
    pub proof: BackupProof,
    /// Whether it was written WITH CHECKSUM.
    pub checksums: bool,
    /// Thumbprint of the certificate that it is encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryptor_thumbprint: Option<String>,
    /// Whether another job than ours took it.
    #[serde(default)]
    pub adopted: bool,
}

/// A certificate without which a backup cannot be restored on another server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its thumbprint.
    pub thumbprint: String,
    /// Where a copy with its private key is kept.
    pub escrow: Option<String>,
}

/// Rows of a table just before and just after the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCount {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// One database of a point: who it is, where its mark stands, and the backups that lead to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasePart {
    /// Its name on the server.
    pub database: String,
    /// The server.
    pub server: ServerPart,
    /// Its family: it stays through every restore.
    pub family_guid: Guid,
    /// The recovery fork that the mark lies on.
    pub recovery_fork: Guid,
    /// Its recovery model at the mark.
    pub recovery_model: String,
    /// Where the mark stands.
    pub mark: MarkPlace,
    /// The backups, in restore order.
    pub backups: Vec<StoredBackup>,
    /// The certificates that they need.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Row counts of named tables.
    #[serde(default)]
    pub rows: IndexMap<String, RowCount>,
}
