//! The programs that a recovery needs, of just the version of its data: [`Programs`].

use std::path::PathBuf;

use drydock_step::{Ctx, StepError};

use super::programs::Program;

/// The programs of the server's own version.
pub(super) struct Programs {
    pub(super) control: Program,
    pub(super) waldump: Program,
}

impl Programs {
    /// Those for data of this major version.
    ///
    /// # Errors
    /// `postgres.programs`.
    pub(super) async fn of(ctx: &Ctx, folders: &[PathBuf], major: u32) -> Result<Self, StepError> {
        Ok(Self {
            control: exactly(ctx, folders, "pg_ctl", major).await?,
            waldump: exactly(ctx, folders, "pg_waldump", major).await?,
        })
    }
}

/// A program of just this version.
///
/// # Errors
/// `postgres.programs`.
async fn exactly(ctx: &Ctx, folders: &[PathBuf], name: &str, major: u32) -> Result<Program, StepError> {
    let help = format!(
        "only a server of version {major} can start these data: install it here (Debian: postgresql-{major}), or name its folder in `programs` of the step"
    );
    let found = Program::find(ctx, folders, name, major).await;
    let found = found.map_err(|error| match error.code.as_str() {
        "postgres.programs" => error.help(help.clone()),
        _ => error,
    })?;
    if found.major() == major {
        return Ok(found);
    }
    let message = format!("the data are of version {major}, and {} is {}", found.path, found.version);
    Err(StepError::new("postgres.programs", message).help(help))
}
