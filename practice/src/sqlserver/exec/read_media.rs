//! RESTORE HEADERONLY, FILELISTONLY, LABELONLY, VERIFYONLY. Main function: [`read`].

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::backup::terminated;
use super::databases::may_not_create;
use super::devices::{devices, open};
use super::halt::Done;
use super::history::{date, flags};
use super::output::Output;
use super::restore::position;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Body, ReadMedia, Reading};
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::store::database::{Access, COLLATION, model_shown};
use crate::sqlserver::store::lsn::Lsn;
use crate::sqlserver::store::media::{Encrypted, MediaHeader, SetHeader, SetKind, SetOnMedia};
use crate::sqlserver::tds::tokens::{Column, Command};
use crate::sqlserver::value::Value;

/// Answers a statement that only reads media.
pub fn read(session: &mut Session, read: &ReadMedia, out: &mut Output) -> Done<()> {
    let done = answer(session, read, out);
    terminated(done, &Body::ReadMedia(Box::new(read.clone())))
}

fn answer(session: &mut Session, read: &ReadMedia, out: &mut Output) -> Done<()> {
    if !session.instance.catalog().commands(&session.client.login, None) {
        return Err(may_not_create().into());
    }
    let devices = devices(session, &read.options.devices)?;
    let opened = open(devices, read.what == Reading::VerifyOnly)?;
    let Some(media) = opened.media.first() else { return Err(SqlError::internal("no device").into()) };
    match read.what {
        Reading::HeaderOnly => {
            let chosen = match &read.options.file {
                Some(_) => Some(position(session, &read.options)?),
                None => None,
            };
            if let Some(position) = chosen {
                opened.header_of(position)?;
            } else if media.sets.is_empty() {
                // An incomplete set is shown; none at all is an error.
                opened.header_of(1)?;
            }
            let sets = media
                .sets
                .iter()
                .enumerate()
                .filter(|(at, _)| chosen.is_none_or(|position| position == at + 1));
            let width = if session.instance.setup.installation().major < 16 {
                COLUMNS_BEFORE_2022
            } else {
                usize::MAX
            };
            let shown = |row: Vec<Cell>| row.into_iter().take(width).collect::<Vec<_>>();
            let rows: Vec<_> = sets.map(|(at, set)| cells(shown(header_row(set, at + 1)))).collect();
            out.rows(&columns(shown(header_cells(None, 0))), &rows, Command::RestoreRows)?;
            out.done(0, Command::RestoreHeaderOnly, 0);
        }
        Reading::FileListOnly => {
            let set = opened.set(position(session, &read.options)?)?;
            let rows: Vec<_> = (0..set.files.len()).map(|at| cells(file_row(set, at))).collect();
            let columns = columns(set.files.first().map(|_| file_row(set, 0)).unwrap_or_default());
            out.rows(&columns, &rows, Command::RestoreRows)?;
            out.done(0, Command::RestoreFileListOnly, 0);
        }
        Reading::LabelOnly => {
            let row = label_row(&media.header);
            out.rows(&columns(row.clone()), &[cells(row)], Command::RestoreRows)?;
            out.done(0, Command::RestoreHeaderOnly, 0);
        }
        Reading::VerifyOnly => {
            let position = position(session, &read.options)?;
            let set = opened.set(position)?;
            if read.options.checksum == Some(true) && !set.has_checksums {
                let text = "RESTORE WITH CHECKSUM cannot be specified because the backup set does not contain checksum information.";
                return Err(SqlError::new(3187, text).into());
            }
            opened.payload(position, set, read.options.checksum != Some(false), "")?;
            let text = format!("The backup set on file {position} is valid.");
            out.message(&SqlError::new(3262, text).class(10));
            out.done(0, Command::RestoreVerifyOnly, 0);
        }
    }
    Ok(())
}

/// A named cell with its wire type: a row carries its own columns.
type Cell = (&'static str, SqlType, Value);

fn columns(row: Vec<Cell>) -> Vec<Column> {
    row.into_iter().map(|(name, ty, _)| Column::new(name, ty)).collect()
}

fn cells(row: Vec<Cell>) -> Vec<Value> {
    row.into_iter().map(|(_, _, value)| value).collect()
}

fn text(name: &'static str, width: u16, value: Option<&str>) -> Cell {
    (
        name,
        SqlType::NVarChar(Width::Of(width)),
        value.map_or(Value::Null, |value| Value::Text(value.to_owned())),
    )
}

fn number(name: &'static str, ty: SqlType, value: i64) -> Cell {
    (name, ty, Value::Integer(value))
}

fn bit(name: &'static str, value: bool) -> Cell {
    number(name, SqlType::Bit, i64::from(value))
}

fn lsn(name: &'static str, value: Option<Lsn>) -> Cell {
    (name, SqlType::LSN, value.map_or(Value::Null, |lsn| Value::Text(lsn.decimal().kept())))
}

fn moment(name: &'static str, value: Option<DateTime<Utc>>) -> Cell {
    (name, SqlType::DateTime, value.map_or(Value::Null, |at| Value::Text(date(at))))
}

fn guid(name: &'static str, value: Option<Uuid>) -> Cell {
    let text = value.map_or(Value::Null, |guid| Value::Text(guid.hyphenated().to_string().to_uppercase()));
    (name, SqlType::UniqueIdentifier, text)
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// How many columns HEADERONLY has before 2022.
const COLUMNS_BEFORE_2022: usize = 56;

fn header_row(set: &SetOnMedia, position: usize) -> Vec<Cell> {
    let mut row = header_cells(Some(&set.header), position);
    if let (false, Some(name)) = (set.whole, row.first_mut()) {
        name.2 = Value::Text("*** INCOMPLETE ***".into());
    }
    row
}

/// The 59 columns of HEADERONLY since 2022, in their order; NULL everywhere for no set.
fn header_cells(set: Option<&SetHeader>, position: usize) -> Vec<Cell> {
    let part = |cells: Vec<Cell>| -> Vec<Cell> {
        // Without a set only names and types count.
        cells
            .into_iter()
            .map(|(name, ty, value)| (name, ty, if set.is_some() { value } else { Value::Null }))
            .collect()
    };
    let is = |test: fn(&SetHeader) -> bool| set.is_some_and(test);
    let (kind, kind_text, _) = set.map_or((0, "", ""), |set| set.kind.shown());
    let words = |of: fn(&SetHeader) -> Option<&str>| set.and_then(of);
    let place = i64::try_from(position).unwrap_or(i64::MAX);
    let head = vec![
        text("BackupName", 128, words(|set| set.name.as_deref())),
        text("BackupDescription", 255, words(|set| set.description.as_deref())),
        number("BackupType", SqlType::TinyInt, kind),
        moment("ExpirationDate", None),
        number("Compressed", SqlType::TinyInt, i64::from(is(|set| set.compressed))),
        number("Position", SqlType::SmallInt, place),
        number("DeviceType", SqlType::TinyInt, set.map_or(2, |set| set.device_type)),
        text("UserName", 128, words(|set| Some(&set.user))),
        text("ServerName", 128, words(|set| Some(&set.server))),
        text("DatabaseName", 128, words(|set| Some(&set.database))),
        number("DatabaseVersion", SqlType::Int, set.map_or(0, |set| set.database_version)),
        moment("DatabaseCreationDate", set.map(|set| set.database_created)),
        number("BackupSize", SqlType::BigInt, set.map_or(0, |set| size(set.size))),
        lsn("FirstLSN", set.map(|set| set.first)),
        lsn("LastLSN", set.map(|set| set.last)),
        lsn("CheckpointLSN", set.map(|set| set.checkpoint)),
        lsn("DatabaseBackupLSN", set.map(|set| set.database_backup)),
        moment("BackupStartDate", set.map(|set| set.started)),
        moment("BackupFinishDate", set.map(|set| set.finished)),
        number("SortOrder", SqlType::SmallInt, 52),
        number("CodePage", SqlType::SmallInt, 0),
        number("UnicodeLocaleId", SqlType::Int, 1033),
        number("UnicodeComparisonStyle", SqlType::Int, 196_609),
        number("CompatibilityLevel", SqlType::TinyInt, set.map_or(0, SetHeader::level)),
        number("SoftwareVendorId", SqlType::Int, 4608),
        number("SoftwareVersionMajor", SqlType::Int, set.map_or(0, |set| set.software.0)),
        number("SoftwareVersionMinor", SqlType::Int, 0),
        number("SoftwareVersionBuild", SqlType::Int, set.map_or(0, |set| set.software.1)),
        text("MachineName", 128, words(|set| Some(&set.server))),
        number("Flags", SqlType::Int, set.map_or(0, flags)),
    ];
    let tail = vec![
        guid("BindingID", set.map(|set| set.binding)),
        guid("RecoveryForkID", set.map(|set| set.fork)),
        text("Collation", 128, Some(COLLATION)),
        guid("FamilyGUID", set.map(|set| set.family)),
        bit("HasBulkLoggedData", is(|set| set.has_bulk)),
        bit("IsSnapshot", false),
        bit("IsReadOnly", is(|set| set.read_only)),
        bit("IsSingleUser", is(|set| set.access == Access::SingleUser)),
        bit("HasBackupChecksums", is(|set| set.has_checksums)),
        bit("IsDamaged", is(|set| set.is_damaged)),
        bit("BeginsLogChain", is(|set| set.begins_chain)),
        bit("HasIncompleteMetaData", false),
        bit("IsForceOffline", false),
        bit("IsCopyOnly", is(|set| set.copy_only)),
        guid("FirstRecoveryForkID", set.map(|set| set.first_fork)),
        lsn("ForkPointLSN", set.and_then(|set| set.fork_point)),
        text("RecoveryModel", 60, set.map(|set| model_shown(set.model).1)),
        lsn("DifferentialBaseLSN", set.and_then(|set| set.differential_base.as_ref()).map(|base| base.lsn)),
        guid(
            "DifferentialBaseGUID",
            set.and_then(|set| set.differential_base.as_ref()).map(|base| base.guid),
        ),
        text("BackupTypeDescription", 128, Some(kind_text)),
        guid("BackupSetGUID", set.map(|set| set.guid)),
        number("CompressedBackupSize", SqlType::BigInt, set.map_or(0, |set| size(set.size))),
        number("Containment", SqlType::TinyInt, 0),
    ];
    let newest = vec![
        moment("LastValidRestoreTime", set.and_then(|set| set.last_valid_restore)),
        number("TimeZone", SqlType::SmallInt, 0),
        text("CompressionAlgorithm", 32, words(|set| set.algorithm.as_deref())),
    ];
    part([head, tail, key_cells(set.and_then(|set| set.encrypted.as_ref())), newest].concat())
}

/// What a set is encrypted with.
fn key_cells(lock: Option<&Encrypted>) -> Vec<Cell> {
    vec![
        text("KeyAlgorithm", 32, lock.map(|lock| lock.algorithm.as_str())),
        (
            "EncryptorThumbprint",
            SqlType::VarBinary(Width::Of(20)),
            lock.map_or(Value::Null, |lock| Value::Blob(lock.thumbprint.clone())),
        ),
        text("EncryptorType", 32, lock.map(|_| "CERTIFICATE")),
    ]
}

/// FILELISTONLY's 22 columns for one file.
fn file_row(set: &SetHeader, at: usize) -> Vec<Cell> {
    let Some(file) = set.files.get(at) else { return Vec::new() };
    let bytes = set.file_sizes.get(at).copied().unwrap_or(0);
    // What a restore allocates: whole extents, and no log is smaller than a MiB.
    let allocated = bytes.max(1 << 20).next_multiple_of(1 << 16);
    let base = set.differential_base.as_ref();
    let letter = if file.is_log { "L" } else { "D" };
    let is_in_set = file.is_log == (set.kind == SetKind::Log);
    vec![
        text("LogicalName", 128, Some(&file.logical)),
        text("PhysicalName", 260, Some(&file.path.to_string_lossy())),
        ("Type", SqlType::NChar(1), Value::Text(letter.into())),
        text("FileGroupName", 128, (!file.is_log).then_some("PRIMARY")),
        number("Size", SqlType::BigInt, size(allocated)),
        number("MaxSize", SqlType::BigInt, if file.is_log { 2_199_023_255_552 } else { 35_184_372_080_640 }),
        number("FileId", SqlType::BigInt, i64::from(file.id)),
        lsn("CreateLSN", Some(Lsn::ZERO)),
        lsn("DropLSN", Some(Lsn::ZERO)),
        guid("UniqueId", Some(file.guid)),
        lsn("ReadOnlyLSN", Some(Lsn::ZERO)),
        lsn("ReadWriteLSN", Some(Lsn::ZERO)),
        number("BackupSizeInBytes", SqlType::BigInt, if is_in_set { size(set.size) } else { 0 }),
        number("SourceBlockSize", SqlType::Int, 4096),
        number("FileGroupId", SqlType::Int, i64::from(!file.is_log)),
        guid("LogGroupGUID", None),
        lsn("DifferentialBaseLSN", base.map(|base| base.lsn).or(Some(Lsn::ZERO))),
        guid("DifferentialBaseGUID", Some(base.map_or(Uuid::nil(), |base| base.guid))),
        bit("IsReadOnly", false),
        bit("IsPresent", true),
        ("TDEThumbprint", SqlType::VarBinary(Width::Of(20)), Value::Null),
        text("SnapshotUrl", 336, None),
    ]
}

/// LABELONLY's columns.
fn label_row(media: &MediaHeader) -> Vec<Cell> {
    let count = |name, value: usize| number(name, SqlType::Int, i64::try_from(value).unwrap_or(i64::MAX));
    vec![
        text("MediaName", 128, media.name.as_deref()),
        guid("MediaSetId", Some(media.media_set)),
        count("FamilyCount", media.family_count),
        count("FamilySequenceNumber", media.family_number),
        guid("MediaFamilyId", Some(media.family)),
        count("MediaSequenceNumber", 1),
        number("MediaLabelPresent", SqlType::TinyInt, 0),
        text("MediaDescription", 255, media.description.as_deref()),
        text("SoftwareName", 128, Some("Microsoft SQL Server")),
        number("SoftwareVendorId", SqlType::Int, 4608),
        moment("MediaDate", Some(media.made)),
        count("Mirror_Count", media.mirrors),
        bit("IsCompressed", media.compressed),
    ]
}
