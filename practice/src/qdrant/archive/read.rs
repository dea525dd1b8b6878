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

use super::super::config::Config;
use super::super::point::{Point, PointId};
use super::super::refusal::Refusal;
use super::{POINTS_FILE, PayloadIndex, PointLine, ReplicaState, VECTORS_FILE};

/// The points of a shard and the number of its last operation.
pub(in super::super) type Loaded = (BTreeMap<PointId, Arc<Point>>, u64);

/// A snapshot that has been taken apart and not yet understood.
#[derive(Debug)]
pub(in super::super) struct Unpacked {
    pub(in super::super) config: Config,
    pub(in super::super) indexes: IndexMap<String, Value>,
    shards: BTreeMap<u32, Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    local: bool,
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    name: String,
    /// What we wrote in it, and `segment.json`.
    files: BTreeMap<String, Vec<u8>>,
    /// It has none of our own files: a real server wrote it.
    foreign: bool,
}

/// Takes the collection snapshot at `path` apart. `place` is the folder that errors name, where a real
/// server would have unpacked it.
pub(in super::super) fn unpack(path: &Path, place: &str) -> Result<Unpacked, Refusal> {
    let file = File::open(path).map_err(|error| Refusal::io(&error))?;
    let files = entries(file, place, |name| !name.contains("/wal/"))?;
    let json = |name: &str| files.get(name).ok_or_else(|| missing(place, name));
    let config = parsed(json("config.json")?, place, "config.json")?;
    let PayloadIndex { schema } = parsed(json("payload_index.json")?, place, "payload_index.json")?;
    json("version.info")?;
    let keys: Vec<Value> = parsed(json("shard_key_mapping.json")?, place, "shard_key_mapping.json")?;
    if !keys.is_empty() {
        return Err(Refusal::NotDone("recovering a collection with shard keys".into()));
    }
    let mut shards = BTreeMap::new();
    for (name, bytes) in &files {
        let Some((id, rest)) = name.split_once('/') else { continue };
        let Ok(id) = id.parse::<u32>() else { continue };
        let shard: &mut Shard = shards.entry(id).or_default();
        if rest == "replica_state.json" {
            shard.local = parsed::<ReplicaState>(bytes, place, name)?.is_local;
        } else if let Some(segment) =
            rest.strip_prefix("segments/").and_then(|rest| rest.strip_suffix(".tar"))
        {
            shard.segments.push(unpack_segment(segment, bytes, &format!("{place}/{id}/segments"))?);
        }
    }
    if shards.values().flat_map(|shard| &shard.segments).any(|segment| segment.foreign) {
        return Err(Refusal::NotDone(
            "reading the segments of a real server; only snapshots made here".into(),
        ));
    }
    Ok(Unpacked { config, indexes: schema, shards })
}

impl Unpacked {
    /// The ids of the shards whose data the snapshot has.
    pub(in super::super) fn local_shards(&self) -> impl Iterator<Item = u32> {
        self.shards.iter().filter(|(_, shard)| shard.local).map(|(id, _)| *id)
    }

    /// Understands the data of a shard. `place` is the collection's folder, which errors name.
    pub(in super::super) fn load(&self, id: u32, place: &str) -> Result<Loaded, Refusal> {
        let mut loaded = Loaded::default();
        for segment in self.shards.get(&id).iter().flat_map(|shard| &shard.segments) {
            let at = format!("{place}/{id}/segments/{}", segment.name);
            segment.load(self.config.params.vectors.size, &at, &mut loaded)?;
        }
        Ok(loaded)
    }
}

impl Segment {
    fn load(&self, size: usize, at: &str, (points, operations): &mut Loaded) -> Result<(), Refusal> {
        let file = |name: &str| self.files.get(name).map(Vec::as_slice).unwrap_or_default();
        let failed = |error: &dyn std::fmt::Display| {
            Refusal::Service(format!("Failed to read segment state {at} error: {error}"))
        };
        let state: Value = serde_json::from_slice(file("segment.json")).map_err(|error| failed(&error))?;
        *operations = (*operations).max(state.get("version").and_then(Value::as_u64).unwrap_or(0));
        let mut vectors = file(VECTORS_FILE).chunks_exact(size.max(1) * 4);
        for line in serde_json::Deserializer::from_slice(file(POINTS_FILE)).into_iter() {
            let PointLine { id, version, payload } = line.map_err(|error| failed(&error))?;
            let bytes = vectors.next().ok_or_else(|| failed(&format!("no vector for point {id}")))?;
            let vector = bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
            points.insert(id, Arc::new(Point { vector, payload, version }));
        }
        match vectors.next() {
            Some(_) => Err(failed(&"a vector without a point")),
            None => Ok(()),
        }
    }
}

fn unpack_segment(name: &str, bytes: &[u8], place: &str) -> Result<Segment, Refusal> {
    let files = entries(Cursor::new(bytes), &format!("{place}/{name}"), |path| {
        // A real segment has sparse files of many megabytes, of which the name is enough.
        path.contains("practice.") || path.ends_with("segment.json")
    })?;
    let files: BTreeMap<String, Vec<u8>> = files
        .into_iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix("snapshot/files/")?.to_owned(), bytes)))
        .collect();
    let foreign = !files.contains_key(POINTS_FILE);
    Ok(Segment { name: name.to_owned(), files, foreign })
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
