//! Writing a snapshot's tar. The same image gives the same bytes: all times in it are zero.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::seed::Seed;

use super::{
    COLLECTION_VERSION, CollectionImage, POINTS_FILE, PayloadIndex, PointLine, ReplicaState, SEGMENT_VERSION,
    ShardImage, VECTORS_FILE,
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
    for (id, shard) in image.shards.iter().enumerate() {
        shard_entries(&mut tar, image, id, shard, &format!("{id}/"), seed)?;
    }
    let mut config = serde_json::to_value(&image.config)?;
    if let Some(config) = config.as_object_mut() {
        config.insert("uuid".into(), Value::Null);
    }
    let index = PayloadIndex { schema: image.indexes.clone() };
    entry(&mut tar, "version.info", COLLECTION_VERSION.as_bytes())?;
    entry(&mut tar, "config.json", &serde_json::to_vec(&config)?)?;
    entry(&mut tar, "shard_key_mapping.json", b"[]")?;
    entry(&mut tar, "payload_index.json", &serde_json::to_vec(&index)?)?;
    tar.finish()
}

/// Writes the snapshot of one shard: the same without the collection's own files.
pub(in super::super) fn write_shard(
    out: impl Write,
    image: &CollectionImage,
    id: usize,
    seed: Seed,
) -> io::Result<()> {
    let mut tar = Builder::new(out);
    if let Some(shard) = image.shards.get(id) {
        shard_entries(&mut tar, image, id, shard, "", seed)?;
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
    let mut mapping = serde_json::Map::new();
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
    id: usize,
    shard: &ShardImage,
    prefix: &str,
    seed: Seed,
) -> io::Result<()> {
    let is_local = shard.owner == image.this_peer;
    if is_local {
        // Two segments a shard, as a fresh collection has on a machine of two processors; all points lie in
        // the first.
        for (number, shard) in [Some(shard), None].into_iter().enumerate() {
            let uuid = seed.uuid(&format!("segment {}/{id}/{number}", image.name));
            let segment = segment(image, shard)?;
            entry(tar, &format!("{prefix}segments/{uuid}.tar"), &segment)?;
        }
        for name in ["open-1", "open-2"] {
            wal(tar, &format!("{prefix}wal/{name}"), image.number)?;
        }
    }
    let peers = [(shard.owner.to_string(), json!("Active"))].into_iter().collect();
    let state = ReplicaState { is_local, this_peer_id: image.this_peer, peers };
    entry(tar, &format!("{prefix}replica_state.json"), &serde_json::to_vec(&state)?)?;
    entry(tar, &format!("{prefix}shard_config.json"), br#"{"type":"ReplicaSet"}"#)
}

/// The inner tar of one segment.
fn segment(image: &CollectionImage, shard: Option<&ShardImage>) -> io::Result<Vec<u8>> {
    let (mut lines, mut vectors, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    for (id, point) in shard.iter().flat_map(|shard| &shard.points) {
        let line = PointLine { id: id.clone(), version: point.version, payload: point.payload.clone() };
        serde_json::to_writer(&mut lines, &line)?;
        lines.push(b'\n');
        vectors.extend(point.vector.iter().flat_map(|x| x.to_le_bytes()));
        versions.extend(point.version.to_le_bytes());
    }
    let params = &image.config.params.vectors;
    let state = json!({
        "initial_version": null,
        "version": shard.map(|shard| shard.operations).filter(|last| *last > 0),
        "config": {
            "vector_data": { "": {
                "size": params.size,
                "distance": params.distance,
                "storage_type": "InRamChunkedMmap",
                "index": { "type": "plain", "options": {} },
                "quantization_config": null,
            } },
            "payload_storage_type": { "type": "mmap" },
        },
    });
    let mut tar = Builder::new(Vec::new());
    let file = |name: &str| format!("snapshot/files/{name}");
    entry(&mut tar, &file(POINTS_FILE), &lines)?;
    entry(&mut tar, &file(VECTORS_FILE), &vectors)?;
    // A real segment has eight bytes a point in this file, from which a checker may estimate the count.
    entry(&mut tar, &file("mutable_id_tracker.versions"), &versions)?;
    entry(&mut tar, &file("segment.json"), &serde_json::to_vec(&state)?)?;
    entry(&mut tar, &file("version.info"), SEGMENT_VERSION.as_bytes())?;
    tar.into_inner()
}

/// A file of the write-ahead log: one page and a hole, as a GNU sparse entry.
fn wal(tar: &mut Builder<impl Write>, path: &str, number: u64) -> io::Result<()> {
    let mut page = format!("wal\0practice snapshot {number}\n").into_bytes();
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
