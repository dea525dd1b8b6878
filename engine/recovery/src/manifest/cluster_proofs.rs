//! The claims about a PostgreSQL cluster of a point.

use crate::manifest::artifact::Artifact;
use crate::manifest::claim::Claim;
use crate::manifest::draft::Marked;
use crate::manifest::postgres::{BasePart, ClusterEvidence};
use crate::manifest::proofs::Proofs;
use crate::wal::missing_between;

impl Proofs<'_> {
    /// Proves what is claimed of one cluster.
    pub(crate) fn cluster(&mut self, name: &str, found: &ClusterEvidence, marked: &Marked) {
        self.record(Claim::SameCluster, name, same_cluster(found));
        self.record(Claim::ChainComplete, name, chain_complete(&found.bases));
        self.record(Claim::Checksums, name, verified(&found.bases));
        self.record(Claim::BaseBeforeMark, name, base_before(found));
        self.record(Claim::RestorePointBeforeMark, name, point_before(found, marked));
        self.record(Claim::WalArchived, name, wal_archived(found));
        let artifacts: Vec<&Artifact> = found.artifacts().collect();
        let rehashed = self.rehashed(&artifacts);
        self.record(Claim::ArtifactsRehashed, name, rehashed);
    }
}

fn same_cluster(found: &ClusterEvidence) -> Result<String, String> {
    let of = &found.wal.system_identifier;
    let bases = found.bases.iter().map(|base| (base.label.as_str(), &base.system_identifier));
    let all = bases.chain([(found.restore_point.name.as_str(), &found.restore_point.system_identifier)]);
    for (what, known) in all {
        match known {
            Some(known) if known == of => {}
            Some(known) => return Err(format!("{what} is of cluster {known}, the WAL of cluster {of}")),
            None => return Err(format!("{what} does not tell its cluster")),
        }
    }
    Ok(format!("base backup, WAL and restore point are of cluster {of}"))
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

fn point_before(found: &ClusterEvidence, marked: &Marked) -> Result<String, String> {
    let point = &found.restore_point;
    if point.answered_at > marked.sent_at {
        return Err(format!("the restore point {} was answered after the mark was sent", point.name));
    }
    Ok(format!("the restore point {} was answered before the mark was sent", point.name))
}

fn wal_archived(found: &ClusterEvidence) -> Result<String, String> {
    let (point, segments) = (&found.restore_point, &found.wal.segments);
    let base = found.bases.last().ok_or("it has no base backup")?;
    if base.timeline != point.timeline {
        return Err(format!(
            "{} was taken on timeline {}, and the restore point is on {}: a base backup is needed after a promotion",
            base.label, base.timeline, point.timeline
        ));
    }
    let names = segments.iter().map(|one| one.path.rsplit('/').next().unwrap_or_default());
    missing_between(point.timeline, base.start_lsn, point.lsn, base.segment_size, names)?;
    match segments.iter().find(|one| one.size != base.segment_size) {
        Some(short) => {
            Err(format!("{} is {} bytes long, and not {}", short.path, short.size, base.segment_size))
        }
        None => Ok(format!("{} segments lead from {} to {}", segments.len(), base.start_lsn, point.lsn)),
    }
}
