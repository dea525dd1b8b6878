//! The manifest of a recovery point, format `drydock.point` version 2: what it holds, how it is sealed, how it is read.
//!
//! A point goes through three states with a type each: [`Opened`], [`Marked`], and sealed as a [`Manifest`], which
//! [`seal()`] makes of a marked point and the [`Evidence`]; [`rejudged`] asks later whether it still holds. A [`LogPoint`] is its small sibling between points; a
//! [`PointMark`] says later that a point was verified, is held or is bad. All are written once.

pub mod band;
pub mod clock_part;
pub mod id;
pub mod artifact;
pub mod format;
pub mod sqlserver;
pub mod qdrant;
pub mod postgres;
pub mod pause;
pub mod draft;
pub mod claim;
pub mod point;
pub mod log_point;
pub mod point_mark;
pub mod evidence;
mod clocks;
mod proofs;
mod cluster_proofs;
mod pause_proofs;
pub mod seal;
pub mod judge;

pub use artifact::Artifact;
pub use band::Band;
pub use claim::{Claim, ProvedClaim, Unproved};
pub(crate) use clock_part::agree;
pub use clock_part::{ClockPart, off_words};
pub use draft::{Marked, Opened, Origin, PlanRef};
pub use evidence::{CollectionEvidence, DatabaseEvidence, Evidence, LockEvidence, LockFound, QdrantEvidence};
pub use format::FormatError;
pub use id::{IdError, MarkName, PointId};
pub use judge::{rejudged, rejudged_log};
pub use log_point::{LogPoint, LogPointKind};
pub use pause::{PauseEvidence, PausePart};
pub use point::{Manifest, Neighbours, PointState};
pub use point_mark::{PointMark, PointMarkKind, Restored};
pub use postgres::{
    AgainstPart, BasePart, ClusterEvidence, ClusterPart, RestorePointPart, StretchEvidence, StretchPart,
    TableSamplePart, WalPart,
};
pub use qdrant::{CollectionPart, QdrantPart, SamplePart, SnapshotPart};
pub use seal::{SealRefusal, SealTerms, Sealed, SkewMissed, seal, seal_log_point};
pub use sqlserver::{BackupProof, Certificate, DatabasePart, MarkPlace, RowCount, ServerPart, StoredBackup};
