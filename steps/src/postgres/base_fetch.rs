//! A small artifact as a file for a program: [`fetched`], proved to be the one that is meant.

use std::path::Path;

use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, StepError};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::rehash::hex;

/// Brings an artifact into a file.
///
/// # Errors
/// `artifact.damaged` when its bytes are others, `postgres.unpack` when the file cannot be written, or what the store says.
pub(super) async fn fetched(
    store: &dyn ArtifactStore,
    artifact: &Artifact,
    to: &Path,
) -> Result<(), StepError> {
    let failed = |error: std::io::Error| {
        StepError::new("postgres.unpack", format!("{} cannot be written: {error}", to.display()))
            .help("the runner must be allowed to write in that folder, and have space there")
    };
    let mut pieces = store.open(&artifact.path, 0).await?;
    let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
    let mut hash = Sha256::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let found = hex(&hash.finalize());
    if !found.eq_ignore_ascii_case(&artifact.sha256) {
        let message = format!("{} has sha256 {found}, expected {}", artifact.path, artifact.sha256);
        return Err(StepError::new("artifact.damaged", message));
    }
    Ok(())
}
