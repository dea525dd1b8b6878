//! [`seal()`]: makes a sealed point of a marked one, or says which claims do not hold.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use crate::Time;
use crate::manifest::band::Band;
use crate::manifest::claim::{Claim, Unproved};
use crate::manifest::clocks::clocks;
use crate::manifest::draft::Marked;
use crate::manifest::evidence::{CollectionEvidence, DatabaseEvidence, Evidence, QdrantEvidence};
use crate::manifest::format::{LOG_POINT, POINT, head};
use crate::manifest::id::PointId;
use crate::manifest::log_point::{LogPoint, LogPointKind};
use crate::manifest::point::{Manifest, PointState};
use crate::manifest::postgres::{ClusterPart, StretchPart};
use crate::manifest::proofs::Proofs;
use crate::manifest::qdrant::{CollectionPart, QdrantPart};
use crate::manifest::sqlserver::{DatabasePart, MarkPlace, StoredBackup};

/// On which terms a point is sealed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SealTerms {
    /// Databases and collections that may be missing or unproved.
    pub accept_missing: Vec<String>,
    /// The greatest skew that is wanted, in seconds.
    pub skew_objective_s: Option<f64>,
}

/// A sealed point, and the objectives that it missed: it is good, but someone should know tonight.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// The point.
    pub manifest: Manifest,
    /// Collections and clusters whose skew is greater than wanted.
    pub skew_missed: Vec<SkewMissed>,
}

/// A collection or cluster whose skew is greater than wanted.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[error("the skew of {collection} is {skew_s} s; the objective is {objective_s} s")]
pub struct SkewMissed {
    /// The collection, or the cluster by the plan's name for it.
    pub collection: String,
    /// Its skew in seconds.
    pub skew_s: f64,
    /// The objective in seconds.
    pub objective_s: f64,
}

/// The claims that do not hold; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct SealRefusal {
    /// Each claim, what it is about, and what was found.
    pub unproved: Vec<Unproved>,
}

impl fmt::Display for SealRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.unproved.iter().map(Unproved::to_string).collect();
        write!(f, "the point cannot be sealed: {}", lines.join("; "))
    }
}

/// Proves every claim and makes the manifest. What is named in `accept_missing` may fail, and is then named in
/// `incomplete`.
///
/// # Errors
/// The claims that do not hold, all at once.
pub fn seal(marked: Marked, evidence: Evidence, terms: &SealTerms) -> Result<Sealed, SealRefusal> {
    let mut proofs = Proofs::new(&evidence.rehashed);
    let sqlserver = databases(&marked, &evidence.sqlserver, &mut proofs, Proofs::database);
    if let Some(found) = &evidence.qdrant {
        proofs.collections(found);
        found.collections.iter().for_each(|one| proofs.collection(one, &marked));
    }
    evidence.postgres.iter().for_each(|(name, one)| proofs.cluster(name, one, &marked));
    proofs.server_objects(&evidence.server_objects);
    evidence.locks.iter().for_each(|locks| proofs.locks(locks, evidence.sealed_at));
    let pause = evidence.pause.as_ref().map(|pause| proofs.pause(pause, &evidence));
    let incomplete = accepted(&proofs.unproved, terms)?;
    let postgres = evidence.postgres.iter().map(|(name, one)| {
        let skew_s = (marked.answered_at - one.restore_point.started_at).as_seconds_f64();
        (name.clone(), ClusterPart { cluster: one.clone(), skew_s })
    });
    let postgres = postgres.collect();
    let qdrant = evidence.qdrant.as_ref().map(|found| qdrant_part(found, &marked));
    let points = evidence.postgres.iter().map(|(name, one)| (name, &one.restore_point));
    let clocks = clocks(&marked, &sqlserver, evidence.qdrant.as_ref(), points);
    let claims = proofs.proved;
    let (format, version) = head(POINT);
    let opened = marked.opened;
    let manifest = Manifest {
        format,
        version,
        id: opened.id,
        state: PointState::Sealed,
        plan: opened.origin.plan,
        environment: opened.origin.environment,
        run: opened.origin.run,
        by: opened.origin.by,
        mark: opened.mark,
        opened_at: opened.opened_at,
        marked_at: marked.answered_at,
        sealed_at: evidence.sealed_at,
        rows: bands(&sqlserver),
        sqlserver,
        qdrant,
        postgres,
        server_objects: evidence.server_objects,
        pause,
        migrations: evidence.migrations,
        neighbours: evidence.neighbours,
        versions: evidence.versions,
        tools: evidence.tools,
        incomplete,
        clocks,
        claims,
    };
    let skew_missed = skew_missed(&manifest, terms);
    Ok(Sealed { manifest, skew_missed })
}

/// Makes a log point's record of the backups that its run took. That a log holds the mark is proved here, that the
/// chain leads there only by the catalogue, which knows the base. Where another run backed the log up between the mark and
/// this run's log, and has not sealed it yet, nobody can go back to this very mark; the log point is sealed incomplete all
/// the same, because every later chain leads through its log.
///
/// # Errors
/// The claims that do not hold, all at once.
pub fn seal_log_point(
    marked: Marked,
    kind: LogPointKind,
    evidence: Evidence,
    vector_base: Option<PointId>,
    terms: &SealTerms,
) -> Result<LogPoint, SealRefusal> {
    let mut proofs = Proofs::new(&evidence.rehashed);
    let mut behind = Vec::new();
    let own_backups = |proofs: &mut Proofs<'_>, name: &str, found: &DatabaseEvidence, mark: MarkPlace| {
        let is_behind = kind == LogPointKind::Log && begins_behind(found, mark);
        if is_behind {
            behind.push(name.to_owned());
        } else {
            proofs.record(Claim::ChainComplete, name, holds_mark(kind, found, mark));
        }
        if kind == LogPointKind::Log {
            proofs.record(Claim::MarkLogNotBulk, name, mark_log_not_bulk(found, mark));
        }
        proofs.backups(name, found, &found.backups);
        found.backups.clone()
    };
    let sqlserver = databases(&marked, &evidence.sqlserver, &mut proofs, own_backups);
    evidence.stretches.iter().for_each(|(name, one)| proofs.stretch(name, one, &marked));
    evidence.locks.iter().for_each(|locks| proofs.locks(locks, evidence.sealed_at));
    let mut incomplete = accepted(&proofs.unproved, terms)?;
    incomplete.extend(behind);
    incomplete.sort();
    incomplete.dedup();
    let postgres = evidence.stretches.iter().map(|(name, one)| {
        let skew_s = (marked.answered_at - one.restore_point.started_at).as_seconds_f64();
        (name.clone(), StretchPart { stretch: one.clone(), skew_s })
    });
    let postgres = postgres.collect();
    let points = evidence.stretches.iter().map(|(name, one)| (name, &one.restore_point));
    let clocks = clocks(&marked, &sqlserver, None, points);
    let claims = proofs.proved;
    let (format, version) = head(LOG_POINT);
    let opened = marked.opened;
    Ok(LogPoint {
        format,
        version,
        id: opened.id,
        kind,
        plan: opened.origin.plan,
        environment: opened.origin.environment,
        run: opened.origin.run,
        by: opened.origin.by,
        mark: opened.mark,
        marked_at: marked.answered_at,
        sealed_at: evidence.sealed_at,
        rows: bands(&sqlserver),
        sqlserver,
        postgres,
        vector_base,
        incomplete,
        clocks,
        claims,
    })
}

/// Whether all logs that are known begin behind the mark.
fn begins_behind(found: &DatabaseEvidence, mark: MarkPlace) -> bool {
    !found.backups.is_empty() && found.backups.iter().all(|stored| stored.backup.first_lsn > mark.lsn)
}

pub(super) fn holds_mark(
    kind: LogPointKind,
    found: &DatabaseEvidence,
    mark: MarkPlace,
) -> Result<String, String> {
    let holder = found.backups.iter().map(|stored| &stored.backup).find(|set| match kind {
        LogPointKind::Log => set.range().holds(mark.lsn),
        LogPointKind::Differential => set.last_lsn > mark.lsn,
    });
    match holder {
        Some(set) => Ok(format!("the {} holds the mark at LSN {}", set.label(), mark.lsn)),
        None => Err(format!("no backup of this run holds the mark at LSN {}", mark.lsn)),
    }
}

pub(super) fn mark_log_not_bulk(found: &DatabaseEvidence, mark: MarkPlace) -> Result<String, String> {
    let bulk =
        |stored: &&StoredBackup| stored.backup.range().holds(mark.lsn) && stored.backup.is_bulk_logged();
    match found.backups.iter().find(bulk) {
        Some(stored) => Err(format!("the {} holds the mark and bulk-logged changes", stored.backup.label())),
        None => Ok("the mark's log holds no bulk-logged changes".to_owned()),
    }
}

/// The parts of the databases that were marked; `prove` proves one and gives its backups.
fn databases<'e>(
    marked: &Marked,
    found: &'e IndexMap<String, DatabaseEvidence>,
    proofs: &mut Proofs<'e>,
    mut prove: impl FnMut(&mut Proofs<'e>, &str, &'e DatabaseEvidence, MarkPlace) -> Vec<StoredBackup>,
) -> IndexMap<String, DatabasePart> {
    let mut parts = IndexMap::new();
    for (name, mark) in &marked.places {
        let Some(found) = found.get(name) else {
            proofs.record(
                Claim::FilesAtHand,
                name,
                Err("it was marked, and nothing of it was backed up".to_owned()),
            );
            continue;
        };
        let part = DatabasePart {
            database: found.database.clone(),
            server: found.server.clone(),
            family_guid: found.family_guid.clone(),
            recovery_fork: found.recovery_fork.clone(),
            recovery_model: found.recovery_model.clone(),
            mark: *mark,
            backups: prove(proofs, name, found, *mark),
            certificates: found.certificates.clone(),
            rows: found.rows.clone(),
        };
        parts.insert(name.clone(), part);
    }
    for name in found.keys().filter(|name| !marked.places.contains_key(*name)) {
        proofs.record(
            Claim::BaseBeforeMark,
            name,
            Err("it was backed up, and its log has no mark".to_owned()),
        );
    }
    parts
}

/// The names of what failed and may; else all that failed and may not.
fn accepted(unproved: &[Unproved], terms: &SealTerms) -> Result<Vec<String>, SealRefusal> {
    let may_fail = |one: &&Unproved| terms.accept_missing.contains(&one.of);
    let refused: Vec<Unproved> = unproved.iter().filter(|one| !may_fail(one)).cloned().collect();
    if !refused.is_empty() {
        return Err(SealRefusal { unproved: refused });
    }
    let mut names: Vec<String> = unproved.iter().map(|one| one.of.clone()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn qdrant_part(found: &QdrantEvidence, marked: &Marked) -> QdrantPart {
    let mut collections: Vec<CollectionPart> =
        found.collections.iter().map(|one| collection_part(one, marked.answered_at)).collect();
    collections.sort_by(|a, b| a.collection.cmp(&b.collection));
    QdrantPart { version: found.version.clone(), collections }
}

fn collection_part(found: &CollectionEvidence, mark: Time) -> CollectionPart {
    let first = found.snapshots.iter().map(|snapshot| snapshot.started_at).min().unwrap_or(mark);
    CollectionPart {
        collection: found.collection.clone(),
        points: found.points,
        snapshots: found.snapshots.clone(),
        params: found.params.clone(),
        config: found.config.clone(),
        payload_indexes: found.payload_indexes.clone(),
        aliases: found.aliases.clone(),
        skew_s: (mark - first).as_seconds_f64(),
        samples: found.samples.clone(),
    }
}

/// Bands by table; a table's name that several databases have is written with its database's.
fn bands(databases: &IndexMap<String, DatabasePart>) -> IndexMap<String, Band> {
    let owners = |table: &str| databases.values().filter(|part| part.rows.contains_key(table)).count();
    let rows = databases
        .iter()
        .flat_map(|(name, part)| part.rows.iter().map(move |(table, rows)| (name, table, rows)));
    rows.map(|(name, table, rows)| {
        let key = if owners(table) > 1 { format!("{name}.{table}") } else { table.clone() };
        (key, Band::of(rows.before, rows.after))
    })
    .collect()
}

fn skew_missed(manifest: &Manifest, terms: &SealTerms) -> Vec<SkewMissed> {
    let Some(objective_s) = terms.skew_objective_s else { return Vec::new() };
    let missed = manifest.skews().filter(|(_, skew_s)| *skew_s > objective_s);
    missed.map(|(of, skew_s)| SkewMissed { collection: of.to_owned(), skew_s, objective_s }).collect()
}
