//! [`PointMark`]: what is said about a point after it was sealed, each time as a small object of its own.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::manifest::draft::PlanRef;
use crate::manifest::format::{FormatError, POINT_MARK, head, read};
use crate::manifest::id::PointId;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PointMarkKind {
    /// It was proved to work.
    Verified {
        /// How: hashes, the server's VERIFYONLY, a drill.
        how: String,
        /// The run that proved it.
        run: String,
        /// The restore that proved it, where it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<Restored>,
    },
    /// It must not be pruned.
    Held {
        /// Until when; without an end where there is none.
        until: Option<Time>,
        /// Why.
        reason: String,
    },
    /// Whatever held it until now holds it no longer.
    Released {
        /// Why.
        reason: String,
    },
    /// It must not be used.
    Bad {
        /// Why.
        reason: String,
    },
    /// Its files are being removed, and it must not be used from now on.
    Pruned {
        /// Why.
        reason: String,
    },
}

/// A restore that went through and was proved: what the next one may be expected to take, and what this is evidence of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Milliseconds from the run's start until it was proved.
    pub took_ms: u64,
    /// How many sittings the run had by then. In a run of several somebody waited between two, so that its time says little.
    pub sittings: u32,
    /// Bytes of the artifacts that it came from.
    pub bytes: u64,
    /// Digest over their paths and digests.
    pub artifacts: String,
    /// The plan, with the digest over it and everything that it names.
    pub plan: PlanRef,
    /// The environment's name.
    pub environment: String,
}

/// Something said about a point, format `drydock.point_mark`, version 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointMark {
    /// `drydock.point_mark`.
    pub format: String,
    /// 2; 1 in files without a digest of their own.
    pub version: u32,
    /// The point or log point.
    pub point: PointId,
    /// When it was said.
    pub at: Time,
    /// Who said it.
    pub by: String,
    /// What was said.
    pub said: PointMarkKind,
}

impl PointMarkKind {
    /// The word for it in the name of its file.
    pub fn word(&self) -> &'static str {
        match self {
            PointMarkKind::Verified { .. } => "verified",
            PointMarkKind::Held { .. } => "held",
            PointMarkKind::Released { .. } => "released",
            PointMarkKind::Bad { .. } => "bad",
            PointMarkKind::Pruned { .. } => "pruned",
        }
    }
}

impl PointMark {
    /// Says something about a point.
    pub fn new(point: PointId, at: Time, by: impl Into<String>, said: PointMarkKind) -> PointMark {
        let (format, version) = head(POINT_MARK);
        PointMark { format, version, point, at, by: by.into(), said }
    }

    /// The object that a JSON text holds.
    ///
    /// # Errors
    /// When it is no such object, or one of a version that only a newer Drydock understands.
    pub fn parse(text: &str) -> Result<PointMark, FormatError> {
        read(text, POINT_MARK)
    }
}
