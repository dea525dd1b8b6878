//! A backup set as the server tells of it, in msdb or in the file's own header: [`Recorded`].

use drydock_recovery::backup::{Backup, BackupType};
use drydock_recovery::guid::Guid;
use drydock_step::StepError;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Row, present};
use super::media::header_only;
use super::paths::ServerPath;
use super::server::ServerFacts;
use super::session::Session;
use super::set_details::{Source, details};
use super::sql::{Identifier, quoted};

/// A backup set and what an entry of a history does not say of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recorded {
    /// The entry.
    pub(super) backup: Backup,
    /// Bytes before compression.
    pub(super) size: i64,
    /// Bytes as written.
    pub(super) compressed_size: i64,
    /// Whether it was written WITH CHECKSUM.
    pub(super) has_checksums: bool,
    /// The certificate that it is encrypted with.
    pub(super) encryptor_thumbprint: Option<String>,
    /// Everything that its source tells, as [`SET`](super::set_details::SET) names it.
    pub(super) set: Value,
    /// Its devices; none by a header, which does not know them.
    pub(super) devices: Vec<DeviceOf>,
}

/// How a source names its columns. Those that both name alike, but for the case of letters and underscores, are read by one name.
struct Columns {
    guid: &'static str,
    server: &'static str,
    size: &'static str,
    started: &'static str,
    finished: &'static str,
    fork: &'static str,
    first_fork: &'static str,
    zone: &'static str,
    major: &'static str,
    copy_only: &'static str,
    damaged: &'static str,
    bulk_logged: &'static str,
    checksums: &'static str,
    /// Column names here have underscores.
    snake: bool,
}

const MSDB: Columns = Columns {
    guid: "backup_set_uuid",
    server: "server_name",
    size: "backup_size",
    started: "backup_start_date",
    finished: "backup_finish_date",
    fork: "last_recovery_fork_guid",
    first_fork: "first_recovery_fork_guid",
    zone: "time_zone",
    major: "software_major_version",
    copy_only: "is_copy_only",
    damaged: "is_damaged",
    bulk_logged: "has_bulk_logged_data",
    checksums: "has_backup_checksums",
    snake: true,
};

const HEADER: Columns = Columns {
    guid: "BackupSetGUID",
    server: "ServerName",
    size: "BackupSize",
    started: "BackupStartDate",
    finished: "BackupFinishDate",
    fork: "RecoveryForkID",
    first_fork: "FirstRecoveryForkID",
    zone: "TimeZone",
    major: "SoftwareVersionMajor",
    copy_only: "IsCopyOnly",
    damaged: "IsDamaged",
    bulk_logged: "HasBulkLoggedData",
    checksums: "HasBackupChecksums",
    snake: false,
};

/// The newest set of this name. All columns, since older servers have fewer.
fn in_msdb(database: &Identifier, name: &str) -> String {
    format!(
        "SELECT TOP (1) bs.* FROM msdb.dbo.backupset AS bs WHERE bs.database_name = {} AND bs.name = {} ORDER BY bs.backup_set_id DESC",
        database.quoted(),
        quoted(name)
    )
}

fn media_of(media_set: i64) -> String {
    format!(
        "SELECT physical_device_name, family_sequence_number, mirror, device_type, physical_block_size FROM msdb.dbo.backupmediafamily \
         WHERE media_set_id = {media_set} ORDER BY mirror, family_sequence_number"
    )
}

/// A device of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct DeviceOf {
    /// Its path or URL, as the server names it.
    pub(super) path: String,
    /// Which stripe it is, from 1.
    pub(super) stripe: i64,
    /// Which copy it belongs to, 0 for the first.
    pub(super) mirror: i64,
    /// `disk`, `url` or the server's number of another kind.
    pub(super) kind: String,
    /// Bytes a block.
    pub(super) block_size: Option<i64>,
}

impl DeviceOf {
    fn of(row: Row<'_>) -> Result<Self, StepError> {
        let kind = match row.number("device_type")?.map(|kind| kind % 100) {
            Some(2) => "disk".to_owned(),
            Some(9) => "url".to_owned(),
            other => other.map_or_else(String::new, |number| number.to_string()),
        };
        Ok(Self {
            path: present(row.text("physical_device_name")?, "physical_device_name")?.to_owned(),
            stripe: row.number("family_sequence_number")?.unwrap_or(1),
            mirror: row.number("mirror")?.unwrap_or(0),
            kind,
            block_size: row.number("physical_block_size")?,
        })
    }
}

impl Recorded {
    /// The newest set of a database that bears this name, as msdb of the server that made it knows it.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn named(
        session: &Session,
        facts: &ServerFacts,
        database: &Identifier,
        name: &str,
    ) -> Result<Option<Self>, StepError> {
        let answer = session.ask("looking into the backup history", &in_msdb(database, name)).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        let media_set = present(row.number("media_set_id")?, "media_set_id")?;
        let media = session.ask("looking for a backup's media", &media_of(media_set)).await?;
        let devices = media.rows().map(DeviceOf::of).collect::<Result<Vec<_>, _>>()?;
        let first = devices.iter().filter(|device| device.mirror == 0);
        let media = first.map(|device| device.path.clone()).collect();
        let recorded = Self::read(row, &MSDB, media, facts)?;
        Ok(Some(Self { devices, ..recorded }))
    }

    /// A row of `msdb.dbo.backupset` with the media of its first copy.
    ///
    /// # Errors
    /// `sqlserver.answer`.
    pub(super) fn of_msdb(row: Row<'_>, media: Vec<String>, facts: &ServerFacts) -> Result<Self, StepError> {
        Self::read(row, &MSDB, media, facts)
    }

    /// Every set in these media, by its own header.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn all_in_media(
        session: &Session,
        facts: &ServerFacts,
        paths: &[ServerPath],
    ) -> Result<Vec<Self>, StepError> {
        let media: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let doing = format!("reading the headers of {}", media.join(", "));
        let answer = session.ask_long(&doing, &header_only(paths)).await?;
        answer.rows().map(|row| Self::read(row, &HEADER, media.clone(), facts)).collect()
    }

    /// The set at this position of these media, by its own header.
    ///
    /// # Errors
    /// What the server says; `sqlserver.3287` when there is no set at this position.
    pub(super) async fn in_media(
        session: &Session,
        facts: &ServerFacts,
        paths: &[ServerPath],
        position: u32,
    ) -> Result<Self, StepError> {
        let media: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let doing = format!("reading the headers of {}", media.join(", "));
        let answer = session.ask_long(&doing, &header_only(paths)).await?;
        for row in answer.rows() {
            if row.number("Position")? == Some(i64::from(position)) {
                return Self::read(row, &HEADER, media, facts);
            }
        }
        // The number that the server itself has for this, so that a plan needs to know one alone.
        Err(StepError::new(
            "sqlserver.3287",
            format!("{doing}: there is no backup set at position {position}"),
        ))
    }

    fn read(
        row: Row<'_>,
        columns: &Columns,
        media: Vec<String>,
        facts: &ServerFacts,
    ) -> Result<Self, StepError> {
        let spelled = |snake: &'static str, camel: &'static str| if columns.snake { snake } else { camel };
        let lsn = |snake, camel| row.lsn(spelled(snake, camel));
        let zone = row.number(columns.zone)?;
        let time = |column| Ok::<_, StepError>(facts.utc(present(row.time(column)?, column)?, zone));
        let flag = |column| Ok::<_, StepError>(row.number(column)?.map(|number| number != 0));
        let small = |number: Option<i64>| number.and_then(|number| u8::try_from(number).ok());
        let size = present(row.number(columns.size)?, columns.size)?;
        let known = |guid: Option<Guid>| guid.filter(|guid| !guid.is_nil());
        let backup = Backup {
            server: present(row.text(columns.server)?, columns.server)?.to_owned(),
            availability_group: None,
            database: present(row.text(spelled("database_name", "DatabaseName"))?, "database_name")?
                .to_owned(),
            kind: if columns.snake { kind_in_msdb(row)? } else { kind_in_header(row)? },
            copy_only: row.flag(columns.copy_only)?,
            position: u32::try_from(present(row.number("position")?, "position")?).unwrap_or(1),
            backup_set_guid: present(row.guid(columns.guid)?, columns.guid)?,
            first_lsn: present(lsn("first_lsn", "FirstLSN")?, "first_lsn")?,
            last_lsn: present(lsn("last_lsn", "LastLSN")?, "last_lsn")?,
            checkpoint_lsn: lsn("checkpoint_lsn", "CheckpointLSN")?,
            database_backup_lsn: lsn("database_backup_lsn", "DatabaseBackupLSN")?,
            differential_base_lsn: lsn("differential_base_lsn", "DifferentialBaseLSN")?,
            first_recovery_fork_id: known(row.guid(columns.first_fork)?),
            recovery_fork_id: known(row.guid(columns.fork)?),
            started_at: time(columns.started)?,
            finished_at: time(columns.finished)?,
            media_count: u32::try_from(media.len()).ok(),
            media,
            differential_base_guid: known(
                row.guid(spelled("differential_base_guid", "DifferentialBaseGUID"))?,
            ),
            family_guid: known(row.guid(spelled("family_guid", "FamilyGUID"))?),
            fork_point_lsn: lsn("fork_point_lsn", "ForkPointLSN")?,
            has_bulk_logged_data: flag(columns.bulk_logged)?,
            is_damaged: flag(columns.damaged)?,
            recovery_model: row.text(spelled("recovery_model", "RecoveryModel"))?.map(str::to_owned),
            time_zone: zone.and_then(|zone| i16::try_from(zone).ok()),
            software_major: small(row.number(columns.major)?),
        };
        Ok(Self {
            backup,
            size,
            compressed_size: row
                .number(spelled("compressed_backup_size", "CompressedBackupSize"))?
                .unwrap_or(size),
            has_checksums: row.flag(columns.checksums)?,
            encryptor_thumbprint: row.hex(spelled("encryptor_thumbprint", "EncryptorThumbprint"))?,
            set: details(row, if columns.snake { Source::Msdb } else { Source::Header }, facts)?,
            devices: Vec::new(),
        })
    }

    /// The entry with what else the header says.
    ///
    /// # Errors
    /// `internal`, never for what a server answered.
    pub(super) fn header(&self) -> Result<Value, StepError> {
        let entry = serde_json::to_value(&self.backup);
        let entry = entry.map_err(|error| StepError::internal(format!("a backup is no JSON: {error}")))?;
        Ok(json!({
            "backup": entry,
            "size": self.size,
            "compressed_size": self.compressed_size,
            "has_checksums": self.has_checksums,
            "encryptor_thumbprint": self.encryptor_thumbprint,
        }))
    }
}

fn kind_in_msdb(row: Row<'_>) -> Result<BackupType, StepError> {
    Ok(match present(row.text("type")?, "type")? {
        "D" => BackupType::Full,
        "I" => BackupType::Differential,
        "L" => BackupType::Log,
        other => BackupType::Other(other.to_owned()),
    })
}

/// The number and not the description: its spelling differs between versions.
fn kind_in_header(row: Row<'_>) -> Result<BackupType, StepError> {
    Ok(match present(row.number("BackupType")?, "BackupType")? {
        1 => BackupType::Full,
        5 => BackupType::Differential,
        2 => BackupType::Log,
        other => BackupType::Other(other.to_string()),
    })
}
