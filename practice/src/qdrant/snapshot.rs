//! Snapshots of one node: made, listed, deleted. Main type: [`Description`]; the rest are calls of [`Node`].

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::seed::hex;

use super::archive::{CollectionImage, ShardImage, write_collection, write_full, write_shard};
use super::node::Node;
use super::refusal::Refusal;

/// A snapshot as lists show it.
#[derive(Debug, Serialize)]
pub(super) struct Description {
    pub(super) name: String,
    /// UTC to the second, without a zone.
    creation_time: Option<String>,
    size: u64,
    /// Absent for a file that was uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl Node {
    /// Makes a snapshot of a collection (or alias): what this node holds of it. A snapshot of the same
    /// second is replaced, since its name is the same.
    pub(super) fn create_snapshot(&self, name: &str) -> Result<Description, Refusal> {
        let image = self.image(name)?;
        let _doing = self.snapshotting(&image.name);
        let at = self.clock.now();
        let file = format!("{}-{}-{}.snapshot", image.name, self.peer(), stamp(at));
        let target = self.snapshots_of(&image.name).join(file);
        let made = self.save(&target, at, |out| write_collection(out, &image, self.seed))?;
        self.count_snapshot(&image.name);
        Ok(made)
    }

    /// Makes a snapshot of one shard that this node holds.
    pub(super) fn create_shard_snapshot(&self, name: &str, shard: u32) -> Result<Description, Refusal> {
        let image = self.image(name)?;
        let id = shard as usize;
        let held = image.shards.get(id).ok_or_else(|| no_shard(shard))?.owner == self.peer();
        if !held {
            return Err(Refusal::BadInput(format!("Shard {shard} is not a local or queue proxy shard")));
        }
        let at = self.clock.now();
        let file = format!("{}-shard-{shard}-{}.snapshot", image.name, stamp(at));
        self.save(&self.shard_snapshots(&image.name, shard).join(file), at, |out| {
            write_shard(out, &image, id, self.seed)
        })
    }

    /// Makes a snapshot of all that this node holds: a collection snapshot each, in one file.
    pub(super) fn create_full_snapshot(&self) -> Result<Description, Refusal> {
        let names: Vec<String> = self.store.read().collections.keys().cloned().collect();
        let mut parts = Vec::new();
        for name in names {
            let made = self.create_snapshot(&name)?;
            let path = self.snapshots_of(&name).join(&made.name);
            parts.push((name, made.name, path));
        }
        let aliases = json!(self.store.read().aliases);
        let at = self.clock.now();
        let target = self.snapshots().join(format!("full-snapshot-{}.snapshot", stamp(at)));
        let collections: Vec<_> =
            parts.iter().map(|(name, file, path)| (name.clone(), file.clone(), path.as_path())).collect();
        let made = self.save(&target, at, |out| write_full(out, &collections, &aliases))?;
        for (_, _, path) in &parts {
            // The parts go, their checksum files stay behind: so does a real server leave them.
            fs::remove_file(path).map_err(|error| Refusal::io(&error))?;
        }
        Ok(made)
    }

    /// Where the snapshots of a shard lie.
    pub(super) fn shard_snapshots(&self, collection: &str, shard: u32) -> PathBuf {
        self.snapshots_of(collection).join("shards").join(shard.to_string())
    }

    /// The snapshots folder of an existing collection, by its name or alias.
    pub(super) fn folder_of(&self, name: &str) -> Result<PathBuf, Refusal> {
        let state = self.store.read();
        state.collection(name)?;
        Ok(self.snapshots_of(state.resolve(name)))
    }

    fn image(&self, name: &str) -> Result<CollectionImage, Refusal> {
        let mut state = self.store.write();
        let own = state.resolve(name).to_owned();
        let collection = state.collection_mut(name)?;
        if collection.usable().is_err() {
            return Err(Refusal::Service(
                "Failed to get_snapshot_creator,  Failed to restore local replica".into(),
            ));
        }
        // The write-ahead log is part of a snapshot, so what was accepted is in it, applied or not.
        collection.settle();
        collection.snapshots += 1;
        let peer = |index: usize| self.store.peers.get(index).copied().unwrap_or(0);
        let shards = collection.shards.iter().map(|shard| ShardImage {
            owner: peer(shard.owner),
            points: shard.points.clone(),
            operations: shard.operations,
        });
        Ok(CollectionImage {
            name: own,
            config: collection.config.clone(),
            indexes: collection.indexes.clone(),
            this_peer: self.peer(),
            number: collection.snapshots,
            shards: shards.collect(),
        })
    }

    fn save(
        &self,
        target: &Path,
        at: DateTime<Utc>,
        write: impl FnOnce(&mut Summed) -> io::Result<()>,
    ) -> Result<Description, Refusal> {
        self.save_file(target, at, write).map_err(|error| Refusal::io(&error))
    }

    fn save_file(
        &self,
        target: &Path,
        at: DateTime<Utc>,
        write: impl FnOnce(&mut Summed) -> io::Result<()>,
    ) -> io::Result<Description> {
        let unfinished = self.scratch("snapshot");
        let mut out = Summed { file: BufWriter::new(File::create(&unfinished)?), sum: Sha256::new() };
        write(&mut out)?;
        let checksum = hex(&out.sum.finalize());
        let file = out.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_modified(SystemTime::from(at))?;
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::rename(&unfinished, target)?;
        fs::write(checksum_path(target), &checksum)?;
        describe(target)
    }
}

/// The snapshots in a folder, by name; none where the folder is absent.
pub(super) fn list(folder: &Path) -> Result<Vec<Description>, Refusal> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(|error| Refusal::io(&error))?,
    };
    let mut paths: Vec<PathBuf> = found.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "snapshot"));
    paths.sort();
    paths.iter().map(|path| describe(path).map_err(|error| Refusal::io(&error))).collect()
}

/// Deletes a snapshot and its checksum.
pub(super) fn delete(folder: &Path, name: &str) -> Result<(), Refusal> {
    let path = existing(folder, name)?;
    fs::remove_file(&path).map_err(|error| Refusal::io(&error))?;
    match fs::remove_file(checksum_path(&path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Refusal::io(&error)),
        _ => Ok(()),
    }
}

/// The file of this name in the folder; 404 for what is not there, or is no plain name.
pub(super) fn existing(folder: &Path, name: &str) -> Result<PathBuf, Refusal> {
    let plain = !name.is_empty() && name != ".." && !name.contains(['/', '\\', '\0']);
    let path = folder.join(name);
    if plain && path.is_file() {
        Ok(path)
    } else {
        Err(Refusal::NotFound(format!("Snapshot {name} not found")))
    }
}

/// 404 for a shard.
pub(super) fn no_shard(shard: u32) -> Refusal {
    Refusal::NotFound(format!("Shard {shard} not found"))
}

fn describe(path: &Path) -> io::Result<Description> {
    let facts = fs::metadata(path)?;
    let made: DateTime<Utc> = facts.modified()?.into();
    let checksum = fs::read_to_string(checksum_path(path)).ok();
    Ok(Description {
        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        creation_time: Some(made.format("%Y-%m-%dT%H:%M:%S").to_string()),
        size: facts.len(),
        checksum,
    })
}

fn checksum_path(snapshot: &Path) -> PathBuf {
    let mut path = snapshot.as_os_str().to_owned();
    path.push(".checksum");
    path.into()
}

/// The time in a snapshot's name, to the second.
fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d-%H-%M-%S").to_string()
}

/// A file that is summed while it is written.
struct Summed {
    file: BufWriter<File>,
    sum: Sha256,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
