//! What the steps before a seal gave, as the seal reads it: [`Pointed`], [`MarkGiven`], [`BackupGiven`],
//! [`CertificateGiven`], [`QdrantGiven`], [`ClusterGiven`].

use drydock_recovery::Time;
use drydock_recovery::backup::Backup;
use drydock_recovery::guid::Guid;
use drydock_recovery::lsn::Lsn;
use drydock_recovery::manifest::{
    Artifact, Band, BasePart, MarkName, PointId, RestorePointPart, RowCount, SamplePart, ServerPart,
    TableSamplePart, WalPart,
};
use drydock_recovery::wal::WalLsn;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

/// The outputs of `point.open`.
#[derive(Debug, Clone, Deserialize)]
pub struct Pointed {
    pub(super) id: PointId,
    pub(super) mark: MarkName,
}

/// The outputs of `sqlserver.mark`.
#[derive(Debug, Clone, Deserialize)]
pub struct MarkGiven {
    pub(super) mark: MarkName,
    pub(super) sent_at: Time,
    pub(super) answered_at: Time,
    /// By the names that the plan gives the databases.
    pub(super) databases: IndexMap<String, MarkedDatabase>,
    #[serde(default)]
    pub(super) rows: IndexMap<String, IndexMap<String, RowCount>>,
    #[serde(default)]
    pub(super) migrations: IndexMap<String, Vec<String>>,
}

/// Where a mark stands in one database.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct MarkedDatabase {
    pub(super) lsn: Lsn,
    pub(super) at: Time,
}

/// The outputs of `sqlserver.backup`.
#[derive(Debug, Clone, Deserialize)]
pub struct BackupGiven {
    pub(super) backup: Backup,
    /// The files in the store, where the server's media lie in it; in the order of the media.
    #[serde(default)]
    pub(super) artifacts: Vec<String>,
    pub(super) has_checksums: bool,
    #[serde(default)]
    pub(super) encryptor_thumbprint: Option<String>,
    pub(super) server: ServerPart,
    pub(super) recovery_model: String,
    pub(super) family_guid: Guid,
    pub(super) recovery_fork: Guid,
    /// Whether another run took it.
    #[serde(skip)]
    pub(super) adopted: bool,
}

/// What the plan says of a pause.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseGiven {
    /// The application's answer before the first derived store was fixed.
    pub(super) before: Value,
    /// Its answer after the mark.
    pub(super) after: Value,
    /// What was asked of the stores before and after.
    #[serde(default)]
    pub(super) watermarks: Option<Watermarks>,
}

impl PauseGiven {
    /// Whether there was a pause.
    pub(super) fn is_given(&self) -> bool {
        !(self.before.is_null() && self.after.is_null())
    }
}

/// One question, asked twice.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watermarks {
    pub(super) before: Value,
    pub(super) after: Value,
}

/// The outputs of `sqlserver.server_objects`.
#[derive(Debug, Clone, Deserialize)]
pub struct ObjectsGiven {
    pub(super) artifact: Artifact,
}

/// The outputs of `sqlserver.certificate`.
#[derive(Debug, Clone, Deserialize)]
pub struct CertificateGiven {
    pub(super) thumbprint: String,
    /// Its file and the one of its private key in the store, where they lie in it.
    #[serde(default)]
    pub(super) artifacts: Vec<String>,
}

/// What the plan says of Qdrant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QdrantGiven {
    /// The outputs of `qdrant.snapshot`.
    pub(super) snapshot: SnapshotGiven,
    /// The outputs of the `foreach` of `qdrant.fetch`.
    pub(super) fetched: Vec<Fetched>,
    /// The outputs of `qdrant.sample`, of each instance of a `foreach` or of a step.
    #[serde(default)]
    pub(super) samples: Vec<SampledGiven>,
}

/// The outputs of `qdrant.snapshot`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SnapshotGiven {
    pub(super) version: String,
    pub(super) collections: Vec<CollectionGiven>,
    pub(super) listed_after: Vec<String>,
}

/// One collection, as `qdrant.snapshot` gives it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CollectionGiven {
    pub(super) collection: String,
    pub(super) points: Band,
    pub(super) params: Value,
    #[serde(default)]
    pub(super) config: Value,
    #[serde(default)]
    pub(super) payload_indexes: Value,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    /// Ids of all its shards; those from 0 to its `shard_number` when they are not named.
    #[serde(default)]
    pub(super) shards: Option<Vec<u32>>,
    /// How many shards were being moved. Never left out: no word about it proves nothing.
    pub(super) transfers: u32,
    #[serde(default)]
    pub(super) waiting: u64,
    pub(super) snapshots: Vec<SnapshotFile>,
}

/// One node's snapshot, or one of a shard; with its artifact once it was fetched.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SnapshotFile {
    pub(super) node: String,
    #[serde(default)]
    pub(super) peer_id: Option<u64>,
    pub(super) shards: Vec<u32>,
    #[serde(default)]
    pub(super) shard: Option<u32>,
    #[serde(default)]
    pub(super) shard_key: Option<Value>,
    pub(super) name: String,
    /// The server's own checksum; servers that keep snapshots in S3 have none.
    #[serde(default)]
    pub(super) sha256: Option<String>,
    pub(super) started_at: Time,
    pub(super) answered_at: Time,
    #[serde(default)]
    pub(super) created_at: Option<Time>,
    #[serde(default)]
    pub(super) artifact: Option<Artifact>,
}

/// One instance of the `foreach` of `qdrant.fetch`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Fetched {
    #[serde(default)]
    pub(super) outputs: Option<FetchedCollection>,
}

/// The outputs of `qdrant.fetch`, as far as they add to what the snapshot gave.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FetchedCollection {
    pub(super) collection: String,
    /// Whether it was deleted before its snapshots could be fetched.
    #[serde(default)]
    pub(super) gone: bool,
    pub(super) snapshots: Vec<SnapshotFile>,
}

/// What one `qdrant.sample` gave: in a `foreach`, or by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "the outputs of `qdrant.sample`, or an instance of its `foreach`")]
pub(super) enum SampledGiven {
    /// The outputs.
    Step(SampledCollection),
    /// An instance; without outputs where it failed.
    Instance {
        #[serde(rename = "key")]
        _key: Value,
        #[serde(default)]
        outputs: Option<SampledCollection>,
    },
}

/// The outputs of `qdrant.sample`, as far as a manifest has them.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SampledCollection {
    pub(super) collection: String,
    #[serde(flatten)]
    pub(super) part: SamplePart,
}

/// What the plan says of a PostgreSQL cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterGiven {
    /// The outputs of `postgres.basebackup`, or a list of them: a full one and the incremental ones after it. A log point has none.
    #[serde(default)]
    pub(super) base: Option<BasesGiven>,
    /// The outputs of `postgres.restore_point`.
    pub(super) restore_point: RestorePointPart,
    /// The outputs of `postgres.wal_range`.
    pub(super) wal: WalGiven,
    /// The outputs of `postgres.count`, before and after the restore point.
    #[serde(default)]
    pub(super) counts: Vec<CountGiven>,
    /// The outputs of `postgres.sample`.
    #[serde(default)]
    pub(super) samples: Vec<TableSamplePart>,
}

/// The outputs of `postgres.wal_range`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct WalGiven {
    #[serde(flatten)]
    pub(super) part: WalPart,
    /// Where it begins; a log point needs it.
    #[serde(default)]
    pub(super) start_lsn: Option<WalLsn>,
}

/// One base backup, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "the outputs of `postgres.basebackup`, or a list of them")]
pub(super) enum BasesGiven {
    One(Box<BasePart>),
    Several(Vec<BasePart>),
}

/// The outputs of `postgres.count`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CountGiven {
    tables: IndexMap<String, TableCount>,
}

#[derive(Debug, Clone, Deserialize)]
struct TableCount {
    rows: u64,
}

impl ClusterGiven {
    /// The base backups, in order.
    pub(super) fn bases(&self) -> &[BasePart] {
        match &self.base {
            Some(BasesGiven::One(one)) => std::slice::from_ref(one),
            Some(BasesGiven::Several(several)) => several,
            None => &[],
        }
    }

    /// Its files.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        let bases = self.bases().iter().flat_map(|base| [&base.artifact, &base.manifest]);
        bases.chain(&self.wal.part.segments).chain(self.samples.iter().map(|sample| &sample.artifact))
    }

    /// The least and the most rows that each table was counted with. A table that was not there once had none then.
    pub(super) fn bands(&self) -> IndexMap<String, Band> {
        let names = self.counts.iter().flat_map(|count| count.tables.keys());
        let band = |name: &String| {
            let rows = self.counts.iter().map(|count| count.tables.get(name).map_or(0, |table| table.rows));
            let (low, high) = (rows.clone().min().unwrap_or(0), rows.max().unwrap_or(0));
            (name.clone(), Band::of(low, high))
        };
        names.map(band).collect()
    }
}

impl CollectionGiven {
    /// Ids of all its shards.
    pub(super) fn shard_ids(&self) -> Vec<u32> {
        let number = || self.params.get("shard_number").and_then(Value::as_u64).unwrap_or(0);
        self.shards.clone().unwrap_or_else(|| (0..u32::try_from(number()).unwrap_or(0)).collect())
    }
}

impl QdrantGiven {
    /// What was sampled of a collection.
    pub(super) fn sampled(&self, collection: &str) -> impl Iterator<Item = &SamplePart> {
        let outputs = self.samples.iter().filter_map(|given| match given {
            SampledGiven::Step(outputs) => Some(outputs),
            SampledGiven::Instance { outputs, .. } => outputs.as_ref(),
        });
        outputs.filter(move |one| one.collection == collection).map(|one| &one.part)
    }

    /// The collections that were deleted before their snapshots could be fetched.
    pub(super) fn gone(&self) -> impl Iterator<Item = &str> {
        let outputs = self.fetched.iter().filter_map(|one| one.outputs.as_ref());
        outputs.filter(|one| one.gone).map(|one| one.collection.as_str())
    }

    /// What was fetched of a snapshot, where it was.
    pub(super) fn fetched(&self, collection: &str, snapshot: &SnapshotFile) -> Option<&Artifact> {
        let outputs = self.fetched.iter().filter_map(|one| one.outputs.as_ref());
        let files = outputs.filter(|one| one.collection == collection).flat_map(|one| &one.snapshots);
        let mut same = files.filter(|file| file.node == snapshot.node && file.name == snapshot.name);
        same.find_map(|file| file.artifact.as_ref())
    }
}
