//! [`Manifest`]: a sealed recovery point, written once beside its artifacts.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Time;
use crate::manifest::artifact::Artifact;
use crate::manifest::band::Band;
use crate::manifest::claim::ProvedClaim;
use crate::manifest::clock_part::ClockPart;
use crate::manifest::draft::PlanRef;
use crate::manifest::format::{FormatError, POINT, read};
use crate::manifest::id::{MarkName, PointId};
use crate::manifest::pause::PausePart;
use crate::manifest::postgres::ClusterPart;
use crate::manifest::qdrant::QdrantPart;
use crate::manifest::sqlserver::DatabasePart;

/// How far a point has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointState {
    /// Begun.
    Opened,
    /// Its mark is set.
    Marked,
    /// Proved and written.
    Sealed,
}

/// A sampled search, to compare after a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// The collection that was searched.
    pub collection: String,
    /// The query, as it was sent.
    pub query: Value,
    /// The ids that it gave, nearest first.
    pub ids: Vec<Value>,
}

/// A sealed recovery point, format `drydock.point`, version 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `drydock.point`.
    pub format: String,
    /// 2; 1 in files without a digest of their own.
    pub version: u32,
    /// The point's id.
    pub id: PointId,
    /// `sealed`.
    pub state: PointState,
    /// The plan that made it.
    pub plan: PlanRef,
    /// The environment that it was made in.
    pub environment: String,
    /// The run that made it.
    pub run: String,
    /// Who ran it and where, `user@host`; empty in what was written before this was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The name of its mark.
    pub mark: MarkName,
    /// When it was opened.
    pub opened_at: Time,
    /// When its mark was answered: the moment that it stands for.
    pub marked_at: Time,
    /// When it was sealed.
    pub sealed_at: Time,
    /// SQL Server databases by the names that the plan gives them.
    #[serde(default)]
    pub sqlserver: IndexMap<String, DatabasePart>,
    /// Qdrant's collections, where the plan has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qdrant: Option<QdrantPart>,
    /// PostgreSQL clusters by the names that the plan gives them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub postgres: IndexMap<String, ClusterPart>,
    /// Scripts of what servers have beside their databases: logins, jobs, linked servers.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub server_objects: IndexMap<String, Artifact>,
    /// The pause in which it was made: then its vectors and the truth are of one moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PausePart>,
    /// Bands of row counts by table; `database.table` where several databases have a table of one name.
    #[serde(default)]
    pub rows: IndexMap<String, Band>,
    /// Applied EF Core migrations, in order.
    #[serde(default)]
    pub migrations: Vec<String>,
    /// Sampled searches.
    #[serde(default)]
    pub neighbours: Vec<Neighbours>,
    /// Versions of the application, its embedding model and the servers.
    #[serde(default)]
    pub versions: IndexMap<String, String>,
    /// Versions of the tools that made it.
    #[serde(default)]
    pub tools: IndexMap<String, String>,
    /// Databases and collections that are missing or unproved; a point with any is taken only on request.
    #[serde(default)]
    pub incomplete: Vec<String>,
    /// What the servers' clocks told between two looks at the runner's: of SQL Server at the mark by the server's name, of Qdrant by the node's,
    /// of a PostgreSQL cluster by the plan's name for it.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub clocks: IndexMap<String, ClockPart>,
    /// What was proved.
    #[serde(default)]
    pub claims: Vec<ProvedClaim>,
}

impl Manifest {
    /// The manifest that a JSON text holds.
    ///
    /// # Errors
    /// When it is no manifest, or one of a version that only a newer Drydock understands.
    pub fn parse(text: &str) -> Result<Manifest, FormatError> {
        read(text, POINT)
    }

    /// Every artifact of the point, with the database, collection, cluster or server that it belongs to.
    pub fn artifacts(&self) -> impl Iterator<Item = (&str, &Artifact)> {
        let backups = self.sqlserver.iter().flat_map(|(name, part)| {
            part.backups
                .iter()
                .flat_map(move |stored| stored.artifacts.iter().map(move |one| (name.as_str(), one)))
        });
        let collections = self.qdrant.iter().flat_map(|part| &part.collections);
        let of_collections = collections.flat_map(|part| {
            let snapshots = part.snapshots.iter().map(|snapshot| &snapshot.artifact);
            let samples = part.samples.iter().map(|sample| &sample.artifact);
            snapshots.chain(samples).map(|artifact| (part.collection.as_str(), artifact))
        });
        let clusters = self.postgres.iter();
        let of_clusters = clusters
            .flat_map(|(name, part)| part.cluster.artifacts().map(move |artifact| (name.as_str(), artifact)));
        let of_servers = self.server_objects.iter().map(|(name, artifact)| (name.as_str(), artifact));
        backups.chain(of_collections).chain(of_clusters).chain(of_servers)
    }

    /// Whether it has vectors.
    pub fn has_vectors(&self) -> bool {
        self.qdrant.is_some() || !self.postgres.is_empty()
    }

    /// Whether all of its vectors were fixed at or before a time, by the runner's clock.
    pub fn is_fixed_before(&self, at: Time) -> bool {
        let collections = self.qdrant.iter().flat_map(|part| &part.collections);
        let mut snapshots = collections.flat_map(|part| &part.snapshots).map(|one| one.answered_at);
        let mut clusters = self.postgres.values().map(|part| part.cluster.restore_point.answered_at);
        self.has_vectors() && snapshots.all(|ended| ended <= at) && clusters.all(|ended| ended <= at)
    }

    /// The skew of each collection, and of each cluster by the plan's name for it, in seconds.
    pub fn skews(&self) -> impl Iterator<Item = (&str, f64)> {
        let collections = self.qdrant.iter().flat_map(|part| &part.collections);
        let collections = collections.map(|part| (part.collection.as_str(), part.skew_s));
        collections.chain(self.postgres.iter().map(|(name, part)| (name.as_str(), part.skew_s)))
    }

    /// The greatest of them.
    pub fn skew_s(&self) -> Option<f64> {
        self.skews().map(|(_, skew_s)| skew_s).max_by(f64::total_cmp)
    }
}
