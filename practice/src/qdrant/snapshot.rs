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

use super::archive::{CollectionImage, Form, ShardImage, write_collection, write_full, write_shard};
use super::extract::Lie;
use super::node::Node;
use super::refusal::Refusal;
use super::store::Collection;

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
    pub(super) fn create_snapshot(&self, name: &str, lie: Lie) -> Result<Description, Refusal> {
        let _doing = self.snapshotting(self.store.read().resolve(name));
        self.count_snapshot(self.store.read().resolve(name));
        let image = self.image(name, |collection| {
            collection.snapshots += 1;
            (collection.sound_on(self.index), Some(collection.snapshots))
        })?;
        let at = self.clock.now();
        let file = format!("{}-{}-{}.snapshot", image.name, self.peer(), stamp(at));
        let target = self.kept().join(&image.name).join(file);
        self.save(&target, at, lie, |out| write_collection(out, &image, self.seed))
    }

    /// Makes a snapshot of one shard that this node holds.
    pub(super) fn create_shard_snapshot(
        &self,
        name: &str,
        shard: u32,
        lie: Lie,
    ) -> Result<Description, Refusal> {
        let _doing = self.snapshotting(self.store.read().resolve(name));
        let image = self.shard_image(name, shard)?;
        let at = self.clock.now();
        let file = shard_file(&image.name, shard, at);
        self.save(&self.shard_snapshots(&image.name, shard).join(file), at, lie, |out| {
            write_shard(out, &image, shard, Form::Stored, self.seed)
        })
    }

    /// A snapshot of one shard that this node holds, which is sent and not kept: its name and bytes.
    pub(super) fn streamed_shard_snapshot(
        &self,
        name: &str,
        shard: u32,
    ) -> Result<(String, Vec<u8>), Refusal> {
        let _doing = self.snapshotting(self.store.read().resolve(name));
        let image = self.shard_image(name, shard)?;
        let mut bytes = Vec::new();
        let written = write_shard(&mut bytes, &image, shard, Form::Streamed, self.seed);
        written.map_err(|error| Refusal::io(&error))?;
        Ok((shard_file(&image.name, shard, self.clock.now()), bytes))
    }

    fn shard_image(&self, name: &str, shard: u32) -> Result<CollectionImage, Refusal> {
        self.image(name, |collection| {
            let replica = collection.shards.get(&shard).and_then(|shard| shard.replicas.get(&self.index));
            (replica.is_none_or(|replica| !replica.broken), None)
        })
        .and_then(|image| {
            self.check_local(name, shard, "local or queue proxy")?;
            Ok(image)
        })
    }

    /// Refuses a shard that the collection has not, or that has no replica on this node; `what` it should be is
    /// told in the real server's words.
    pub(super) fn check_local(&self, name: &str, shard: u32, what: &str) -> Result<(), Refusal> {
        let state = self.store.read();
        let held = state.collection(name)?.shards.get(&shard).ok_or_else(|| no_shard(shard))?;
        if held.replicas.contains_key(&self.index) {
            return Ok(());
        }
        Err(Refusal::BadInput(format!("Shard {shard} is not a {what} shard")))
    }

    /// Makes a snapshot of all that this node holds: a collection snapshot each, in one file.
    pub(super) fn create_full_snapshot(&self, lie: Lie) -> Result<Description, Refusal> {
        let names: Vec<String> = self.store.read().collections.keys().cloned().collect();
        let mut parts = Vec::new();
        for name in names {
            let made = self.create_snapshot(&name, Lie(false))?;
            let path = self.kept().join(&name).join(&made.name);
            parts.push((name, made.name, path));
        }
        let aliases = json!(self.store.read().aliases);
        let at = self.clock.now();
        let target = self.kept().join(format!("full-snapshot-{}.snapshot", stamp(at)));
        let collections: Vec<_> =
            parts.iter().map(|(name, file, path)| (name.clone(), file.clone(), path.as_path())).collect();
        let made = self.save(&target, at, lie, |out| write_full(out, &collections, &aliases))?;
        for (_, _, path) in &parts {
            // The parts go, their checksum files stay behind: so does a real server leave them.
            fs::remove_file(path).map_err(|error| Refusal::io(&error))?;
        }
        Ok(made)
    }

    /// Where the snapshots of a shard lie.
    pub(super) fn shard_snapshots(&self, collection: &str, shard: u32) -> PathBuf {
        self.kept().join(collection).join("shards").join(shard.to_string())
    }

    /// The snapshots folder of an existing collection, by its name or alias.
    pub(super) fn folder_of(&self, name: &str) -> Result<PathBuf, Refusal> {
        let state = self.store.read();
        state.collection(name)?;
        Ok(self.kept().join(state.resolve(name)))
    }

    /// What this node holds of a collection now; `begin` says whether that is sound, and the snapshot's number.
    fn image(
        &self,
        name: &str,
        begin: impl FnOnce(&mut Collection) -> (bool, Option<u64>),
    ) -> Result<CollectionImage, Refusal> {
        let mut state = self.store.write();
        let own = state.resolve(name).to_owned();
        let collection = state.collection_mut(name)?;
        let (sound, number) = begin(collection);
        if !sound {
            return Err(Refusal::Service(
                "Failed to get_snapshot_creator,  Failed to restore local replica".into(),
            ));
        }
        // The write-ahead log is part of a snapshot, so what was accepted is in it, applied or not.
        collection.settle();
        let shards = collection.shards.iter().map(|(id, shard)| ShardImage {
            id: *id,
            key: shard.key.clone(),
            peers: shard.replicas.iter().map(|(node, own)| (collection.peer(*node), own.state)).collect(),
            data: shard.replicas.get(&self.index).map(|own| (own.points.clone(), own.operations)),
        });
        Ok(CollectionImage {
            name: own,
            config: collection.config.clone(),
            indexes: collection.indexes.clone(),
            this_peer: self.peer(),
            number,
            shards: shards.collect(),
        })
    }

    fn save(
        &self,
        target: &Path,
        at: DateTime<Utc>,
        lie: Lie,
        write: impl FnOnce(&mut Summed) -> io::Result<()>,
    ) -> Result<Description, Refusal> {
        self.save_file(target, at, lie, write).map_err(|error| Refusal::io(&error))
    }

    fn save_file(
        &self,
        target: &Path,
        at: DateTime<Utc>,
        lie: Lie,
        write: impl FnOnce(&mut Summed) -> io::Result<()>,
    ) -> io::Result<Description> {
        let unfinished = self.scratch("snapshot");
        let mut out = Summed { file: BufWriter::new(File::create(&unfinished)?), sum: Sha256::new() };
        write(&mut out)?;
        let mut checksum = hex(&out.sum.finalize());
        if lie.0 {
            checksum = another(&checksum);
        }
        let file = out.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_modified(SystemTime::from(at))?;
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::rename(&unfinished, target)?;
        if !self.s3 {
            fs::write(checksum_path(target), &checksum)?;
        }
        describe(target)
    }
}

/// Another sum in the place of this one.
fn another(sum: &str) -> String {
    sum.chars().rev().collect()
}

/// The snapshots in a folder, by name; none where the folder is absent.
pub(super) fn list(folder: &Path, lie: Lie) -> Result<Vec<Description>, Refusal> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(|error| Refusal::io(&error))?,
    };
    let mut paths: Vec<PathBuf> = found.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "snapshot"));
    paths.sort();
    let shown = |path: &PathBuf| {
        let mut shown = describe(path).map_err(|error| Refusal::io(&error))?;
        if lie.0 {
            shown.checksum = shown.checksum.as_deref().map(another);
        }
        Ok(shown)
    };
    paths.iter().map(shown).collect()
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
    Refusal::NotFound(format!("shard {shard} not found"))
}

fn shard_file(collection: &str, shard: u32, at: DateTime<Utc>) -> String {
    format!("{collection}-shard-{shard}-{}.snapshot", stamp(at))
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
