//! Whether a sealed point still holds what it says: [`verified`]. Everything that is wrong is found at once.

use std::collections::BTreeMap;

use drydock_recovery::Time;
use drydock_recovery::catalogue::{Record, Selection, To, select};
use drydock_recovery::manifest::{Artifact, PointId, StoredBackup, Unproved, rejudged, rejudged_log};
use drydock_step::target::Proves;
use drydock_step::{ArtifactStore, StepError};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::asked::proved_again;
use super::catalogue::Found;
use super::layout;
use super::resolved::record_of;
use super::selected::files_to_restore;
use crate::rehash::rehashed;

/// How many files are asked about side by side.
const SIDE_BY_SIDE: usize = 8;

/// How a point is verified.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Read every file back and hash it.
    pub deep: bool,
    /// Read back only so many, other ones for each `seed`.
    pub sample: Option<usize>,
    /// What a sample is drawn by: the run's id.
    pub seed: String,
}

/// The server that is asked to read the backups.
pub struct Asked<'s> {
    /// Its target's name.
    pub name: &'s str,
    /// What it can do.
    pub proves: &'s dyn Proves,
}

/// One thing that is wrong with a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The claim that does not hold: one of those of a seal, or `manifest`, `restorable`.
    pub claim: String,
    /// The database, collection, cluster, file or point that it is about.
    pub of: String,
    /// What was found.
    pub why: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not hold for {}: {}", self.claim, self.of, self.why)
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The point or log point.
    pub id: PointId,
    /// How many files a restore of it reads, and those that it names beside.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were read back and hashed.
    pub hashed: usize,
    /// How many backups a server has read.
    pub read_by_server: usize,
    /// What is wrong; empty where it holds.
    pub findings: Vec<Finding>,
    /// What nobody asked about, and why.
    pub unasked: Vec<String>,
}

impl Report {
    /// How it was verified, for its mark.
    pub fn how(&self) -> String {
        let mut how = format!("its claims judged again, {} files there with their sizes", self.files);
        if self.hashed > 0 {
            how.push_str(&format!(", {} of them read back and hashed", self.hashed));
        }
        if self.read_by_server > 0 {
            how.push_str(&format!(", {} backups read by the server", self.read_by_server));
        }
        how
    }
}

/// Verifies a point or log point. `told` hears how many bytes were read back, and of which file.
///
/// # Errors
/// What keeps store or server from answering. What is wrong with the point is no error: it is in [`Report::findings`].
pub async fn verified(
    store: &dyn ArtifactStore,
    found: &Found,
    id: &PointId,
    wanted: &Wanted,
    server: Option<Asked<'_>>,
    now: Time,
    told: &(dyn Fn(u64, &str) + Send + Sync),
) -> Result<Report, StepError> {
    let mut report = Report {
        id: id.clone(),
        files: 0,
        bytes: 0,
        hashed: 0,
        read_by_server: 0,
        findings: Vec::new(),
        unasked: Vec::new(),
    };
    let catalogue = found.catalogue();
    let records = catalogue.records();
    let Some(record) = record_of(&records, id) else {
        report.findings = unreadable(found, id);
        return Ok(report);
    };
    report.findings.extend(judged(record).into_iter().map(finding));
    let to = To::Id(id.to_string());
    let selection = match select(&catalogue, &to, record.incomplete(), now) {
        Ok(selection) => Some(selection),
        Err(error) => {
            let finding = Finding { claim: "restorable".into(), of: id.to_string(), why: error.to_string() };
            report.findings.push(finding);
            None
        }
    };
    report.unasked.extend(without_digest(record));
    let files = files_of(record, selection.as_ref());
    report.files = files.len();
    report.bytes = files.values().map(|file| file.size).sum();
    let whole = sizes(store, &files, &mut report.findings).await?;
    if wanted.deep {
        report.hashed = hashed(store, chosen(whole, wanted), &mut report.findings, told).await?;
    }
    let backups = backups_of(record, selection.as_ref());
    asked(&backups, server, &mut report).await?;
    Ok(report)
}

fn finding(one: Unproved) -> Finding {
    Finding { claim: one.claim.to_string(), of: one.of, why: one.why }
}

fn judged(record: Record<'_>) -> Vec<Unproved> {
    match record {
        Record::Point(point) => rejudged(point),
        Record::Log(log) => rejudged_log(log),
    }
}

fn unreadable(found: &Found, id: &PointId) -> Vec<Finding> {
    let own = format!("{}/", layout::prefix(id));
    let files = found.unreadable.iter().filter(|file| file.path.starts_with(&own));
    files
        .map(|file| Finding { claim: "manifest".into(), of: file.path.clone(), why: file.why.clone() })
        .collect()
}

fn without_digest(record: Record<'_>) -> Option<String> {
    let version = match record {
        Record::Point(point) => point.version,
        Record::Log(log) => log.version,
    };
    (version < 2).then(|| "its manifest is of version 1, which need not carry a digest of its own".to_owned())
}

/// What it names, and what a restore of it reads beside: what log points before it hold, and the snapshots of its vector base.
fn files_of<'f>(record: Record<'f>, selection: Option<&'f Selection>) -> BTreeMap<&'f str, &'f Artifact> {
    let own = record.artifacts().into_iter();
    let chosen = selection.into_iter().flat_map(files_to_restore);
    own.map(|artifact| (artifact.path.as_str(), artifact)).chain(chosen).collect()
}

fn backups_of(record: Record<'_>, selection: Option<&Selection>) -> Vec<(String, StoredBackup)> {
    let named = |name: &String, backups: &[StoredBackup]| {
        backups.iter().map(|stored| (name.clone(), stored.clone())).collect::<Vec<_>>()
    };
    match selection {
        Some(chosen) => chosen.sqlserver.iter().flat_map(|(name, part)| named(name, &part.backups)).collect(),
        None => record.databases().iter().flat_map(|(name, part)| named(name, &part.backups)).collect(),
    }
}

/// The files that are there with their sizes; the others are findings.
async fn sizes<'f>(
    store: &dyn ArtifactStore,
    files: &BTreeMap<&'f str, &'f Artifact>,
    findings: &mut Vec<Finding>,
) -> Result<Vec<&'f Artifact>, StepError> {
    let asks = files.values().map(|file| async move { Ok((*file, store.size(&file.path).await?)) });
    let answers: Vec<(&Artifact, Option<u64>)> = stream::iter(asks.collect::<Vec<_>>())
        .buffered(SIDE_BY_SIDE)
        .try_collect::<Vec<_>>()
        .await
        .map_err(|error: StepError| error)?;
    let mut whole = Vec::new();
    for (file, size) in answers {
        let why = match size {
            Some(size) if size == file.size => {
                whole.push(file);
                continue;
            }
            Some(size) => format!("it is {size} bytes long and was {} when it was sealed", file.size),
            None => "it is not in the store".to_owned(),
        };
        findings.push(Finding { claim: "files_at_hand".into(), of: file.path.clone(), why });
    }
    Ok(whole)
}

/// The files that are read back: all, or so many, by a hash of seed and path.
fn chosen<'f>(mut files: Vec<&'f Artifact>, wanted: &Wanted) -> Vec<&'f Artifact> {
    if let Some(sample) = wanted.sample {
        files.sort_by_cached_key(|file| Sha256::digest(format!("{}/{}", wanted.seed, file.path)));
        files.truncate(sample);
    }
    files
}

async fn hashed(
    store: &dyn ArtifactStore,
    files: Vec<&Artifact>,
    findings: &mut Vec<Finding>,
    told: &(dyn Fn(u64, &str) + Send + Sync),
) -> Result<usize, StepError> {
    let mut done = 0;
    for file in &files {
        let seen = |length| {
            done += length;
            told(done, &file.path);
        };
        let why = match rehashed(store, &file.path, seen).await {
            Ok(read) if read.size == file.size && read.sha256.eq_ignore_ascii_case(&file.sha256) => continue,
            Ok(read) => format!("its sha256 is {} and was {} when it was sealed", read.sha256, file.sha256),
            Err(error) if error.code == "artifact.absent" => "it is not in the store".to_owned(),
            Err(error) if error.transient => return Err(error),
            Err(error) => format!("it cannot be read: {}", error.message),
        };
        findings.push(Finding { claim: "artifacts_rehashed".into(), of: file.path.clone(), why });
    }
    Ok(files.len())
}

/// Has the server read the backups; without one, it is said which nobody has read.
async fn asked(
    backups: &[(String, StoredBackup)],
    server: Option<Asked<'_>>,
    report: &mut Report,
) -> Result<(), StepError> {
    let Some(server) = server else {
        let only_there = backups.iter().filter(|(_, stored)| stored.artifacts.is_empty());
        report.unasked.extend(only_there.map(|(name, stored)| {
            let media = stored.backup.media.join(", ");
            format!("the {} of {name} lies on the server's own media ({media}), and no server was named to read it", stored.backup.label())
        }));
        return Ok(());
    };
    for (name, stored) in backups {
        let wrong = proved_again(server.proves, name, stored).await?;
        report.findings.extend(wrong.map(|one| Finding {
            claim: one.claim.to_string(),
            of: one.of,
            why: format!("{} on {}", one.why, server.name),
        }));
        report.read_by_server += 1;
    }
    Ok(())
}
