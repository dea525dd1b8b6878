//! Reading a snapshot's tar, in the two stages of the real server: a file that does not unpack does no
//! harm; one that unpacks and does not load comes too late for the old data. Main type: [`Unpacked`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tar::{Archive, EntryType};

use super::super::config::{Config, Params};
use super::super::point::Point;
use super::super::refusal::Refusal;
use super::super::vector::{Vector, Vectors};
use super::{KeyMapping, Loaded, POINTS_FILE, PayloadIndex, PointLine, ReplicaSetState, VECTORS_FILE};

/// A snapshot of a collection that has been taken apart and not yet understood.
#[derive(Debug)]
pub(in super::super) struct Unpacked {
    pub(in super::super) config: Config,
    pub(in super::super) indexes: IndexMap<String, Value>,
    shards: BTreeMap<u32, UnpackedShard>,
}

/// One shard of it, or the snapshot of a shard alone.
#[derive(Debug, Default)]
pub(in super::super) struct UnpackedShard {
    local: bool,
    configured: bool,
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    name: String,
    /// What we wrote in it, and `segment.json`.
    files: BTreeMap<String, Vec<u8>>,
}

/// Takes the collection snapshot at `path` apart. `place` is the folder that errors name, where a real
/// server would have unpacked it.
pub(in super::super) fn unpack(path: &Path, place: &str) -> Result<Unpacked, Refusal> {
    let mut files = opened(path, place)?;
    let json = |name: &str| files.get(name).ok_or_else(|| missing(place, name));
    let config: Config = parsed(json("config.json")?, place, "config.json")?;
    let PayloadIndex { schema } = parsed(json("payload_index.json")?, place, "payload_index.json")?;
    json("version.info")?;
    let keys: Vec<KeyMapping> = parsed(json("shard_key_mapping.json")?, place, "shard_key_mapping.json")?;
    let mut of_shards: BTreeMap<u32, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    while let Some((name, bytes)) = files.pop_first() {
        if let Some((Ok(id), rest)) = name.split_once('/').map(|(id, rest)| (id.parse(), rest)) {
            of_shards.entry(id).or_default().insert(rest.to_owned(), bytes);
        }
    }
    let shards: BTreeMap<u32, UnpackedShard> = of_shards
        .into_iter()
        .map(|(id, files)| Ok((id, UnpackedShard::of(files, &format!("{place}/{id}"))?)))
        .collect::<Result<_, Refusal>>()?;
    let expected: Vec<u32> = if config.params.custom_sharding() {
        keys.into_iter().flat_map(|mapping| mapping.shard_ids).collect()
    } else {
        (0..config.params.shard_number).collect()
    };
    match expected.into_iter().find(|id| !shards.get(id).is_some_and(|shard| shard.configured)) {
        Some(id) => Err(Refusal::Service(format!("Can't read shard config at {place}/{id}"))),
        None => Ok(Unpacked { config, indexes: schema, shards }),
    }
}

/// Takes the snapshot of a shard at `path` apart, in either form. A file of another kind has no local data.
pub(in super::super) fn unpack_shard(path: &Path, place: &str) -> Result<UnpackedShard, Refusal> {
    UnpackedShard::of(opened(path, place)?, place)
}

fn opened(path: &Path, place: &str) -> Result<BTreeMap<String, Vec<u8>>, Refusal> {
    let file = File::open(path).map_err(|error| Refusal::io(&error))?;
    // A real segment has sparse files of many megabytes, of which the name is enough.
    let bulk = |name: &str| name.contains("/files/") && !ours(name);
    entries(file, place, |name| !name.contains("wal/") && !bulk(name))
}

/// Whether a file of a segment is read.
fn ours(name: &str) -> bool {
    name.contains("practice.") || name.ends_with("segment.json")
}

impl Unpacked {
    /// The shards whose data the snapshot has.
    pub(in super::super) fn local_shards(&self) -> impl Iterator<Item = (u32, &UnpackedShard)> {
        self.shards.iter().filter(|(_, shard)| shard.is_local()).map(|(id, shard)| (*id, shard))
    }

    /// A shard that the snapshot knows without having its data.
    pub(in super::super) fn without_data(&self) -> Option<u32> {
        self.shards.iter().find(|(_, shard)| !shard.is_local()).map(|(id, _)| *id)
    }

    /// Whether the snapshot knows a shard.
    pub(in super::super) fn knows(&self, id: u32) -> bool {
        self.shards.contains_key(&id)
    }
}

impl UnpackedShard {
    fn of(files: BTreeMap<String, Vec<u8>>, place: &str) -> Result<Self, Refusal> {
        let mut shard = Self { configured: files.contains_key("shard_config.json"), ..Self::default() };
        let mut segments: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for (name, bytes) in files {
            if name == "replica_state.json" {
                shard.local = parsed::<ReplicaSetState>(&bytes, place, &name)?.is_local;
            }
            let Some(rest) = name.strip_prefix("segments/") else { continue };
            if let Some(segment) = rest.strip_suffix(".tar") {
                let files = unpack_segment(segment, &bytes, &format!("{place}/segments"))?;
                segments.insert(segment.to_owned(), files);
            } else if let Some((segment, file)) = rest.split_once("/files/") {
                segments.entry(segment.to_owned()).or_default().insert(file.to_owned(), bytes);
            }
        }
        if segments.values().any(|files| !files.contains_key(POINTS_FILE)) {
            return Err(Refusal::NotDone(
                "reading the segments of a real server; only snapshots made here".into(),
            ));
        }
        shard.segments = segments.into_iter().map(|(name, files)| Segment { name, files }).collect();
        Ok(shard)
    }

    /// Whether the data are there, and not only that another node has them.
    pub(in super::super) fn is_local(&self) -> bool {
        self.local
    }

    /// Understands the data, of a collection with these parameters. `place` is the shard's folder, which errors name.
    pub(in super::super) fn load(&self, params: &Params, place: &str) -> Result<Loaded, Refusal> {
        let mut loaded = Loaded::default();
        for segment in &self.segments {
            segment.load(params, &format!("{place}/segments/{}", segment.name), &mut loaded)?;
        }
        Ok(loaded)
    }
}

impl Segment {
    fn load(&self, params: &Params, at: &str, (points, operations): &mut Loaded) -> Result<(), Refusal> {
        let file = |name: &str| self.files.get(name).map(Vec::as_slice).unwrap_or_default();
        let failed = |error: &dyn std::fmt::Display| {
            Refusal::Service(format!("Failed to read segment state {at} error: {error}"))
        };
        let state: Value = serde_json::from_slice(file("segment.json")).map_err(|error| failed(&error))?;
        *operations = (*operations).max(state.get("version").and_then(Value::as_u64).unwrap_or(0));
        let sparse = state.pointer("/config/sparse_vector_data").and_then(Value::as_object);
        params
            .check_loaded(&sparse.into_iter().flatten().map(|(name, _)| name.as_str()).collect::<Vec<_>>())?;
        let sizes: BTreeMap<&str, usize> =
            params.dense().into_iter().map(|(name, vector)| (name, vector.size)).collect();
        let mut numbers = file(VECTORS_FILE);
        for line in serde_json::Deserializer::from_slice(file(POINTS_FILE)).into_iter() {
            let PointLine { id, version, payload, dense, sparse } = line.map_err(|error| failed(&error))?;
            let mut vectors = sparse;
            for name in dense {
                let missing = || failed(&format!("no vector {name:?} for point {id}"));
                let length = 4 * sizes.get(name.as_str()).ok_or_else(missing)?;
                let (bytes, rest) = numbers.split_at_checked(length).ok_or_else(missing)?;
                numbers = rest;
                let vector = bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
                vectors.insert(name, Vector::Dense(vector));
            }
            points.insert(id, Arc::new(Point { vectors: Vectors(vectors), payload, version }));
        }
        if numbers.is_empty() { Ok(()) } else { Err(failed(&"a vector without a point")) }
    }
}

fn unpack_segment(name: &str, bytes: &[u8], place: &str) -> Result<BTreeMap<String, Vec<u8>>, Refusal> {
    let files = entries(Cursor::new(bytes), &format!("{place}/{name}"), ours)?;
    let files = files.into_iter();
    Ok(files
        .filter_map(|(path, bytes)| Some((path.strip_prefix("snapshot/files/")?.to_owned(), bytes)))
        .collect())
}

/// The files of a tar by path, with their bytes where `wanted`.
fn entries(
    source: impl Read,
    place: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>, Refusal> {
    let malformed = || Refusal::Service("File IO error: Malformed tar archive, reached unknown entry".into());
    let mut archive = Archive::new(source);
    let mut files = BTreeMap::new();
    let mut names = BTreeSet::new();
    for entry in archive.entries().map_err(|_| malformed())? {
        let mut entry = entry.map_err(|_| malformed())?;
        let name = entry.path().map_err(|_| malformed())?.to_string_lossy().into_owned();
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            continue;
        }
        if !matches!(kind, EntryType::Regular | EntryType::GNUSparse) {
            return Err(malformed());
        }
        let failed = || Refusal::Service(format!("File IO error: failed to unpack `{place}/{name}`"));
        if !names.insert(name.clone()) {
            return Err(failed());
        }
        let mut bytes = Vec::new();
        if wanted(&name) {
            entry.read_to_end(&mut bytes).map_err(|_| failed())?;
            if bytes.len() as u64 != entry.size() {
                return Err(failed());
            }
        }
        files.insert(name, bytes);
    }
    Ok(files)
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], place: &str, name: &str) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::Service(format!("Json error: {place}/{name}: {error}")))
}

fn missing(place: &str, name: &str) -> Refusal {
    Refusal::Service(format!("File IO error: {place}/{name}: No such file or directory (os error 2)"))
}
