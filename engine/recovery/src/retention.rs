//! [`decide`]: which points and log points may be pruned, each with the reason.

use std::collections::{HashMap, HashSet};
use std::fmt;

use chrono::{Datelike, TimeDelta};
use serde::Serialize;

use crate::Time;
use crate::catalogue::clusters::to_log_point;
use crate::catalogue::{Catalogue, Record};
use crate::guid::Guid;
use crate::manifest::{Artifact, LogPoint, Manifest, PointId};

/// How many points to keep: the newest ones, and the newest of each of so many days, weeks, months and years that
/// have any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest.
    pub last: usize,
    /// Days, in UTC.
    pub daily: usize,
    /// Weeks from Monday, in UTC.
    pub weekly: usize,
    /// Months, in UTC.
    pub monthly: usize,
    /// Years, in UTC.
    pub yearly: usize,
}

/// Under which rules points are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Points.
    pub keep: Keep,
    /// How far back every moment shall be reachable by log points, counted from the newest of all.
    pub pitr: Option<TimeDelta>,
}

/// Why a point stays or may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Why {
    /// It is held.
    Held {
        /// Why.
        because: String,
    },
    /// Nobody may believe it, so that nothing is removed on its word.
    Untrusted {
        /// Why not.
        because: String,
    },
    /// Something was said about it that nobody may believe: it may have been meant, before there were keys.
    Doubted {
        /// What, why it is not believed, and what to do.
        because: String,
    },
    /// Nothing sealed is newer; what comes after the newest point is never pruned.
    Newest,
    /// A rule keeps it.
    Rule {
        /// `last`, `daily`, `weekly`, `monthly`, `yearly` or `pitr`.
        rule: &'static str,
        /// The day, week, month or year, or the number, that it stands for.
        period: String,
    },
    /// What another needs is recorded here.
    Needed {
        /// The one that needs it.
        by: PointId,
    },
    /// No rule keeps it.
    NoRule,
    /// It is bad, and nothing needs it.
    Bad {
        /// Why.
        because: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Held { because } => write!(f, "it is held: {because}"),
            Why::Untrusted { because } => write!(f, "its manifest is not trusted: {because}"),
            Why::Doubted { because } => f.write_str(because),
            Why::Newest => f.write_str("no sealed point is newer"),
            Why::Rule { rule: "last", period } => write!(f, "it is number {period} of the newest (last)"),
            Why::Rule { rule: "pitr", period } => write!(f, "{period} (pitr)"),
            Why::Rule { rule, period } => write!(f, "it is the newest of {period} ({rule})"),
            Why::Needed { by } => write!(f, "{by} cannot be restored without it"),
            Why::NoRule => f.write_str("no rule keeps it, and nothing that stays needs it"),
            Why::Bad { because } => write!(f, "it is marked bad, and nothing that stays needs it: {because}"),
        }
    }
}

/// What may be done with one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The point or log point.
    pub id: PointId,
    /// Its moment.
    pub at: Time,
    /// Whether it stays.
    pub keep: bool,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Decides for every point and log point, newest first. Ages are counted from the newest one. `now` only ends holds, and ends none before
/// the newest one is as late: a clock that is ahead lets nothing go.
pub fn decide(catalogue: &Catalogue, retention: &Retention, now: Time) -> Vec<Decision> {
    let records = catalogue.records();
    let good: Vec<&Manifest> =
        catalogue.points().iter().filter(|point| catalogue.barred(&point.id).is_none()).collect();
    let now = records.first().map_or(now, |newest| now.min(newest.at()));
    let mut kept: HashMap<&PointId, Why> = HashMap::new();
    for record in &records {
        if let Some(doubted) = catalogue.doubted(record.id()).first() {
            kept.insert(record.id(), Why::Doubted { because: format!("{doubted}; {}", doubted.advice()) });
        }
        if let Some(why) = catalogue.untrusted(record.id()) {
            kept.insert(record.id(), Why::Untrusted { because: why.to_string() });
        }
        if let Some(because) = catalogue.held(record.id(), now) {
            kept.insert(record.id(), Why::Held { because: because.to_owned() });
        }
    }
    let newest = good.first().map(|point| point.marked_at);
    for record in records.iter().filter(|record| newest.is_none_or(|newest| record.at() >= newest)) {
        kept.entry(record.id()).or_insert(Why::Newest);
    }
    for (id, rule, period) in ruled(&good, retention.keep) {
        kept.entry(id).or_insert(Why::Rule { rule, period });
    }
    let reach = pitr_words(retention.pitr);
    for id in within(&records, &good, retention.pitr, catalogue) {
        kept.entry(id).or_insert_with(|| Why::Rule { rule: "pitr", period: reach.clone() });
    }
    needed(catalogue, &records, &good, &mut kept);
    let decision = |record: &Record<'_>| {
        let (keep, why) = match (kept.remove(record.id()), catalogue.bad(record.id())) {
            (Some(why), _) => (true, why),
            (None, Some(because)) => (false, Why::Bad { because: because.to_owned() }),
            (None, None) => (false, Why::NoRule),
        };
        Decision { id: record.id().clone(), at: record.at(), keep, why }
    };
    records.iter().map(decision).collect()
}

/// The files that no point has any more once those have gone that may go.
pub fn freed<'c>(catalogue: &'c Catalogue, decisions: &[Decision]) -> Vec<&'c Artifact> {
    let staying: HashSet<&PointId> = decisions.iter().filter(|one| one.keep).map(|one| &one.id).collect();
    let (stay, go): (Vec<Record<'c>>, Vec<Record<'c>>) =
        catalogue.records().into_iter().partition(|record| staying.contains(record.id()));
    let still_used: HashSet<&str> =
        stay.iter().flat_map(|record| record.artifacts()).map(|artifact| artifact.path.as_str()).collect();
    let mut freed: Vec<&Artifact> = go.iter().flat_map(|record| record.artifacts()).collect();
    freed.retain(|artifact| !still_used.contains(artifact.path.as_str()));
    freed.sort_by(|a, b| a.path.cmp(&b.path));
    freed.dedup_by(|a, b| a.path == b.path);
    freed
}

type Period = fn(Time) -> String;

/// The points that a rule keeps; the first rule that does is named.
fn ruled<'c>(good: &[&'c Manifest], keep: Keep) -> Vec<(&'c PointId, &'static str, String)> {
    let periods: [(&'static str, usize, Period); 4] = [
        ("daily", keep.daily, |at| at.format("%Y-%m-%d").to_string()),
        ("weekly", keep.weekly, |at| format!("{}-W{:02}", at.iso_week().year(), at.iso_week().week())),
        ("monthly", keep.monthly, |at| at.format("%Y-%m").to_string()),
        ("yearly", keep.yearly, |at| at.format("%Y").to_string()),
    ];
    let last =
        good.iter().take(keep.last).enumerate().map(|(at, point)| (&point.id, "last", (at + 1).to_string()));
    let mut ruled: Vec<_> = last.collect();
    for (rule, count, period) in periods {
        let mut seen: Vec<String> = Vec::new();
        for point in good {
            let name = period(point.marked_at);
            if seen.len() < count && !seen.contains(&name) {
                ruled.push((&point.id, rule, name.clone()));
                seen.push(name);
            }
        }
    }
    ruled
}

/// What the window is for, in words.
fn pitr_words(pitr: Option<TimeDelta>) -> String {
    let hours = pitr.map_or(0, |window| window.num_hours());
    let span = if hours % 24 == 0 { format!("{} days", hours / 24) } else { format!("{hours} hours") };
    format!("every moment of the last {span} is reached through it")
}

/// Everything in the window in which each moment shall be reachable, and the point from which its oldest is.
fn within<'c>(
    records: &[Record<'c>],
    good: &[&'c Manifest],
    pitr: Option<TimeDelta>,
    catalogue: &Catalogue,
) -> Vec<&'c PointId> {
    let (Some(window), Some(newest)) = (pitr, records.first()) else { return Vec::new() };
    let Some(since) = newest.at().checked_sub_signed(window) else {
        return records.iter().map(|one| one.id()).collect();
    };
    let base = good.iter().find(|point| point.marked_at <= since).map(|point| point.marked_at);
    let usable = records.iter().filter(|record| catalogue.barred(record.id()).is_none());
    usable.filter(|record| record.at() >= base.unwrap_or(since)).map(|record| record.id()).collect()
}

/// Adds what kept log points need: the records of the backups in their chains, and their vector bases.
fn needed<'c>(
    catalogue: &'c Catalogue,
    records: &[Record<'c>],
    good: &[&'c Manifest],
    kept: &mut HashMap<&'c PointId, Why>,
) {
    let usable: Vec<Record<'c>> =
        records.iter().copied().filter(|record| catalogue.barred(record.id()).is_none()).collect();
    let holders = Holders::of(&usable);
    // What a need adds is nearly always older than what needs it; where a base is recorded later alone, it takes another pass.
    let mut asked: HashSet<&PointId> = HashSet::new();
    loop {
        let before = asked.len();
        for (place, record) in usable.iter().enumerate() {
            if let Record::Log(log) = record
                && kept.contains_key(&log.id)
                && asked.insert(&log.id)
            {
                needed_by(catalogue, (&usable, good), (place, log), &holders, kept);
            }
        }
        if asked.len() == before {
            return;
        }
    }
}

/// Adds what one log point needs.
fn needed_by<'c>(
    catalogue: &'c Catalogue,
    (usable, good): (&[Record<'c>], &[&'c Manifest]),
    (place, log): (usize, &'c LogPoint),
    holders: &Holders<'_, 'c>,
    kept: &mut HashMap<&'c PointId, Why>,
) {
    let older = usable.get(place..).unwrap_or_default();
    for (name, guid) in chains(catalogue, Record::Log(log), older, usable) {
        let holders = holders.of_backup(name, &guid, place);
        if !holders.iter().any(|one| kept.contains_key(one.id())) {
            let first = holders.first().map(|one| one.id());
            kept.extend(first.map(|id| (id, Why::Needed { by: log.id.clone() })));
        }
    }
    for name in log.postgres.keys() {
        for one in cluster_holders(older, log, name, kept) {
            kept.entry(one).or_insert_with(|| Why::Needed { by: log.id.clone() });
        }
    }
    // Where its vector base is gone or bad, the newest point before it stands in for it.
    let base = log.vector_base.as_ref().and_then(|id| {
        let named = good.iter().find(|point| point.id == *id);
        named.or_else(|| good.iter().find(|point| point.marked_at <= log.marked_at))
    });
    if let Some(base) = base {
        kept.entry(&base.id).or_insert_with(|| Why::Needed { by: log.id.clone() });
    }
}

/// The backups that a log point's chains are made of, with their database.
fn chains<'c>(
    catalogue: &Catalogue,
    record: Record<'c>,
    older: &[Record<'c>],
    all: &[Record<'c>],
) -> Vec<(&'c str, Guid)> {
    // The newest point before it, and the log points since, nearly always hold the whole chain.
    let to_point =
        older.iter().position(|one| matches!(one, Record::Point(_))).map_or(older.len(), |at| at + 1);
    let near = older.get(..to_point).unwrap_or(older);
    let found = |name: &str, among: &[Record<'_>]| catalogue.chain(record, name, among).and_then(Result::ok);
    let names = record.databases().keys().map(String::as_str);
    let sets = names.flat_map(|name| {
        let chain = found(name, near).or_else(|| found(name, older)).or_else(|| found(name, all));
        chain.into_iter().flat_map(|chain| chain.backups).map(move |set| (name, set.backup_set_guid))
    });
    sets.collect()
}

/// The records that a log point's cluster comes back from: the point with its base backup, and of each segment the newest that holds it,
/// where none that stays does.
fn cluster_holders<'c>(
    older: &[Record<'c>],
    log: &LogPoint,
    name: &str,
    kept: &HashMap<&'c PointId, Why>,
) -> Vec<&'c PointId> {
    let Ok(choice) = to_log_point(older, log, name) else { return Vec::new() };
    let cluster = &choice.part.cluster;
    let has_base = |record: &&Record<'c>| match record {
        Record::Point(point) => {
            point.postgres.get(name).is_some_and(|part| part.cluster.bases == cluster.bases)
        }
        Record::Log(_) => false,
    };
    let mut holders: Vec<&PointId> =
        older.iter().find(has_base).map(|record| record.id()).into_iter().collect();
    for segment in &cluster.wal.segments {
        let holds = |record: &&Record<'c>| {
            record.wal(name).is_some_and(|(_, wal)| wal.segments.iter().any(|one| one.path == segment.path))
        };
        let stays = |record: &Record<'c>| kept.contains_key(record.id()) || holders.contains(&record.id());
        if !older.iter().filter(holds).any(stays) {
            holders.extend(older.iter().find(holds).map(|record| record.id()));
        }
    }
    holders
}

/// Which records hold which backup, as places in a list that has the newest first.
struct Holders<'r, 'c> {
    records: &'r [Record<'c>],
    places: HashMap<(&'c str, &'c Guid), Vec<usize>>,
}

impl<'r, 'c> Holders<'r, 'c> {
    fn of(records: &'r [Record<'c>]) -> Holders<'r, 'c> {
        let mut places: HashMap<(&str, &Guid), Vec<usize>> = HashMap::new();
        for (place, record) in records.iter().enumerate() {
            for (name, part) in record.databases() {
                for stored in &part.backups {
                    places.entry((name, &stored.backup.backup_set_guid)).or_default().push(place);
                }
            }
        }
        Holders { records, places }
    }

    /// The records that hold a backup: first those at `place` or older, newest first; then those that are newer, oldest first.
    fn of_backup(&self, name: &'c str, guid: &Guid, place: usize) -> Vec<Record<'c>> {
        let all = self.places.get(&(name, guid)).map(Vec::as_slice).unwrap_or_default();
        let (older, newer): (Vec<usize>, Vec<usize>) = all.iter().partition(|at| **at >= place);
        let places = older.into_iter().chain(newer.into_iter().rev());
        places.filter_map(|at| self.records.get(at).copied()).collect()
    }
}
