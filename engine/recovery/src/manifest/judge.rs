//! [`rejudged`]: the claims about a sealed point, judged once more from its manifest alone, as far as it tells.
//!
//! What only the moment of sealing knew is not asked again: whether shards were being moved, and what was listed after the snapshots.

use indexmap::IndexMap;
use serde_json::Value;

use crate::Time;
use crate::manifest::claim::{Claim, Unproved};
use crate::manifest::draft::{Marked, Opened, Origin, PlanRef};
use crate::manifest::evidence::{CollectionEvidence, DatabaseEvidence, QdrantEvidence};
use crate::manifest::id::{MarkName, PointId};
use crate::manifest::log_point::LogPoint;
use crate::manifest::point::Manifest;
use crate::manifest::proofs::Proofs;
use crate::manifest::qdrant::CollectionPart;
use crate::manifest::seal::{holds_mark, mark_log_not_bulk};
use crate::manifest::sqlserver::{DatabasePart, MarkPlace, StoredBackup};

/// What does not hold of a point, or of what it does not say itself that it lacks.
pub fn rejudged(point: &Manifest) -> Vec<Unproved> {
    let files: Vec<_> = point.artifacts().map(|(_, artifact)| artifact.clone()).collect();
    let mut proofs = Proofs::new(&files);
    let places = point.sqlserver.iter().map(|(name, part)| (name.clone(), part.mark)).collect();
    let marked = marked(&point.id, &point.mark, point.marked_at, places);
    let databases: Vec<_> = point.sqlserver.iter().map(|(name, part)| (name, part, evidence(part))).collect();
    for (name, part, found) in &databases {
        let chain = proofs.database(name, found, part.mark);
        if !chain.is_empty() && guids(&chain) != guids(&part.backups) {
            let why = "the backups that lead to the mark are not those that it names".to_owned();
            proofs.record(Claim::ChainComplete, name, Err(why));
        }
    }
    if let Some(part) = &point.qdrant {
        let collections: Vec<CollectionEvidence> = part.collections.iter().map(collection).collect();
        let listed_after = collections.iter().map(|one| one.collection.clone()).collect();
        let found = QdrantEvidence { version: part.version.clone(), collections, listed_after };
        found.collections.iter().for_each(|one| proofs.collection(one, &marked));
    }
    point.postgres.iter().for_each(|(name, part)| proofs.cluster(name, &part.cluster, &marked));
    not_accepted(proofs.unproved, &point.incomplete)
}

/// What does not hold of a log point. Whether a chain leads to it only a catalogue can tell.
pub fn rejudged_log(log: &LogPoint) -> Vec<Unproved> {
    let stored = log.sqlserver.values().flat_map(|part| &part.backups);
    let segments = log.postgres.values().flat_map(|part| &part.stretch.wal.segments);
    let files: Vec<_> = stored.flat_map(|stored| &stored.artifacts).chain(segments).cloned().collect();
    let mut proofs = Proofs::new(&files);
    let databases: Vec<_> = log.sqlserver.iter().map(|(name, part)| (name, part, evidence(part))).collect();
    for (name, part, found) in &databases {
        proofs.record(Claim::ChainComplete, name, holds_mark(log.kind, found, part.mark));
        proofs.record(Claim::MarkLogNotBulk, name, mark_log_not_bulk(found, part.mark));
        proofs.backups(name, found, &part.backups);
    }
    let marked = marked(&log.id, &log.mark, log.marked_at, IndexMap::new());
    log.postgres.iter().for_each(|(name, part)| proofs.stretch(name, &part.stretch, &marked));
    not_accepted(proofs.unproved, &log.incomplete)
}

fn not_accepted(mut unproved: Vec<Unproved>, incomplete: &[String]) -> Vec<Unproved> {
    unproved.retain(|one| !incomplete.contains(&one.of));
    unproved
}

/// A point as it was when its mark was set. When the mark was sent is not told: it was before the answer.
fn marked(id: &PointId, mark: &MarkName, at: Time, places: IndexMap<String, MarkPlace>) -> Marked {
    let plan = PlanRef { name: String::new(), digest: String::new() };
    let origin = Origin { plan, environment: String::new(), run: String::new(), by: String::new() };
    let opened = Opened { id: id.clone(), mark: mark.clone(), origin, opened_at: at };
    opened.marked(at, at, places)
}

fn evidence(part: &DatabasePart) -> DatabaseEvidence {
    DatabaseEvidence {
        database: part.database.clone(),
        server: part.server.clone(),
        family_guid: part.family_guid.clone(),
        recovery_fork: part.recovery_fork.clone(),
        recovery_model: part.recovery_model.clone(),
        backups: part.backups.clone(),
        certificates: part.certificates.clone(),
        rows: part.rows.clone(),
    }
}

fn collection(part: &CollectionPart) -> CollectionEvidence {
    CollectionEvidence {
        collection: part.collection.clone(),
        shards: shards(part),
        transfers: 0,
        waiting: 0,
        points: part.points,
        snapshots: part.snapshots.clone(),
        params: part.params.clone(),
        config: part.config.clone(),
        payload_indexes: part.payload_indexes.clone(),
        aliases: part.aliases.clone(),
        samples: part.samples.clone(),
    }
}

/// The shards that it must have: by its parameters those from 0 on; where it is sharded by keys, those of its snapshots.
fn shards(part: &CollectionPart) -> Vec<u32> {
    let by_keys = part.params.get("sharding_method").and_then(Value::as_str) == Some("custom");
    let number = part.params.get("shard_number").and_then(Value::as_u64);
    match number.and_then(|number| u32::try_from(number).ok()) {
        Some(number) if !by_keys => (0..number).collect(),
        _ => part.snapshots.iter().flat_map(|snapshot| snapshot.shards.iter().copied()).collect(),
    }
}

fn guids(stored: &[StoredBackup]) -> Vec<&str> {
    stored.iter().map(|one| one.backup.backup_set_guid.as_str()).collect()
}
