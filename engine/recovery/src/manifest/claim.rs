//! [`Claim`]: what must hold before a point may be sealed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A claim that sealing proves, by its stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The full and differential ended before the mark.
    BaseBeforeMark,
    /// The backups lead from the base to the mark without a gap.
    ChainComplete,
    /// Every file of the chain is in the store, or the server proved that it reads it.
    FilesAtHand,
    /// The log that holds the mark has no bulk-logged changes.
    MarkLogNotBulk,
    /// All backups are of the family.
    SameFamily,
    /// The mark lies on the database's recovery fork.
    SameFork,
    /// All backups were written with checksums.
    Checksums,
    /// The database was in the FULL recovery model.
    FullRecoveryModel,
    /// Every certificate that a backup needs is in escrow.
    CertificatesEscrowed,
    /// Every shard is local in some snapshot.
    ShardsCovered,
    /// No shard was being moved.
    NoTransfers,
    /// Every snapshot was answered before the mark was sent.
    SnapshotsBeforeMark,
    /// No snapshot took another's name, and with it its place.
    SnapshotsDistinct,
    /// The same collections were there before and after.
    CollectionsUnchanged,
    /// The restore point was answered before the mark was sent.
    RestorePointBeforeMark,
    /// Base backup, WAL and restore point are one cluster's.
    SameCluster,
    /// Every segment from the base backup to the restore point is in the archive.
    WalArchived,
    /// Every artifact, read back, is what was stored.
    ArtifactsRehashed,
    /// Every file is locked in the store, as was asked of it.
    ArtifactsLocked,
    /// Nobody wrote from before the first derived store was fixed until after the mark.
    Paused,
}

impl Claim {
    /// All of them, in the order in which they stand above.
    pub const ALL: &[Claim] = &[
        Claim::BaseBeforeMark,
        Claim::ChainComplete,
        Claim::FilesAtHand,
        Claim::MarkLogNotBulk,
        Claim::SameFamily,
        Claim::SameFork,
        Claim::Checksums,
        Claim::FullRecoveryModel,
        Claim::CertificatesEscrowed,
        Claim::ShardsCovered,
        Claim::NoTransfers,
        Claim::SnapshotsBeforeMark,
        Claim::SnapshotsDistinct,
        Claim::CollectionsUnchanged,
        Claim::RestorePointBeforeMark,
        Claim::SameCluster,
        Claim::WalArchived,
        Claim::ArtifactsRehashed,
        Claim::ArtifactsLocked,
        Claim::Paused,
    ];
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A claim that held, and what showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedClaim {
    /// The claim's name; a text, because a newer Drydock may prove more.
    pub name: String,
    /// The database or collection that it is about.
    pub of: String,
    /// What showed it.
    pub proof: String,
}

/// A claim that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{claim} does not hold for {of}: {why}")]
pub struct Unproved {
    /// The claim.
    pub claim: Claim,
    /// The database or collection that it is about; `accept_missing` takes this name.
    pub of: String,
    /// What was found.
    pub why: String,
}
