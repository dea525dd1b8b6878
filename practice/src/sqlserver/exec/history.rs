//! What msdb remembers of backups, restores and marks. Main functions: [`note_backup`], [`note_restore`].

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::media::is_url;
use crate::sqlserver::store::database::{Access, COLLATION, DataFile, model_shown};
use crate::sqlserver::store::files;
use crate::sqlserver::store::instance::Instance;
use crate::sqlserver::store::lsn::Lsn;
use crate::sqlserver::store::media::{MediaHeader, SetHeader};
use crate::sqlserver::store::record::Mark;
use crate::sqlserver::value::{datetime_rounded, moment_text};

/// msdb's number.
pub const MSDB: u32 = 4;

/// msdb's tables of history in T-SQL.
pub const TABLES: &str = "
CREATE TABLE dbo.backupset (backup_set_id int IDENTITY PRIMARY KEY, backup_set_uuid uniqueidentifier NOT NULL, media_set_id int NOT NULL,
  first_family_number tinyint, first_media_number smallint, last_family_number tinyint, last_media_number smallint,
  catalog_family_number tinyint, catalog_media_number smallint, position int, expiration_date datetime, software_vendor_id int,
  name nvarchar(128), description nvarchar(255), user_name nvarchar(128), software_major_version tinyint, software_minor_version tinyint,
  software_build_version smallint, time_zone smallint, mtf_minor_version tinyint, first_lsn numeric(25,0), last_lsn numeric(25,0),
  checkpoint_lsn numeric(25,0), database_backup_lsn numeric(25,0), database_creation_date datetime, backup_start_date datetime,
  backup_finish_date datetime, type char(1), sort_order smallint, code_page smallint, compatibility_level tinyint, database_version int,
  backup_size numeric(20,0), database_name nvarchar(128), server_name nvarchar(128), machine_name nvarchar(128), flags int,
  unicode_locale int, unicode_compare_style int, collation_name nvarchar(128), is_password_protected bit, recovery_model nvarchar(60),
  has_bulk_logged_data bit, is_snapshot bit, is_readonly bit, is_single_user bit, has_backup_checksums bit, is_damaged bit,
  begins_log_chain bit, has_incomplete_metadata bit, is_force_offline bit, is_copy_only bit, first_recovery_fork_guid uniqueidentifier,
  last_recovery_fork_guid uniqueidentifier, fork_point_lsn numeric(25,0), database_guid uniqueidentifier, family_guid uniqueidentifier,
  differential_base_lsn numeric(25,0), differential_base_guid uniqueidentifier, compressed_backup_size numeric(20,0),
  key_algorithm nvarchar(32), encryptor_thumbprint varbinary(20), encryptor_type nvarchar(32), last_valid_restore_time datetime,
  compression_algorithm nvarchar(32));
CREATE TABLE dbo.backupmediaset (media_set_id int IDENTITY PRIMARY KEY, media_uuid uniqueidentifier, media_family_count tinyint,
  name nvarchar(128), description nvarchar(255), software_name nvarchar(128), software_vendor_id int, MTF_major_version tinyint,
  mirror_count tinyint, is_password_protected bit, is_compressed bit, is_encrypted bit);
CREATE TABLE dbo.backupmediafamily (media_set_id int NOT NULL, family_sequence_number tinyint NOT NULL, media_family_id uniqueidentifier,
  media_count int, logical_device_name nvarchar(128), physical_device_name nvarchar(260), device_type tinyint, physical_block_size int,
  mirror tinyint NOT NULL);
CREATE TABLE dbo.backupfile (backup_set_id int NOT NULL, first_family_number tinyint, first_media_number smallint, filegroup_name nvarchar(128),
  file_number numeric(10,0), backed_up_page_count numeric(10,0), file_type char(1), source_file_block_size numeric(10,0), file_size numeric(20,0),
  logical_name nvarchar(128), physical_drive nvarchar(260), physical_name nvarchar(260), state tinyint, state_desc nvarchar(64),
  create_lsn numeric(25,0), drop_lsn numeric(25,0), file_guid uniqueidentifier, read_only_lsn numeric(25,0), read_write_lsn numeric(25,0),
  differential_base_lsn numeric(25,0), differential_base_guid uniqueidentifier, backup_size numeric(20,0), filegroup_guid uniqueidentifier,
  is_readonly bit, is_present bit);
CREATE TABLE dbo.restorehistory (restore_history_id int IDENTITY PRIMARY KEY, restore_date datetime, destination_database_name nvarchar(128),
  user_name nvarchar(128), backup_set_id int NOT NULL, restore_type char(1), replace bit, recovery bit, restart bit, stop_at datetime,
  device_count tinyint, stop_at_mark_name nvarchar(128), stop_before bit);
CREATE TABLE dbo.restorefile (restore_history_id int NOT NULL, file_number numeric(10,0), destination_phys_drive nvarchar(260),
  destination_phys_name nvarchar(260));
CREATE TABLE dbo.restorefilegroup (restore_history_id int NOT NULL, filegroup_name nvarchar(128));
CREATE TABLE dbo.logmarkhistory (database_name nvarchar(128) NOT NULL, mark_name nvarchar(128) NOT NULL, description nvarchar(255),
  user_name nvarchar(128), lsn numeric(25,0) NOT NULL, mark_time datetime NOT NULL);
CREATE TABLE dbo.suspect_pages (database_id int NOT NULL, file_id int NOT NULL, page_id bigint NOT NULL, event_type int NOT NULL,
  error_count int NOT NULL, last_update_date datetime NOT NULL);
";

/// How many of the last columns of `backupset` came with 2022, and whether they are there.
const NEWEST: usize = 2;
const HAS_NEWEST: &str =
    "SELECT count(*) FROM pragma_table_info('dbo.backupset') WHERE name = 'compression_algorithm'";

/// A moment as msdb keeps it: `datetime`.
#[must_use]
pub fn date(moment: DateTime<Utc>) -> String {
    moment_text(datetime_rounded(moment.naive_utc()), 3)
}

fn number(value: u64) -> String {
    crate::sqlserver::value::Decimal { unscaled: i128::from(value), scale: 0 }.kept()
}

fn guid(value: uuid::Uuid) -> String {
    value.hyphenated().to_string().to_uppercase()
}

/// Changes msdb.
fn change(
    instance: &Instance,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), SqlError> {
    let path = instance.catalog().databases.get(&MSDB).map(|msdb| msdb.data_path());
    let path = path.ok_or_else(|| SqlError::internal("msdb is not there"))?;
    files::change_unlogged(&path, &instance.guids, work).map_err(|error| {
        SqlError::new(
            3009,
            format!(
                "Could not insert a backup or restore history/detail record in the msdb database: {error}."
            ),
        )
    })
}

/// Notes the marks that a transaction left, a row a database.
///
/// # Errors
/// 3009 when msdb cannot be written.
pub fn note_marks(
    instance: &Instance,
    mark: &Mark,
    places: &[(u32, Lsn)],
    at: DateTime<Utc>,
) -> Result<(), SqlError> {
    let names: Vec<(String, Lsn)> = {
        let catalog = instance.catalog();
        let named =
            places.iter().filter_map(|(id, lsn)| Some((catalog.databases.get(id)?.name.clone(), *lsn)));
        named.collect()
    };
    change(instance, |msdb| {
        names.iter().try_for_each(|(database, lsn)| {
            let sql = "INSERT INTO \"dbo.logmarkhistory\" VALUES (?, ?, ?, ?, ?, ?)";
            let row =
                params![database, mark.name, mark.description, mark.user, lsn.decimal().kept(), date(at)];
            msdb.execute(sql, row).map(|_| ())
        })
    })
}

/// Notes a backup set and its media; the set's `backup_set_id` is found again by its GUID.
///
/// # Errors
/// 3009 when msdb cannot be written.
pub fn note_backup(
    instance: &Instance,
    media: &[MediaHeader],
    devices: &[String],
    set: &SetHeader,
) -> Result<(), SqlError> {
    change(instance, |msdb| set_id(msdb, media, devices, set).map(|_| ()))
}

/// The `backup_set_id` of a set, which is added when msdb does not know it.
fn set_id(
    msdb: &Connection,
    media: &[MediaHeader],
    devices: &[String],
    set: &SetHeader,
) -> rusqlite::Result<i64> {
    use rusqlite::OptionalExtension;
    let known = "SELECT backup_set_id FROM \"dbo.backupset\" WHERE backup_set_uuid = ?";
    if let Some(id) = msdb.query_row(known, [guid(set.guid)], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    let media_id = media_set_id(msdb, media, devices)?;
    let mut columns = set_columns(media_id, media, set);
    // Older servers' tables have not all of them.
    let there: i64 = msdb.query_row(HAS_NEWEST, [], |row| row.get(0))?;
    columns.truncate(columns.len() - if there == 0 { NEWEST } else { 0 });
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let holders = vec!["?"; names.len()].join(", ");
    let sql = format!("INSERT INTO \"dbo.backupset\" ({}) VALUES ({holders})", names.join(", "));
    msdb.execute(&sql, rusqlite::params_from_iter(columns.iter().map(|(_, value)| value)))?;
    let id = msdb.last_insert_rowid();
    for (file, size) in set.files.iter().zip(&set.file_sizes) {
        note_file(msdb, id, file, *size, set)?;
    }
    Ok(id)
}

fn media_set_id(msdb: &Connection, media: &[MediaHeader], devices: &[String]) -> rusqlite::Result<i64> {
    use rusqlite::OptionalExtension;
    let Some(first) = media.first() else { return Ok(0) };
    let known = "SELECT media_set_id FROM \"dbo.backupmediaset\" WHERE media_uuid = ?";
    if let Some(id) = msdb.query_row(known, [guid(first.media_set)], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    msdb.execute(
        "INSERT INTO \"dbo.backupmediaset\" (media_uuid, media_family_count, name, description, software_name, \
         software_vendor_id, MTF_major_version, mirror_count, is_password_protected, is_compressed, is_encrypted) \
         VALUES (?, ?, ?, ?, 'Microsoft SQL Server', 4608, 1, ?, 0, ?, ?)",
        params![
            guid(first.media_set),
            first.family_count as i64,
            first.name,
            first.description,
            first.mirrors as i64,
            first.compressed,
            first.encrypted
        ],
    )?;
    let id = msdb.last_insert_rowid();
    for (family, device) in media.iter().zip(devices) {
        msdb.execute(
            "INSERT INTO \"dbo.backupmediafamily\" VALUES (?, ?, ?, 1, NULL, ?, ?, ?, ?)",
            params![
                id,
                family.family_number as i64,
                guid(family.family),
                device,
                if is_url(device) { 9 } else { 2 },
                family.block,
                family.mirror as i64
            ],
        )?;
    }
    Ok(id)
}

fn set_columns(
    media_id: i64,
    media: &[MediaHeader],
    set: &SetHeader,
) -> Vec<(&'static str, rusqlite::types::Value)> {
    use rusqlite::types::Value::{Blob, Integer, Null, Text};
    let text = |value: &str| Text(value.to_owned());
    let maybe = |value: Option<String>| value.map_or(Null, Text);
    let bit = |value: bool| Integer(i64::from(value));
    let lsn = |value: Lsn| Text(value.decimal().kept());
    let base = set.differential_base.as_ref();
    vec![
        ("backup_set_uuid", Text(guid(set.guid))),
        ("media_set_id", Integer(media_id)),
        ("first_family_number", Integer(1)),
        ("first_media_number", Integer(1)),
        ("last_family_number", Integer(media.first().map_or(1, |media| media.family_count) as i64)),
        ("last_media_number", Integer(1)),
        ("catalog_family_number", Integer(1)),
        ("catalog_media_number", Integer(1)),
        ("position", Integer(set.position as i64)),
        ("software_vendor_id", Integer(4608)),
        ("name", maybe(set.name.clone())),
        ("description", maybe(set.description.clone())),
        ("user_name", text(&set.user)),
        ("software_major_version", Integer(set.software.0)),
        ("software_minor_version", Integer(0)),
        ("software_build_version", Integer(set.software.1)),
        ("time_zone", Integer(0)),
        ("mtf_minor_version", Integer(0)),
        ("first_lsn", lsn(set.first)),
        ("last_lsn", lsn(set.last)),
        ("checkpoint_lsn", lsn(set.checkpoint)),
        ("database_backup_lsn", lsn(set.database_backup)),
        ("database_creation_date", Text(date(set.database_created))),
        ("backup_start_date", Text(date(set.started))),
        ("backup_finish_date", Text(date(set.finished))),
        ("type", text(set.kind.shown().2)),
        ("sort_order", Integer(52)),
        ("code_page", Integer(0)),
        ("compatibility_level", Integer(set.level())),
        ("database_version", Integer(set.database_version)),
        ("backup_size", Text(number(set.size))),
        ("database_name", text(&set.database)),
        ("server_name", text(&set.server)),
        ("machine_name", text(&set.server)),
        ("flags", Integer(flags(set))),
        ("unicode_locale", Integer(1033)),
        ("unicode_compare_style", Integer(196_609)),
        ("collation_name", text(COLLATION)),
        ("is_password_protected", Integer(0)),
        ("recovery_model", text(model_shown(set.model).1)),
        ("has_bulk_logged_data", bit(set.has_bulk)),
        ("is_snapshot", Integer(0)),
        ("is_readonly", bit(set.read_only)),
        ("is_single_user", bit(set.access == Access::SingleUser)),
        ("has_backup_checksums", bit(set.has_checksums)),
        ("is_damaged", bit(set.is_damaged)),
        ("begins_log_chain", bit(set.begins_chain)),
        ("has_incomplete_metadata", Integer(0)),
        ("is_force_offline", Integer(0)),
        ("is_copy_only", bit(set.copy_only)),
        ("first_recovery_fork_guid", Text(guid(set.first_fork))),
        ("last_recovery_fork_guid", Text(guid(set.fork))),
        ("fork_point_lsn", set.fork_point.map_or(Null, lsn)),
        ("database_guid", Text(guid(set.binding))),
        ("family_guid", Text(guid(set.family))),
        ("differential_base_lsn", base.map_or(Null, |base| lsn(base.lsn))),
        ("differential_base_guid", base.map_or(Null, |base| Text(guid(base.guid)))),
        ("compressed_backup_size", Text(number(set.size))),
        ("key_algorithm", set.encrypted.as_ref().map_or(Null, |lock| text(&lock.algorithm))),
        ("encryptor_thumbprint", set.encrypted.as_ref().map_or(Null, |lock| Blob(lock.thumbprint.clone()))),
        ("encryptor_type", if set.encrypted.is_some() { text("CERTIFICATE") } else { Null }),
        ("last_valid_restore_time", set.last_valid_restore.map_or(Null, |at| Text(date(at)))),
        ("compression_algorithm", maybe(set.algorithm.clone())),
    ]
}

/// HEADERONLY's `Flags`: the bits of the documentation, and 512 and 1024 as real servers set them.
#[must_use]
pub fn flags(set: &SetHeader) -> i64 {
    let bit = |is_set: bool, bit: i64| if is_set { bit } else { 0 };
    512 + bit(set.has_bulk, 1)
        + bit(set.read_only, 4)
        + bit(set.access == Access::SingleUser, 8)
        + bit(set.has_checksums, 16)
        + bit(set.is_damaged, 32)
        + bit(set.tail, 64)
        + bit(set.tail_with_norecovery, 256)
        + bit(set.copy_only, 1024)
}

fn note_file(
    msdb: &Connection,
    set_id: i64,
    file: &DataFile,
    size: u64,
    set: &SetHeader,
) -> rusqlite::Result<()> {
    let zero = Lsn::ZERO.decimal().kept();
    let path = file.path.to_string_lossy();
    msdb.execute(
        "INSERT INTO \"dbo.backupfile\" (backup_set_id, first_family_number, first_media_number, filegroup_name, \
         file_number, backed_up_page_count, file_type, file_size, logical_name, physical_drive, physical_name, state, \
         state_desc, create_lsn, drop_lsn, file_guid, read_only_lsn, read_write_lsn, backup_size, is_readonly, is_present) \
         VALUES (?, 1, 1, ?, ?, ?, ?, ?, ?, ?, ?, 0, 'ONLINE', ?, ?, ?, ?, ?, ?, 0, 1)",
        params![
            set_id,
            (!file.is_log).then_some("PRIMARY"),
            number(u64::from(file.id)),
            number(size.div_ceil(8192)),
            if file.is_log { "L" } else { "D" },
            number(size),
            file.logical,
            folder(&path),
            path,
            zero,
            zero,
            guid(file.guid),
            zero,
            zero,
            number(if file.is_log == (set.kind == crate::sqlserver::store::media::SetKind::Log) { size } else { 0 }),
        ],
    )
    .map(|_| ())
}

/// The folder of a path as it was written, wherever that was.
fn folder(path: &str) -> &str {
    path.rfind(['/', '\\']).map_or("", |at| &path[..at.max(1)])
}

/// A restore as msdb remembers it.
#[derive(Debug, Clone)]
pub struct Restored<'a> {
    /// The database that it made or moved on.
    pub database: &'a str,
    /// Who restored.
    pub user: &'a str,
    /// With REPLACE.
    pub replace: bool,
    /// Whether the database was recovered.
    pub recovery: bool,
    /// STOPAT.
    pub stop_at: Option<String>,
    /// The mark's name, and whether to stop before it.
    pub mark: Option<(String, bool)>,
    /// The files that it has now.
    pub files: &'a [DataFile],
}

/// Notes a restore, and the set that it read.
///
/// # Errors
/// 3009 when msdb cannot be written.
pub fn note_restore(
    instance: &Instance,
    media: &[MediaHeader],
    devices: &[String],
    set: &SetHeader,
    restored: &Restored<'_>,
) -> Result<(), SqlError> {
    let at = instance.clock.now();
    let paths = instance.setup.paths();
    change(instance, |msdb| {
        let set_id = set_id(msdb, media, devices, set)?;
        msdb.execute(
            "INSERT INTO \"dbo.restorehistory\" (restore_date, destination_database_name, user_name, backup_set_id, \
             restore_type, replace, recovery, restart, stop_at, device_count, stop_at_mark_name, stop_before) \
             VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
            params![
                date(at),
                restored.database,
                restored.user,
                set_id,
                set.kind.shown().2,
                restored.replace,
                restored.recovery,
                restored.stop_at,
                devices.len() as i64,
                restored.mark.as_ref().map(|(name, _)| name),
                restored.mark.as_ref().map(|(_, before)| before),
            ],
        )?;
        let id = msdb.last_insert_rowid();
        for file in restored.files {
            let path = paths.shown(&file.path);
            let row = params![id, number(u64::from(file.id)), folder(&path), path];
            msdb.execute("INSERT INTO \"dbo.restorefile\" VALUES (?, ?, ?, ?)", row)?;
        }
        msdb.execute("INSERT INTO \"dbo.restorefilegroup\" VALUES (?, 'PRIMARY')", [id]).map(|_| ())
    })
}
