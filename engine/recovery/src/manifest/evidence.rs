//! [`Evidence`]: what the servers and the store answered, from which sealing proves its claims.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Time;
use crate::guid::Guid;
use crate::manifest::artifact::Artifact;
use crate::manifest::band::Band;
use crate::manifest::pause::PauseEvidence;
use crate::manifest::point::Neighbours;
use crate::manifest::postgres::{ClusterEvidence, StretchEvidence};
use crate::manifest::qdrant::{SamplePart, SnapshotPart};
use crate::manifest::sqlserver::{Certificate, RowCount, ServerPart, StoredBackup};

/// What was found out about one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseEvidence {
    /// Its name on the server.
    pub database: String,
    /// The server.
    pub server: ServerPart,
    /// `family_guid` of `sys.database_recovery_status`.
    pub family_guid: Guid,
    /// `recovery_fork_guid` of `sys.database_recovery_status`.
    pub recovery_fork: Guid,
    /// `recovery_model_desc` of `sys.databases`.
    pub recovery_model: String,
    /// The backups known, in any order, also those taken by other jobs.
    pub backups: Vec<StoredBackup>,
    /// The certificates known.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Row counts of named tables.
    #[serde(default)]
    pub rows: IndexMap<String, RowCount>,
}

/// What was found out about one collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionEvidence {
    /// Its real name.
    pub collection: String,
    /// Ids of all its shards.
    pub shards: Vec<u32>,
    /// How many shards were being moved, before or after the snapshots.
    pub transfers: u32,
    /// Exact point counts before and after.
    pub points: Band,
    /// The snapshots, a node or a shard each.
    pub snapshots: Vec<SnapshotPart>,
    /// `config.params`.
    pub params: Value,
    /// The whole `config`.
    #[serde(default)]
    pub config: Value,
    /// `payload_schema`.
    pub payload_indexes: Value,
    /// Its aliases.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// How many updates were accepted and not applied, before the snapshots or after them.
    #[serde(default)]
    pub waiting: u64,
    /// What was sampled of it.
    #[serde(default)]
    pub samples: Vec<SamplePart>,
}

/// What was found out about a Qdrant cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QdrantEvidence {
    /// The servers' version.
    pub version: String,
    /// The collections of which snapshots were made.
    pub collections: Vec<CollectionEvidence>,
    /// The collections that were listed after the last snapshot.
    pub listed_after: Vec<String>,
}

/// A lock that keeps a file from being removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFound {
    /// How firmly, in the store's word.
    pub mode: String,
    /// Until when.
    pub until: Time,
}

/// What the store said about the locks that were asked of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockEvidence {
    /// The mode that was asked for.
    pub mode: String,
    /// What it said of each file, by path.
    pub found: IndexMap<String, Option<LockFound>>,
}

/// Everything that was found out for one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it is sealed.
    pub sealed_at: Time,
    /// Databases by the names that the plan gives them.
    pub sqlserver: IndexMap<String, DatabaseEvidence>,
    /// Qdrant, where the plan has it.
    #[serde(default)]
    pub qdrant: Option<QdrantEvidence>,
    /// PostgreSQL clusters by the names that the plan gives them.
    #[serde(default)]
    pub postgres: IndexMap<String, ClusterEvidence>,
    /// For a log point: the WAL of these clusters since the record before it.
    #[serde(default)]
    pub stretches: IndexMap<String, StretchEvidence>,
    /// What was read back from the store after all was written.
    pub rehashed: Vec<Artifact>,
    /// What the store said about locks, where it was asked for some.
    #[serde(default)]
    pub locks: Option<LockEvidence>,
    /// What was said about a pause, where the plan has one.
    #[serde(default)]
    pub pause: Option<PauseEvidence>,
    /// Scripts of what servers have beside their databases, by the names that the plan gives them.
    #[serde(default)]
    pub server_objects: IndexMap<String, Artifact>,
    /// Applied EF Core migrations.
    #[serde(default)]
    pub migrations: Vec<String>,
    /// Sampled searches.
    #[serde(default)]
    pub neighbours: Vec<Neighbours>,
    /// Versions of the application, its embedding model and the servers.
    #[serde(default)]
    pub versions: IndexMap<String, String>,
    /// Versions of the tools.
    #[serde(default)]
    pub tools: IndexMap<String, String>,
}
