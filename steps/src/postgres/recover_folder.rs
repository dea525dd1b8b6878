//! The folder that a recovery fills: whose it is, [`is_own`], and that nothing of anybody's is in it, [`is_free`]; and what
//! lies in it, [`data_major`].

use std::path::{Path, PathBuf};

use drydock_step::{Ctx, StepError};

use super::recover_server::beside;

/// The file that says whose a folder is.
pub(super) fn marker(into: &Path) -> PathBuf {
    beside(into, ".drydock")
}

/// What stands in it: the step, of whichever attempt.
pub(super) fn whose(ctx: &Ctx) -> String {
    format!("{}/{}\n", ctx.run, ctx.step)
}

/// Whether an attempt of this very step has made a folder.
pub(super) fn is_own(ctx: &Ctx, into: &Path) -> bool {
    std::fs::read_to_string(marker(into)).is_ok_and(|found| found == whose(ctx))
}

/// Nothing, when nothing is in a folder.
///
/// # Errors
/// `postgres.occupied`.
pub(super) fn is_free(into: &Path) -> Result<(), StepError> {
    let refused = |what: String| {
        Err(StepError::new("postgres.occupied", what).help(
            "move it away, or name another folder in `into`: nothing that is there is ever overwritten",
        ))
    };
    match std::fs::read_dir(into) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => refused(format!("{} is not empty", into.display())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => refused(format!("{} cannot be looked into: {error}", into.display())),
    }
}

/// The major version of the data in a folder; nothing where there are none.
pub(super) fn data_major(into: &Path) -> Option<u32> {
    std::fs::read_to_string(into.join("PG_VERSION")).ok()?.trim().parse().ok()
}
