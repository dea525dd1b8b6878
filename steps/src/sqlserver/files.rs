//! Files on the server, as its service account sees them: [`FileStatus`].

use drydock_step::StepError;

use super::paths::ServerPath;
use super::session::Session;
use super::sql::quoted;

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStatus {
    /// A file.
    pub(super) is_file: bool,
    /// A folder.
    pub(super) is_folder: bool,
}

impl FileStatus {
    /// What there is at this path; a URL cannot be asked, and counts as both. A login that is no administrator may be told that there is nothing.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn ask(session: &Session, path: &ServerPath) -> Result<Self, StepError> {
        if path.is_url() {
            // Nobody is told of blobs before they are opened.
            return Ok(Self { is_file: true, is_folder: true });
        }
        let sql = format!("EXEC master.dbo.xp_fileexist {}", quoted(path.as_str()));
        let answer = session.ask(&format!("looking for {path}"), &sql).await?;
        let row = answer.first()?;
        Ok(Self { is_file: row.flag("File Exists")?, is_folder: row.flag("File is a Directory")? })
    }
}
