//! From what the steps gave, what the store gave back and what the server said to the [`Evidence`] of a seal: [`gathered`].

use drydock_recovery::Time;
use drydock_recovery::manifest::{
    Artifact, BackupProof, Certificate, Claim, ClusterEvidence, CollectionEvidence, DatabaseEvidence,
    Evidence, MarkPlace, Marked, Opened, PauseEvidence, QdrantEvidence, SnapshotPart, StoredBackup,
    StretchEvidence, Unproved,
};
use indexmap::IndexMap;

use super::given::{
    BackupGiven, CertificateGiven, ClusterGiven, CollectionGiven, MarkGiven, ObjectsGiven, PauseGiven,
    QdrantGiven, SnapshotFile,
};
use super::read_back::ReadBack;

/// Everything that is sealed together.
pub(super) struct Given<'a> {
    pub(super) mark: &'a MarkGiven,
    pub(super) sqlserver: &'a IndexMap<String, Vec<BackupGiven>>,
    pub(super) certificates: &'a [CertificateGiven],
    pub(super) qdrant: Option<&'a QdrantGiven>,
    pub(super) postgres: &'a IndexMap<String, ClusterGiven>,
    pub(super) pause: Option<&'a PauseGiven>,
    pub(super) server_objects: &'a IndexMap<String, ObjectsGiven>,
    /// Whether it is a log point, whose clusters have WAL alone.
    pub(super) between: bool,
}

impl Given<'_> {
    /// The files in the store that belong to the point.
    pub(super) fn paths(&self) -> Vec<&str> {
        let backups = self.sqlserver.values().flatten().flat_map(|given| &given.artifacts);
        let snapshots = self.qdrant.iter().flat_map(|given| {
            let files = given
                .snapshot
                .collections
                .iter()
                .flat_map(|one| one.snapshots.iter().map(move |file| (one, file)));
            files.filter_map(|(one, file)| Some(given.fetched(&one.collection, file)?.path.as_str()))
        });
        let samples = self.qdrant.iter().flat_map(|given| {
            let collections = given.snapshot.collections.iter();
            collections.flat_map(|one| given.sampled(&one.collection)).map(|part| part.artifact.path.as_str())
        });
        let certificates = self.certificates.iter().flat_map(|given| &given.artifacts);
        let clusters = self.postgres.values().flat_map(ClusterGiven::artifacts).map(|one| one.path.as_str());
        let of_servers = backups.chain(certificates).map(String::as_str);
        let of_servers = of_servers.chain(self.server_objects.values().map(|one| one.artifact.path.as_str()));
        of_servers.chain(snapshots).chain(samples).chain(clusters).collect()
    }

    /// The point once marked.
    pub(super) fn marked(&self, opened: Opened) -> Marked {
        let place = |(name, marked): (&String, &super::given::MarkedDatabase)| {
            (name.clone(), MarkPlace { lsn: marked.lsn, at: marked.at })
        };
        let places = self.mark.databases.iter().map(place).collect();
        opened.marked(self.mark.sent_at, self.mark.answered_at, places)
    }
}

/// The evidence, and what already speaks against a seal: `unproved` is added to.
pub(super) fn gathered(
    given: &Given<'_>,
    read: &ReadBack,
    versions: IndexMap<String, String>,
    sealed_at: Time,
    unproved: &mut Vec<Unproved>,
) -> Evidence {
    let mut sqlserver = IndexMap::new();
    for (name, backups) in given.sqlserver {
        if let Some(found) = database(name, backups, given, read, unproved) {
            sqlserver.insert(name.clone(), found);
        }
    }
    let qdrant = given.qdrant.map(|found| QdrantEvidence {
        version: found.snapshot.version.clone(),
        collections: found.snapshot.collections.iter().map(|one| collection(one, found, unproved)).collect(),
        listed_after: found.snapshot.listed_after.clone(),
    });
    let (between, clusters) = (given.between, || given.postgres.iter());
    let postgres = clusters().filter(|_| !between).map(|(name, one)| (name.clone(), cluster(one))).collect();
    let stretches = clusters().filter(|_| between);
    let stretches = stretches.filter_map(|(name, one)| Some((name.clone(), stretch(one)?))).collect();
    let pause = given.pause.map(|given| PauseEvidence {
        before: given.before.clone(),
        after: given.after.clone(),
        watermarks_before: given.watermarks.as_ref().map(|one| one.before.clone()).unwrap_or_default(),
        watermarks_after: given.watermarks.as_ref().map(|one| one.after.clone()).unwrap_or_default(),
    });
    let scripts = given.server_objects.iter().map(|(name, one)| (name.clone(), one.artifact.clone()));
    let tools = [("drydock".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into_iter().collect();
    Evidence {
        sealed_at,
        sqlserver,
        qdrant,
        postgres,
        stretches,
        pause,
        locks: None,
        server_objects: scripts.collect(),
        rehashed: read.files(),
        migrations: given.mark.migrations.values().flatten().cloned().collect(),
        neighbours: Vec::new(),
        versions,
        tools,
    }
}

/// What is known of a database; who it is is taken from its last backup.
fn database(
    name: &str,
    backups: &[BackupGiven],
    given: &Given<'_>,
    read: &ReadBack,
    unproved: &mut Vec<Unproved>,
) -> Option<DatabaseEvidence> {
    let last = backups.iter().max_by_key(|given| given.backup.finished_at)?;
    Some(DatabaseEvidence {
        database: last.backup.database.clone(),
        server: last.server.clone(),
        family_guid: last.family_guid.clone(),
        recovery_fork: last.recovery_fork.clone(),
        recovery_model: last.recovery_model.clone(),
        backups: backups.iter().map(|given| stored(name, given, read, unproved)).collect(),
        certificates: given.certificates.iter().map(|saved| escrowed(saved, read)).collect(),
        rows: given.mark.rows.get(name).cloned().unwrap_or_default(),
    })
}

/// A certificate; it is in escrow when it and its private key were both read back from the store.
fn escrowed(saved: &CertificateGiven, read: &ReadBack) -> Certificate {
    let are_there = saved.artifacts.iter().all(|path| read.file(path).is_some());
    let key = saved.artifacts.last().filter(|_| saved.artifacts.len() > 1 && are_there);
    Certificate { thumbprint: saved.thumbprint.clone(), escrow: key.cloned() }
}

/// A backup with its files in the store. Where these are not all, the server has proved that it reads its own media.
fn stored(name: &str, given: &BackupGiven, read: &ReadBack, unproved: &mut Vec<Unproved>) -> StoredBackup {
    let mut artifacts: Vec<Artifact> = Vec::new();
    for path in &given.artifacts {
        match read.file(path) {
            Some(file) => artifacts.push(file.clone()),
            None => {
                let why = format!("{path} of the {} is not in the store", given.backup.label());
                unproved.push(Unproved { claim: Claim::FilesAtHand, of: name.to_owned(), why });
            }
        }
    }
    let all = given.artifacts.len() >= given.backup.media.len();
    StoredBackup {
        backup: given.backup.clone(),
        artifacts,
        proof: if all { BackupProof::Hashed } else { BackupProof::Server },
        checksums: given.has_checksums,
        encryptor_thumbprint: given.encryptor_thumbprint.clone(),
        adopted: given.adopted,
    }
}

fn collection(
    given: &CollectionGiven,
    all: &QdrantGiven,
    unproved: &mut Vec<Unproved>,
) -> CollectionEvidence {
    let mut snapshots = Vec::new();
    for file in &given.snapshots {
        match fetched(given, file, all) {
            Ok(part) => snapshots.push(part),
            Err(why) => {
                let of = given.collection.clone();
                unproved.push(Unproved { claim: Claim::ArtifactsRehashed, of, why });
            }
        }
    }
    CollectionEvidence {
        collection: given.collection.clone(),
        shards: given.shard_ids(),
        transfers: given.transfers,
        waiting: given.waiting,
        points: given.points,
        snapshots,
        params: given.params.clone(),
        config: given.config.clone(),
        payload_indexes: given.payload_indexes.clone(),
        aliases: given.aliases.clone(),
        samples: all.sampled(&given.collection).cloned().collect(),
    }
}

fn cluster(given: &ClusterGiven) -> ClusterEvidence {
    let said = given.bases().last().and_then(|base| base.rest.get("server_version")?.as_str());
    ClusterEvidence {
        version: said.unwrap_or_default().to_owned(),
        bases: given.bases().to_vec(),
        restore_point: given.restore_point.clone(),
        wal: given.wal.part.clone(),
        tables: given.bands(),
        samples: given.samples.clone(),
    }
}

fn stretch(given: &ClusterGiven) -> Option<StretchEvidence> {
    Some(StretchEvidence {
        from: given.wal.start_lsn?,
        restore_point: given.restore_point.clone(),
        wal: given.wal.part.clone(),
        tables: given.bands(),
    })
}

/// A snapshot with its file in the store, or why there is none. What was fetched must be what the server had made before the mark.
fn fetched(given: &CollectionGiven, file: &SnapshotFile, all: &QdrantGiven) -> Result<SnapshotPart, String> {
    let artifact = all
        .fetched(&given.collection, file)
        .ok_or_else(|| format!("snapshot {} of {} was not fetched", file.name, file.node))?;
    if let Some(made) = file.sha256.as_deref().filter(|made| !made.eq_ignore_ascii_case(&artifact.sha256)) {
        return Err(format!(
            "snapshot {} of {} was made with sha256 {made} and fetched with {}",
            file.name, file.node, artifact.sha256
        ));
    }
    Ok(SnapshotPart {
        node: file.node.clone(),
        peer_id: file.peer_id,
        shards: file.shards.clone(),
        shard: file.shard,
        shard_key: file.shard_key.clone(),
        name: file.name.clone(),
        artifact: artifact.clone(),
        started_at: file.started_at,
        answered_at: file.answered_at,
        created_at: file.created_at,
    })
}
