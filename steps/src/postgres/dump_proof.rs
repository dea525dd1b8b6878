//! Whether a dump can be read to its end, by PostgreSQL's own program: [`proved`] has `pg_restore` read all of it and do nothing with it.

use std::path::Path;

use drydock_step::{Ctx, StepError};

use super::program_end::{done, ended_badly};
use super::programs::Program;

/// Its name.
pub(super) const PROGRAM: &str = "pg_restore";

/// Has a dump read to its end. A dump without compression has nothing in it that shows a flipped bit: its hash does.
///
/// # Errors
/// `postgres.dump`.
pub(super) async fn proved(ctx: &Ctx, program: &Program, place: &Path) -> Result<(), StepError> {
    let end = done(ctx, vec![program.path.clone(), "--file=-".into(), place.display().to_string()]).await?;
    if end.code == Some(0) {
        return Ok(());
    }
    let error = ended_badly(PROGRAM, &end);
    Err(StepError { code: "postgres.dump".into(), ..error }
        .help("what lies in the store is not the whole dump; take a new one, and find out what has damaged this one"))
}
