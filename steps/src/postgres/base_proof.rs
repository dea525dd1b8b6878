//! Whether a base backup is whole, by PostgreSQL's own program: [`proved`] has `pg_verifybackup` read an unpacked one.

use std::path::{Path, PathBuf};

use drydock_step::{Ctx, StepError};

use super::program_end::{done, ended_badly};
use super::programs::Program;

/// Its name.
pub(super) const PROGRAM: &str = "pg_verifybackup";

/// Has every file of an unpacked backup compared with its manifest, and the WAL that it needs read.
///
/// # Errors
/// `postgres.programs`, when there is no such program of the server's own version, `postgres.base` when the backup is not whole.
pub(super) async fn proved(
    ctx: &Ctx,
    folders: &[PathBuf],
    major: u32,
    folder: &Path,
) -> Result<Program, StepError> {
    let program = Program::find(ctx, folders, PROGRAM, major).await?;
    let mut argv = vec![program.path.clone(), "--exit-on-error".into()];
    if program.major() != major {
        // It reads WAL by the pg_waldump of its own version, which knows the format of no other.
        ctx.log(format!("{} cannot read the WAL of version {}, which stays unread", program.version, major));
        argv.push("--no-parse-wal".into());
    }
    argv.push(folder.display().to_string());
    let end = done(ctx, argv).await?;
    if end.code == Some(0) {
        return Ok(program);
    }
    let error = ended_badly(PROGRAM, &end);
    Err(StepError { code: "postgres.base".into(), ..error }
        .help("the backup in the store is not what the server sent; take a new one, and find out what has damaged this one"))
}
