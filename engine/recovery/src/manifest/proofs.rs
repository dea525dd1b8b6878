//! [`Proofs`]: the claims about one point, each proved or not.

use std::collections::{BTreeSet, HashMap};

use crate::chain::{Chain, ChainRequest, Goal, Reason, Refusal, choose};
use crate::guid::Guid;
use crate::history::History;
use crate::manifest::artifact::Artifact;
use crate::manifest::claim::{Claim, ProvedClaim, Unproved};
use crate::manifest::draft::Marked;
use crate::manifest::evidence::{CollectionEvidence, DatabaseEvidence, QdrantEvidence};
use crate::manifest::sqlserver::{BackupProof, MarkPlace, StoredBackup};

/// What has been found so far.
#[derive(Default)]
pub(crate) struct Proofs<'e> {
    rehashed: HashMap<&'e str, &'e Artifact>,
    pub(crate) proved: Vec<ProvedClaim>,
    pub(crate) unproved: Vec<Unproved>,
}

impl<'e> Proofs<'e> {
    pub(crate) fn new(rehashed: &'e [Artifact]) -> Proofs<'e> {
        Proofs {
            rehashed: rehashed.iter().map(|one| (one.path.as_str(), one)).collect(),
            ..Proofs::default()
        }
    }

    pub(crate) fn record(&mut self, claim: Claim, of: &str, found: Result<String, String>) {
        let of = of.to_owned();
        match found {
            Ok(proof) => self.proved.push(ProvedClaim { name: claim.to_string(), of, proof }),
            Err(why) => self.unproved.push(Unproved { claim, of, why }),
        }
    }

    /// Proves what is claimed of a database, and gives the backups of its chain in order.
    pub(crate) fn database(
        &mut self,
        name: &str,
        found: &DatabaseEvidence,
        mark: MarkPlace,
    ) -> Vec<StoredBackup> {
        let chain = self.chain(name, found, mark);
        let stored: Vec<StoredBackup> = match &chain {
            Some(chain) => chain_files(&found.backups, chain),
            None => Vec::new(),
        };
        if chain.is_some() {
            self.backups(name, found, &stored);
        }
        stored
    }

    /// Proves what is claimed of the backups that a database's chain is made of.
    pub(crate) fn backups(&mut self, name: &str, found: &DatabaseEvidence, stored: &[StoredBackup]) {
        self.record(Claim::FilesAtHand, name, files_at_hand(stored));
        self.record(Claim::SameFamily, name, same_family(stored, &found.family_guid));
        self.record(Claim::SameFork, name, same_fork(stored, &found.recovery_fork));
        self.record(Claim::Checksums, name, checksums(stored));
        self.record(Claim::FullRecoveryModel, name, full_model(found, stored));
        self.record(Claim::CertificatesEscrowed, name, certificates(found, stored));
        let artifacts: Vec<&Artifact> = stored.iter().flat_map(|one| &one.artifacts).collect();
        let rehashed = self.rehashed(&artifacts);
        self.record(Claim::ArtifactsRehashed, name, rehashed);
    }

    fn chain(&mut self, name: &str, found: &DatabaseEvidence, mark: MarkPlace) -> Option<Chain> {
        let backups: Vec<_> = found.backups.iter().map(|stored| stored.backup.clone()).collect();
        let request = ChainRequest {
            database: Some(found.database.clone()),
            goal: Goal::Mark { lsn: mark.lsn, at: mark.at },
            fork: Some(found.recovery_fork.clone()),
            ..ChainRequest::default()
        };
        match choose(&History::from(backups), &request) {
            Ok(chain) => {
                let data =
                    chain.backups.iter().filter(|set| set.kind.as_str() != "log").map(|set| set.label());
                let base = format!(
                    "the {} ended before LSN {}",
                    data.collect::<Vec<_>>().join(" and the "),
                    mark.lsn
                );
                let log = chain.backups.last().map(|set| set.label()).unwrap_or_default();
                self.record(Claim::BaseBeforeMark, name, Ok(base));
                let held =
                    format!("{} backups lead to LSN {}; the {log} holds it", chain.backups.len(), mark.lsn);
                self.record(Claim::ChainComplete, name, Ok(held));
                self.record(
                    Claim::MarkLogNotBulk,
                    name,
                    Ok(format!("the {log} holds no bulk-logged changes")),
                );
                Some(chain)
            }
            Err(refusal) => {
                self.record(failed_claim(&refusal), name, Err(refusal.to_string()));
                None
            }
        }
    }

    /// Proves what is claimed of one collection.
    pub(crate) fn collection(&mut self, found: &CollectionEvidence, marked: &Marked) {
        let name = found.collection.as_str();
        self.record(Claim::ShardsCovered, name, shards_covered(found));
        let moving = found.transfers;
        let none_moved = if moving == 0 {
            Ok("no shard was in transfer".to_owned())
        } else {
            Err(format!("{moving} shards were in transfer"))
        };
        self.record(Claim::NoTransfers, name, none_moved);
        self.record(Claim::SnapshotsBeforeMark, name, snapshots_before(found, marked));
        self.record(Claim::SnapshotsDistinct, name, snapshots_distinct(found));
        let snapshots = found.snapshots.iter().map(|snapshot| &snapshot.artifact);
        let samples = found.samples.iter().map(|sample| &sample.artifact);
        let artifacts: Vec<&Artifact> = snapshots.chain(samples).collect();
        let rehashed = self.rehashed(&artifacts);
        self.record(Claim::ArtifactsRehashed, name, rehashed);
    }

    /// Proves that the same collections were there after the snapshots as before.
    pub(crate) fn collections(&mut self, found: &QdrantEvidence) {
        let before: BTreeSet<&str> = found.collections.iter().map(|one| one.collection.as_str()).collect();
        let after: BTreeSet<&str> = found.listed_after.iter().map(String::as_str).collect();
        for name in before.symmetric_difference(&after) {
            let why = if after.contains(name) {
                "it came while snapshots were made"
            } else {
                "it went while snapshots were made"
            };
            self.record(Claim::CollectionsUnchanged, name, Err(why.to_owned()));
        }
        if before == after {
            self.record(
                Claim::CollectionsUnchanged,
                "qdrant",
                Ok(format!("{} collections before and after", before.len())),
            );
        }
    }

    pub(crate) fn rehashed(&self, artifacts: &[&Artifact]) -> Result<String, String> {
        for artifact in artifacts {
            match self.rehashed.get(artifact.path.as_str()) {
                None => return Err(format!("{} was not read back", artifact.path)),
                Some(read) if !read.same_content(artifact) => {
                    return Err(format!(
                        "{} was stored as {} bytes, sha256 {}, and read back as {} bytes, sha256 {}",
                        artifact.path, artifact.size, artifact.sha256, read.size, read.sha256
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(format!("{} files read back as they were stored", artifacts.len()))
    }
}

/// The stored backups of a chain, in its order.
fn chain_files(backups: &[StoredBackup], chain: &Chain) -> Vec<StoredBackup> {
    let of = |guid: &Guid| backups.iter().find(|stored| stored.backup.backup_set_guid == *guid).cloned();
    chain.backups.iter().filter_map(|set| of(&set.backup_set_guid)).collect()
}

fn failed_claim(refusal: &Refusal) -> Claim {
    match refusal.reasons.first() {
        Some(Reason::NoFull { .. } | Reason::NoFullBefore { .. }) => Claim::BaseBeforeMark,
        Some(Reason::BulkLogged { .. }) => Claim::MarkLogNotBulk,
        _ => Claim::ChainComplete,
    }
}

/// `Ok` when nothing is wrong with any backup; else what is wrong with the first.
fn all(
    stored: &[StoredBackup],
    proof: &str,
    wrong: impl Fn(&StoredBackup) -> Option<String>,
) -> Result<String, String> {
    match stored.iter().find_map(|one| Some(format!("the {} {}", one.backup.label(), wrong(one)?))) {
        Some(why) => Err(why),
        None => Ok(format!("{} backups {proof}", stored.len())),
    }
}

fn files_at_hand(stored: &[StoredBackup]) -> Result<String, String> {
    all(stored, "are in the store or were read by the server", |one| {
        let (held, media) = (one.artifacts.len(), one.backup.media.len());
        (one.proof == BackupProof::Hashed && held < media)
            .then(|| format!("has {media} files, and {held} of them are in the store"))
    })
}

fn same_family(stored: &[StoredBackup], family: &Guid) -> Result<String, String> {
    all(stored, &format!("are of family {family}"), |one| match one.backup.family() {
        Some(own) if own == family => None,
        Some(own) => Some(format!("is of family {own}, the database of {family}")),
        None => Some("does not tell its family".to_owned()),
    })
}

fn same_fork(stored: &[StoredBackup], fork: &Guid) -> Result<String, String> {
    let last = stored.last().map(std::slice::from_ref).unwrap_or_default();
    all(last, &format!("with the mark on fork {fork}"), |one| match one.backup.fork() {
        Some(own) if own == fork => None,
        Some(own) => Some(format!("is on fork {own}, the database on {fork}")),
        None => Some("does not tell its fork".to_owned()),
    })
}

fn checksums(stored: &[StoredBackup]) -> Result<String, String> {
    all(stored, "were written with checksums", |one| {
        (!one.checksums).then(|| "was written without checksums".to_owned())
    })
}

fn full_model(found: &DatabaseEvidence, stored: &[StoredBackup]) -> Result<String, String> {
    if !found.recovery_model.eq_ignore_ascii_case("full") {
        return Err(format!("the database is in the {} recovery model", found.recovery_model));
    }
    all(stored, "and the database are in the FULL recovery model", |one| {
        one.backup.is_simple().then(|| "was taken in the SIMPLE recovery model".to_owned())
    })
}

fn certificates(found: &DatabaseEvidence, stored: &[StoredBackup]) -> Result<String, String> {
    all(stored, "need no certificate without escrow", |one| {
        let thumbprint = one.encryptor_thumbprint.as_ref()?;
        let known = found
            .certificates
            .iter()
            .find(|certificate| certificate.thumbprint.eq_ignore_ascii_case(thumbprint));
        match known.map(|certificate| &certificate.escrow) {
            Some(Some(_)) => None,
            Some(None) => Some(format!("is encrypted with certificate {thumbprint}, which is not in escrow")),
            None => Some(format!("is encrypted with certificate {thumbprint}, which is not known")),
        }
    })
}

fn shards_covered(found: &CollectionEvidence) -> Result<String, String> {
    let held: BTreeSet<u32> =
        found.snapshots.iter().flat_map(|snapshot| snapshot.shards.iter().copied()).collect();
    let missing: Vec<String> =
        found.shards.iter().filter(|id| !held.contains(id)).map(u32::to_string).collect();
    if found.shards.is_empty() {
        Err("its shards are not known".to_owned())
    } else if missing.is_empty() {
        Ok(format!("{} shards in {} snapshots", found.shards.len(), found.snapshots.len()))
    } else {
        Err(format!("no snapshot holds shard {}", missing.join(", ")))
    }
}

fn snapshots_before(found: &CollectionEvidence, marked: &Marked) -> Result<String, String> {
    match found.snapshots.iter().find(|snapshot| snapshot.answered_at > marked.sent_at) {
        Some(late) => {
            Err(format!("snapshot {} of {} was answered after the mark was sent", late.name, late.node))
        }
        None => Ok(format!("{} snapshots were answered before the mark was sent", found.snapshots.len())),
    }
}

fn snapshots_distinct(found: &CollectionEvidence) -> Result<String, String> {
    let mut seen = BTreeSet::new();
    let twice = found.snapshots.iter().find(|snapshot| !seen.insert((&snapshot.node, &snapshot.name)));
    match twice {
        Some(twice) => {
            Err(format!("{} names snapshot {} twice; the second replaced the first", twice.node, twice.name))
        }
        None => Ok(format!("{} snapshots of different names", seen.len())),
    }
}
