//! [`Record`]: a point or a log point, whichever it is.

use indexmap::IndexMap;

use crate::Time;
use crate::manifest::{
    Artifact, Band, ClockPart, DatabasePart, LogPoint, LogPointKind, Manifest, MarkName, PointId,
    RestorePointPart, WalPart,
};

/// One entry of a catalogue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'c> {
    /// A recovery point.
    Point(&'c Manifest),
    /// A log point.
    Log(&'c LogPoint),
}

impl<'c> Record<'c> {
    /// Its id.
    pub fn id(self) -> &'c PointId {
        match self {
            Record::Point(point) => &point.id,
            Record::Log(log) => &log.id,
        }
    }

    /// The moment that it stands for.
    pub fn at(self) -> Time {
        match self {
            Record::Point(point) => point.marked_at,
            Record::Log(log) => log.marked_at,
        }
    }

    /// The name of its mark.
    pub fn mark(self) -> &'c MarkName {
        match self {
            Record::Point(point) => &point.mark,
            Record::Log(log) => &log.mark,
        }
    }

    /// `point`, `log` or `differential`.
    pub fn kind(self) -> &'static str {
        match self {
            Record::Point(_) => "point",
            Record::Log(log) => match log.kind {
                LogPointKind::Log => "log",
                LogPointKind::Differential => "differential",
            },
        }
    }

    /// Its databases by the names that the plan gives them.
    pub fn databases(self) -> &'c IndexMap<String, DatabasePart> {
        match self {
            Record::Point(point) => &point.sqlserver,
            Record::Log(log) => &log.sqlserver,
        }
    }

    /// The restore point and the WAL that it has of a cluster.
    pub fn wal(self, cluster: &str) -> Option<(&'c RestorePointPart, &'c WalPart)> {
        match self {
            Record::Point(point) => {
                point.postgres.get(cluster).map(|part| (&part.cluster.restore_point, &part.cluster.wal))
            }
            Record::Log(log) => {
                log.postgres.get(cluster).map(|part| (&part.stretch.restore_point, &part.stretch.wal))
            }
        }
    }

    /// What the servers' clocks told when it was made, by their names.
    pub fn clocks(self) -> &'c IndexMap<String, ClockPart> {
        match self {
            Record::Point(point) => &point.clocks,
            Record::Log(log) => &log.clocks,
        }
    }

    /// The servers whose clocks went otherwise than the runner's, and how many seconds ahead; behind where it is less than nothing.
    pub fn clocks_off(self) -> IndexMap<String, f64> {
        let off = |(name, one): (&String, &ClockPart)| Some((name.clone(), one.differs()?.as_seconds_f64()));
        self.clocks().iter().filter_map(off).collect()
    }

    /// Its bands of row counts.
    pub fn rows(self) -> &'c IndexMap<String, Band> {
        match self {
            Record::Point(point) => &point.rows,
            Record::Log(log) => &log.rows,
        }
    }

    /// What it lacks, by name.
    pub fn incomplete(self) -> &'c [String] {
        match self {
            Record::Point(point) => &point.incomplete,
            Record::Log(log) => &log.incomplete,
        }
    }

    /// Its files in the store.
    pub fn artifacts(self) -> Vec<&'c Artifact> {
        match self {
            Record::Point(point) => point.artifacts().map(|(_, artifact)| artifact).collect(),
            Record::Log(log) => {
                let backups = log.sqlserver.values().flat_map(|part| &part.backups);
                let segments = log.postgres.values().flat_map(|part| &part.stretch.wal.segments);
                backups.flat_map(|stored| &stored.artifacts).chain(segments).collect()
            }
        }
    }
}
