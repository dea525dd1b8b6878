//! Writing a snapshot's tar. The same image gives the same bytes: all times in it are zero.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use tar::{Builder, EntryType, Header};

use crate::seed::Seed;

use super::super::vector::Vector;
use super::{
    COLLECTION_VERSION, CollectionImage, Form, KeyMapping, Loaded, POINTS_FILE, PayloadIndex, PointLine,
    ReplicaSetState, SEGMENT_VERSION, ShardImage, VECTORS_FILE,
};

/// Logical size of a file of the write-ahead log; all but its first page is a hole.
const WAL_SIZE: u64 = 32 * 1024 * 1024;

/// What of it is stored.
const WAL_PAGE: usize = 4096;

/// Writes the snapshot of a collection.
pub(in super::super) fn write_collection(
    out: impl Write,
    image: &CollectionImage,
    seed: Seed,
) -> io::Result<()> {
    let mut tar = Builder::new(out);
    for shard in &image.shards {
        shard_entries(&mut tar, image, shard, &format!("{}/", shard.id), Form::Stored, seed)?;
    }
    let mut mapping: Vec<KeyMapping> = Vec::new();
    for shard in &image.shards {
        let Some(key) = &shard.key else { continue };
        match mapping.iter_mut().find(|known| known.key == *key) {
            Some(known) => known.shard_ids.push(shard.id),
            None => mapping.push(KeyMapping { key: key.clone(), shard_ids: vec![shard.id] }),
        }
    }
    let mut config = serde_json::to_value(&image.config)?;
    if let Some(config) = config.as_object_mut() {
        config.insert("uuid".into(), Value::Null);
    }
    let index = PayloadIndex { schema: image.indexes.clone() };
    entry(&mut tar, "version.info", COLLECTION_VERSION.as_bytes())?;
    entry(&mut tar, "config.json", &serde_json::to_vec(&config)?)?;
    entry(&mut tar, "shard_key_mapping.json", &serde_json::to_vec(&mapping)?)?;
    entry(&mut tar, "payload_index.json", &serde_json::to_vec(&index)?)?;
    tar.finish()
}

/// Writes the snapshot of one shard, and nothing of an unknown one: the same without the collection's own files.
pub(in super::super) fn write_shard(
    out: impl Write,
    image: &CollectionImage,
    id: u32,
    form: Form,
    seed: Seed,
) -> io::Result<()> {
    let mut tar = Builder::new(out);
    for shard in image.shards.iter().filter(|shard| shard.id == id) {
        shard_entries(&mut tar, image, shard, "", form, seed)?;
    }
    tar.finish()
}

/// Writes a full-storage snapshot: the snapshot of each collection as a file, and which is which.
pub(in super::super) fn write_full(
    out: impl Write,
    collections: &[(String, String, &Path)],
    aliases: &Value,
) -> io::Result<()> {
    let mut tar = Builder::new(out);
    let mut mapping = Map::new();
    for (collection, file, path) in collections {
        let mut source = std::fs::File::open(path)?;
        let header = header(EntryType::Regular, source.metadata()?.len());
        append(&mut tar, header, file, &mut source)?;
        mapping.insert(collection.clone(), json!(file));
    }
    let config = json!({ "collections_mapping": mapping, "collections_aliases": aliases });
    entry(&mut tar, "config.json", &serde_json::to_vec(&config)?)?;
    tar.finish()
}

fn shard_entries(
    tar: &mut Builder<impl Write>,
    image: &CollectionImage,
    shard: &ShardImage,
    prefix: &str,
    form: Form,
    seed: Seed,
) -> io::Result<()> {
    if let Some(data) = &shard.data {
        // Two segments a shard, as a fresh collection has on a machine of two processors; all points lie in
        // the first.
        for (number, data) in [Some(data), None].into_iter().enumerate() {
            let uuid = seed.uuid(&format!("segment {}/{}/{number}", image.name, shard.id));
            let place = format!("{prefix}segments/{uuid}");
            if form == Form::Streamed {
                segment(tar, image, data, &format!("{place}/files"))?;
                continue;
            }
            let mut inner = Builder::new(Vec::new());
            segment(&mut inner, image, data, "snapshot/files")?;
            entry(tar, &format!("{place}.tar"), &inner.into_inner()?)?;
        }
        for name in ["open-1", "open-2"] {
            wal(tar, &format!("{prefix}wal/{name}"), image.number)?;
        }
    }
    let peers = shard.peers.iter().map(|(peer, state)| (peer.to_string(), *state)).collect();
    let state = ReplicaSetState { is_local: shard.data.is_some(), this_peer_id: image.this_peer, peers };
    entry(tar, &format!("{prefix}replica_state.json"), &serde_json::to_vec(&state)?)?;
    entry(tar, &format!("{prefix}shard_config.json"), br#"{"type":"ReplicaSet"}"#)
}

/// The files of one segment.
fn segment(
    tar: &mut Builder<impl Write>,
    image: &CollectionImage,
    data: Option<&Loaded>,
    place: &str,
) -> io::Result<()> {
    let (mut lines, mut vectors, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    for (id, point) in data.iter().flat_map(|(points, _)| points) {
        let (mut dense, mut sparse) = (Vec::new(), BTreeMap::new());
        for (name, vector) in &point.vectors.0 {
            match vector {
                Vector::Dense(numbers) => {
                    dense.push(name.clone());
                    vectors.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
                }
                Vector::Sparse(_) => {
                    sparse.insert(name.clone(), vector.clone());
                }
            }
        }
        let (version, payload) = (point.version, point.payload.clone());
        serde_json::to_writer(&mut lines, &PointLine { id: id.clone(), version, payload, dense, sparse })?;
        lines.push(b'\n');
        versions.extend(point.version.to_le_bytes());
    }
    let vector_data: Map<String, Value> = image
        .config
        .params
        .dense()
        .into_iter()
        .map(|(name, params)| {
            let config = json!({
                "size": params.size,
                "distance": params.distance,
                "storage_type": "InRamChunkedMmap",
                "index": { "type": "plain", "options": {} },
                "quantization_config": null,
            });
            (name.to_owned(), config)
        })
        .collect();
    let kept = json!({ "index": { "full_scan_threshold": null, "index_type": "MutableRam" }, "storage_type": "mmap" });
    let sparse_data: Map<String, Value> =
        image.config.params.sparse().map(|name| (name.clone(), kept.clone())).collect();
    let mut config = json!({ "vector_data": vector_data, "payload_storage_type": { "type": "mmap" } });
    if !sparse_data.is_empty() {
        config["sparse_vector_data"] = Value::Object(sparse_data);
    }
    let state = json!({
        "initial_version": null,
        "version": data.map(|(_, operations)| *operations).filter(|last| *last > 0),
        "config": config,
    });
    let file = |name: &str| format!("{place}/{name}");
    entry(tar, &file(POINTS_FILE), &lines)?;
    entry(tar, &file(VECTORS_FILE), &vectors)?;
    // A real segment has eight bytes a point in this file, from which a checker may estimate the count.
    entry(tar, &file("mutable_id_tracker.versions"), &versions)?;
    entry(tar, &file("segment.json"), &serde_json::to_vec(&state)?)?;
    entry(tar, &file("version.info"), SEGMENT_VERSION.as_bytes())
}

/// A file of the write-ahead log: one page and a hole, as a GNU sparse entry. Without a number the log is empty.
fn wal(tar: &mut Builder<impl Write>, path: &str, number: Option<u64>) -> io::Result<()> {
    let page = number.map(|number| format!("wal\0practice snapshot {number}\n"));
    let mut page = page.unwrap_or_else(|| "wal\0".to_owned()).into_bytes();
    page.resize(WAL_PAGE, 0);
    let mut header = header(EntryType::GNUSparse, WAL_PAGE as u64);
    if let Some(gnu) = header.as_gnu_mut() {
        let [data, end, ..] = &mut gnu.sparse;
        data.set_offset(0);
        data.set_length(WAL_PAGE as u64);
        end.set_offset(WAL_SIZE);
        end.set_length(0);
        gnu.set_real_size(WAL_SIZE);
    }
    append(tar, header, path, page.as_slice())
}

fn entry(tar: &mut Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    append(tar, header(EntryType::Regular, bytes.len() as u64), path, bytes)
}

fn append(
    tar: &mut Builder<impl Write>,
    mut header: Header,
    path: &str,
    data: impl io::Read,
) -> io::Result<()> {
    tar.append_data(&mut header, path, data)
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header
}
