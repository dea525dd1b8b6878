//! What is written is read back; what is damaged is refused at its stage; a real snapshot's outside is read.

use std::path::PathBuf;

use tar::Archive;

use serde_json::json;

use super::read::Unpacked;
use super::*;
use crate::qdrant::config::{CreateCollection, Params};
use crate::seed::Seed;

const HERE: u64 = 11;

fn image() -> CollectionImage {
    let asked: CreateCollection =
        serde_json::from_value(json!({"vectors": {"size": 2, "distance": "Dot"}, "shard_number": 2}))
            .unwrap();
    let point = |n: f32| Point {
        vectors: serde_json::from_value(json!([n, 0.1])).unwrap(),
        payload: json!({"n": n}).as_object().unwrap().clone(),
        version: 3,
    };
    let points = [(PointId::Number(1), Arc::new(point(1.0))), (PointId::Number(2), Arc::new(point(2.0)))];
    let shard = |id, owner| ShardImage {
        id,
        key: None,
        peers: [(owner, ReplicaState::Active)].into(),
        data: (owner == HERE).then(|| (points.clone().into(), 5)),
    };
    CollectionImage {
        name: "agent_a".into(),
        config: asked.config(1).unwrap(),
        indexes: [("n".to_owned(), json!("float"))].into_iter().collect(),
        this_peer: HERE,
        number: Some(1),
        shards: vec![shard(0, HERE), shard(1, 12)],
    }
}

/// Of its collection.
fn params() -> Params {
    image().config.params
}

fn written(image: &CollectionImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_collection(&mut bytes, image, Seed(7)).unwrap();
    bytes
}

/// A file of this test's own, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("drydock-archive-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn what_was_written_is_read_back() {
    let image = image();
    let bytes = written(&image);
    assert_eq!(bytes, written(&image), "the same image gives the same bytes");
    let file = Scratch::new("whole", &bytes);
    let read = unpack(&file.0, "/tmp").unwrap();
    assert_eq!((&read.config, &read.indexes), (&image.config, &image.indexes));
    let local: Vec<_> = read.local_shards().collect();
    assert_eq!((local.len(), local[0].0), (1, 0), "the other shard lives elsewhere");
    assert_eq!((read.without_data(), read.knows(1), read.knows(2)), (Some(1), true, false));
    assert_eq!(Some(local[0].1.load(&image.config.params, "/c/0").unwrap()), image.shards[0].data);
    let real_size = Archive::new(bytes.as_slice())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .find(|entry| entry.path().unwrap().ends_with("wal/open-1"))
        .map(|entry| entry.size());
    assert_eq!(real_size, Some(32 * 1024 * 1024), "the log's file is sparse");
}

fn first(read: &Unpacked) -> &UnpackedShard {
    read.local_shards().next().unwrap().1
}

#[test]
fn a_shard_alone_is_read_back_in_both_forms() {
    let image = CollectionImage { number: None, ..image() };
    for form in [Form::Stored, Form::Streamed] {
        let mut bytes = Vec::new();
        write_shard(&mut bytes, &image, 0, form, Seed(7)).unwrap();
        let file = Scratch::new(&format!("{form:?}"), &bytes);
        let read = unpack_shard(&file.0, "/tmp").unwrap();
        assert_eq!(
            (read.is_local(), Some(read.load(&params(), "/c/0").unwrap())),
            (true, image.shards[0].data.clone())
        );
        let mut tar = Archive::new(bytes.as_slice());
        let names: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let nested = names.iter().filter(|name| name.ends_with(".tar")).count();
        assert_eq!(nested, if form == Form::Stored { 2 } else { 0 }, "{names:?}");
        assert_eq!(names.last().map(String::as_str), Some("shard_config.json"), "nothing of the collection");
        let refusal = unpack(&file.0, "/tmp/x").unwrap_err().to_string();
        assert!(refusal.contains("/tmp/x/config.json: No such file"), "{refusal}");
    }
    let file = Scratch::new("other-kind", &written(&image));
    assert!(
        !unpack_shard(&file.0, "/tmp").unwrap().is_local(),
        "a collection's snapshot has no shard of its own"
    );
}

#[track_caller]
fn refused(name: &str, bytes: &[u8], expected: &str) {
    let file = Scratch::new(name, bytes);
    let said = match unpack(&file.0, "/tmp/x") {
        Err(refusal) => format!("unpack: {refusal}"),
        Ok(read) => format!("load: {}", first(&read).load(&params(), "/c/0").unwrap_err()),
    };
    assert!(said.contains(expected), "{said:?} does not say {expected:?}");
}

#[track_caller]
fn damaged(bytes: &[u8], at: &[u8], with: &[u8]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let start = bytes.windows(at.len()).position(|window| window == at).unwrap();
    damaged[start..start + with.len()].copy_from_slice(with);
    damaged
}

#[test]
fn damage_is_found_at_its_stage() {
    let bytes = written(&image());
    refused("garbage", b"not a tar at all", "unpack: Service internal error: File IO error: Malformed tar");
    refused(
        "cut",
        &bytes[..1500],
        "unpack: Service internal error: File IO error: failed to unpack `/tmp/x/0/seg",
    );
    refused(
        "empty",
        &[0; 1024],
        "unpack: Service internal error: File IO error: /tmp/x/config.json: No such file",
    );
    refused(
        "state",
        &damaged(&bytes, b"{\"initial_version", b"X"),
        "load: Service internal error: Failed to read segment state /c/0/segments/",
    );
    refused("config", &damaged(&bytes, b"{\"params", b"["), "unpack: Service internal error: Json error");
    refused("lines", &damaged(&bytes, b"{\"id\":2", b"{\"id\":x"), "load: Service internal error");
}

#[test]
fn a_flipped_vector_is_not_noticed() {
    let bytes = written(&image());
    let file = Scratch::new("flip", &damaged(&bytes, &1.0f32.to_le_bytes(), &3.0f32.to_le_bytes()));
    let (points, _) = first(&unpack(&file.0, "/tmp").unwrap()).load(&params(), "/c/0").unwrap();
    assert_eq!(points[&PointId::Number(1)].vectors, serde_json::from_value(json!([3.0, 0.1])).unwrap());
}

#[test]
fn a_real_snapshot_is_taken_apart_and_its_segments_refused() {
    let real = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/qdrant/qdrant-collection.snapshot");
    let refusal = unpack(real.as_ref(), "/tmp").unwrap_err().to_string();
    assert!(refusal.contains("the segments of a real server"), "{refusal}");
}
