//! Artifacts read back from the store and hashed: [`ReadBack`].

use std::collections::HashMap;

use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, Ctx, StepError};

use crate::rehash::rehashed;

/// What the store gave back, by path. Each file is read once.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    files: HashMap<String, Option<Artifact>>,
}

impl ReadBack {
    /// Reads these files from end to end.
    ///
    /// # Errors
    /// What the store says. That a file is not there is no error; [`ReadBack::file`] says so.
    pub(super) async fn of(ctx: &Ctx, store: &dyn ArtifactStore, paths: &[&str]) -> Result<Self, StepError> {
        let mut read = Self::default();
        let mut done = 0;
        for path in paths {
            if !read.files.contains_key(*path) {
                let seen = |length| {
                    done += length;
                    ctx.progress(done, None, "bytes", format!("read back {path}"));
                };
                let file = match rehashed(store, path, seen).await {
                    Ok(file) => Some(Artifact { path: file.path, size: file.size, sha256: file.sha256 }),
                    Err(error) if error.code == "artifact.absent" => None,
                    Err(error) => return Err(error),
                };
                read.files.insert((*path).to_owned(), file);
            }
        }
        Ok(read)
    }

    /// A file as it was read; `None` when the store does not have it.
    pub(super) fn file(&self, path: &str) -> Option<&Artifact> {
        self.files.get(path)?.as_ref()
    }

    /// All files that were there.
    pub(super) fn files(&self) -> Vec<Artifact> {
        self.files.values().flatten().cloned().collect()
    }
}
