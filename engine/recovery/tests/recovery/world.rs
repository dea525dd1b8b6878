//! A believable past of one database and two collections: points and log points, sealed by the crate itself.

use chrono::{DateTime, TimeDelta, Utc};
use drydock_recovery::backup::{Backup, BackupType};
use drydock_recovery::guid::Guid;
use drydock_recovery::lsn::Lsn;
use drydock_recovery::manifest::{
    Artifact, BackupProof, Band, CollectionEvidence, DatabaseEvidence, Evidence, LogPoint, LogPointKind,
    Manifest, MarkPlace, Marked, Neighbours, Opened, Origin, PlanRef, PointId, QdrantEvidence, RowCount,
    SealTerms, ServerPart, SnapshotPart, StoredBackup, seal, seal_log_point,
};
use serde_json::json;

type Time = DateTime<Utc>;

/// The world's clock and log; what happens in it is told by its methods.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) fork: Guid,
    crossing: Option<(Guid, Lsn)>,
    block: u64,
    log_start: u64,
    count: u64,
}

impl World {
    pub(crate) fn new() -> World {
        let now = "2026-07-01T00:00:00Z".parse().expect("a time");
        World { now, fork: Guid::new("fork-a"), crossing: None, block: 1000, log_start: 1000, count: 0 }
    }

    pub(crate) fn wait(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
    }

    fn lsn(&self, block: u64) -> Lsn {
        Lsn::parse(&format!("{}", 39_000_000_000_000_000_u64 + block * 100_000 + 1)).expect("digits")
    }

    fn id(&mut self) -> PointId {
        self.count += 1;
        PointId::parse(&format!("01K0{:022}", self.count)).expect("a ULID")
    }

    fn backup(&mut self, kind: BackupType, first: u64) -> StoredBackup {
        self.count += 1;
        let guid = format!("{}-{}", kind.as_str(), self.count);
        let (started_at, first_lsn) = (self.now, self.lsn(first));
        self.block += 10;
        self.now += TimeDelta::seconds(20);
        let crossing = self.crossing.take_if(|_| kind == BackupType::Log);
        let first_fork = crossing.as_ref().map_or(&self.fork, |(fork, _)| fork).clone();
        let backup = Backup {
            server: "SQL01".into(),
            availability_group: None,
            database: "OctopusDB".into(),
            kind,
            copy_only: false,
            position: 1,
            backup_set_guid: Guid::new(guid.clone()),
            first_lsn,
            last_lsn: self.lsn(self.block),
            checkpoint_lsn: Some(first_lsn),
            database_backup_lsn: None,
            differential_base_lsn: None,
            first_recovery_fork_id: Some(first_fork),
            recovery_fork_id: Some(self.fork.clone()),
            started_at,
            finished_at: self.now,
            media: vec![format!(r"D:\Backups\{guid}.bak")],
            differential_base_guid: None,
            family_guid: Some(Guid::new("family-1")),
            fork_point_lsn: crossing.map(|(_, point)| point),
            has_bulk_logged_data: Some(false),
            is_damaged: Some(false),
            recovery_model: Some("FULL".into()),
            time_zone: Some(8),
            software_major: Some(16),
            media_count: Some(1),
        };
        let artifacts = vec![artifact(&format!("sql/{guid}.bak"), 4096)];
        StoredBackup {
            backup,
            artifacts,
            proof: BackupProof::Hashed,
            checksums: true,
            encryptor_thumbprint: None,
            adopted: false,
        }
    }

    fn log_backup(&mut self) -> StoredBackup {
        let first = self.log_start;
        let log = self.backup(BackupType::Log, first);
        self.log_start = self.block;
        log
    }

    fn mark(&mut self) -> MarkPlace {
        self.block += 1;
        let place = MarkPlace { lsn: self.lsn(self.block), at: self.now };
        self.block += 1;
        place
    }

    fn snapshot(&mut self, collection: &str, node: u64) -> SnapshotPart {
        let (started_at, name) =
            (self.now, format!("{collection}-{node}-{}.snapshot", self.now.format("%Y-%m-%d-%H-%M-%S")));
        self.now += TimeDelta::milliseconds(1500);
        let artifact = artifact(&format!("qdrant/{name}"), 65_536);
        let node_name = format!("http://qdrant-{node}:6333");
        let shards = vec![u32::try_from(node).expect("small")];
        SnapshotPart {
            node: node_name,
            peer_id: Some(node),
            shards,
            shard: None,
            shard_key: None,
            name,
            artifact,
            started_at,
            answered_at: self.now,
            created_at: None,
        }
    }

    fn collection(&mut self, name: &str) -> CollectionEvidence {
        CollectionEvidence {
            collection: name.to_owned(),
            shards: vec![0, 1],
            transfers: 0,
            points: Band::of(2000, 2003),
            snapshots: vec![self.snapshot(name, 0), self.snapshot(name, 1)],
            params: json!({"vectors": {"size": 128, "distance": "Cosine"}, "shard_number": 2}),
            config: serde_json::Value::Null,
            payload_indexes: json!({"document": {"data_type": "keyword", "points": 2000}}),
            aliases: vec![format!("{name}_current")],
            waiting: 0,
            samples: Vec::new(),
        }
    }

    fn database(&self, backups: Vec<StoredBackup>) -> DatabaseEvidence {
        DatabaseEvidence {
            database: "OctopusDB".into(),
            server: ServerPart {
                name: "SQL01".into(),
                version: "16.0.4135.4".into(),
                time_zone: Some("W. Europe Standard Time".into()),
                utc_offset_minutes: Some(120),
            },
            family_guid: Guid::new("family-1"),
            recovery_fork: self.fork.clone(),
            recovery_model: "FULL".into(),
            backups,
            certificates: Vec::new(),
            rows: [("Octopus_Episodes".to_owned(), RowCount { before: 5000, after: 5002 })]
                .into_iter()
                .collect(),
        }
    }

    fn opened(&mut self) -> Opened {
        let plan = PlanRef { name: "octopus_backup".into(), digest: "sha256:0d5c".into() };
        let origin = Origin {
            plan,
            environment: "production".into(),
            run: "20260701-000000-backup".into(),
            by: String::new(),
        };
        Opened::new(self.id(), origin, self.now)
    }

    fn marked(&mut self, opened: Opened) -> Marked {
        let sent_at = self.now;
        let place = self.mark();
        self.now += TimeDelta::milliseconds(40);
        opened.marked(sent_at, self.now, [("octopus".to_owned(), place)].into_iter().collect())
    }

    fn evidence(&self, database: DatabaseEvidence, qdrant: Option<QdrantEvidence>) -> Evidence {
        let backups = database.backups.iter().flat_map(|stored| stored.artifacts.clone());
        let collections = qdrant.iter().flat_map(|found| &found.collections);
        let snapshots =
            collections.flat_map(|one| one.snapshots.iter().map(|snapshot| snapshot.artifact.clone()));
        Evidence {
            sealed_at: self.now,
            rehashed: backups.chain(snapshots).collect(),
            sqlserver: [("octopus".to_owned(), database)].into_iter().collect(),
            qdrant,
            postgres: Default::default(),
            stretches: Default::default(),
            pause: None,
            locks: None,
            server_objects: Default::default(),
            migrations: vec!["20250101000000_Initial".into(), "20260301000000_Episodes".into()],
            neighbours: vec![Neighbours {
                collection: "agent_7f3a".into(),
                query: json!({"query": 17, "limit": 3}),
                ids: vec![json!(17), json!(4), json!("5c56c793-69f3-4fbf-87e6-c4bf54c28c26")],
            }],
            versions: [("application", "4.2.0"), ("embedding_model", "text-embed-3"), ("qdrant", "1.17.1")]
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .into_iter()
                .collect(),
            tools: [("drydock".to_owned(), "0.1.0".to_owned())].into_iter().collect(),
        }
    }

    /// What a nightly run finds out: a full, snapshots, the mark, the log that holds it.
    pub(crate) fn night(&mut self) -> (Marked, Evidence) {
        let full = self.backup(BackupType::Full, self.block);
        let opened = self.opened();
        let collections = vec![self.collection("agent_7f3a"), self.collection("agent_b210")];
        let marked = self.marked(opened);
        let log = self.log_backup();
        let listed_after = collections.iter().map(|one| one.collection.clone()).collect();
        let qdrant = QdrantEvidence { version: "1.17.1".into(), collections, listed_after };
        let evidence = self.evidence(self.database(vec![log, full]), Some(qdrant));
        (marked, evidence)
    }

    pub(crate) fn point(&mut self) -> Manifest {
        let (marked, evidence) = self.night();
        seal(marked, evidence, &SealTerms::default()).expect("a good night is sealed").manifest
    }

    /// What a run between points finds out.
    pub(crate) fn quarter(&mut self) -> (Marked, Evidence) {
        let opened = self.opened();
        let marked = self.marked(opened);
        let log = self.log_backup();
        let evidence = self.evidence(self.database(vec![log]), None);
        (marked, evidence)
    }

    pub(crate) fn log_point(&mut self, vector_base: Option<&PointId>) -> LogPoint {
        let (marked, evidence) = self.quarter();
        let base = vector_base.cloned();
        seal_log_point(marked, LogPointKind::Log, evidence, base, &SealTerms::default())
            .expect("a good log is sealed")
    }

    /// Two runs between points: the second marks and backs the log up before the first has backed up what it marked.
    pub(crate) fn overtaken(&mut self) -> [LogPoint; 2] {
        let opened = self.opened();
        let first = self.marked(opened);
        let second = self.log_point(None);
        let log = self.log_backup();
        let evidence = self.evidence(self.database(vec![log]), None);
        let first = seal_log_point(first, LogPointKind::Log, evidence, None, &SealTerms::default());
        [first.expect("it is sealed incomplete"), second]
    }

    /// The database is restored to a mark and opened: a new fork, and its log goes on from there.
    pub(crate) fn restored_to(&mut self, place: MarkPlace, log_start: Lsn, fork: &str) {
        self.crossing = Some((self.fork.clone(), place.lsn));
        self.fork = Guid::new(fork);
        (self.block, self.log_start) = (place.lsn.block() + 1, log_start.block());
    }
}

pub(crate) fn artifact(path: &str, size: u64) -> Artifact {
    let digest = path.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Artifact { path: path.to_owned(), size, sha256: format!("{digest:016x}").repeat(4) }
}
