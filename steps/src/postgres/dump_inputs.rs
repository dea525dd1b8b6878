//! What `postgres.dump` is told: [`DumpInputs`], and the arguments of pg_dump that follow from it.

use drydock_step::{Millis, Shape, StepError, inputs, known, maybe};
use serde::Deserialize;

use super::dump_entry::DumpFormat;
use super::sql::Identifier;
use super::table_pattern::TablePattern;

/// The longest label.
const LONGEST: usize = 60;

/// The most connections of one dump.
const MOST_JOBS: u32 = 64;

/// Roles and tablespaces, which no dump of a database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Globals {
    /// Without them.
    None,
    /// With the roles' password hashes.
    All,
    /// Without those.
    NoPasswords,
}

/// Whether rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// Every table's, in the dump's own snapshot.
    Exact,
    /// Not at all.
    None,
}

inputs! {
    /// Inputs of `postgres.dump`.
    pub struct DumpInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store: the dump lies below it, in a folder of its own.
        prefix: String = maybe(Shape::Text).or("\"postgres/dump\""),
        /// Its name: letters, digits, `.`, `_` and `-`. Made of the run and the step where it is left out.
        label: Option<String> = maybe(Shape::Text),
        /// `custom` is one file, streamed into the store; `directory` is a file a table, made by `jobs` connections in the run's scratch.
        format: DumpFormat = maybe(Shape::OneOf(&["custom", "directory"])).or("\"custom\""),
        /// How many tables are read at once; only with `format: directory`.
        jobs: u32 = maybe(Shape::Integer).or("1"),
        /// How it is compressed, as pg_dump takes it: `0` to `9`; from version 16 on also `gzip:6`, `lz4` or `zstd:3`.
        compress: Option<String> = maybe(Shape::Text),
        /// Tables whose rows are left out; the tables themselves are there.
        exclude_data: Vec<TablePattern> = maybe(Shape::List(&Shape::Text)).or("[]"),
        /// Keep the cluster's roles and tablespaces beside the dump. `all` has the roles' password hashes in it: the store then holds secrets.
        globals: Globals = maybe(Shape::OneOf(&["none", "no_passwords", "all"])).or("\"none\""),
        /// A snapshot that another session has exported and still holds: the dump is of that state.
        snapshot: Option<String> = maybe(Shape::Text),
        /// The longest wait for a table that somebody has locked.
        lock_wait: Millis = maybe(Shape::Duration).or("\"5m\""),
        /// `exact` counts every table's rows in the dump's own snapshot, so that a load can be compared with it.
        counts: Counts = maybe(Shape::OneOf(&["exact", "none"])).or("\"exact\""),
        /// Have pg_restore read what lies in the store, to its end.
        prove: bool = maybe(Shape::Boolean).or("true"),
    }
}

impl DumpInputs {
    /// Nothing, when the inputs go together.
    pub(super) fn fits(&self) -> Result<(), StepError> {
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        if let Some(Some(label)) = self.label.value() {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if label.is_empty() || label.len() > LONGEST || label.starts_with('.') || !label.chars().all(fits)
            {
                let message = format!("input `label`, `{label}`, is no name of a dump");
                return refused(
                    message,
                    "up to 60 letters, digits, `.`, `_` and `-`, the first of them no `.`",
                );
            }
        }
        if let Some(Some(compress)) = self.compress.value() {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '=' | ',');
            if compress.is_empty() || !compress.chars().all(fits) {
                let message = format!("input `compress`, `{compress}`, is no compression of pg_dump");
                return refused(message, "`0` to `9`, or from version 16 on `gzip:6`, `lz4` or `zstd:3`");
            }
        }
        match (self.jobs.value(), self.format.value()) {
            (Some(jobs), _) if *jobs == 0 || *jobs > MOST_JOBS => {
                refused(format!("input `jobs` is {jobs}"), "from 1 to 64")
            }
            (Some(2..), Some(DumpFormat::Custom)) => refused(
                "input `jobs` is more than one, and a dump of `format: custom` is read by one connection"
                    .into(),
                "say `format: directory`, or leave `jobs` out",
            ),
            _ => Ok(()),
        }
    }

    /// The arguments of pg_dump, as far as they are known.
    pub(super) fn arguments(&self, snapshot: &str, without: &[String], place: &str) -> Vec<String> {
        let mut arguments = match self.format.value() {
            Some(DumpFormat::Custom) => vec!["--format=custom".to_owned()],
            Some(DumpFormat::Directory) => {
                vec![
                    "--format=directory".to_owned(),
                    format!("--jobs={}", self.jobs),
                    format!("--file={place}"),
                ]
            }
            None => vec![format!("--format={}", self.format.or_after(|_| String::new()))],
        };
        arguments.push(format!("--snapshot={snapshot}"));
        arguments.push(format!("--lock-wait-timeout={}", self.lock_wait.or_after(|wait| wait.0.to_string())));
        if let Some(Some(compress)) = self.compress.value() {
            arguments.push(format!("--compress={compress}"));
        }
        arguments.extend(without.iter().map(|table| format!("--exclude-table-data={table}")));
        arguments.push("--no-password".into());
        arguments
    }
}
