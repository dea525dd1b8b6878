//! A dump's files between the store and a program that reads them: [`DumpScratch`], [`local`], [`stored`].

use std::path::{Path, PathBuf};

use bytes::Bytes;
use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, StepError};
use futures_util::stream;
use tokio::io::AsyncReadExt;

use super::base_fetch::fetched;
use super::dump_entry::DumpFormat;
use crate::rehash::rehashed;

/// How much of a file is read at once.
const PIECE: usize = 256 * 1024;

/// A folder in the run's scratch that goes with the attempt.
pub(super) struct DumpScratch {
    /// Where it is.
    pub(super) folder: PathBuf,
}

impl DumpScratch {
    /// An empty one of this name.
    ///
    /// # Errors
    /// `postgres.unpack`.
    pub(super) fn of(scratch: &Path, name: &str) -> Result<Self, StepError> {
        let made = Self { folder: scratch.join(format!("dump-{name}")) };
        // What an attempt before this one left.
        let _ = std::fs::remove_dir_all(&made.folder);
        std::fs::create_dir_all(&made.folder).map_err(|error| {
            StepError::new("postgres.unpack", format!("{} cannot be made: {error}", made.folder.display()))
                .help("the run's scratch must be a folder that the runner may write")
        })?;
        Ok(made)
    }
}

impl Drop for DumpScratch {
    fn drop(&mut self) {
        // What cannot be removed goes with the run's scratch.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Nothing, when an artifact is what it was when it was stored.
///
/// # Errors
/// `artifact.damaged`, `artifact.absent`, or what the store says.
pub(super) async fn unchanged(
    store: &dyn ArtifactStore,
    artifact: &Artifact,
    seen: impl FnMut(u64) + Send,
) -> Result<(), StepError> {
    let found = rehashed(store, &artifact.path, seen).await?;
    if found.sha256.eq_ignore_ascii_case(&artifact.sha256) {
        return Ok(());
    }
    let message = format!(
        "{} has sha256 {} and {} bytes, expected {} and {}",
        artifact.path, found.sha256, found.size, artifact.sha256, artifact.size
    );
    Err(StepError::new("artifact.damaged", message)
        .help("take another dump; this one is not what was stored"))
}

/// Where a program finds a dump: in the store itself where that is a folder of the runner's, or else in the scratch.
///
/// # Errors
/// `postgres.dump` where the dump has no head, `artifact.damaged`, or what the store says.
pub(super) async fn local(
    store: &dyn ArtifactStore,
    format: DumpFormat,
    artifacts: &[Artifact],
    scratch: &DumpScratch,
) -> Result<PathBuf, StepError> {
    let no_head = || StepError::new("postgres.dump", "the dump names no file to begin with");
    let head = match format {
        DumpFormat::Custom => artifacts.first(),
        DumpFormat::Directory => artifacts.iter().find(|file| file.path.ends_with("/toc.dat")),
    };
    let head = head.ok_or_else(no_head)?;
    let of = |file: PathBuf| match format {
        DumpFormat::Custom => Some(file),
        DumpFormat::Directory => file.parent().map(Path::to_path_buf),
    };
    if let Some(path) = store.local_path(&head.path) {
        return of(path).ok_or_else(no_head);
    }
    let folder = scratch.folder.join("fetched");
    std::fs::create_dir_all(&folder).map_err(|error| {
        StepError::new("postgres.unpack", format!("{} cannot be made: {error}", folder.display()))
    })?;
    let mut place = None;
    for artifact in artifacts {
        let name = artifact.path.rsplit('/').next().unwrap_or_default();
        fetched(store, artifact, &folder.join(name)).await?;
        if artifact.path == head.path {
            place = of(folder.join(name));
        }
    }
    place.ok_or_else(no_head)
}

/// Stores a file.
///
/// # Errors
/// `postgres.unpack` when it cannot be read, or what the store says.
pub(super) async fn stored(
    store: &dyn ArtifactStore,
    file: &Path,
    path: &str,
) -> Result<Artifact, StepError> {
    let shown = file.display().to_string();
    let failed = move |error: std::io::Error| {
        StepError::new("postgres.unpack", format!("{shown} cannot be read: {error}"))
    };
    let opened = tokio::fs::File::open(file).await.map_err(failed.clone())?;
    let pieces = stream::unfold(Some(opened), move |opened| {
        let failed = failed.clone();
        async move {
            let mut file = opened?;
            let mut piece = Vec::with_capacity(PIECE);
            match file.read_buf(&mut piece).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(Bytes::from(piece)), Some(file))),
                Err(error) => Some((Err(failed(error)), None)),
            }
        }
    });
    let stored = store.put(path, Box::pin(pieces)).await?;
    Ok(Artifact { path: stored.path, size: stored.size, sha256: stored.sha256 })
}
