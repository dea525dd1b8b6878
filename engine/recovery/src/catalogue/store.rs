//! [`Catalogue`]: all points, log points and what was said about them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use crate::Time;
use crate::backup::Backup;
use crate::catalogue::record::Record;
use crate::chain::{ChainOutcome, ChainRequest, Goal, Lineage, choose};
use crate::history::History;
use crate::manifest::{DatabasePart, LogPoint, Manifest, PointId, PointMark, PointMarkKind};

/// What a store holds, rebuilt from its files alone.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    points: Vec<Manifest>,
    log_points: Vec<LogPoint>,
    marks: HashMap<PointId, Vec<PointMark>>,
    untrusted: HashMap<PointId, Untrusted>,
    doubted: HashMap<PointId, Vec<Doubted>>,
}

/// Something that was said about a point, and that nobody may believe: it holds nothing, makes nothing bad and removes nothing. But whoever
/// said it may have meant it, before there were keys, so that its point stays until somebody has spoken who is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubted {
    /// The file that says so.
    pub path: String,
    /// What it says, in the word of its kind: `held`.
    pub word: String,
    /// Who is said to have said it.
    pub by: String,
    /// When that is said to have been.
    pub at: Time,
    /// Why it is not believed.
    pub why: Untrusted,
}

impl Doubted {
    /// Whether somebody who is believed has decided since: by a hold, its release, or by condemning the point. That it was verified decides
    /// nothing. What says that a point is being removed has to go by hand: a removal that is meant could not be told from it.
    pub fn is_settled_by(&self, mark: &PointMark) -> bool {
        let decides = matches!(
            mark.said,
            PointMarkKind::Held { .. } | PointMarkKind::Released { .. } | PointMarkKind::Bad { .. }
        );
        decides && mark.at >= self.at && self.word != "pruned"
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        if self.word == "pruned" {
            return format!("move {} out of the store", self.path);
        }
        "hold or release it by somebody who is trusted, and that decides".to_owned()
    }
}

impl fmt::Display for Doubted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` by {} is not trusted: {}", self.word, self.by, self.why)
    }
}

/// Why nobody may believe a manifest or record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// It has no signature, and only some keys are trusted.
    Unsigned,
    /// A key has signed it that is not trusted.
    ForeignKey(String),
    /// Its signature is not one of its key over these bytes.
    BadSignature,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Untrusted::Unsigned => f.write_str("unsigned"),
            Untrusted::ForeignKey(key) => write!(f, "foreign key {key}"),
            Untrusted::BadSignature => f.write_str("its signature does not fit"),
        }
    }
}

/// A line of `drydock points list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// The id.
    pub id: PointId,
    /// `point`, `log` or `differential`.
    pub kind: &'static str,
    /// The moment that it stands for.
    pub at: Time,
    /// Databases by the names that the plan gives them.
    pub databases: Vec<String>,
    /// How many collections it has snapshots of.
    pub collections: usize,
    /// How many PostgreSQL clusters it holds.
    pub clusters: usize,
    /// Bytes of its files in the store, also of those that others share.
    pub size: u64,
    /// The greatest skew of its collections and clusters, in seconds.
    pub skew_s: Option<f64>,
    /// What it lacks, by name.
    pub incomplete: Vec<String>,
    /// When it was last verified, by whatever means.
    pub verified_at: Option<Time>,
    /// Whether it is held at the time of listing.
    pub held: bool,
    /// Why it is bad, where it is.
    pub bad: Option<String>,
    /// Why it is not believed, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untrusted: Option<String>,
    /// What was said about it and is not believed, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubted: Vec<String>,
    /// Whether it lies on the current line of history.
    pub current: bool,
}

impl Catalogue {
    /// The catalogue of these objects; their order does not matter, and one given twice counts once.
    pub fn new(mut points: Vec<Manifest>, mut log_points: Vec<LogPoint>, marks: Vec<PointMark>) -> Catalogue {
        points.sort_by_key(|point| Reverse((point.marked_at, point.id.clone())));
        points.dedup_by(|a, b| a.id == b.id);
        log_points.sort_by_key(|log| Reverse((log.marked_at, log.id.clone())));
        log_points.dedup_by(|a, b| a.id == b.id);
        let mut by_point: HashMap<PointId, Vec<PointMark>> = HashMap::new();
        for mark in marks {
            by_point.entry(mark.point.clone()).or_default().push(mark);
        }
        by_point.values_mut().for_each(|marks| marks.sort_by_key(|mark| mark.at));
        Catalogue { points, log_points, marks: by_point, ..Catalogue::default() }
    }

    /// The same, in which these are not believed. They are listed, and neither restored from nor removed.
    #[must_use]
    pub fn with_untrusted(self, untrusted: HashMap<PointId, Untrusted>) -> Catalogue {
        Catalogue { untrusted, ..self }
    }

    /// The same without a point or log point.
    #[must_use]
    pub fn without(mut self, id: &PointId) -> Catalogue {
        self.points.retain(|point| point.id != *id);
        self.log_points.retain(|log| log.id != *id);
        self
    }

    /// The same, in which this was said and is not believed.
    #[must_use]
    pub fn with_doubted(self, doubted: HashMap<PointId, Vec<Doubted>>) -> Catalogue {
        Catalogue { doubted, ..self }
    }

    /// What was said about a point and is not believed.
    pub fn doubted(&self, id: &PointId) -> &[Doubted] {
        self.doubted.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Why a manifest or record is not believed, where it is not.
    pub fn untrusted(&self, id: &PointId) -> Option<&Untrusted> {
        self.untrusted.get(id)
    }

    /// Why a point must not be used, in words, where it must not: it was marked bad, or nobody may believe it.
    pub fn barred(&self, id: &PointId) -> Option<String> {
        let bad = self.bad(id).map(|reason| format!("it is marked bad: {reason}"));
        bad.or_else(|| self.untrusted(id).map(|why| format!("its manifest is not trusted: {why}")))
    }

    /// All points and log points, newest first.
    pub fn records(&self) -> Vec<Record<'_>> {
        let points = self.points.iter().map(Record::Point);
        let mut records: Vec<Record<'_>> = points.chain(self.log_points.iter().map(Record::Log)).collect();
        records.sort_by_key(|record| Reverse((record.at(), record.id())));
        records
    }

    /// The points alone, newest first.
    pub fn points(&self) -> &[Manifest] {
        &self.points
    }

    /// What was said about a point, oldest first.
    pub fn marks(&self, id: &PointId) -> &[PointMark] {
        self.marks.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Why a point must not be used, where it must not.
    pub fn bad(&self, id: &PointId) -> Option<&str> {
        self.marks(id).iter().rev().find_map(|mark| match &mark.said {
            PointMarkKind::Bad { reason } => Some(reason.as_str()),
            _ => None,
        })
    }

    /// Why a point must not be pruned at `now`, where it must not.
    pub fn held(&self, id: &PointId, now: Time) -> Option<&str> {
        let since_release = |mark: &&PointMark| !matches!(mark.said, PointMarkKind::Released { .. });
        let mut marks = self.marks(id).iter().rev().take_while(since_release);
        marks.find_map(|mark| match &mark.said {
            PointMarkKind::Held { until, reason } if until.is_none_or(|until| now < until) => {
                Some(reason.as_str())
            }
            _ => None,
        })
    }

    /// What `drydock points list` shows, newest first.
    pub fn list(&self, now: Time) -> Vec<Listing> {
        let current = self.current();
        let verified =
            |mark: &PointMark| matches!(mark.said, PointMarkKind::Verified { .. }).then_some(mark.at);
        let listing = |record: Record<'_>| {
            let id = record.id();
            let (collections, clusters, skew_s) = match record {
                Record::Point(point) => {
                    let collections = point.qdrant.as_ref().map_or(0, |part| part.collections.len());
                    (collections, point.postgres.len(), point.skew_s())
                }
                Record::Log(_) => (0, 0, None),
            };
            Listing {
                id: id.clone(),
                kind: record.kind(),
                at: record.at(),
                databases: record.databases().keys().cloned().collect(),
                collections,
                clusters,
                size: record.artifacts().iter().map(|artifact| artifact.size).sum(),
                skew_s,
                incomplete: record.incomplete().to_vec(),
                verified_at: self.marks(id).iter().filter_map(verified).max(),
                held: self.held(id, now).is_some(),
                bad: self.bad(id).map(str::to_owned),
                untrusted: self.untrusted(id).map(ToString::to_string),
                doubted: self.doubted(id).iter().map(ToString::to_string).collect(),
                current: current.has(record),
            }
        };
        self.records().into_iter().map(listing).collect()
    }

    /// The line of history that was backed up last, of each database.
    pub fn current(&self) -> Current {
        let records = self.records();
        let mut newest: IndexMap<&str, &DatabasePart> = IndexMap::new();
        for record in &records {
            for (name, part) in record.databases() {
                newest.entry(name).or_insert(part);
            }
        }
        let line = |(name, part): (&str, &DatabasePart)| {
            let backups = backups(&records, name);
            (name.to_owned(), Lineage::of(&backups, &part.recovery_fork, &part.family_guid))
        };
        Current { lines: newest.into_iter().map(line).collect() }
    }

    /// The chain to a moment after a record's mark, on the record's own fork, by the backups of all of `records`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn chain_to(&self, record: Record<'_>, name: &str, records: &[Record<'_>], at: Time) -> ChainOutcome {
        let part = record.databases().get(name);
        let known = backups(records, name).into_iter().cloned().collect::<Vec<_>>();
        let request = ChainRequest {
            database: part.map(|part| part.database.clone()),
            goal: Goal::At(at),
            fork: part.map(|part| part.recovery_fork.clone()),
            ..ChainRequest::default()
        };
        choose(&History::from(known), &request)
    }

    /// The chain to a record's mark in one of its databases. A point carries its own; a log point's is found among
    /// `records`. A differential log point whose mark no log has reached yet is taken at its own end.
    ///
    /// # Errors
    /// Why there is none; `None` where the record has no such database.
    pub fn chain(&self, record: Record<'_>, name: &str, records: &[Record<'_>]) -> Option<ChainOutcome> {
        let part = record.databases().get(name)?;
        let others = if matches!(record, Record::Point(_)) { &[] } else { records };
        let among: Vec<Record<'_>> = std::iter::once(record).chain(others.iter().copied()).collect();
        let known = backups(&among, name);
        let history = History::from(known.into_iter().cloned().collect::<Vec<_>>());
        let request = ChainRequest {
            database: Some(part.database.clone()),
            goal: Goal::Mark { lsn: part.mark.lsn, at: part.mark.at },
            fork: Some(part.recovery_fork.clone()),
            ..ChainRequest::default()
        };
        let to_mark = choose(&history, &request);
        if to_mark.is_ok() || record.kind() != "differential" {
            return Some(to_mark);
        }
        let taken = part.backups.iter().map(|stored| stored.backup.finished_at).max();
        let at_its_end = taken.and_then(|at| {
            choose(&history, &ChainRequest { goal: Goal::At(at), no_logs: true, ..request }).ok()
        });
        // Where its own base is gone, an older differential is no way to its mark.
        let own =
            |set: &Backup| part.backups.iter().any(|one| one.backup.backup_set_guid == set.backup_set_guid);
        Some(match at_its_end.filter(|chain| chain.backups.last().is_some_and(own)) {
            Some(chain) => Ok(chain),
            None => to_mark,
        })
    }
}

/// All backups that records have of a database.
fn backups<'c>(records: &[Record<'c>], name: &str) -> Vec<&'c Backup> {
    let parts = records.iter().filter_map(|record| record.databases().get(name));
    let mut seen = std::collections::HashSet::new();
    let all = parts.flat_map(|part| &part.backups).map(|stored| &stored.backup);
    all.filter(|backup| seen.insert(&backup.backup_set_guid)).collect()
}

/// The current line of history of each database.
#[derive(Clone, Debug)]
pub struct Current {
    lines: IndexMap<String, Lineage>,
}

impl Current {
    /// Whether a record lies on it, with all its databases.
    pub fn has(&self, record: Record<'_>) -> bool {
        record.databases().iter().all(|(name, part)| {
            let line = self.lines.get(name);
            line.is_some_and(|line| line.has(&part.family_guid, &part.recovery_fork, part.mark.lsn))
        })
    }
}
