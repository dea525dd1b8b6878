//! What lies in the store after a base backup was put there: [`read_back`] reads it to its end, and finds the very bytes that were sent.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, Ctx, StepError};

use super::base_contents::{Contents, contents};
use super::base_manifest::BackupManifest;

/// Reads the tar of a base backup and what it says of itself; with `unpack` its files are put into that folder, which is made.
///
/// # Errors
/// `artifact.damaged` when its bytes are others, `postgres.base` when it is not whole, `postgres.unpack`, or what the store says.
pub(super) async fn read_back(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    stored: &Artifact,
    unpack: Option<&Path>,
) -> Result<(Contents, BackupManifest), StepError> {
    if let Some(folder) = unpack {
        std::fs::create_dir(folder).map_err(|error| {
            StepError::new("postgres.unpack", format!("{} cannot be made: {error}", folder.display()))
                .help("the run's scratch must be a folder that the runner may write")
        })?;
    }
    let (telling, total) = (ctx.clone(), stored.size);
    let done = AtomicU64::new(0);
    let seen = move |more| {
        let before = done.fetch_add(more, Ordering::Relaxed);
        if (before >> 24) != ((before + more) >> 24) {
            telling.progress(before + more, Some(total), "bytes", "reading it back");
        }
    };
    let found = contents(store, &stored.path, unpack, seen).await?;
    if found.sha256 != stored.sha256 {
        let message = format!(
            "{} was stored with sha256 {} and reads back with {}",
            stored.path, stored.sha256, found.sha256
        );
        return Err(StepError::new("artifact.damaged", message));
    }
    let Some(manifest) = &found.manifest else {
        let message = format!("{} has no backup_manifest, which comes last: it is not whole", stored.path);
        return Err(StepError::new("postgres.base", message).help("take a new base backup"));
    };
    let read = BackupManifest::parse(manifest)?;
    Ok((found, read))
}
