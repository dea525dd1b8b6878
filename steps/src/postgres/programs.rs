//! The client programs of PostgreSQL, pg_dump and its kin, that fit a server: [`Program`]. One that is newer than the server works, one
//! that is older is refused by the server or reads too little.

use std::path::{Path, PathBuf};

use drydock_step::{ChildOutput, ChildSpec, Ctx, StepError};
use serde::Serialize;

/// Where packages put each major version: a folder, what the version's own begins with there, and where its programs lie in that.
const PACKAGED: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("C:\\Program Files\\PostgreSQL", "", "bin"),
];

/// A program that was asked for its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Program {
    /// Where it is; a bare name where the system finds it.
    pub(super) path: String,
    /// As it says it: `pg_dump (PostgreSQL) 18.6`.
    pub(super) version: String,
    /// Its major version.
    #[serde(skip)]
    major: u32,
}

impl Program {
    /// Its major version.
    pub(super) fn major(&self) -> u32 {
        self.major
    }

    /// The program of this name for a server of this major version: of the target's own folders, or else of the places where packages put
    /// them, or else what the system finds by the bare name; the same major version, or else the lowest newer one.
    ///
    /// # Errors
    /// `postgres.programs`, with what was looked at.
    pub(super) async fn find(
        ctx: &Ctx,
        folders: &[PathBuf],
        name: &str,
        server_major: u32,
    ) -> Result<Self, StepError> {
        let own = folders.iter().map(|folder| folder.join(name)).collect();
        let packaged = packaged().into_iter().map(|folder| folder.join(name)).collect();
        Self::among(ctx, &[own, packaged, vec![name.into()]], name, server_major).await
    }

    async fn among(
        ctx: &Ctx,
        places: &[Vec<PathBuf>],
        name: &str,
        server_major: u32,
    ) -> Result<Self, StepError> {
        let mut seen: Vec<String> = Vec::new();
        for paths in places {
            let mut fitting: Option<Self> = None;
            for path in paths {
                match version_of(ctx, path).await? {
                    Ok(found) => {
                        seen.push(format!("{} is {}", found.path, found.version));
                        let is_better = fitting.as_ref().is_none_or(|best| found.major < best.major);
                        if found.major >= server_major && is_better {
                            fitting = Some(found);
                        }
                    }
                    Err(why) => seen.push(format!("{} {why}", path.display())),
                }
            }
            if let Some(found) = fitting {
                return Ok(found);
            }
        }
        let message =
            format!("there is no {name} for a server of version {server_major}: {}", seen.join("; "));
        Err(StepError::new("postgres.programs", message).help(format!(
            "install the client programs of version {server_major} or newer on the runner (Debian: postgresql-client-{server_major}), or name their folder in `programs` of the target"
        )))
    }
}

/// The folders of programs that packages have made, the oldest version first.
fn packaged() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (folder, beginning, programs) in PACKAGED {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let major = name.to_str().and_then(|name| name.strip_prefix(beginning)?.parse().ok());
            found.extend(major.map(|major| (major, entry.path().join(programs))));
        }
    }
    found.sort();
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// A program by its own words, or why it is none.
///
/// # Errors
/// `cancelled`.
async fn version_of(ctx: &Ctx, path: &Path) -> Result<Result<Program, String>, StepError> {
    let text = path.display().to_string();
    // A name alone is looked for by the system.
    let is_named = path.components().count() == 1;
    if !is_named && !path.is_file() {
        return Ok(Err("is not there".into()));
    }
    let spec = ChildSpec {
        argv: vec![text.clone(), "--version".into()],
        env: vec![("LC_ALL".into(), "C".into())],
        cwd: ctx.folder.to_path_buf(),
        stdin: Vec::new(),
        stdout: ChildOutput::Kept { limit: 4096 },
    };
    let end = match ctx.spawn(spec).await {
        Ok(end) => end,
        Err(error) if error.code == "cancelled" => return Err(error),
        Err(_) if is_named => return Ok(Err("is not found by the system".into())),
        Err(error) => return Ok(Err(format!("does not start: {error}"))),
    };
    let said = String::from_utf8_lossy(&end.stdout);
    let version = said.lines().next().unwrap_or_default().trim().to_owned();
    let major = version.split_once("(PostgreSQL) ").and_then(|(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    match (end.code, major) {
        (Some(0), Some(major)) => Ok(Ok(Program { path: text, version, major })),
        (Some(0), None) => Ok(Err(format!("answers `{version}`, which is no program of PostgreSQL"))),
        _ => {
            let why = end.stderr.lines().last().unwrap_or("without a word").trim().to_owned();
            Ok(Err(format!("does not tell its version: {why}")))
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use drydock_step::test_host::TestHost;

    use super::*;

    fn program(folder: &Path, sub: &str, says: &str) -> PathBuf {
        let path = folder.join(sub).join("pg_dump");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{says}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn the_same_version_is_taken_or_else_the_lowest_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let of = |major: &str| program(dir.path(), major, &format!("echo 'pg_dump (PostgreSQL) {major}'"));
        let (old, same, newer, newest) = (of("14.3"), of("15.18 (Debian)"), of("17beta2"), of("18.6"));
        let ctx = Arc::new(TestHost::new(dir.path())).ctx(None);
        let found = async |places: &[Vec<PathBuf>]| {
            Program::among(&ctx, places, "pg_dump", 15).await.map(|found| found.version)
        };
        let all = vec![newest.clone(), old.clone(), same.clone(), newer.clone()];
        assert_eq!(found(&[all]).await.unwrap(), "pg_dump (PostgreSQL) 15.18 (Debian)");
        let without = vec![newest.clone(), old.clone(), newer];
        assert_eq!(found(&[without]).await.unwrap(), "pg_dump (PostgreSQL) 17beta2");
        // What the target names counts before what a package has put elsewhere.
        assert_eq!(found(&[vec![newest], vec![same]]).await.unwrap(), "pg_dump (PostgreSQL) 18.6");
        let broken = program(dir.path(), "broken", "echo no library >&2; exit 127");
        let other = program(dir.path(), "other", "echo tar 1.34");
        let absent = dir.path().join("absent/pg_dump");
        let error = found(&[vec![old], vec![broken, other, absent]]).await.unwrap_err();
        assert_eq!(error.code, "postgres.programs");
        for words in [
            "there is no pg_dump for a server of version 15: ",
            "14.3/pg_dump is pg_dump (PostgreSQL) 14.3; ",
            "broken/pg_dump does not tell its version: no library",
            "other/pg_dump answers `tar 1.34`",
            "absent/pg_dump is not there",
        ] {
            assert!(error.message.contains(words), "{error}");
        }
        assert!(error.help.unwrap().contains("postgresql-client-15"));
    }
}
