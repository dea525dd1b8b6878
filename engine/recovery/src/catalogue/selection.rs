//! [`Selection`]: what a restore is given: one chain a database, one set of snapshots a collection, and the price.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::Time;
use crate::catalogue::clusters::ClusterChoice;
use crate::guid::Guid;
use crate::lsn::Lsn;
use crate::manifest::{
    Artifact, Band, CollectionPart, MarkName, PointId, QdrantPart, ServerPart, StoredBackup,
};

/// The chain of one database, as `sqlserver.restore` takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChainPart {
    /// The database's name on its old server.
    pub database: String,
    /// The old server.
    pub server: ServerPart,
    /// The database's family.
    pub family_guid: Guid,
    /// The fork that the chain ends on.
    pub recovery_fork: Guid,
    /// The mark to stop at; nothing where a moment is, or where the last backup is restored whole.
    pub stop_at_mark: Option<StopAtMark>,
    /// The moment to stop at, by the server's clock, where a time was asked for.
    pub stop_at: Option<Time>,
    /// The moment that the database will be at.
    pub recovers_to: Time,
    /// The backups in restore order, with their files.
    pub backups: Vec<StoredBackup>,
    /// What is worth knowing about the chain.
    pub problems: Vec<String>,
}

/// The mark that a restore of logs stops at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StopAtMark {
    /// The mark's name.
    pub name: MarkName,
    /// Its LSN in this database; `STOPATMARK = 'lsn:…'` of the restore.
    pub lsn: Lsn,
}

/// What a selection costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Price {
    /// Seconds of work in the truth that are lost: from the selection's moment to now.
    pub lost_s: f64,
    /// What of the vectors is older than the truth and has to be indexed again.
    pub reindex: Vec<Reindex>,
    /// Vectors to expect whose document or agent does not exist, in words.
    pub orphans: String,
}

/// Documents of a collection or cluster that have to be indexed again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reindex {
    /// The collection, or the cluster by the plan's name for it.
    pub collection: String,
    /// Documents changed from here on: the start of its first snapshot, or when its restore point was asked for.
    pub since: Time,
    /// Up to here: the selection's moment.
    pub until: Time,
    /// Seconds between the two.
    pub seconds: f64,
}

/// What was chosen of a catalogue, as `point.select` outputs it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selection {
    /// The point's or log point's id.
    pub id: PointId,
    /// `point`, `log` or `differential`; `time` for a moment after the point or log point of this id.
    pub kind: &'static str,
    /// The name of its mark, whose row is there after the restore, and no later one. At a `time` a later one may be there that no sealed
    /// record has.
    pub mark: MarkName,
    /// The moment that it stands for.
    pub at: Time,
    /// A chain a database, by the name that the plan gives it.
    pub sqlserver: IndexMap<String, ChainPart>,
    /// The collections, of the point itself or of the log point's vector base.
    pub qdrant: QdrantPart,
    /// The clusters, by the names that the plan gives them. An item's `bases` and `to` are the `base` and `to` that `postgres.recover` takes.
    pub postgres: IndexMap<String, ClusterChoice>,
    /// The point whose snapshots these are.
    pub vector_base: Option<PointId>,
    /// Scripts of what servers have beside their databases, of the point at or before it, by the names that the plan gives them.
    pub server_objects: IndexMap<String, Artifact>,
    /// Bands of row counts by table.
    pub rows: IndexMap<String, Band>,
    /// EF Core migrations that were applied at the point, or at the point before the log point.
    pub migrations: Vec<String>,
    /// Versions of the application, its embedding model and the servers.
    pub versions: IndexMap<String, String>,
    /// What it lacks, by name; all of it was accepted.
    pub incomplete: Vec<String>,
    /// The servers whose clocks went otherwise than the runner's when it was made, and how many seconds ahead.
    pub clocks: IndexMap<String, f64>,
    /// What it costs.
    pub price: Price,
    /// What is newer and could not be used, and why.
    pub passed_over: Vec<String>,
}

impl Selection {
    /// Whether one of its databases was on the server of this name.
    pub fn has_server(&self, name: &str) -> bool {
        self.sqlserver.values().any(|part| part.server.name == name)
    }

    /// The outputs of `point.select`: an object with the fields above. `sqlserver.<name>` is the `chain` that
    /// `sqlserver.restore` takes; an item of `qdrant.collections` is the `snapshot` that `qdrant.recover` takes, with
    /// `collection` as its key and `points` as its band.
    pub fn outputs(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

impl Price {
    /// What it costs to go back from `now` to `at`, with these collections and clusters.
    pub fn of(
        at: Time,
        now: Time,
        collections: &[CollectionPart],
        clusters: &IndexMap<String, ClusterChoice>,
        paused: bool,
    ) -> Price {
        let first = |part: &CollectionPart| part.snapshots.iter().map(|snapshot| snapshot.started_at).min();
        let of_collections = collections.iter().filter_map(|part| Some((&part.collection, first(part)?)));
        let of_clusters = clusters.iter().map(|(name, part)| (name, part.vectors_of));
        let reindex = |(name, since): (&String, Time)| {
            let seconds = (at - since).as_seconds_f64();
            (seconds > 0.0).then(|| Reindex { collection: name.clone(), since, until: at, seconds })
        };
        let lost_s = (now - at).as_seconds_f64().max(0.0);
        let reindex: Vec<Reindex> = of_collections.chain(of_clusters).filter_map(reindex).collect();
        let seconds = reindex.iter().map(|one| one.seconds).max_by(f64::total_cmp);
        let orphans = match seconds {
            _ if paused => "none: nobody wrote between the vectors and the truth".to_owned(),
            None => "none: there is no vector older than the truth".to_owned(),
            Some(seconds) => format!(
                "those of documents and agents that were deleted in the {seconds:.1} s between the vectors and the truth, and of rows that \
                 were committed after their vectors"
            ),
        };
        Price { lost_s, reindex, orphans }
    }
}
