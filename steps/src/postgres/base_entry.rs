//! A base backup, as the kinds hand it on: [`BaseEntry`], made by `postgres.basebackup` and `postgres.combine`, read by
//! `postgres.recover`.

use drydock_recovery::Time;
use drydock_recovery::manifest::Artifact;
use drydock_step::{Field, Shape};
use serde::{Deserialize, Serialize};

use crate::artifact_shape::ARTIFACT;

/// A program that took part, as it names itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Where it is on the runner.
    pub path: String,
    /// `pg_basebackup (PostgreSQL) 18.6`.
    pub version: String,
}

/// The backup that an incremental one was made against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// The name of that backup.
    pub label: String,
    /// The SHA-256 of its `backup_manifest`.
    pub manifest_sha256: String,
}

/// A base backup in an artifact store: one tar with the data folder, and with the WAL that makes it consistent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseEntry {
    /// Its name, which is in its `backup_label` as well.
    pub label: String,
    /// When it began, by the server's clock.
    pub started_at: Time,
    /// When it had ended, by the server's clock: no restore stops before this.
    pub ended_at: Time,
    /// The server's version, as it says it.
    pub server_version: String,
    /// The server's major version: only a server of the same can start the data.
    pub server_major: u32,
    /// What initdb gave the cluster; nothing where the role may not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The timeline that it began on.
    pub timeline: u32,
    /// Where recovery begins, `0/4000028`.
    pub start_lsn: String,
    /// From where on the data are consistent.
    pub end_lsn: String,
    /// The length of a WAL segment in bytes.
    pub segment_size: u64,
    /// The length of all its files in bytes, unpacked.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
    /// The tar.
    pub artifact: Artifact,
    /// Its `backup_manifest`, which is in the tar as well: a later incremental backup needs it alone.
    pub manifest: Artifact,
    /// What an incremental backup lacks and only this has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// Whether `pg_verifybackup` has read what lies in the store.
    pub verified: bool,
    /// The program that made it.
    pub tool: Tool,
}

impl BaseEntry {
    /// The folder in the store that it lies in, with its `backup.json`.
    pub(super) fn folder(&self) -> &str {
        self.artifact.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// As messages name it.
    pub(super) fn in_words(&self) -> String {
        format!("base backup {} of {}", self.label, self.server_version)
    }
}

/// The shape of a [`Tool`].
pub(super) const TOOL: Shape = Shape::Record(&[
    Field::required("path", Shape::Text, "Where the program is on the runner."),
    Field::required("version", Shape::Text, "Its version, as it says it."),
]);

/// The shape of a [`BaseEntry`].
pub(super) const BASE_ENTRY: Shape = Shape::Record(&[
    Field::required("label", Shape::Text, "Its name."),
    Field::required("started_at", Shape::Datetime, "When it began, by the server's clock."),
    Field::required(
        "ended_at",
        Shape::Datetime,
        "When it had ended, by the server's clock; no restore stops before.",
    ),
    Field::required("server_version", Shape::Text, "The server's version."),
    Field::required("server_major", Shape::Integer, "Its major version: only such a server starts the data."),
    Field::optional("system_identifier", Shape::Text, "The cluster's own number, where the role may see it."),
    Field::required("timeline", Shape::Integer, "The timeline that it began on."),
    Field::required("start_lsn", Shape::Text, "Where recovery begins."),
    Field::required("end_lsn", Shape::Text, "From where on the data are consistent."),
    Field::required("segment_size", Shape::Integer, "The length of a WAL segment in bytes."),
    Field::required("bytes", Shape::Integer, "The length of all its files, unpacked."),
    Field::required("files", Shape::Integer, "How many files it has."),
    Field::required(
        "artifact",
        ARTIFACT,
        "The tar with the data folder and the WAL that makes it consistent.",
    ),
    Field::required("manifest", ARTIFACT, "Its backup_manifest, beside the tar."),
    Field::optional(
        "against",
        Shape::Record(&[
            Field::required("label", Shape::Text, "The name of the backup that it was made against."),
            Field::required("manifest_sha256", Shape::Text, "The SHA-256 of that backup's backup_manifest."),
        ]),
        "What an incremental backup was made against.",
    ),
    Field::required("verified", Shape::Boolean, "Whether pg_verifybackup has read what lies in the store."),
    Field::required("tool", TOOL, "The program that made it."),
]);
