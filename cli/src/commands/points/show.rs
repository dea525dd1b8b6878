//! `drydock points show`: one point, what it is made of, and how each thing was proved.

use drydock_machine::Exit;
use drydock_recovery::backup::clock;
use drydock_recovery::catalogue::Record;
use drydock_recovery::manifest::{
    Artifact, ClusterPart, CollectionPart, DatabasePart, PointId, PointMark, PointMarkKind, ProvedClaim,
    TableSamplePart, off_words,
};
use drydock_step::Millis;
use drydock_steps::point::catalogue::Found;
use serde_json::json;

use super::words::{bytes, seconds};
use crate::commands::print;
use crate::formats::Format;
use crate::session::{Refusal, Session};

pub(super) fn show(session: &Session, found: &Found, id: &PointId) -> Result<Exit, Refusal> {
    let catalogue = found.catalogue();
    let Some(record) = catalogue.records().into_iter().find(|record| record.id() == id) else {
        let own = found.unreadable.iter().find(|file| file.path.contains(id.as_str()));
        let why = own.map_or_else(|| format!("point {id} is gone"), ToString::to_string);
        return Err(Refusal::new(Exit::CannotSucceed, why));
    };
    let marks = catalogue.marks(id);
    if session.common.format == Format::Json {
        let mut value = match record {
            Record::Point(manifest) => json!(manifest),
            Record::Log(log) => json!(log),
        };
        value["marks"] = json!(marks);
        let doubted: Vec<String> = catalogue.doubted(id).iter().map(ToString::to_string).collect();
        if !doubted.is_empty() {
            value["doubted"] = json!(doubted);
        }
        print(&format!("{value:#}\n"));
    } else {
        let doubted: String = catalogue.doubted(id).iter().map(|one| format!("  {one}\n")).collect();
        print(&(page(record, marks) + &doubted));
    }
    Ok(Exit::Done)
}

/// A point for people: what it is made of, and how each thing was proved.
fn page(record: Record<'_>, marks: &[PointMark]) -> String {
    let mut text =
        format!("{} {} of {}, mark {}\n", record.kind(), record.id(), clock(record.at()), record.mark());
    let clusters = match record {
        Record::Point(point) => Some(&point.postgres),
        Record::Log(_) => None,
    };
    let clusters = || clusters.into_iter().flatten();
    let (run, by, plan, collections, claims) = match record {
        Record::Point(point) => {
            let collections = point.qdrant.as_ref().map_or(&[][..], |part| &part.collections);
            (&point.run, &point.by, &point.plan.name, collections, &point.claims)
        }
        Record::Log(log) => (&log.run, &log.by, &log.plan.name, &[][..], &log.claims),
    };
    let by = if by.is_empty() { String::new() } else { format!(", {by}") };
    text.push_str(&format!("  sealed by run {run} of {plan}{by}\n"));
    if !record.incomplete().is_empty() {
        text.push_str(&format!("  INCOMPLETE: {}\n", record.incomplete().join(", ")));
    }
    marks.iter().for_each(|mark| text.push_str(&format!("  {}\n", mark_words(mark))));
    for (name, part) in record.databases() {
        text.push_str(&database(name, part, claims));
    }
    for collection in collections {
        text.push_str(&collection_page(collection, claims));
    }
    for (name, part) in clusters() {
        text.push_str(&cluster_page(name, part, claims));
    }
    for (name, one) in record.clocks() {
        let (told, off) = (clock(one.told), off_words(one.differs().unwrap_or_default()));
        text.push_str(&format!("  clock of {name}: {told}, {off}\n"));
    }
    // What was proved of all together.
    let is_part = |of: &str| {
        record.databases().contains_key(of)
            || collections.iter().any(|one| one.collection == of)
            || clusters().any(|(name, _)| name == of)
    };
    for claim in claims.iter().filter(|claim| !is_part(&claim.of)) {
        text.push_str(&format!("  proved {}: {}\n", claim.name, claim.proof));
    }
    for (table, band) in record.rows() {
        text.push_str(&format!("  rows of {table}: {} to {}\n", band.low, band.high));
    }
    text
}

fn mark_words(mark: &PointMark) -> String {
    let at = clock(mark.at);
    match &mark.said {
        PointMarkKind::Verified { how, run, restored } => {
            let took = restored.as_ref().map_or_else(String::new, |one| {
                format!(
                    " in {}, environment {}, plan {}",
                    Millis(one.took_ms),
                    one.environment,
                    one.plan.digest
                )
            });
            format!("verified {at} by {} ({run}): {how}{took}", mark.by)
        }
        PointMarkKind::Held { until: Some(until), reason } => {
            format!("held until {}: {reason}", clock(*until))
        }
        PointMarkKind::Held { until: None, reason } => format!("held: {reason}"),
        PointMarkKind::Released { reason } => format!("released {at}: {reason}"),
        PointMarkKind::Bad { reason } => format!("bad since {at}: {reason}"),
        PointMarkKind::Pruned { reason } => format!("being removed since {at}: {reason}"),
    }
}

fn database(name: &str, part: &DatabasePart, claims: &[ProvedClaim]) -> String {
    let mut text = format!(
        "  database {name}: {} on {}, mark at LSN {}\n",
        part.database, part.server.name, part.mark.lsn
    );
    for stored in &part.backups {
        text.push_str(&format!("    {}\n", stored.backup.label()));
        for artifact in &stored.artifacts {
            text.push_str(&format!(
                "      {}  {}  sha256 {}\n",
                artifact.path,
                bytes(artifact.size),
                artifact.sha256
            ));
        }
        if stored.artifacts.is_empty() {
            text.push_str(&format!("      {} (the server's own media)\n", stored.backup.media.join(", ")));
        }
    }
    text + &proofs(name, claims)
}

fn file_line(artifact: &Artifact, more: &str) -> String {
    format!("      {}  {}  {more}\n", artifact.path, bytes(artifact.size))
}

fn cluster_page(name: &str, part: &ClusterPart, claims: &[ProvedClaim]) -> String {
    let ClusterPart { cluster, skew_s } = part;
    let point = &cluster.restore_point;
    let mut text = format!(
        "  cluster {name}: {}, restore point {} at {}, skew {}\n",
        cluster.version,
        point.name,
        point.lsn,
        seconds(*skew_s)
    );
    let hashed = |artifact: &Artifact| file_line(artifact, &format!("sha256 {}", artifact.sha256));
    for base in &cluster.bases {
        text.push_str(&format!("    base backup {}, consistent from {} on\n", base.label, base.end_lsn));
        [&base.artifact, &base.manifest].into_iter().for_each(|one| text.push_str(&hashed(one)));
    }
    let segments = &cluster.wal.segments;
    if let (Some(first), Some(last)) = (segments.first(), segments.last()) {
        text.push_str(&format!("    {} segments of WAL: {} to {}\n", segments.len(), first.path, last.path));
    }
    for (table, band) in &cluster.tables {
        text.push_str(&format!("    rows of {table}: {} to {}\n", band.low, band.high));
    }
    for sample in &cluster.samples {
        let TableSamplePart { table, column, sampled, recall, artifact, .. } = sample;
        let more = format!("{sampled} searches by {column} of {table}, recall {recall}");
        text.push_str(&file_line(artifact, &more));
    }
    text + &proofs(name, claims)
}

fn collection_page(part: &CollectionPart, claims: &[ProvedClaim]) -> String {
    let mut text = format!(
        "  collection {}: {} to {} points, skew {}\n",
        part.collection,
        part.points.low,
        part.points.high,
        seconds(part.skew_s)
    );
    for snapshot in &part.snapshots {
        let artifact = &snapshot.artifact;
        text.push_str(&format!(
            "      {}  {}  sha256 {}\n",
            artifact.path,
            bytes(artifact.size),
            artifact.sha256
        ));
    }
    for sample in &part.samples {
        let using = sample.using.as_ref().map_or(String::new(), |name| format!(" by {name}"));
        text.push_str(&format!(
            "      {}  {}  {} searches{using}, recall {}\n",
            sample.artifact.path,
            bytes(sample.artifact.size),
            sample.sampled,
            sample.recall
        ));
    }
    text + &proofs(&part.collection, claims)
}

fn proofs(of: &str, claims: &[ProvedClaim]) -> String {
    let own = claims.iter().filter(|claim| claim.of == of);
    own.map(|claim| format!("    proved {}: {}\n", claim.name, claim.proof)).collect()
}
