//! Where a restored database's files go: [`FileListed`], [`destinations`].

use drydock_step::StepError;
use indexmap::IndexMap;

use super::answer::present;
use super::database::DatabaseFacts;
use super::media::file_list_only;
use super::paths::ServerPath;
use super::server::ServerFacts;
use super::session::Session;
use super::sql::{Identifier, quoted};

/// One database file in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileListed {
    /// Its logical name.
    pub(super) logical: String,
    /// `D` data, `L` log, `S` a folder of FILESTREAM or memory-optimised data, `F` full-text.
    pub(super) kind: char,
    /// What the restore allocates for it, in bytes.
    pub(super) size: i64,
    /// The certificate that encrypts the database, where one does.
    pub(super) tde_thumbprint: Option<String>,
}

/// Where one file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// Its logical name.
    pub(super) logical: String,
    /// Its path.
    pub(super) path: ServerPath,
    /// What is allocated for it, in bytes.
    pub(super) size: i64,
}

impl Destination {
    /// As an option of RESTORE.
    pub(super) fn clause(&self) -> String {
        format!("MOVE {} TO {}", quoted(&self.logical), quoted(self.path.as_str()))
    }
}

impl FileListed {
    /// The files of the set at this position.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn ask(
        session: &Session,
        media: &[ServerPath],
        position: u32,
    ) -> Result<Vec<Self>, StepError> {
        let doing = "reading the list of files of the full backup";
        let answer = session.ask_long(doing, &file_list_only(media, position)).await?;
        let mut files = Vec::new();
        for row in answer.rows() {
            files.push(Self {
                logical: present(row.text("LogicalName")?, "LogicalName")?.to_owned(),
                kind: present(row.text("Type")?.and_then(|kind| kind.chars().next()), "Type")?,
                size: row.number("Size")?.unwrap_or(0),
                tde_thumbprint: row.hex("TDEThumbprint")?,
            });
        }
        Ok(files)
    }
}

/// Where a plan says that files go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// By their logical names.
    pub(super) moves: &'a IndexMap<String, String>,
    /// Every other data file.
    pub(super) data_folder: Option<&'a str>,
    /// Every other log file.
    pub(super) log_folder: Option<&'a str>,
    /// Paths that other databases have: no new name may be one of them.
    pub(super) taken: &'a [ServerPath],
    /// Whether the files lie beside those of the database that is there, and do not take their places.
    pub(super) beside: bool,
}

/// Where each file goes: where the plan says, else where the database that is replaced has it, else into the server's default folders
/// under a name that begins with the database's.
///
/// # Errors
/// `sqlserver.3234` for a file that the backup has not; `restore.folder` where the server tells no default folder.
pub(super) fn destinations(
    database: &Identifier,
    files: &[FileListed],
    given: Given<'_>,
    existing: Option<&DatabaseFacts>,
    server: &ServerFacts,
) -> Result<Vec<Destination>, StepError> {
    if let Some(unknown) = given.moves.keys().find(|name| !files.iter().any(|file| same(&file.logical, name)))
    {
        let names: Vec<&str> = files.iter().map(|file| file.logical.as_str()).collect();
        let message = format!("`move` names the file `{unknown}`, and the backup has {}", names.join(", "));
        return Err(StepError::new("sqlserver.3234", message));
    }
    let mut found: Vec<Destination> = Vec::new();
    for file in files {
        let moved =
            given.moves.iter().find(|(name, _)| same(name, &file.logical)).map(|(_, path)| path.as_str());
        let folder = if file.kind == 'L' { given.log_folder } else { given.data_folder };
        let own = existing.into_iter().flat_map(|facts| &facts.files);
        let own = own.filter(|own| same(&own.logical, &file.logical)).map(|own| own.path.as_str()).next();
        let beside =
            own.filter(|_| given.beside).and_then(|own| ServerPath::parse(server.style, own).ok()?.folder());
        let folder = folder.or(beside.as_ref().map(ServerPath::as_str));
        let own = own.filter(|_| !given.beside);
        let path = match (moved, folder, own) {
            (Some(path), ..) | (None, None, Some(path)) => ServerPath::parse(server.style, path)?,
            (None, folder, _) => path_in(folder, database, file, (&found, given.taken), server)?,
        };
        found.push(Destination { logical: file.logical.clone(), path, size: file.size });
    }
    Ok(found)
}

/// Logical names follow the server's collation, which mostly does not distinguish case.
fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// A path in a folder, or in the server's own for that kind of file.
fn path_in(
    folder: Option<&str>,
    database: &Identifier,
    file: &FileListed,
    (others, taken): (&[Destination], &[ServerPath]),
    server: &ServerFacts,
) -> Result<ServerPath, StepError> {
    let default = if file.kind == 'L' { &server.log_path } else { &server.data_path };
    let folder = folder.or(default.as_deref()).ok_or_else(|| {
        let message = format!("the server tells no default folder for the file `{}`", file.logical);
        StepError::new("restore.folder", message)
            .help("say in `data_folder` and `log_folder`, or in `move`, where each file goes")
    })?;
    let folder = ServerPath::parse(server.style, folder)?;
    let extension = match file.kind {
        'D' if others.iter().any(|other| other.path.as_str().ends_with(".mdf")) => ".ndf",
        'D' => ".mdf",
        'L' => ".ldf",
        _ => "",
    };
    let stem = if file.logical.to_lowercase().starts_with(&database.as_str().to_lowercase()) {
        plain(&file.logical)
    } else {
        plain(&format!("{database}_{}", file.logical))
    };
    for n in 1.. {
        let again = if n == 1 { String::new() } else { format!("_{n}") };
        let path = folder.join(&format!("{stem}{again}{extension}"))?;
        let is_free = |other: &ServerPath| !other.is(&path);
        if others.iter().map(|other| &other.path).chain(taken).all(is_free) {
            return Ok(path);
        }
    }
    Err(StepError::internal("no file name is free"))
}

/// The most bytes of a file's name before its extension: Linux has room for 255, Windows for as many characters.
const LONGEST_STEM: usize = 200;

/// The text with `_` for each character that a file's name may not have on one of the systems.
fn plain(text: &str) -> String {
    let may = |c: char| !c.is_control() && !"<>:\"/\\|?*".contains(c);
    let mut plain = String::new();
    for c in text.chars().map(|c| if may(c) { c } else { '_' }) {
        if plain.len() + c.len_utf8() > LONGEST_STEM {
            break;
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlserver::database::{FileFacts, State};
    use crate::sqlserver::paths::PathStyle;

    fn server() -> ServerFacts {
        ServerFacts {
            name: "SQL01".into(),
            version: "16.0.1".into(),
            session_id: 51,
            style: PathStyle::Windows,
            data_path: Some(r"E:\data\".into()),
            log_path: Some(r"F:\log\".into()),
            is_sysadmin: true,
            is_express: false,
            is_standard: false,
            offset_minutes: 0,
            time_zone: None,
        }
    }

    fn file(logical: &str, kind: char) -> FileListed {
        FileListed { logical: logical.into(), kind, size: 8, tde_thumbprint: None }
    }

    fn paths(
        database: &str,
        given: &[(&str, &str)],
        existing: Option<&DatabaseFacts>,
    ) -> Result<Vec<String>, StepError> {
        let database = Identifier::parse(database).unwrap();
        let files =
            [file("OctopusDB", 'D'), file("Octopus/DB:2", 'D'), file("OctopusDB_log", 'L'), file("fs", 'S')];
        let moves = given.iter().filter(|(a, _)| !a.starts_with('='));
        let moves = moves.map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let folder = |name: &str| given.iter().find(|(a, _)| *a == name).map(|(_, folder)| *folder);
        let given = Given {
            moves: &moves,
            data_folder: folder("=data"),
            log_folder: folder("=log"),
            taken: &[],
            beside: false,
        };
        let found = destinations(&database, &files, given, existing, &server())?;
        Ok(found.iter().map(|file| file.path.to_string()).collect())
    }

    #[test]
    fn files_get_names_of_their_own_in_the_default_folders() {
        assert_eq!(
            paths("OctopusDB", &[], None).unwrap(),
            [
                r"E:\data\OctopusDB.mdf",
                r"E:\data\OctopusDB_Octopus_DB_2.ndf",
                r"F:\log\OctopusDB_log.ldf",
                r"E:\data\OctopusDB_fs"
            ]
        );
        assert_eq!(paths("drill", &[], None).unwrap()[..1], [r"E:\data\drill_OctopusDB.mdf"]);
        assert_eq!(paths("drill", &[("octopusdb", r"G:\x.mdf")], None).unwrap()[..1], [r"G:\x.mdf"]);
    }

    #[test]
    fn a_database_that_is_replaced_keeps_its_places() {
        let own = FileFacts {
            logical: "OctopusDB_log".into(),
            path: r"Z:\old\log.ldf".into(),
            is_data: false,
            redo_start: None,
            redo_fork: None,
            has_base: false,
            size: 0,
        };
        let facts = DatabaseFacts {
            state: State::Online,
            state_word: "ONLINE".into(),
            is_multi_user: true,
            is_standby: false,
            recovery_model: "FULL".into(),
            is_replica: false,
            is_snapshot: false,
            family: None,
            fork: None,
            last_log_backup: None,
            files: vec![own],
        };
        assert_eq!(paths("OctopusDB", &[], Some(&facts)).unwrap()[2], r"Z:\old\log.ldf");
        let folders = [("=data", r"H:\d"), ("=log", r"L:\"), ("fs", r"G:\fs")];
        assert_eq!(
            paths("OctopusDB", &folders, Some(&facts)).unwrap(),
            [r"H:\d\OctopusDB.mdf", r"H:\d\OctopusDB_Octopus_DB_2.ndf", r"L:\OctopusDB_log.ldf", r"G:\fs"]
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = paths("x", &[("elsewhere", r"G:\x")], None).unwrap_err();
        assert!(error.code == "sqlserver.3234" && error.message.contains("OctopusDB_log"), "{error}");
        let error = paths("x", &[("fs", "x.mdf")], None).unwrap_err();
        assert_eq!(error.code, "sqlserver.path");
    }
}
