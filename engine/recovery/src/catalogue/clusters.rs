//! How a PostgreSQL cluster comes back to a record or to a moment: [`ClusterChoice`], made of the base backup of one point and of the WAL
//! that the records after it hold.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use crate::Time;
use crate::backup::clock;
use crate::catalogue::clocks::by_clock_of;
use crate::catalogue::record::Record;
use crate::manifest::{
    Artifact, Band, ClockPart, ClusterEvidence, ClusterPart, LogPoint, RestorePointPart, WalPart,
};
use crate::wal::missing_between;

/// Where a recovery stops, as `postgres.recover` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterStop {
    /// At a restore point.
    Name(String),
    /// At the last commit at or before a time of the server's clock.
    Time(Time),
}

/// What one cluster is restored from, and where it stops.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterChoice {
    /// Base backups and WAL.
    #[serde(flatten)]
    pub part: ClusterPart,
    /// Where to stop: the `to` of `postgres.recover`.
    pub to: ClusterStop,
    /// What is worth knowing of the cluster's clock, where it was another than the runner's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// The moment that its vectors are of, by the runner's clock.
    #[serde(skip)]
    pub(crate) vectors_of: Time,
}

impl ClusterChoice {
    /// To a restore point that lies in this part's WAL.
    fn to_restore_point(part: ClusterPart) -> ClusterChoice {
        let RestorePointPart { name, started_at, .. } = &part.cluster.restore_point;
        ClusterChoice { to: ClusterStop::Name(name.clone()), clock: None, vectors_of: *started_at, part }
    }

    /// A cluster of a point, to the point's own restore point.
    pub(crate) fn of_point(part: &ClusterPart) -> ClusterChoice {
        ClusterChoice::to_restore_point(part.clone())
    }
}

/// What of the good records leads to a log point's restore point in one of its clusters.
///
/// # Errors
/// In words, what is missing.
pub(crate) fn to_log_point(good: &[Record<'_>], log: &LogPoint, name: &str) -> Result<ClusterChoice, String> {
    let part = log.postgres.get(name).ok_or_else(|| format!("{name}: it is not in this log point"))?;
    let stretch = &part.stretch;
    let way = Way { good, name, goal: &stretch.restore_point, wal: &stretch.wal };
    let part = way.with_base(stretch.restore_point.at, &stretch.tables, part.skew_s)?;
    Ok(ClusterChoice::to_restore_point(part))
}

/// What of the good records leads to a moment in a cluster: WAL that reaches over it, by the cluster's own clock.
///
/// # Errors
/// In words, what is missing.
pub(crate) fn to_moment(good: &[Record<'_>], name: &str, at: Time) -> Result<ClusterChoice, String> {
    let look = |record: Record<'_>| {
        let (point, _) = record.wal(name)?;
        let (asked_at, answered_at) = (point.started_at, point.answered_at);
        Some(ClockPart { told: point.at, asked_at, answered_at })
    };
    let shown = by_clock_of(name, good, look, at)?;
    let reaching =
        good.iter().rev().filter_map(|record| record.wal(name)).find(|(point, _)| point.at >= shown.at);
    let Some((goal, wal)) = reaching else {
        return Err(format!("{name}: no WAL in the store reaches to {}", clock(shown.at)));
    };
    let way = Way { good, name, goal, wal };
    let part = way.with_base(shown.at, &IndexMap::new(), 0.0)?;
    Ok(ClusterChoice { to: ClusterStop::Time(shown.at), clock: shown.told, vectors_of: at, part })
}

/// From a base backup to a restore point of one cluster.
struct Way<'a, 'c> {
    /// The records that may be used, newest first.
    good: &'a [Record<'c>],
    name: &'a str,
    goal: &'a RestorePointPart,
    wal: &'a WalPart,
}

impl Way<'_, '_> {
    /// The newest base backup whose own restore point is not after `at`, and all WAL from it to the goal.
    fn with_base(
        &self,
        at: Time,
        tables: &IndexMap<String, Band>,
        skew_s: f64,
    ) -> Result<ClusterPart, String> {
        let base = self.good.iter().find_map(|record| match record {
            Record::Point(point) => point.postgres.get(self.name).map(|part| &part.cluster).filter(|found| {
                found.restore_point.at <= at
                    && found.wal.system_identifier == self.wal.system_identifier
                    && found.restore_point.timeline == self.goal.timeline
            }),
            Record::Log(_) => None,
        });
        let base = base.ok_or_else(|| {
            format!(
                "{}: no base backup of cluster {} on timeline {} stands before it",
                self.name, self.wal.system_identifier, self.goal.timeline
            )
        })?;
        let segments = self.segments(base)?;
        let wal = WalPart {
            prefix: self.wal.prefix.clone(),
            system_identifier: self.wal.system_identifier.clone(),
            segments,
        };
        let cluster = ClusterEvidence {
            version: base.version.clone(),
            bases: base.bases.clone(),
            restore_point: self.goal.clone(),
            wal,
            tables: tables.clone(),
            // What was sampled then is not what is found later.
            samples: Vec::new(),
        };
        Ok(ClusterPart { cluster, skew_s })
    }

    /// The segments from a base backup to the goal, whichever record holds each.
    fn segments(&self, base: &ClusterEvidence) -> Result<Vec<Artifact>, String> {
        let last = base.bases.last().ok_or_else(|| format!("{}: its point has no base backup", self.name))?;
        let between = self.good.iter().filter_map(|record| record.wal(self.name)).filter(|(point, wal)| {
            point.lsn >= base.restore_point.lsn
                && point.lsn <= self.goal.lsn
                && point.timeline == self.goal.timeline
                && wal.system_identifier == self.wal.system_identifier
        });
        let mut segments: BTreeMap<&str, &Artifact> = BTreeMap::new();
        for segment in between.flat_map(|(_, wal)| &wal.segments) {
            let name = segment.path.rsplit('/').next().unwrap_or_default();
            match segments.insert(name, segment) {
                Some(other) if !other.same_content(segment) => {
                    return Err(format!("{}: two records tell segment {name} with other content", self.name));
                }
                _ => {}
            }
        }
        missing_between(
            self.goal.timeline,
            last.start_lsn,
            self.goal.lsn,
            last.segment_size,
            segments.keys().copied(),
        )
        .map_err(|why| format!("{}: {why}", self.name))?;
        Ok(segments.into_values().cloned().collect())
    }
}
