//! [`History`]: every backup that is known, read from the JSON array of `drydock chain --history`.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Time;
use crate::backup::{Backup, BackupType};
use crate::guid::Guid;
use crate::lsn::Lsn;

/// Backups in no particular order, of one or several databases.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct History {
    backups: Vec<Backup>,
}

/// Why a text is not a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Not JSON at all, or a field twice.
    #[error("the history cannot be read: {message}")]
    NotJson {
        /// What the JSON reader says, with line and column.
        message: String,
    },
    /// JSON, but no array.
    #[error("a history is a JSON array of backups; this is {found}")]
    NotAnArray {
        /// What it is instead.
        found: &'static str,
    },
    /// Entries that are no backups: everything wrong with every one.
    #[error("{}", listed(.0))]
    Entries(Vec<EntryError>),
}

/// One thing wrong with one entry of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryError {
    /// The entry's index, from 0.
    pub index: usize,
    /// The field, or nothing where the entry itself is wrong.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "[{}].{field}: {}", self.index, self.message),
            None => write!(f, "[{}]: {}", self.index, self.message),
        }
    }
}

fn listed(errors: &[EntryError]) -> String {
    let lines: Vec<String> = errors.iter().map(EntryError::to_string).collect();
    format!("the history has {} wrong:\n{}", plural(errors.len(), "field"), lines.join("\n"))
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

impl From<Vec<Backup>> for History {
    fn from(backups: Vec<Backup>) -> History {
        History { backups }
    }
}

impl History {
    /// The history that a JSON text holds.
    ///
    /// # Errors
    /// Everything that is wrong with any entry, each with its index and field.
    pub fn parse(text: &str) -> Result<History, HistoryError> {
        // A sound history is read in one pass; only a broken one is read again, field by field, to say all that is wrong.
        let first_error = match serde_json::from_str::<Vec<Backup>>(text) {
            Ok(backups) => return Ok(History { backups }),
            Err(error) => error,
        };
        let not_json = |error: serde_json::Error| HistoryError::NotJson { message: error.to_string() };
        match serde_json::from_str::<Value>(text).map_err(not_json)? {
            Value::Array(entries) => {
                let errors: Vec<EntryError> = entries
                    .iter()
                    .enumerate()
                    .flat_map(|(index, entry)| entry_errors(index, entry))
                    .collect();
                if errors.is_empty() {
                    Err(not_json(first_error))
                } else {
                    Err(HistoryError::Entries(errors))
                }
            }
            other => Err(HistoryError::NotAnArray { found: name_of(&other) }),
        }
    }

    /// The backups as they were read.
    pub fn backups(&self) -> &[Backup] {
        &self.backups
    }
}

type Check = fn(&Value) -> Result<(), String>;

/// The fields of an entry, whether they must be there, and what reads them.
const FIELDS: &[(&str, bool, Check)] = &[
    ("server", true, reads::<String>),
    ("availability_group", false, reads::<Option<String>>),
    ("database", true, reads::<String>),
    ("type", true, reads::<BackupType>),
    ("copy_only", true, reads::<bool>),
    ("position", true, reads::<u32>),
    ("backup_set_guid", true, reads::<Guid>),
    ("first_lsn", true, reads::<Lsn>),
    ("last_lsn", true, reads::<Lsn>),
    ("checkpoint_lsn", false, reads::<Option<Lsn>>),
    ("database_backup_lsn", false, reads::<Option<Lsn>>),
    ("differential_base_lsn", false, reads::<Option<Lsn>>),
    ("first_recovery_fork_id", false, reads::<Option<Guid>>),
    ("recovery_fork_id", false, reads::<Option<Guid>>),
    ("started_at", true, reads_time),
    ("finished_at", true, reads_time),
    ("media", true, reads::<Vec<String>>),
    ("differential_base_guid", false, reads::<Option<Guid>>),
    ("family_guid", false, reads::<Option<Guid>>),
    ("fork_point_lsn", false, reads::<Option<Lsn>>),
    ("has_bulk_logged_data", false, reads::<Option<bool>>),
    ("is_damaged", false, reads::<Option<bool>>),
    ("recovery_model", false, reads::<Option<String>>),
    ("time_zone", false, reads::<Option<i16>>),
    ("software_major", false, reads::<Option<u8>>),
    ("media_count", false, reads::<Option<u32>>),
];

fn reads<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
    T::deserialize(value).map(|_| ()).map_err(|error| error.to_string())
}

fn reads_time(value: &Value) -> Result<(), String> {
    let Value::String(text) = value else {
        return Err(format!("{} is not a time; write RFC 3339, as 2026-07-14T03:15:00Z", name_of(value)));
    };
    reads::<Time>(value).map_err(|_| {
        let zoneless = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok();
        if zoneless {
            format!("{text:?} has no zone; write {text}Z for UTC, or the server's offset as {text}+02:00")
        } else {
            format!("{text:?} is not an RFC 3339 time, as 2026-07-14T03:15:00Z")
        }
    })
}

fn entry_errors(index: usize, entry: &Value) -> Vec<EntryError> {
    let Value::Object(fields) = entry else {
        let message = format!("a backup is an object; this is {}", name_of(entry));
        return vec![EntryError { index, field: None, message }];
    };
    FIELDS
        .iter()
        .filter_map(|(name, required, check)| {
            let message = field_error(fields, name, *required, *check)?;
            Some(EntryError { index, field: Some(name), message })
        })
        .collect()
}

fn field_error(fields: &Map<String, Value>, name: &str, required: bool, check: Check) -> Option<String> {
    match fields.get(name) {
        None | Some(Value::Null) if !required => None,
        None => Some("is missing".to_owned()),
        Some(value) => check(value).err(),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"server":"s","database":"d","type":"full","copy_only":false,"position":1,
        "backup_set_guid":"a","first_lsn":"1","last_lsn":2,"started_at":"2026-01-01T01:00:00+02:00",
        "finished_at":"2026-01-01T00:00:00Z","media":["x"],"shoe_size":43}"#;

    fn check(text: &str, expected: &str) {
        let found = History::parse(text).expect_err("the text is no history").to_string();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_sound_entry_is_read_with_offsets_and_unknown_fields() {
        let history = History::parse(&format!("[{ENTRY}]")).expect("a sound entry");
        let backup = &history.backups()[0];
        assert_eq!(crate::backup::clock(backup.started_at), "2025-12-31T23:00:00Z");
        assert_eq!((backup.last_lsn, backup.checkpoint_lsn), (Lsn::from(2), None));
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_its_place() {
        check(
            r#"[{"server":"s","database":7,"type":"full","copy_only":"no","position":1,"backup_set_guid":"a",
                "first_lsn":"12x","last_lsn":null,"started_at":"2026-01-01T00:00:00","finished_at":"noon","media":"x"}, 3]"#,
            "the history has 8 fields wrong:\n\
             [0].database: invalid type: integer `7`, expected a string\n\
             [0].copy_only: invalid type: string \"no\", expected a boolean\n\
             [0].first_lsn: \"12x\" is not an LSN: 'x' at character 3 is not a decimal digit\n\
             [0].last_lsn: invalid type: null, expected an LSN as decimal text\n\
             [0].started_at: \"2026-01-01T00:00:00\" has no zone; write 2026-01-01T00:00:00Z for UTC, or the server's offset as 2026-01-01T00:00:00+02:00\n\
             [0].finished_at: \"noon\" is not an RFC 3339 time, as 2026-07-14T03:15:00Z\n\
             [0].media: invalid type: string \"x\", expected a sequence\n\
             [1]: a backup is an object; this is a number",
        );
        check(
            &format!("[{}]", ENTRY.replace("\"media\":[\"x\"],", "")),
            "the history has 1 field wrong:\n[0].media: is missing",
        );
    }

    #[test]
    fn what_is_no_array_is_named() {
        check("{}", "a history is a JSON array of backups; this is an object");
        check("[1,", "the history cannot be read: EOF while parsing a value at line 1 column 3");
    }

    #[test]
    fn the_field_table_names_every_field_of_a_backup() {
        let history = History::parse(&format!("[{ENTRY}]")).expect("a sound entry");
        let mut full = history.backups()[0].clone();
        (full.differential_base_guid, full.family_guid) = (Some(Guid::new("b")), Some(Guid::new("f")));
        (full.fork_point_lsn, full.has_bulk_logged_data, full.is_damaged) =
            (Some(Lsn::from(1)), Some(true), Some(true));
        (full.recovery_model, full.time_zone) = (Some("FULL".into()), Some(4));
        (full.software_major, full.media_count) = (Some(16), Some(1));
        let Value::Object(written) = serde_json::to_value(&full).expect("an object") else { unreachable!() };
        let written: Vec<&str> = written.keys().map(String::as_str).collect();
        let table: Vec<&str> = FIELDS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(written, table);
    }
}
