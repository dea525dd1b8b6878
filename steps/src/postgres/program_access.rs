//! What a program of PostgreSQL is given to reach the server that the target means: [`ProgramAccess`], with files that are the runner's
//! alone and go with it.

use std::path::{Path, PathBuf};

use drydock_step::StepError;

use super::settings::PostgresSettings;

/// The name of the one service of the service file.
const SERVICE: &str = "drydock";

/// The environment of a program, and the files that it names. They are removed when it is dropped: after the program has ended.
pub(super) struct ProgramAccess {
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

impl ProgramAccess {
    /// Access to a database of the server, with its files in a folder of the run's scratch.
    ///
    /// The password stands in a file that only its owner may read, because arguments and, for the same user, variables can be read by
    /// others while the program runs. The service file is empty but for its heading: a program that is told of no service takes the one
    /// that the runner's own PGSERVICE names, before anything else.
    ///
    /// # Errors
    /// `postgres.programs`, when the files cannot be written.
    pub(super) fn of(scratch: &Path, settings: &PostgresSettings, database: &str) -> Result<Self, StepError> {
        let failed = |error: std::io::Error| {
            let message =
                format!("the files for a program cannot be written in {}: {error}", scratch.display());
            StepError::new("postgres.programs", message)
                .help("the run's scratch must be a folder that the runner may write")
        };
        let folder = new_folder(scratch, &settings.attempt).map_err(failed)?;
        let (passfile, services) = (folder.join("pgpass"), folder.join("pg_service.conf"));
        let mut access = Self { folder, variables: settings.variables(database) };
        let line = settings.password.as_deref().map(pass_line).unwrap_or_default();
        write_private(&passfile, &line).map_err(failed)?;
        write_private(&services, &format!("[{SERVICE}]\n")).map_err(failed)?;
        access.variables.extend([
            ("PGPASSFILE".into(), passfile.display().to_string()),
            ("PGSERVICE".into(), SERVICE.into()),
            ("PGSERVICEFILE".into(), services.display().to_string()),
            ("LC_ALL".into(), "C".into()),
        ]);
        Ok(access)
    }

    /// The variables of its environment. None of them is secret.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }
}

impl Drop for ProgramAccess {
    fn drop(&mut self) {
        // What cannot be removed goes with the run's scratch.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A line for any server: the program is told of one alone.
fn pass_line(password: &str) -> String {
    format!("*:*:*:*:{}\n", password.replace('\\', "\\\\").replace(':', "\\:"))
}

/// A folder of this attempt's that nothing else has. An attempt may have several programs at once.
fn new_folder(scratch: &Path, attempt: &str) -> std::io::Result<PathBuf> {
    use sha2::Digest;
    std::fs::create_dir_all(scratch)?;
    let digest = sha2::Sha256::digest(attempt.as_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut n = 1;
    loop {
        let folder = scratch.join(format!("postgres-{name}-{n}"));
        match make_private(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
            made => return made.map(|()| folder),
        }
    }
}

#[cfg(unix)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}

#[cfg(unix)]
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Windows gives a folder the rights of the one around it: the run's.
#[cfg(not(unix))]
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir(folder)
}

#[cfg(not(unix))]
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use drydock_step::Settings;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_password_stands_in_a_private_file_that_goes_with_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let values =
            json!({ "host": "pg1", "user": "drydock", "password": "p:\\x" }).as_object().unwrap().clone();
        let settings = Settings { values, folder: "/".into(), attempt: "r1/dump/1".into() };
        let settings = PostgresSettings::of(&settings).unwrap();
        let (first, second) = (
            ProgramAccess::of(dir.path(), &settings, "octopus").unwrap(),
            ProgramAccess::of(dir.path(), &settings, "octopus").unwrap(),
        );
        let of = |access: &ProgramAccess, name: &str| {
            access.variables().into_iter().find(|(known, _)| known == name).unwrap().1
        };
        let (passfile, other) = (of(&first, "PGPASSFILE"), of(&second, "PGPASSFILE"));
        assert_ne!(passfile, other);
        assert_eq!(std::fs::read_to_string(&passfile).unwrap(), "*:*:*:*:p\\:\\\\x\n");
        assert_eq!(std::fs::metadata(&passfile).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(of(&first, "PGSERVICEFILE")).unwrap(), "[drydock]\n");
        drop(first);
        assert!(!Path::new(&passfile).exists() && Path::new(&other).exists());
        drop(second);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
