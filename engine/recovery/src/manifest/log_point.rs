//! [`LogPoint`]: what a log or differential backup between two points leaves behind: a smaller point of its own.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::manifest::band::Band;
use crate::manifest::claim::ProvedClaim;
use crate::manifest::clock_part::ClockPart;
use crate::manifest::draft::PlanRef;
use crate::manifest::format::{FormatError, LOG_POINT, read};
use crate::manifest::id::{MarkName, PointId};
use crate::manifest::postgres::StretchPart;
use crate::manifest::sqlserver::DatabasePart;

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogPointKind {
    /// Log backups.
    Log,
    /// Differential backups.
    Differential,
}

/// A sealed log point, format `drydock.log_point`, version 2. Its databases carry only the backups that it took
/// itself; the rest of their chains is found in the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPoint {
    /// `drydock.log_point`.
    pub format: String,
    /// 2; 1 in files without a digest of their own.
    pub version: u32,
    /// Its id.
    pub id: PointId,
    /// What was taken.
    pub kind: LogPointKind,
    /// The plan that made it.
    pub plan: PlanRef,
    /// The environment that it was made in.
    pub environment: String,
    /// The run that made it.
    pub run: String,
    /// Who ran it and where, `user@host`; empty in what was written before this was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The name of its mark, which was set before the backups.
    pub mark: MarkName,
    /// When its mark was answered: the moment that it stands for.
    pub marked_at: Time,
    /// When it was sealed.
    pub sealed_at: Time,
    /// SQL Server databases by the names that the plan gives them.
    pub sqlserver: IndexMap<String, DatabasePart>,
    /// The point whose snapshots stand for the vectors at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_base: Option<PointId>,
    /// The WAL of PostgreSQL clusters since the record before it, by the names that the plan gives them: the vectors in them come back to
    /// this moment as well.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub postgres: IndexMap<String, StretchPart>,
    /// Bands of row counts by table, as in a point.
    #[serde(default)]
    pub rows: IndexMap<String, Band>,
    /// Databases that are missing or unproved.
    #[serde(default)]
    pub incomplete: Vec<String>,
    /// What the servers' clocks told, as in a point.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub clocks: IndexMap<String, ClockPart>,
    /// What was proved.
    #[serde(default)]
    pub claims: Vec<ProvedClaim>,
}

impl LogPoint {
    /// The skew of each cluster, in seconds.
    pub fn skews(&self) -> impl Iterator<Item = (&str, f64)> {
        self.postgres.iter().map(|(name, part)| (name.as_str(), part.skew_s))
    }

    /// The log point that a JSON text holds.
    ///
    /// # Errors
    /// When it is no log point, or one of a version that only a newer Drydock understands.
    pub fn parse(text: &str) -> Result<LogPoint, FormatError> {
        read(text, LOG_POINT)
    }
}
