//! Room in the run's scratch for a base backup that is made there: [`Scratch`], and the name that is a step's own: [`own_name`].

use std::path::{Path, PathBuf};

use drydock_step::{Ctx, StepError};

use crate::rehash::hex;

/// The name of a step's own backup and slot: the same for each of its attempts.
pub(super) fn own_name(ctx: &Ctx) -> String {
    let hash = hex(&<sha2::Sha256 as sha2::Digest>::digest(format!("{}/{}", ctx.run, ctx.step)));
    format!("drydock_{}", hash.get(..16).unwrap_or_default())
}

/// A folder in the run's scratch that goes with the attempt.
pub(super) struct Scratch {
    pub(super) folder: PathBuf,
}

impl Scratch {
    /// A new one.
    ///
    /// # Errors
    /// `postgres.unpack`.
    pub(super) fn of(scratch: &Path, name: &str) -> Result<Self, StepError> {
        let made = Self { folder: scratch.join(format!("base-{name}")) };
        // What an attempt before this one left.
        let _ = std::fs::remove_dir_all(&made.folder);
        std::fs::create_dir_all(&made.folder).map_err(|error| made.failed(&error))?;
        Ok(made)
    }

    /// What cannot be made in it.
    pub(super) fn failed(&self, error: &std::io::Error) -> StepError {
        StepError::new("postgres.unpack", format!("{} cannot be made: {error}", self.folder.display()))
            .help("the run's scratch must be a folder that the runner may write")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed goes with the run's scratch.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
