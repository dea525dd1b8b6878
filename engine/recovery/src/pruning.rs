//! What a pruning would remove, and whether it should rather be stopped: [`Outlook`], [`Stop`], [`WalFloor`].

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;

use crate::Time;
use crate::backup::clock;
use crate::catalogue::{Catalogue, Record};
use crate::manifest::{Artifact, Manifest, PointId, PointMarkKind};
use crate::retention::{Decision, Retention, decide, freed};

/// How far the clock of whoever prunes may lie behind the newest point.
const CLOCKS: TimeDelta = TimeDelta::days(1);

/// How much may be removed at once, and what must be left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guards {
    /// The greatest share of the points, and of their bytes, that may be removed, in percent.
    pub max_share: f64,
    /// So many verified points must be left.
    pub min_verified: usize,
}

/// Why nothing may be removed as it was asked for. Each says what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// Too many points would go.
    #[error(
        "{removed} of {of} points and log points would be removed, {share:.0} % of them and more than {max:.0} %; look at the decisions, then allow it with a greater `max_share`"
    )]
    Points {
        /// How many would go.
        removed: usize,
        /// Of so many.
        of: usize,
        /// In percent.
        share: f64,
        /// What is allowed, in percent.
        max: f64,
    },
    /// Too many bytes would go.
    #[error(
        "{removed} of {of} bytes would be removed, {share:.0} % of them and more than {max:.0} %; look at the decisions, then allow it with a greater `max_share`"
    )]
    Bytes {
        /// How many would go.
        removed: u64,
        /// Of so many.
        of: u64,
        /// In percent.
        share: f64,
        /// What is allowed, in percent.
        max: f64,
    },
    /// Too few points that are known to work would be left.
    #[error(
        "{left} verified points would be left, fewer than {min}; verify more of those that stay, or allow it with a smaller `min_verified`"
    )]
    Verified {
        /// How many would be left.
        left: usize,
        /// How many must be.
        min: usize,
    },
    /// A clock is wrong.
    #[error("the newest point is of {}, and it is {} now: one of the two clocks is wrong, and ages are counted from the newest point; mark that point bad if it is the wrong one", clock(*newest), clock(*now))]
    Ahead {
        /// The newest point's moment.
        newest: Time,
        /// What the runner's clock says.
        now: Time,
    },
}

/// What a pruning would do.
#[derive(Clone, Debug)]
pub struct Outlook<'c> {
    /// What becomes of each point and log point, newest first.
    pub decisions: Vec<Decision>,
    /// The files of those that go which none of those that stay has.
    pub freed: Vec<&'c Artifact>,
    /// Why it should not be done as it was asked for; empty where it may be.
    pub stops: Vec<Stop>,
}

impl<'c> Outlook<'c> {
    /// What these rules would remove.
    pub fn of(catalogue: &'c Catalogue, retention: &Retention, guards: Guards, now: Time) -> Outlook<'c> {
        let decisions = decide(catalogue, retention, now);
        let freed = freed(catalogue, &decisions);
        let stops = stops(catalogue, &decisions, &freed, guards, now);
        Outlook { decisions, freed, stops }
    }
}

fn stops(
    catalogue: &Catalogue,
    decisions: &[Decision],
    freed: &[&Artifact],
    guards: Guards,
    now: Time,
) -> Vec<Stop> {
    let removed = decisions.iter().filter(|one| !one.keep).count();
    if removed == 0 {
        return Vec::new();
    }
    let mut stops = Vec::new();
    if let Some(newest) = decisions.first().filter(|newest| newest.at > now + CLOCKS) {
        stops.push(Stop::Ahead { newest: newest.at, now });
    }
    let max = guards.max_share;
    let share = removed as f64 * 100.0 / decisions.len() as f64;
    if share > max {
        stops.push(Stop::Points { removed, of: decisions.len(), share, max });
    }
    let records = catalogue.records();
    let all: HashMap<&str, u64> = records
        .iter()
        .flat_map(|record| record.artifacts())
        .map(|artifact| (artifact.path.as_str(), artifact.size))
        .collect();
    let (removed, of) = (freed.iter().map(|one| one.size).sum::<u64>(), all.values().sum::<u64>());
    let share = if of == 0 { 0.0 } else { removed as f64 * 100.0 / of as f64 };
    if share > max {
        stops.push(Stop::Bytes { removed, of, share, max });
    }
    let left = verified_left(catalogue, decisions);
    if left < guards.min_verified {
        stops.push(Stop::Verified { left, min: guards.min_verified });
    }
    stops
}

/// How many points stay that were verified and may be used.
fn verified_left(catalogue: &Catalogue, decisions: &[Decision]) -> usize {
    let points: HashSet<&PointId> = catalogue.points().iter().map(|point| &point.id).collect();
    let was_verified = |id: &PointId| {
        catalogue.marks(id).iter().any(|mark| matches!(mark.said, PointMarkKind::Verified { .. }))
    };
    let counts = |one: &&Decision| {
        one.keep && points.contains(&one.id) && catalogue.barred(&one.id).is_none() && was_verified(&one.id)
    };
    decisions.iter().filter(counts).count()
}

/// From where on the WAL of an archive is wanted, whether a point names it or not: recovery may stop anywhere behind a base backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalFloor {
    /// Where the archive lies in the store.
    pub prefix: String,
    /// The first segment that stays by its name, 24 hexadecimal digits: timeline, then number.
    pub segment: String,
}

impl WalFloor {
    /// Whether a file of the store is a segment of this archive that lies before the floor, on its timeline or an older one.
    pub fn is_below(&self, path: &str) -> bool {
        let below = path.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = below.and_then(|rest| rest.rsplit('/').next()) else { return false };
        let is_segment =
            name.len() == 24 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        let (timeline, number) = name.split_at_checked(8).unwrap_or_default();
        let (own_timeline, own_number) = self.segment.split_at_checked(8).unwrap_or_default();
        is_segment && timeline <= own_timeline && number < own_number
    }
}

/// The floor of each archive that a good point knows: the beginning of the base backup of the newest point, or with `pitr` of the point
/// that the window begins with. What is older and in no point that stays leads nowhere any more.
pub fn wal_floors(catalogue: &Catalogue, retention: &Retention) -> Vec<WalFloor> {
    let records = catalogue.records();
    let Some(newest) = records.first().map(|record| Record::at(*record)) else { return Vec::new() };
    let since = retention.pitr.map_or(Some(newest), |window| newest.checked_sub_signed(window));
    let good = |point: &&Manifest| catalogue.barred(&point.id).is_none();
    // The floor of a cluster is that of the newest point before the window; without one, nothing of it may go.
    let mut floors: HashMap<&str, Option<WalFloor>> = HashMap::new();
    for point in catalogue.points().iter().filter(good) {
        for part in point.postgres.values() {
            let prefix = part.cluster.wal.prefix.as_str();
            let begins = part.cluster.wal.segments.first().and_then(|one| one.path.rsplit('/').next());
            let floor =
                begins.map(|segment| WalFloor { prefix: prefix.to_owned(), segment: segment.to_owned() });
            match (since.is_some_and(|since| point.marked_at <= since), floors.get(prefix)) {
                (_, Some(Some(_))) => {}
                (true, _) => drop(floors.insert(prefix, floor)),
                (false, _) => drop(floors.insert(prefix, None)),
            }
        }
    }
    let mut floors: Vec<WalFloor> = floors.into_values().flatten().collect();
    floors.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    floors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_segments_of_the_archive_lie_below_its_floor() {
        let floor = WalFloor { prefix: "pg/wal".into(), segment: "000000020000000100000005".into() };
        for (path, below) in [
            ("pg/wal/00000002/000000020000000100000004", true),
            ("pg/wal/00000001/000000010000000000000009", true),
            ("pg/wal/00000002/000000020000000100000005", false),
            ("pg/wal/00000001/000000010000000100000006", false),
            ("pg/wal/00000003/000000030000000000000001", false),
            ("pg/wal/00000002/00000002.history", false),
            ("pg/wal/00000002/000000020000000100000004.partial", false),
            ("pg/wal2/00000002/000000020000000100000004", false),
        ] {
            assert_eq!(floor.is_below(path), below, "{path}");
        }
    }
}
