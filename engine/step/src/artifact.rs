//! The artifact store that backups lie in: [`ArtifactStore`], with the suite that every implementation passes in [`conformance`].

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use crate::error::StepError;

pub mod conformance;

/// The bytes of an artifact, in pieces.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StepError>> + Send>>;

/// What is known of an artifact that lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its path in the store, `/` between parts, never absolute, no `.` or `..`.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// Lower-case hex, over the bytes that were put: those that [`ArtifactStore::open`] gives back, however the store keeps them.
    pub sha256: String,
}

/// How firmly an artifact is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Nobody without a special right can remove it or shorten the time.
    Governance,
    /// Nobody at all can.
    Compliance,
}

impl LockMode {
    /// As plans and servers write it, in lower case.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }
}

/// What a store asks for with each artifact that is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockAsked {
    /// How firmly.
    pub mode: LockMode,
    /// For how many days from the put on.
    pub days: u32,
}

/// The lock that an artifact has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locked {
    /// How firmly.
    pub mode: LockMode,
    /// Until when, in milliseconds since 1970, UTC.
    pub until_ms: i64,
}

/// An artifact that lies in the store in another form than it was put, and that cannot be turned back here for want of a key.
pub struct Sealed {
    /// What was put, as it was written down then.
    pub content: Stored,
    /// What lies there, as it was written down then; `path` is the store's own name for it.
    pub lies: Stored,
    /// What lies there, from its beginning.
    pub bytes: ByteStream,
}

/// What a put that was cut has left behind, under a name that no listing shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The store's own name for it.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written to, in milliseconds since 1970, where only its age tells that no put is at it any more; `None` where that is
    /// certain.
    pub written_ms: Option<i64>,
}

/// What a listing says of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its path in the store.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A place that artifacts are put into, once and whole.
///
/// A name is there with all its bytes or not at all: a put that is cut leaves nothing that `list` or `open` shows.
#[async_trait]
pub trait ArtifactStore: Send + Sync {
    /// Store these bytes under a path, hashing on the way; an artifact of that name is replaced in one step.
    ///
    /// # Errors
    /// `artifact.path` for a bad path, `artifact.io` for what the store says, or the stream's own error.
    async fn put(&self, path: &str, body: ByteStream) -> Result<Stored, StepError>;

    /// Store these bytes under a path that nothing has yet.
    ///
    /// # Errors
    /// `artifact.exists` when something has it, and those of [`ArtifactStore::put`].
    async fn put_new(&self, path: &str, body: Bytes) -> Result<Stored, StepError>;

    /// The bytes from `offset` on; none where that is the end or lies behind it. The stream goes on by itself over a line that is cut.
    ///
    /// # Errors
    /// `artifact.absent` when there is no such artifact; from the stream `artifact.changed` when another was put in its place meanwhile.
    async fn open(&self, path: &str, offset: u64) -> Result<ByteStream, StepError>;

    /// The length of an artifact, or `None` when there is none.
    ///
    /// # Errors
    /// `artifact.io` when the store does not answer.
    async fn size(&self, path: &str) -> Result<Option<u64>, StepError>;

    /// All artifacts whose path starts with these whole parts (`points` or `points/2026`; empty means all), by path.
    ///
    /// # Errors
    /// `artifact.io` when the store does not answer.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StepError>;

    /// Remove an artifact; `false` when there was none just before.
    ///
    /// # Errors
    /// `artifact.io` when the store does not answer.
    async fn delete(&self, path: &str) -> Result<bool, StepError>;

    /// The lock that each put is to bear, where the store was asked for one.
    fn lock_asked(&self) -> Option<LockAsked> {
        None
    }

    /// Until when nobody can remove an artifact or write it over, as the store itself says now; `None` when it is not locked.
    ///
    /// # Errors
    /// `artifact.absent` when there is no such artifact, `artifact.io` when the store does not answer.
    async fn locked(&self, _path: &str) -> Result<Option<Locked>, StepError> {
        Ok(None)
    }

    /// An artifact that [`ArtifactStore::open`] cannot give back here, with what it takes to tell whether it is still what was stored.
    /// `None` where `open` is the way to read it.
    ///
    /// # Errors
    /// `artifact.absent` when there is no such artifact, `artifact.io` when the store does not answer.
    async fn sealed(&self, _path: &str) -> Result<Option<Sealed>, StepError> {
        Ok(None)
    }

    /// When an artifact was last written to, in milliseconds since 1970, where the store knows.
    ///
    /// # Errors
    /// `artifact.io` when the store does not answer.
    async fn written_ms(&self, _path: &str) -> Result<Option<i64>, StepError> {
        Ok(None)
    }

    /// What puts that were cut have left behind, by path. None where the store keeps nothing of them, or shows nobody what it keeps: the parts
    /// of an upload go by a rule of the bucket.
    ///
    /// # Errors
    /// `artifact.io` when the store does not answer.
    async fn leftovers(&self) -> Result<Vec<Leftover>, StepError> {
        Ok(Vec::new())
    }

    /// Remove what a put has left; `false` when it is gone, or somebody has come to need it.
    ///
    /// # Errors
    /// As of [`ArtifactStore::delete`].
    async fn clear(&self, _left: &Leftover) -> Result<bool, StepError> {
        Ok(false)
    }

    /// An address that other machines can fetch the artifact from, where there is one.
    fn url(&self, _path: &str) -> Option<String> {
        None
    }

    /// Where the artifact lies as a path on the runner, for stores that are a folder whose files may be read as they are.
    fn local_path(&self, path: &str) -> Option<std::path::PathBuf>;
}

/// A stream of bytes that are already in memory.
pub fn stream_of(bytes: impl Into<Bytes>) -> ByteStream {
    Box::pin(futures_util::stream::iter([Ok(bytes.into())]))
}

/// All bytes of a stream that is known to be small.
///
/// # Errors
/// `artifact.large` when it is longer than `limit`, or the stream's own error.
pub async fn bytes_of(mut stream: ByteStream, limit: usize) -> Result<Vec<u8>, StepError> {
    use futures_util::StreamExt;
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if all.len() + piece.len() > limit {
            return Err(StepError::new("artifact.large", format!("it is longer than {limit} bytes")));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// The parts of a path in a store.
///
/// # Errors
/// `artifact.path` when it is empty, absolute, or has empty, `.` or `..` parts, control characters or backslashes.
pub fn path_parts(path: &str) -> Result<Vec<&str>, StepError> {
    let bad = |why: &str| {
        StepError::new("artifact.path", format!("`{path}` is no path in an artifact store: {why}"))
    };
    if path.is_empty() {
        return Err(bad("it is empty"));
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err(bad("control characters and backslashes may not be in it"));
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(bad("it must be relative, without empty, `.` or `..` parts"));
    }
    Ok(parts)
}
