//! Data files: made, opened for redo, copied while others write, deleted. Main function: [`create_data`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

use super::functions;
use super::guids::Guids;
use super::lsn::Lsn;
use super::record::{self, APPLIED, Record};

/// How long one connection waits for another's commit.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What every data file holds besides the tables of its user: what those tables are in T-SQL.
/// `detail` is the constraint's definition; `columns` is JSON `[[name, descends]]`.
const LAYOUT: &str = "
    CREATE TABLE __applied (lsn);
    CREATE TABLE __schemas (schema_id INTEGER PRIMARY KEY, name COLLATE ci);
    CREATE TABLE __objects (object_id INTEGER PRIMARY KEY, schema_id, name COLLATE ci, type, parent, created, modified, detail);
    CREATE TABLE __columns (object_id, column_id, name COLLATE ci, type, nullable, seed, default_id, default_text);
    CREATE TABLE __indexes (object_id, index_id, name COLLATE ci, is_unique, is_primary, constraint_id, columns, filter);
    CREATE TABLE __principals (principal_id INTEGER PRIMARY KEY, name COLLATE ci, type, sid, schema, authentication, made);
    CREATE TABLE __members (role, member);
    CREATE TABLE __permissions (class, major, grantee, right_name, state);
    CREATE INDEX __columns_object ON __columns(object_id);
    CREATE INDEX __indexes_object ON __indexes(object_id);
    INSERT INTO __schemas VALUES (1, 'dbo'), (2, 'guest'), (3, 'INFORMATION_SCHEMA'), (4, 'sys');
    INSERT INTO __principals SELECT column1, column2, column3, column4, column5, column6, '2003-04-08 09:10:42.287' FROM (VALUES
        (0, 'public', 'R', NULL, NULL, 0), (1, 'dbo', 'S', x'01', 'dbo', 1), (2, 'guest', 'S', x'00', 'guest', 0),
        (3, 'INFORMATION_SCHEMA', 'S', NULL, NULL, 0), (4, 'sys', 'S', NULL, NULL, 0), (16384, 'db_owner', 'R', NULL, NULL, 0),
        (16385, 'db_accessadmin', 'R', NULL, NULL, 0), (16386, 'db_securityadmin', 'R', NULL, NULL, 0), (16387, 'db_ddladmin', 'R', NULL, NULL, 0),
        (16389, 'db_backupoperator', 'R', NULL, NULL, 0), (16390, 'db_datareader', 'R', NULL, NULL, 0),
        (16391, 'db_datawriter', 'R', NULL, NULL, 0), (16392, 'db_denydatareader', 'R', NULL, NULL, 0),
        (16393, 'db_denydatawriter', 'R', NULL, NULL, 0));
    INSERT INTO __members VALUES (16384, 1);
";

/// Makes an empty data file whose log begins at `start`.
///
/// # Errors
/// SQLite's.
pub fn create_data(path: &Path, guids: &Guids, start: Lsn) -> Result<()> {
    let data = open_data(path, guids, OpenFlags::SQLITE_OPEN_CREATE)?;
    lay_out(&data)?;
    data.execute(&format!("INSERT INTO {APPLIED} VALUES (?)"), [start.to_string()])?;
    Ok(())
}

/// Gives a new database its own tables.
///
/// # Errors
/// SQLite's.
pub fn lay_out(data: &Connection) -> Result<()> {
    data.execute_batch(LAYOUT)
}

/// Opens a data file by itself, in the form in which readers do not wait for writers.
fn open_data(path: &Path, guids: &Guids, flags: OpenFlags) -> Result<Connection> {
    let data = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | flags)?;
    functions::install(&data, guids)?;
    data.busy_timeout(PATIENCE)?;
    data.pragma_update(None, "journal_mode", "WAL")?;
    data.pragma_update(None, "synchronous", "OFF")?;
    // The log holds what triggers did; they must not do it again.
    data.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    Ok(data)
}

/// Applies log records to a data file that nobody else has open.
///
/// # Errors
/// SQLite's, when the file is no database or does not fit the records.
pub fn redo(path: &Path, guids: &Guids, records: &[Record], through: Lsn) -> Result<()> {
    record::apply(&open_data(path, guids, OpenFlags::empty())?, records, through)
}

/// Changes a data file without a log: for the server's own tables in msdb.
///
/// # Errors
/// What `change` returns, or SQLite's when the file cannot be opened.
pub fn change_unlogged(
    path: &Path,
    guids: &Guids,
    change: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    let data = open_data(path, guids, OpenFlags::empty())?;
    data.execute_batch("BEGIN IMMEDIATE")?;
    change(&data)?;
    data.execute_batch("COMMIT")
}

/// How far the log has been applied to a data file.
///
/// # Errors
/// SQLite's.
pub fn applied(path: &Path, guids: &Guids) -> Result<Lsn> {
    let text: String = open_data(path, guids, OpenFlags::empty())?.query_row(
        &format!("SELECT lsn FROM {APPLIED}"),
        [],
        |row| row.get(0),
    )?;
    Ok(Lsn::parse(&text).unwrap_or(Lsn::ZERO))
}

/// A data file as it was at one moment, while others go on writing.
#[derive(Debug)]
pub struct Snapshot {
    data: Connection,
}

impl Snapshot {
    /// Fixes the moment: now. The caller keeps commits away until this returns.
    ///
    /// # Errors
    /// SQLite's, when the file is not there or no database.
    pub fn take(path: &Path, guids: &Guids) -> Result<Self> {
        let data = open_data(path, guids, OpenFlags::empty())?;
        data.execute_batch("BEGIN")?;
        data.query_row(&format!("SELECT lsn FROM {APPLIED}"), [], |_| Ok(()))?;
        Ok(Self { data })
    }

    /// The file's bytes at that moment, written to `scratch` on the way.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn image(self, scratch: &Path) -> io::Result<Vec<u8>> {
        remove_data(scratch)?;
        let mut copy = Connection::open(scratch).map_err(io::Error::other)?;
        Backup::new(&self.data, &mut copy)
            .and_then(|backup| backup.run_to_completion(1024, Duration::ZERO, None))
            .map_err(io::Error::other)?;
        copy.close().map_err(|(_, error)| io::Error::other(error))?;
        let bytes = std::fs::read(scratch)?;
        remove_data(scratch)?;
        Ok(bytes)
    }
}

/// Whether a data file is sound; SQLite's complaints otherwise.
///
/// # Errors
/// SQLite's, when it cannot even be opened.
pub fn complaints(path: &Path, guids: &Guids) -> Result<Vec<String>> {
    let data = open_data(path, guids, OpenFlags::empty())?;
    let mut check = data.prepare("PRAGMA integrity_check")?;
    let lines: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    Ok(if lines == ["ok"] { Vec::new() } else { lines })
}

/// Writes a data file from an image.
///
/// # Errors
/// When it cannot be written.
pub fn write_image(path: &Path, image: &[u8]) -> io::Result<()> {
    remove_data(path)?;
    std::fs::write(path, image)
}

/// Deletes a data file with what SQLite keeps beside it; one that is not there is no error.
///
/// # Errors
/// When a file cannot be deleted.
pub fn remove_data(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(PathBuf::from(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
