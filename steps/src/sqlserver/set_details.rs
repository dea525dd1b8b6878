//! Everything that a server tells of a backup set, in msdb or in the file's own header, under one name each: [`SET`], [`details`],
//! [`differences`].

use drydock_recovery::backup::clock;
use drydock_step::{Field, Shape, StepError};
use serde_json::{Map, Value, json};

use super::answer::Row;
use super::server::ServerFacts;

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum As {
    Text,
    Number,
    Flag,
    Lsn,
    Guid,
    Time,
    Hex,
}

/// Which source a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// `msdb.dbo.backupset`.
    Msdb,
    /// RESTORE HEADERONLY.
    Header,
}

/// The name here, the column in msdb, the one of HEADERONLY, and how it is read.
const COLUMNS: &[(&str, &str, &str, As)] = &[
    ("name", "name", "BackupName", As::Text),
    ("description", "description", "BackupDescription", As::Text),
    ("user_name", "user_name", "UserName", As::Text),
    ("server_name", "server_name", "ServerName", As::Text),
    ("machine_name", "machine_name", "MachineName", As::Text),
    ("database_name", "database_name", "DatabaseName", As::Text),
    ("position", "position", "Position", As::Number),
    ("backup_set_guid", "backup_set_uuid", "BackupSetGUID", As::Guid),
    ("binding_guid", "database_guid", "BindingID", As::Guid),
    ("family_guid", "family_guid", "FamilyGUID", As::Guid),
    ("first_recovery_fork_id", "first_recovery_fork_guid", "FirstRecoveryForkID", As::Guid),
    ("recovery_fork_id", "last_recovery_fork_guid", "RecoveryForkID", As::Guid),
    ("differential_base_guid", "differential_base_guid", "DifferentialBaseGUID", As::Guid),
    ("first_lsn", "first_lsn", "FirstLSN", As::Lsn),
    ("last_lsn", "last_lsn", "LastLSN", As::Lsn),
    ("checkpoint_lsn", "checkpoint_lsn", "CheckpointLSN", As::Lsn),
    ("database_backup_lsn", "database_backup_lsn", "DatabaseBackupLSN", As::Lsn),
    ("differential_base_lsn", "differential_base_lsn", "DifferentialBaseLSN", As::Lsn),
    ("fork_point_lsn", "fork_point_lsn", "ForkPointLSN", As::Lsn),
    ("database_created_at", "database_creation_date", "DatabaseCreationDate", As::Time),
    ("started_at", "backup_start_date", "BackupStartDate", As::Time),
    ("finished_at", "backup_finish_date", "BackupFinishDate", As::Time),
    ("last_valid_restore_time", "last_valid_restore_time", "LastValidRestoreTime", As::Time),
    ("expires_at", "expiration_date", "ExpirationDate", As::Time),
    ("size", "backup_size", "BackupSize", As::Number),
    ("compressed_size", "compressed_backup_size", "CompressedBackupSize", As::Number),
    ("compression_algorithm", "compression_algorithm", "CompressionAlgorithm", As::Text),
    ("key_algorithm", "key_algorithm", "KeyAlgorithm", As::Text),
    ("encryptor_thumbprint", "encryptor_thumbprint", "EncryptorThumbprint", As::Hex),
    ("encryptor_type", "encryptor_type", "EncryptorType", As::Text),
    ("flags", "flags", "Flags", As::Number),
    ("recovery_model", "recovery_model", "RecoveryModel", As::Text),
    ("collation", "collation_name", "Collation", As::Text),
    ("compatibility_level", "compatibility_level", "CompatibilityLevel", As::Number),
    ("database_version", "database_version", "DatabaseVersion", As::Number),
    ("time_zone", "time_zone", "TimeZone", As::Number),
    ("has_checksums", "has_backup_checksums", "HasBackupChecksums", As::Flag),
    ("has_bulk_logged_data", "has_bulk_logged_data", "HasBulkLoggedData", As::Flag),
    ("has_incomplete_metadata", "has_incomplete_metadata", "HasIncompleteMetaData", As::Flag),
    ("begins_log_chain", "begins_log_chain", "BeginsLogChain", As::Flag),
    ("is_copy_only", "is_copy_only", "IsCopyOnly", As::Flag),
    ("is_damaged", "is_damaged", "IsDamaged", As::Flag),
    ("is_snapshot", "is_snapshot", "IsSnapshot", As::Flag),
    ("is_read_only", "is_readonly", "IsReadOnly", As::Flag),
    ("is_single_user", "is_single_user", "IsSingleUser", As::Flag),
    ("is_force_offline", "is_force_offline", "IsForceOffline", As::Flag),
];

const fn text(name: &'static str, doc: &'static str) -> Field {
    Field::optional(name, Shape::Text, doc)
}

const fn lsn(name: &'static str, doc: &'static str) -> Field {
    Field::optional(name, Shape::Decimal, doc)
}

const fn time(name: &'static str, doc: &'static str) -> Field {
    Field::optional(name, Shape::Datetime, doc)
}

const fn number(name: &'static str, doc: &'static str) -> Field {
    Field::optional(name, Shape::Integer, doc)
}

const fn flag(name: &'static str, doc: &'static str) -> Field {
    Field::optional(name, Shape::Boolean, doc)
}

/// The keys of a set. What its server does not tell is null.
pub(super) const SET: &[Field] = &[
    text("name", "Its name."),
    text("description", "Its description."),
    text("user_name", "The login that took it."),
    text("server_name", "The server that took it."),
    text("machine_name", "The machine that the server ran on."),
    text("database_name", "The database's name then."),
    number("position", "Which set of its media it is, from 1."),
    text("backup_set_guid", "The set's identity."),
    text("binding_guid", "Of the database; each restore draws a new one."),
    text("family_guid", "The database's family; it stays through every restore."),
    text("first_recovery_fork_id", "The recovery fork that it begins on."),
    text("recovery_fork_id", "The recovery fork that it ends on."),
    text("differential_base_guid", "Of a differential: the set that is its base."),
    lsn("first_lsn", "The first position of the log that it holds."),
    lsn("last_lsn", "The position after the last."),
    lsn("checkpoint_lsn", "Its checkpoint."),
    lsn("database_backup_lsn", "The checkpoint of the last full backup before it."),
    lsn("differential_base_lsn", "Of a differential: the checkpoint of its base."),
    lsn("fork_point_lsn", "Where the one fork left the other."),
    time("database_created_at", "When the database was created."),
    time("started_at", "When it began."),
    time("finished_at", "When it ended."),
    time("last_valid_restore_time", "The last moment that it leads to; since SQL Server 2022."),
    time("expires_at", "Until when it must not be written over."),
    number("size", "Bytes before compression."),
    number("compressed_size", "Bytes as written."),
    text("compression_algorithm", "How it is compressed; since SQL Server 2022."),
    text("key_algorithm", "How it is encrypted."),
    text("encryptor_thumbprint", "The certificate that it is encrypted with."),
    text("encryptor_type", "What encrypts it: `CERTIFICATE` or `ASYMMETRIC_KEY`."),
    number("flags", "The header's flags, as a number."),
    text("recovery_model", "`FULL`, `BULK-LOGGED` or `SIMPLE`."),
    text("collation", "The database's collation."),
    number("compatibility_level", "The database's level of compatibility."),
    number("database_version", "The version of the database's structures."),
    number("time_zone", "The server's offset from UTC in quarters of an hour; 127 is unknown."),
    flag("has_checksums", "Whether it has checksums."),
    flag("has_bulk_logged_data", "Whether a log can only be restored whole."),
    flag("has_incomplete_metadata", "Whether it is the tail of a database whose metadata could not be read."),
    flag("begins_log_chain", "Whether it is the first log since the chain was begun."),
    flag("is_copy_only", "Whether it lies outside of the sequence."),
    flag("is_damaged", "Whether damage was found while it was written."),
    flag("is_snapshot", "Whether it was taken of a frozen database."),
    flag("is_read_only", "Whether the database was read-only."),
    flag("is_single_user", "Whether the database had a single user."),
    flag("is_force_offline", "Whether the database was taken offline by it."),
    text("software_version", "The server's version, such as `16.0.4236`."),
];

/// What a row tells of a set.
///
/// # Errors
/// `sqlserver.answer`, for a value of another type.
pub(super) fn details(row: Row<'_>, source: Source, facts: &ServerFacts) -> Result<Value, StepError> {
    let of = |msdb: &'static str, header: &'static str| if source == Source::Msdb { msdb } else { header };
    let zone = row.number(of("time_zone", "TimeZone"))?;
    let mut found = Map::new();
    for (name, msdb, header, reads) in COLUMNS {
        let column = of(msdb, header);
        let value = match reads {
            As::Text => row.text(column)?.map_or(Value::Null, Value::from),
            As::Number => row.number(column)?.map_or(Value::Null, Value::from),
            As::Flag => row.number(column)?.map_or(Value::Null, |flag| Value::from(flag != 0)),
            As::Lsn => row.lsn(column)?.map_or(Value::Null, |lsn| lsn.to_string().into()),
            As::Hex => row.hex(column)?.map_or(Value::Null, Value::from),
            As::Guid => {
                let guid = row.guid(column)?.filter(|guid| !guid.is_nil());
                guid.map_or(Value::Null, |guid| guid.to_string().into())
            }
            As::Time => row.time(column)?.map_or(Value::Null, |time| clock(facts.utc(time, zone)).into()),
        };
        found.insert((*name).to_owned(), value);
    }
    let part = |msdb, header| row.number(of(msdb, header));
    let version = [
        part("software_major_version", "SoftwareVersionMajor")?,
        part("software_minor_version", "SoftwareVersionMinor")?,
        part("software_build_version", "SoftwareVersionBuild")?,
    ];
    let version = match version {
        [Some(major), Some(minor), Some(build)] => json!(format!("{major}.{minor}.{build}")),
        _ => Value::Null,
    };
    found.insert("software_version".to_owned(), version);
    Ok(Value::Object(found))
}

/// What is told elsewhere than where the set lies, or by other rules.
const NOT_COMPARED: &[&str] = &["compressed_size", "flags", "expires_at", "time_zone", "database_created_at"];

/// Where a header says something else than what was recorded, a line each. What only one of them tells is no difference.
pub(super) fn differences(recorded: &Map<String, Value>, header: &Map<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, expected) in recorded {
        let Some(found) = header.get(name).filter(|found| !found.is_null() && !expected.is_null()) else {
            continue;
        };
        if found != expected && !NOT_COMPARED.contains(&name.as_str()) {
            lines.push(format!("`{name}` is {found} in the file's header and {expected} by the record"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_described() {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        let described: Vec<&str> = SET.iter().map(|field| field.name).collect();
        assert_eq!(described[..names.len()], names);
        assert_eq!(described[names.len()..], ["software_version"]);
    }

    #[test]
    fn each_difference_is_named_and_what_is_unknown_is_none() {
        let map = |value: Value| match value {
            Value::Object(map) => map,
            _ => unreachable!(),
        };
        let recorded =
            map(json!({ "last_lsn": "30", "name": "a", "flags": 1, "collation": null, "size": 5 }));
        let header =
            map(json!({ "last_lsn": "31", "name": "a", "flags": 2, "collation": "x", "first_lsn": "1" }));
        assert_eq!(
            differences(&recorded, &header),
            ["`last_lsn` is \"31\" in the file's header and \"30\" by the record"]
        );
    }
}
