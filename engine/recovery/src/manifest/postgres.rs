//! [`ClusterPart`]: what a point says of a PostgreSQL cluster: base backups, the WAL behind them, and the restore point in it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Time;
use crate::manifest::artifact::Artifact;
use crate::manifest::band::Band;
use crate::wal::WalLsn;

/// The backup that an incremental one was made against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgainstPart {
    /// Its name.
    pub label: String,
    /// The SHA-256 of its `backup_manifest`.
    pub manifest_sha256: String,
}

/// A base backup, as `postgres.basebackup` gives it and `postgres.recover` takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BasePart {
    /// Its name.
    pub label: String,
    /// The cluster's own number, where the role might see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The timeline that it began on.
    pub timeline: u32,
    /// Where recovery begins.
    pub start_lsn: WalLsn,
    /// From where on the data are consistent.
    pub end_lsn: WalLsn,
    /// The length of a WAL segment in bytes.
    pub segment_size: u64,
    /// The data.
    pub artifact: Artifact,
    /// Its `backup_manifest`.
    pub manifest: Artifact,
    /// What an incremental backup was made against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstPart>,
    /// Whether `pg_verifybackup` has read what lies in the store.
    pub verified: bool,
    /// What else the backup says of itself.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A named place in the WAL, as `postgres.restore_point` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePointPart {
    /// Its name.
    pub name: String,
    /// The end of its record.
    pub lsn: WalLsn,
    /// The timeline.
    pub timeline: u32,
    /// The cluster's own number, where the role might see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// When it was made, by the server's clock.
    pub at: Time,
    /// When the server was asked for it, by the runner's clock.
    pub started_at: Time,
    /// When the answer was there, by the runner's clock.
    pub answered_at: Time,
}

/// The WAL from the base backup to the restore point, as `postgres.wal_range` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalPart {
    /// Where the archive lies in the store.
    pub prefix: String,
    /// The number of the cluster whose WAL this is.
    pub system_identifier: String,
    /// The segments in their order, each named for what it is.
    pub segments: Vec<Artifact>,
}

/// Nearest neighbours that were stored when the point was made, to ask the same after a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSamplePart {
    /// The database.
    pub database: String,
    /// The table, with its schema.
    pub table: String,
    /// The column of vectors.
    pub column: String,
    /// How many rows were searched around.
    pub sampled: u64,
    /// How many others were looked for around each.
    pub k: u64,
    /// The share of the true neighbours that the index found then, 0 to 1.
    pub recall: f64,
    /// Where they lie.
    pub artifact: Artifact,
}

/// What was found out about one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterEvidence {
    /// Version of the server.
    pub version: String,
    /// A full base backup, and the incremental ones after it.
    pub bases: Vec<BasePart>,
    /// The place that a restore stops at.
    pub restore_point: RestorePointPart,
    /// The WAL that leads there.
    pub wal: WalPart,
    /// Rows before and after the restore point, by `schema.table`.
    #[serde(default)]
    pub tables: IndexMap<String, Band>,
    /// What was sampled. A restore needs none of it.
    #[serde(default)]
    pub samples: Vec<TableSamplePart>,
}

/// One cluster of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterPart {
    /// What it is restored from.
    #[serde(flatten)]
    pub cluster: ClusterEvidence,
    /// Seconds from asking for its restore point to the mark.
    pub skew_s: f64,
}

/// What was found out about the WAL of one cluster between two records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StretchEvidence {
    /// Where it begins: no later than the restore point of the record before it.
    pub from: WalLsn,
    /// The place that it leads to.
    pub restore_point: RestorePointPart,
    /// The WAL between the two.
    pub wal: WalPart,
    /// Rows before and after the restore point, by `schema.table`.
    #[serde(default)]
    pub tables: IndexMap<String, Band>,
}

/// The WAL of one cluster that a log point holds. Its base backup, and the WAL before it, are in the records before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StretchPart {
    /// What was found out.
    #[serde(flatten)]
    pub stretch: StretchEvidence,
    /// Seconds from asking for its restore point to the mark.
    pub skew_s: f64,
}

impl ClusterEvidence {
    /// Every file of it.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        let bases = self.bases.iter().flat_map(|base| [&base.artifact, &base.manifest]);
        bases.chain(&self.wal.segments).chain(self.samples.iter().map(|sample| &sample.artifact))
    }
}
