//! Recovery of a collection or a shard from a snapshot, in the order of the real server: fetch, compare the
//! checksum, unpack, create or compare, then clear the old data and load the new, and settle with the other
//! replicas. Main types: [`Recovery`], [`ShardRecovery`].

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use reqwest::Url;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::seed::hex;

use super::archive::{UnpackedShard, unpack, unpack_shard};
use super::node::Node;
use super::refusal::Refusal;
use super::replica::ReplicaState;
use super::snapshot::{existing, no_shard};
use super::store::Collection;
use super::transfer::{Method, Way};

/// Whose data win where a shard has other active replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Priority {
    /// Nobody's: the replicas may differ afterwards.
    NoSync,
    /// The snapshot's: the others are dead, and filled again from this replica.
    #[default]
    Snapshot,
    /// The others': this replica is filled again from one of them.
    Replica,
}

/// The body of `PUT /collections/{name}/snapshots/recover`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recovery {
    #[serde(deserialize_with = "url")]
    location: Url,
    priority: Option<Priority>,
    checksum: Option<String>,
    api_key: Option<String>,
}

/// The body of `PUT /collections/{name}/shards/{shard}/snapshots/recover`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardRecovery {
    location: String,
    priority: Option<Priority>,
    checksum: Option<String>,
    api_key: Option<String>,
}

/// A snapshot's file on this node, deleted afterwards if it was only brought here for the recovery.
pub(super) struct Source {
    path: PathBuf,
    borrowed: bool,
}

impl Recovery {
    /// Refuses a checksum that cannot be one.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        self.checksum.as_deref().map_or(Ok(()), |checksum| check_checksum(checksum, "JSON body"))
    }

    /// Recovers the collection `name` on `node`.
    pub(super) async fn run(self, node: Arc<Node>, name: String) -> Result<(), Refusal> {
        let source = match self.location.scheme() {
            "file" => inside_snapshots(&node, &self.location)?,
            "http" | "https" => download(&node, &self.location, self.api_key.as_deref()).await?,
            scheme => {
                let location = &self.location;
                return Err(Refusal::BadRequest(format!(
                    "URL {location} with scheme {scheme} is not supported"
                )));
            }
        };
        source.compare(self.checksum.as_deref()).await?;
        let priority = self.priority.unwrap_or_default();
        blocking(move || node.recover(&name, &source.path, priority)).await
    }
}

impl ShardRecovery {
    /// Recovers a shard of the collection `name` on `node`. A checksum that cannot be one is only found not to be
    /// the file's.
    pub(super) async fn run(self, node: Arc<Node>, name: String, shard: u32) -> Result<(), Refusal> {
        node.check_shard(&name, shard)?;
        let source = match Url::parse(&self.location) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                download(&node, &url, self.api_key.as_deref()).await?
            }
            Ok(url) => {
                return Err(Refusal::BadInput(format!(
                    "Invalid snapshot URL {url}: URLs with {} scheme are not supported",
                    url.scheme()
                )));
            }
            Err(_) => {
                node.check_local(&name, shard, "local or queue proxy")?;
                let path = existing(&node.shard_snapshots(&node.own_name(&name), shard), &self.location)?;
                Source { path, borrowed: false }
            }
        };
        source.compare(self.checksum.as_deref()).await?;
        let priority = self.priority.unwrap_or_default();
        blocking(move || node.recover_shard(&name, shard, &source.path, priority)).await
    }
}

impl Source {
    /// A file that nobody needs after the recovery.
    pub(super) fn borrowed(path: PathBuf) -> Self {
        Self { path, borrowed: true }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    async fn compare(&self, expected: Option<&str>) -> Result<(), Refusal> {
        let Some(expected) = expected else { return Ok(()) };
        let found = sum(self.path.clone()).await?;
        if found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(Refusal::BadInput(format!("Snapshot checksum mismatch: expected {expected}, got {found}")))
    }
}

async fn download(node: &Node, location: &Url, api_key: Option<&str>) -> Result<Source, Refusal> {
    let failed = |error: reqwest::Error| Refusal::Service(format!("Http request error: {error}"));
    let mut request = node.http.get(location.clone());
    if let Some(key) = api_key {
        request = request.header("api-key", key);
    }
    let response = request.send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(Refusal::BadInput(format!(
            "Failed to download tar from {location}: status - {}",
            response.status()
        )));
    }
    // The source is made before the file, so that whatever was written is removed when a piece is missing.
    let source = Source::borrowed(node.scratch("download"));
    let mut file = tokio::fs::File::create(&source.path).await.map_err(|error| Refusal::io(&error))?;
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece.map_err(failed)?).await.map_err(|error| Refusal::io(&error))?;
    }
    file.flush().await.map_err(|error| Refusal::io(&error))?;
    Ok(source)
}

impl Node {
    /// Puts the data of the snapshot at `path` into the collection (or alias) `name`, which is created when
    /// it is absent. An existing collection's data are gone before the new are known to load.
    pub(super) fn recover(&self, name: &str, path: &Path, priority: Priority) -> Result<(), Refusal> {
        let _doing = self.recovering(name);
        let place = self.scratch(&format!("col-{name}-recovery"));
        let unpacked = unpack(path, &place.display().to_string())?;
        if let Some(id) = unpacked.without_data().filter(|_| !self.store.clustered()) {
            return Err(missing_data(&format!("{}/{id}", place.display())));
        }
        let mut state = self.store.write();
        let own = state.resolve(name).to_owned();
        match state.collection(name) {
            Ok(collection) => collection.config.accepts(&unpacked.config)?,
            Err(_) => {
                state.create(&own, unpacked.config.clone(), &self.store.peers)?;
                // Only a new collection gets the snapshot's payload indexes.
                state.collection_mut(&own)?.indexes = unpacked.indexes.clone();
            }
        }
        let collection = state.collection_mut(&own)?;
        collection.settle();
        // What has to be filled from elsewhere is decided by who was active before.
        let before: BTreeMap<u32, Vec<usize>> =
            collection.shards.iter().map(|(id, shard)| (*id, shard.active_beside(self.index))).collect();
        let mut states = BTreeMap::new();
        for (id, shard) in &mut collection.shards {
            if let Some(own) = shard.replicas.get(&self.index) {
                states.insert(*id, own.state);
                shard.set_state(self.index, ReplicaState::ManualRecovery);
            }
        }
        let local: BTreeMap<u32, &UnpackedShard> = unpacked.local_shards().collect();
        for (id, others) in before {
            if !unpacked.knows(id) {
                return Err(Refusal::Service(format!("No shard found: {id} at {}", place.display())));
            }
            let Some(shard) = local.get(&id) else {
                if let Some(state) = states.get(&id) {
                    collection.set_state(id, self.index, *state);
                }
                continue;
            };
            self.replace(collection, &own, id, shard)?;
            self.settle_replicas(collection, id, &others, priority, true);
        }
        Ok(())
    }

    /// Puts the data of the shard snapshot at `path` into this node's replica of a shard, which is made when there
    /// is none.
    pub(super) fn recover_shard(
        &self,
        name: &str,
        id: u32,
        path: &Path,
        priority: Priority,
    ) -> Result<(), Refusal> {
        self.check_shard(name, id)?;
        let own = self.own_name(name);
        let _doing = self.recovering(&own);
        let place = self.scratch(&format!("{own}-shard-{id}")).display().to_string();
        let unpacked = unpack_shard(path, &place)?;
        if !unpacked.is_local() {
            let clustered = self.store.clustered();
            return Err(if clustered {
                Refusal::BadRequest("Invalid snapshot".into())
            } else {
                missing_data(&place)
            });
        }
        let mut state = self.store.write();
        let collection = state.collection_mut(&own)?;
        collection.settle();
        self.replace(collection, &own, id, &unpacked)?;
        let others = collection.shards.get(&id).map(|shard| shard.active_beside(self.index));
        self.settle_replicas(collection, id, &others.unwrap_or_default(), priority, false);
        Ok(())
    }

    /// Refuses a shard that a collection has not.
    pub(super) fn check_shard(&self, name: &str, shard: u32) -> Result<(), Refusal> {
        let state = self.store.read();
        let known = state.collection(name)?.shards.contains_key(&shard);
        if known { Ok(()) } else { Err(no_shard(shard)) }
    }

    /// The collection's own name, for one that may be an alias.
    pub(super) fn own_name(&self, name: &str) -> String {
        self.store.read().resolve(name).to_owned()
    }

    /// Clears this node's replica of a shard, then loads the new data. What does not load leaves it broken.
    fn replace(
        &self,
        collection: &mut Collection,
        own: &str,
        id: u32,
        unpacked: &UnpackedShard,
    ) -> Result<(), Refusal> {
        let params = collection.config.params.clone();
        let Some(shard) = collection.shards.get_mut(&id) else { return Err(no_shard(id)) };
        let is_new = !shard.replicas.contains_key(&self.index);
        let alone = shard.active_beside(self.index).is_empty();
        let replica = shard.replicas.entry(self.index).or_default();
        if is_new && !alone {
            replica.state = ReplicaState::ManualRecovery;
        }
        replica.points.clear();
        replica.broken = true;
        match unpacked.load(&params, &format!("{}/{id}", self.collection_place(own))) {
            Ok((points, operations)) => {
                replica.points = points;
                replica.operations = operations;
                replica.broken = false;
                Ok(())
            }
            Err(refusal) => {
                // Where others have the data the replica is given up, and filled again; alone it stays active.
                collection.kill_replica(id, self.index);
                Err(refusal)
            }
        }
    }

    /// Decides who is active after a recovery, and who is filled again from whom.
    fn settle_replicas(
        &self,
        collection: &mut Collection,
        id: u32,
        others: &[usize],
        priority: Priority,
        whole_collection: bool,
    ) {
        let Some(first) = others.first().copied().filter(|_| priority != Priority::NoSync) else {
            collection.set_state(id, self.index, ReplicaState::Active);
            return;
        };
        if priority == Priority::Replica {
            if whole_collection {
                let way = Way { shard: id, from: first, to: self.index };
                if let Err(refusal) = collection.begin_transfer(way, true, Method::StreamRecords) {
                    tracing::debug!(%refusal, "a replica stays in recovery");
                }
            } else {
                collection.kill_replica(id, self.index);
            }
            return;
        }
        collection.set_state(id, self.index, ReplicaState::Active);
        // More replicas than the collection is to have are removed, when all of it is recovered.
        let wanted = (collection.config.params.replication_factor as usize).saturating_sub(1);
        let surplus = if whole_collection { others.len().saturating_sub(wanted) } else { 0 };
        for (at, node) in others.iter().enumerate() {
            if at >= surplus {
                collection.kill_replica(id, *node);
            } else if let Err(refusal) = collection.drop_replica(id, *node) {
                tracing::debug!(%refusal, "a surplus replica stays");
            }
        }
    }
}

fn missing_data(place: &str) -> Refusal {
    Refusal::Service(format!("Can't restore snapshot in local mode with missing data at shard: {place}"))
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.borrowed
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "a file that was brought for a recovery was not removed");
        }
    }
}

/// The SHA-256 of a file in hex.
pub(super) async fn sum(path: PathBuf) -> Result<String, Refusal> {
    blocking(move || {
        let mut sum = Sha256::new();
        let read = File::open(path).and_then(|mut file| io::copy(&mut file, &mut HashWriter(&mut sum)));
        read.map_err(|error| Refusal::io(&error))?;
        Ok(hex(&sum.finalize()))
    })
    .await
}

/// Does work that reads or writes files, away from the threads that serve connections.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal::Service(error.to_string())))
}

/// Refuses a checksum that is not 64 hexadecimal digits.
pub(super) fn check_checksum(checksum: &str, place: &str) -> Result<(), Refusal> {
    if checksum.len() == 64 && checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!("{place}: [checksum: Invalid SHA256 hash format]")))
}

fn inside_snapshots(node: &Node, location: &Url) -> Result<Source, Refusal> {
    let absent = || Refusal::BadRequest(format!("Snapshot file {:?} does not exist", location.path()));
    let path = location.to_file_path().map_err(|()| absent())?.canonicalize().map_err(|_| absent())?;
    if !path.starts_with(node.snapshots()) {
        return Err(Refusal::Forbidden(format!(
            "Snapshot file path must be inside the snapshots directory {:?}",
            node.snapshots()
        )));
    }
    Ok(Source { path, borrowed: false })
}

/// Reads an address inside the visitor, so that the error stands at the text and not at the body's end.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Url;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string representing an URL")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Url, E> {
            Url::parse(text).map_err(|error| E::custom(format!("{error}: {text:?}")))
        }
    }
    deserializer.deserialize_str(Text)
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
