//! Files that others bring to the server: whether it can open them itself, [`file`], and whether it sees their folder, [`folder`].

use drydock_step::StepError;
use drydock_step::target::SeenPlace;

use super::files::FileStatus;
use super::media::label_only;
use super::paths::{Sees, ServerPath};
use super::server::ServerFacts;
use super::session::Session;

/// The errors by which the server refuses a file that it has opened and read: no backup, an empty file, one that is cut, of another version.
const OPENED: &[&str] = &[
    "sqlserver.3143",
    "sqlserver.3169",
    "sqlserver.3241",
    "sqlserver.3242",
    "sqlserver.3254",
    "sqlserver.3255",
    "sqlserver.3256",
];

/// The errors by which it refuses the login: it may not read media.
const REFUSED: &[&str] = &["sqlserver.229", "sqlserver.262", "sqlserver.3110"];

/// Who asks, and where.
pub(super) struct Asked<'a> {
    pub(super) session: &'a Session,
    pub(super) facts: &'a ServerFacts,
    pub(super) sees: Sees,
    /// The folder that paths lie below, as the server names it, instead of `sees`.
    pub(super) below: Option<&'a str>,
}

impl Asked<'_> {
    fn place(&self, path: &str) -> Result<ServerPath, StepError> {
        match self.below {
            Some(folder) => ServerPath::parse(self.facts.style, folder)?.join(path),
            None => self.sees.server_path(path),
        }
    }

    fn share(&self, path: &str) -> Result<ServerPath, StepError> {
        match self.below {
            Some(folder) => ServerPath::parse(self.facts.style, folder),
            None => self.sees.folder_of(path),
        }
    }
}

fn answered(at: &ServerPath, why_not: Option<String>) -> SeenPlace {
    SeenPlace { at: at.to_string(), why_not }
}

/// Whether the server can open the file of a path: it reads the label of a backup, and says what it found where there is none. A login that
/// is no administrator is told nothing by `xp_fileexist`, and nobody is told of blobs: for these the label alone decides.
///
/// # Errors
/// What kept it from answering.
pub(super) async fn file(asked: &Asked<'_>, path: &str) -> Result<SeenPlace, StepError> {
    let at = asked.place(path)?;
    if asked.facts.is_sysadmin && !FileStatus::ask(asked.session, &at).await?.is_file {
        return Ok(answered(&at, Some("it sees no such file".into())));
    }
    match asked.session.ask(&format!("opening {at}"), &label_only(&at)).await {
        Ok(_) => Ok(answered(&at, None)),
        Err(error) if error.transient || error.unknown => Err(error),
        Err(error) if OPENED.contains(&error.code.as_str()) => Ok(answered(&at, None)),
        Err(error) if REFUSED.contains(&error.code.as_str()) => {
            let why = format!(
                "its login may not open files, for which it needs CREATE ANY DATABASE: {}",
                error.message
            );
            Ok(answered(&at, Some(why)))
        }
        Err(error) => Ok(answered(&at, Some(error.message))),
    }
}

/// Whether the server sees the folder that a path is found in. Only an administrator is told, and of no blobs.
///
/// # Errors
/// What kept it from answering.
pub(super) async fn folder(asked: &Asked<'_>, path: &str) -> Result<SeenPlace, StepError> {
    let at = asked.share(path)?;
    if asked.facts.is_sysadmin && !FileStatus::ask(asked.session, &at).await?.is_folder {
        return Ok(answered(&at, Some("it sees no such folder".into())));
    }
    Ok(answered(&at, None))
}
