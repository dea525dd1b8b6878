//! A dump, as the kinds hand it on: [`DumpEntry`], made by `postgres.dump`, read by `postgres.load`.

use std::collections::BTreeMap;

use drydock_recovery::Time;
use drydock_recovery::manifest::Artifact;
use drydock_step::{Field, Shape};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::base_entry::{TOOL, Tool};
use super::dump_needs::Needs;
use crate::artifact_shape::ARTIFACT;

/// How a dump lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DumpFormat {
    /// One file.
    Custom,
    /// A file a table, made by several connections at once.
    Directory,
}

/// The state of the database that a dump has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpedState {
    /// When the snapshot was taken, by the server's clock.
    pub at: Time,
    /// Where the server's WAL was, right after: everything in the dump was written before this.
    pub lsn: String,
}

/// An extension of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version, which a dump does not fix: a load installs the version that the target's files would.
    pub version: String,
}

/// How the database was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its encoding: `UTF8`.
    pub encoding: String,
    /// How it sorts; nothing where that is not the operating system's affair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collate: Option<String>,
    /// What it takes for letters; nothing where that is not the operating system's affair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctype: Option<String>,
}

/// A dump of one database in an artifact store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DumpEntry {
    /// Its name.
    pub label: String,
    /// The database that it is of.
    pub database: String,
    /// How it lies in the store.
    pub format: DumpFormat,
    /// The server's version, as it says it.
    pub server_version: String,
    /// The server's major version.
    pub server_major: u32,
    /// What initdb gave the cluster; nothing where the role may not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The program that made it.
    pub tool: Tool,
    /// The program's major version: an older pg_restore does not read it.
    pub tool_major: u32,
    /// The state that it has.
    pub snapshot: DumpedState,
    /// How the database was made.
    pub made: Made,
    /// What the cluster must have for it; nothing in a dump that was taken before this was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// How much the database took at the server in bytes, its indexes too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_bytes: Option<u64>,
    /// The rows of every table in that very state, by `schema.table`; nothing where they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<String, u64>>,
    /// The tables whose rows were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_data: Vec<String>,
    /// The extensions of the database.
    pub extensions: Vec<Extension>,
    /// Columns of vectors with their indexes, as `postgres.verify` tells them.
    pub vectors: Value,
    /// Its length in the store in bytes.
    pub bytes: u64,
    /// Its files: the one, or all of the folder.
    pub artifacts: Vec<Artifact>,
    /// Roles and tablespaces of the cluster, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub globals: Option<Artifact>,
    /// Whether pg_restore has read what lies in the store, to its end.
    pub proved: bool,
}

impl DumpEntry {
    /// The folder of the store that it lies in.
    pub fn folder(&self) -> Option<&str> {
        let path = &self.head()?.path;
        match self.format {
            DumpFormat::Custom => path.strip_suffix("/database.dump"),
            DumpFormat::Directory => path.strip_suffix("/data/toc.dat"),
        }
    }

    /// The file that a load begins with: the dump itself, or the table of contents of the folder.
    pub fn head(&self) -> Option<&Artifact> {
        match self.format {
            DumpFormat::Custom => self.artifacts.first(),
            DumpFormat::Directory => self.artifacts.iter().find(|file| file.path.ends_with("/toc.dat")),
        }
    }
}

/// The shape of a [`DumpEntry`].
pub(super) const DUMP_ENTRY: Shape = Shape::Record(&[
    Field::required("label", Shape::Text, "Its name."),
    Field::required("database", Shape::Text, "The database that it is of."),
    Field::required("format", Shape::OneOf(&["custom", "directory"]), "How it lies in the store."),
    Field::required("server_version", Shape::Text, "The server's version."),
    Field::required("server_major", Shape::Integer, "Its major version."),
    Field::optional("system_identifier", Shape::Text, "The cluster's own number, where the role may see it."),
    Field::required("tool", TOOL, "The program that made it."),
    Field::required("tool_major", Shape::Integer, "Its major version: an older pg_restore does not read it."),
    Field::required(
        "snapshot",
        Shape::Record(&[
            Field::required("at", Shape::Datetime, "When it was taken, by the server's clock."),
            Field::required("lsn", Shape::Text, "Where the server's WAL was, right after."),
        ]),
        "The state of the database that it has.",
    ),
    Field::required(
        "made",
        Shape::Record(&[
            Field::required("encoding", Shape::Text, "Its encoding."),
            Field::optional("collate", Shape::Text, "How it sorts."),
            Field::optional("ctype", Shape::Text, "What it takes for letters."),
        ]),
        "How the database was made.",
    ),
    Field::optional(
        "needs",
        Shape::Record(&[
            Field::required("owners", Shape::List(&Shape::Text), "Roles that something in it belongs to."),
            Field::required(
                "grantees",
                Shape::List(&Shape::Text),
                "Roles that have rights in it, or a policy.",
            ),
            Field::required(
                "tablespaces",
                Shape::List(&Shape::Text),
                "Tablespaces that something in it lies in.",
            ),
        ]),
        "What the cluster must have for it.",
    ),
    Field::optional(
        "database_bytes",
        Shape::Integer,
        "How much the database took at the server in bytes, its indexes too.",
    ),
    Field::optional(
        "counts",
        Shape::Map(&Shape::Integer),
        "The rows of every table in that very state, by `schema.table`.",
    ),
    Field::optional("without_data", Shape::List(&Shape::Text), "The tables whose rows were left out."),
    Field::required(
        "extensions",
        Shape::List(&Shape::Record(&[
            Field::required("name", Shape::Text, "Its name."),
            Field::required("version", Shape::Text, "Its version."),
        ])),
        "The extensions of the database.",
    ),
    Field::required("vectors", Shape::List(&Shape::Any), "Columns of vectors with their indexes."),
    Field::required("bytes", Shape::Integer, "Its length in the store in bytes."),
    Field::required("artifacts", Shape::List(&ARTIFACT), "Its files: the one, or all of the folder."),
    Field::optional("globals", ARTIFACT, "Roles and tablespaces of the cluster, as a script for psql."),
    Field::required(
        "proved",
        Shape::Boolean,
        "Whether pg_restore has read what lies in the store, to its end.",
    ),
]);
