//! Target kinds and what a connection to a target can do: [`TargetKind`], [`Connection`], and the capabilities [`Rows`], [`Script`],
//! [`Collections`], [`Proves`], [`SeesFiles`], [`Locks`], [`Seals`], by which kinds of another folder reach a target.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use drydock_plan::catalog::TargetKindShape;
use drydock_recovery::catalogue::Untrusted;
use drydock_recovery::sealed::Signs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::artifact::ArtifactStore;
use crate::at_work::AtWork;
use crate::error::StepError;
use crate::grant::Grant;

/// A target's settings with every secret filled in; lives only while a connection is made, and never prints.
pub struct Settings {
    /// The mapping from the environment file, without `kind`.
    pub values: Map<String, Value>,
    /// The folder that relative paths in it are relative to.
    pub folder: std::path::PathBuf,
    /// The attempt that connects, `run/step[key]/n`: goes where the server keeps text about its clients.
    pub attempt: String,
}

impl Settings {
    /// The settings as a typed value.
    ///
    /// # Errors
    /// `target.settings`, in words.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, StepError> {
        serde_json::from_value(Value::Object(self.values.clone())).map_err(|error| {
            StepError::new("target.settings", format!("the target's settings do not fit: {error}"))
        })
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("keys", &self.values.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What must be equal for two connections to reach the same server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// In one line, such as `sqlserver SQL01 (family 2022)`.
    pub text: String,
    /// The server's own name, which `--confirm` asks for.
    pub name: String,
    /// Its version as it says it.
    pub version: String,
}

/// A kind of target.
#[async_trait]
pub trait TargetKind: Send + Sync {
    /// Its description.
    fn shape(&self) -> TargetKindShape;

    /// Connect.
    ///
    /// # Errors
    /// Transient ones where a later try may do better.
    async fn connect(&self, settings: Settings) -> Result<Arc<dyn Connection>, StepError>;

    /// A script by which an administrator gives an identity these rights; nothing where rights are not given by a script.
    fn grant_script(&self, _login: &str, _grants: &[&Grant]) -> Option<String> {
        None
    }
}

/// A connection to a target. Kinds of its own folder downcast it; others use the capabilities.
#[async_trait]
pub trait Connection: Send + Sync + Any {
    /// Ask for a sign of life.
    ///
    /// # Errors
    /// What kept it from answering.
    async fn ping(&self) -> Result<(), StepError>;

    /// Who it is.
    ///
    /// # Errors
    /// What kept it from answering.
    async fn identity(&self) -> Result<Identity, StepError>;

    /// Itself, for kinds of its own folder.
    fn as_any(&self) -> &dyn Any;

    /// Rows of a query, where it can.
    fn rows(&self) -> Option<&dyn Rows> {
        None
    }

    /// Scripts of several batches, where it can.
    fn script(&self) -> Option<&dyn Script> {
        None
    }

    /// Collections of vectors, where it has them.
    fn collections(&self) -> Option<&dyn Collections> {
        None
    }

    /// The rows of one table as collections, one for each agent that has some, where it has tables of vectors.
    fn vector_table(
        self: Arc<Self>,
        _table: VectorTable,
        _names: AgentNames,
    ) -> Option<Box<dyn Collections>> {
        None
    }

    /// Proofs that backups can be read, where it can.
    fn proves(&self) -> Option<&dyn Proves> {
        None
    }

    /// Whether it sees files that lie elsewhere, where it can tell.
    fn sees_files(&self) -> Option<&dyn SeesFiles> {
        None
    }

    /// Locks that every runner sees, where it can.
    fn locks(&self) -> Option<&dyn Locks> {
        None
    }

    /// What a program that connects by itself is given to reach the same server and this database, secrets included: a connection string
    /// of ADO.NET, where there is one.
    fn connection_string(&self, _database: &str) -> Option<String> {
        None
    }

    /// What signs and judges what is written about recovery points, where it is an artifact store.
    fn seals(&self) -> Option<Arc<dyn Seals>> {
        None
    }

    /// The artifact store that it is, where it is one.
    fn store(&self) -> Option<&dyn ArtifactStore> {
        None
    }
}

/// Rows of a query: the column names, and each row as a mapping in column order. Numbers beyond 64 bits are decimal text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowSet {
    /// The names, in order.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Map<String, Value>>,
}

/// Asking for rows.
#[async_trait]
pub trait Rows: Send + Sync {
    /// The rows of one query that only reads, in this database (or the login's own).
    ///
    /// # Errors
    /// What the server says.
    async fn rows(&self, database: Option<&str>, sql: &str) -> Result<RowSet, StepError>;
}

/// Running scripts.
#[async_trait]
pub trait Script: Send + Sync {
    /// Run a script's batches in order in this database, stopping at the first error; how many batches ran.
    ///
    /// # Errors
    /// What the server says, with the batch's number.
    async fn run_script(&self, database: &str, script: &str) -> Result<u64, StepError>;
}

/// A table whose rows are the vectors of many agents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorTable {
    /// Its database.
    pub database: String,
    /// Its name, with its schema before a dot.
    pub table: String,
    /// The column that tells rows apart.
    #[serde(default = "id_column")]
    pub id: String,
    /// The column of the agent.
    #[serde(default = "agent_column")]
    pub agent: String,
}

fn id_column() -> String {
    "id".to_owned()
}

fn agent_column() -> String {
    "agent_id".to_owned()
}

/// How collections are called by their agents: a text with `{agent}` in it, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentNames {
    before: String,
    after: String,
}

impl AgentNames {
    /// The names that a text such as `agent_{agent}` describes.
    ///
    /// # Errors
    /// `input`, when it has not exactly one `{agent}`.
    pub fn parse(text: &str) -> Result<Self, StepError> {
        match text.split("{agent}").collect::<Vec<_>>().as_slice() {
            [before, after] => Ok(Self { before: (*before).to_owned(), after: (*after).to_owned() }),
            _ => Err(StepError::new("input", format!("`{text}` has not exactly one `{{agent}}`"))
                .help("write how a collection is called by its agent, such as `agent_{agent}`")),
        }
    }

    /// The collection of an agent.
    pub fn of(&self, agent: &str) -> String {
        format!("{}{agent}{}", self.before, self.after)
    }

    /// The agent that a collection's name names; nothing for collections of others.
    pub fn agent<'n>(&self, collection: &'n str) -> Option<&'n str> {
        let agent = collection.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        (!agent.is_empty()).then_some(agent)
    }
}

impl<'de> Deserialize<'de> for AgentNames {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(error.message))
    }
}

impl std::fmt::Display for AgentNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{{agent}}{}", self.before, self.after)
    }
}

/// One point of a collection, as far as reconciling needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct PointPayload {
    /// Its id: a number or a UUID.
    pub id: Value,
    /// Its payload.
    pub payload: Map<String, Value>,
}

/// Collections of vectors.
#[async_trait]
pub trait Collections: Send + Sync {
    /// Their names, sorted.
    ///
    /// # Errors
    /// What the server says.
    async fn collection_names(&self) -> Result<Vec<String>, StepError>;

    /// A page of points with these payload fields, in the order of ids, after `after`; an empty page is the end. Fields that a point does
    /// not have are left out.
    ///
    /// # Errors
    /// What the server says.
    async fn points_page(
        &self,
        collection: &str,
        fields: &[String],
        after: Option<&Value>,
        limit: usize,
    ) -> Result<(Vec<PointPayload>, Option<Value>), StepError>;

    /// Every field that a point has, where all points have the same.
    ///
    /// # Errors
    /// What the server says.
    async fn all_fields(&self) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }

    /// Remove these points.
    ///
    /// # Errors
    /// What the server says.
    async fn delete_points(&self, collection: &str, ids: &[Value]) -> Result<(), StepError>;

    /// Remove a whole collection; `false` when there was none.
    ///
    /// # Errors
    /// What the server says.
    async fn delete_collection(&self, collection: &str) -> Result<bool, StepError>;

    /// Keep a whole collection in a store, below `prefix`, with what its points' payloads do not tell: its vectors and its parameters. Gives
    /// the path of what describes it, from which it can be recovered. An attempt that follows a lost one goes on from its notes.
    ///
    /// # Errors
    /// What the server or the store says.
    async fn keep_collection(
        &self,
        attempt: Arc<dyn AtWork>,
        collection: &str,
        store: &dyn ArtifactStore,
        prefix: &str,
    ) -> Result<String, StepError>;
}

/// Proofs about backups that a server can read and we cannot.
#[async_trait]
pub trait Proves: Send + Sync {
    /// Prove that the server can read one whole backup set from these media, at this position, with good checksums: its header as
    /// it reads it.
    ///
    /// # Errors
    /// What the server says is wrong with it.
    async fn prove_readable(&self, media: &[String], position: u32) -> Result<Value, StepError>;
}

/// A file or folder, as a server answered about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPlace {
    /// As the server names it.
    pub at: String,
    /// Why it does not see it, where it does not.
    pub why_not: Option<String>,
}

/// What a server sees of files that others bring to it. Only reads.
///
/// A path is one of the artifact store, which the server finds as its environment says (`sees`); with `below`, it lies below that folder,
/// which is named as the server names it.
#[async_trait]
pub trait SeesFiles: Send + Sync {
    /// Whether the server itself can open a file.
    ///
    /// # Errors
    /// What kept it from answering; that it does not see the file is an answer. `sqlserver.unseen` where nothing says how it finds the path.
    async fn sees_file(&self, path: &str, below: Option<&str>) -> Result<SeenPlace, StepError>;

    /// Whether the server sees the folder that a path is found in: `below`, or the one that its environment names. One that it cannot be
    /// asked about counts as seen.
    ///
    /// # Errors
    /// As of [`SeesFiles::sees_file`].
    async fn sees_folder(&self, path: &str, below: Option<&str>) -> Result<SeenPlace, StepError>;
}

/// Signing what is written about recovery points, and judging who has signed it.
pub trait Seals: Send + Sync {
    /// Whoever signs, where a key was given.
    fn signer(&self) -> Option<&dyn Signs>;

    /// Why a text whose digest holds is not believed; nothing where it is.
    fn judge(&self, text: &str) -> Option<Untrusted>;
}

/// How a lock lets others in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockClass {
    /// Beside others of other classes: a log backup.
    Log,
    /// One of its class, beside logs: a full or differential backup.
    Data,
    /// Nobody else: a restore.
    Exclusive,
}

/// Locks at the target.
#[async_trait]
pub trait Locks: Send + Sync {
    /// Take the lock on a resource for as long as the connection lives.
    ///
    /// # Errors
    /// `locked`, with who holds it where that is known.
    async fn lock(&self, resource: &str, class: LockClass) -> Result<(), StepError>;
}
