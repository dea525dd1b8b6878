//! The claims about a PostgreSQL cluster of a point.

use crate::manifest::artifact::Artifact;
use crate::manifest::claim::Claim;
use crate::manifest::draft::Marked;
use crate::manifest::postgres::{BasePart, ClusterEvidence, RestorePointPart, StretchEvidence, WalPart};
use crate::manifest::proofs::Proofs;
use crate::wal::{WalLsn, missing_between};

impl Proofs<'_> {
    /// Proves what is claimed of one cluster.
    pub(crate) fn cluster(&mut self, name: &str, found: &ClusterEvidence, marked: &Marked) {
        self.record(Claim::SameCluster, name, same_cluster(&found.bases, &found.wal, &found.restore_point));
        self.record(Claim::ChainComplete, name, chain_complete(&found.bases));
        self.record(Claim::Checksums, name, verified(&found.bases));
        self.record(Claim::BaseBeforeMark, name, base_before(found));
        self.record(Claim::RestorePointBeforeMark, name, point_before(&found.restore_point, marked));
        self.record(Claim::WalArchived, name, wal_archived(found));
        let artifacts: Vec<&Artifact> = found.artifacts().collect();
        let rehashed = self.rehashed(&artifacts);
        self.record(Claim::ArtifactsRehashed, name, rehashed);
    }

    /// Proves what is claimed of the WAL of one cluster between two records.
    pub(crate) fn stretch(&mut self, name: &str, found: &StretchEvidence, marked: &Marked) {
        self.record(Claim::SameCluster, name, same_cluster(&[], &found.wal, &found.restore_point));
        self.record(Claim::RestorePointBeforeMark, name, point_before(&found.restore_point, marked));
        let size = found.wal.segments.first().map_or(0, |segment| segment.size);
        self.record(Claim::WalArchived, name, leads(&found.wal, found.from, size, &found.restore_point));
        let rehashed = self.rehashed(&found.wal.segments.iter().collect::<Vec<_>>());
        self.record(Claim::ArtifactsRehashed, name, rehashed);
    }
}

fn same_cluster(bases: &[BasePart], wal: &WalPart, point: &RestorePointPart) -> Result<String, String> {
    let of = &wal.system_identifier;
    let known = bases.iter().map(|base| (base.label.as_str(), &base.system_identifier));
    let all = known.chain([(point.name.as_str(), &point.system_identifier)]);
    for (what, known) in all {
        match known {
            Some(known) if known == of => {}
            Some(known) => return Err(format!("{what} is of cluster {known}, the WAL of cluster {of}")),
            None => return Err(format!("{what} does not tell its cluster")),
        }
    }
    let what = if bases.is_empty() { "WAL and restore point" } else { "base backup, WAL and restore point" };
    Ok(format!("{what} are of cluster {of}"))
}

fn chain_complete(bases: &[BasePart]) -> Result<String, String> {
    let mut before: Option<&BasePart> = None;
    for base in bases {
        match (&base.against, before) {
            (None, None) => {}
            (None, Some(_)) => return Err(format!("{} is a full backup, and not the first", base.label)),
            (Some(against), Some(before))
                if against.manifest_sha256.eq_ignore_ascii_case(&before.manifest.sha256) => {}
            (Some(against), _) => {
                return Err(format!(
                    "{} was made against {}, which does not stand before it",
                    base.label, against.label
                ));
            }
        }
        before = Some(base);
    }
    match bases {
        [] => Err("it has no base backup".to_owned()),
        [one] => Ok(format!("{} is a full base backup", one.label)),
        [first, ..] => Ok(format!("{} and {} incremental backups after it", first.label, bases.len() - 1)),
    }
}

fn verified(bases: &[BasePart]) -> Result<String, String> {
    match bases.iter().find(|base| !base.verified) {
        Some(base) => Err(format!("pg_verifybackup has not read {}", base.label)),
        None => Ok("pg_verifybackup has read every file of the base backup".to_owned()),
    }
}

fn base_before(found: &ClusterEvidence) -> Result<String, String> {
    let point = &found.restore_point;
    match found.bases.last() {
        Some(base) if base.end_lsn <= point.lsn => Ok(format!(
            "{} is consistent from {} on, before {} at {}",
            base.label, base.end_lsn, point.name, point.lsn
        )),
        Some(base) => Err(format!(
            "{} is consistent from {} on, behind the restore point {} at {}",
            base.label, base.end_lsn, point.name, point.lsn
        )),
        None => Err("it has no base backup".to_owned()),
    }
}

fn point_before(point: &RestorePointPart, marked: &Marked) -> Result<String, String> {
    if point.answered_at > marked.sent_at {
        return Err(format!("the restore point {} was answered after the mark was sent", point.name));
    }
    Ok(format!("the restore point {} was answered before the mark was sent", point.name))
}

fn wal_archived(found: &ClusterEvidence) -> Result<String, String> {
    let point = &found.restore_point;
    let base = found.bases.last().ok_or("it has no base backup")?;
    if base.timeline != point.timeline {
        return Err(format!(
            "{} was taken on timeline {}, and the restore point is on {}: a base backup is needed after a promotion",
            base.label, base.timeline, point.timeline
        ));
    }
    leads(&found.wal, base.start_lsn, base.segment_size, point)
}

/// Whether these segments lead from a place to a restore point.
fn leads(wal: &WalPart, from: WalLsn, size: u64, point: &RestorePointPart) -> Result<String, String> {
    let segments = &wal.segments;
    let names = segments.iter().map(|one| one.path.rsplit('/').next().unwrap_or_default());
    missing_between(point.timeline, from, point.lsn, size, names)?;
    match segments.iter().find(|one| one.size != size) {
        Some(short) => Err(format!("{} is {} bytes long, and not {size}", short.path, short.size)),
        None => Ok(format!("{} segments lead from {from} to {}", segments.len(), point.lsn)),
    }
}
