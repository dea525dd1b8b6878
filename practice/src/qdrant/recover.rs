//! Recovery of a collection from a snapshot, in the order of the real server: fetch, compare the checksum,
//! unpack, create or compare, then clear the old data and load the new. Main type: [`Recovery`].

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

use super::archive::{Unpacked, unpack};
use super::node::Node;
use super::refusal::Refusal;

/// Whose data win where a shard has other replicas. With one replica each, all three mean the same.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Priority {
    NoSync,
    Snapshot,
    Replica,
}

/// The body of `PUT /collections/{name}/snapshots/recover`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recovery {
    #[serde(deserialize_with = "url")]
    location: Url,
    #[expect(dead_code, reason = "read to be checked; it decides nothing without replicas")]
    priority: Option<Priority>,
    checksum: Option<String>,
    api_key: Option<String>,
}

/// A snapshot's file on this node, deleted afterwards if it was only fetched for the recovery.
pub(super) struct Source {
    path: PathBuf,
    fetched: bool,
}

impl Recovery {
    /// Refuses a checksum that cannot be one.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        self.checksum.as_deref().map_or(Ok(()), |checksum| check_checksum(checksum, "JSON body"))
    }

    /// Recovers the collection `name` on `node`.
    pub(super) async fn run(self, node: Arc<Node>, name: String) -> Result<(), Refusal> {
        let source = self.source(&node).await?;
        if let Some(expected) = &self.checksum {
            let found = sum(source.path.clone()).await?;
            if !found.eq_ignore_ascii_case(expected) {
                return Err(Refusal::BadInput(format!(
                    "Snapshot checksum mismatch: expected {expected}, got {found}"
                )));
            }
        }
        blocking(move || node.recover(&name, &source.path)).await
    }

    async fn source(&self, node: &Node) -> Result<Source, Refusal> {
        match self.location.scheme() {
            "file" => inside_snapshots(node, &self.location),
            "http" | "https" => self.download(node).await,
            other => Err(Refusal::BadInput(format!("URL scheme {other} is not supported"))),
        }
    }

    async fn download(&self, node: &Node) -> Result<Source, Refusal> {
        let failed = |error: reqwest::Error| Refusal::Service(format!("Http request error: {error}"));
        let mut request = node.http.get(self.location.clone());
        if let Some(key) = &self.api_key {
            request = request.header("api-key", key);
        }
        let response = request.send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(Refusal::BadInput(format!(
                "Failed to download tar from {}: status - {}",
                self.location,
                response.status()
            )));
        }
        // The source is made before the file, so that whatever was written is removed when a piece is missing.
        let source = Source { path: node.scratch("download"), fetched: true };
        let mut file = tokio::fs::File::create(&source.path).await.map_err(|error| Refusal::io(&error))?;
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece.map_err(failed)?).await.map_err(|error| Refusal::io(&error))?;
        }
        file.flush().await.map_err(|error| Refusal::io(&error))?;
        Ok(source)
    }
}

impl Node {
    /// Puts the data of the snapshot at `path` into the collection (or alias) `name`, which is created when
    /// it is absent. An existing collection's data are gone before the new are known to load.
    pub(super) fn recover(&self, name: &str, path: &Path) -> Result<(), Refusal> {
        let _doing = self.recovering(name);
        let place = self.scratch(&format!("col-{name}-recovery"));
        let unpacked = unpack(path, &place.display().to_string())?;
        if !self.store.clustered() {
            let held = unpacked.local_shards().count();
            if held < unpacked.config.params.shard_number as usize {
                return Err(Refusal::Service(
                    "Can't restore snapshot in local mode with missing data at shard".into(),
                ));
            }
        }
        let mut state = self.store.write();
        let own = state.resolve(name).to_owned();
        match state.collection(name) {
            Ok(collection) => collection.config.accepts(&unpacked.config)?,
            Err(_) => state.create(&own, unpacked.config.clone(), self.store.peers.len())?,
        }
        let collection = state.collection_mut(&own)?;
        collection.forget_waiting();
        collection.indexes = unpacked.indexes.clone();
        self.replace_shards(collection, &own, &unpacked)
    }

    fn replace_shards(
        &self,
        collection: &mut super::store::Collection,
        own: &str,
        unpacked: &Unpacked,
    ) -> Result<(), Refusal> {
        for id in unpacked.local_shards() {
            let Some(shard) = collection.shards.get_mut(id as usize) else { continue };
            shard.points.clear();
            shard.owner = self.index;
            shard.broken = true;
            let (points, operations) = unpacked.load(id, &self.collection_place(own))?;
            shard.points = points;
            shard.operations = operations;
            shard.broken = false;
        }
        Ok(())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.fetched
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "a download was not removed");
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
    let absent = || Refusal::BadInput(format!("Snapshot file {:?} does not exist", location.path()));
    let path = location.to_file_path().map_err(|()| absent())?.canonicalize().map_err(|_| absent())?;
    if !path.starts_with(node.snapshots()) {
        return Err(Refusal::Forbidden(format!(
            "Snapshot file path must be inside the snapshots directory {:?}",
            node.snapshots()
        )));
    }
    Ok(Source { path, fetched: false })
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
