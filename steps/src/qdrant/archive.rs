//! What a snapshot's file holds: [`inspected`] reads the tar's own list, without the data, and compares it with what the node had.
//!
//! The layout is that of Qdrant 1.17: a file of a node has a folder for each shard, `0/segments/…`, `0/wal/…`, `0/replica_state.json`,
//! and four files beside them; one of a shard has `segments/…` and its like at the top.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, StepError};
use futures_util::TryStreamExt;
use serde_json::Value;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::entry::SnapshotEntry;

/// The most of a JSON file in an archive that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What a tar is made of, in bytes.
const BLOCK: u64 = 512;

/// How a tar ends: two blocks of zeros.
const END: u64 = 2 * BLOCK;

/// What an archive has of one shard.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shard {
    /// Whether its `replica_state.json` says that its data are here.
    is_local: bool,
    has_segments: bool,
    has_wal: bool,
}

/// What an archive has.
#[derive(Debug, Default)]
struct Contents {
    /// `config.json`, which only a file of a node has.
    config: Option<Value>,
    /// By id; a file of a shard has one, without an id.
    shards: BTreeMap<Option<u32>, Shard>,
}

/// Nothing, when the file holds what the server said that it does.
///
/// # Errors
/// `qdrant.archive`, or what the store says.
pub(super) async fn inspected(
    store: &dyn ArtifactStore,
    artifact: &Artifact,
    snapshot: &SnapshotEntry,
    params: &Value,
) -> Result<(), StepError> {
    let read = match store.local_path(&artifact.path) {
        // The data are jumped over.
        Some(path) => tokio::task::spawn_blocking(move || contents_of_file(&path)).await,
        None => {
            let pieces = store.open(&artifact.path, 0).await?;
            let reader = Box::pin(StreamReader::new(pieces.map_err(io::Error::other)));
            tokio::task::spawn_blocking(move || {
                let mut archive = tar::Archive::new(SyncIoBridge::new(reader));
                contents(archive.entries()?)
            })
            .await
        }
    };
    let read = read.map_err(|error| StepError::internal(error.to_string()))?;
    let wrong = match read {
        Ok(contents) => contents.differs(snapshot, params),
        Err(error) => Some(error.to_string()),
    };
    match wrong {
        None => Ok(()),
        Some(why) => {
            let message = format!(
                "the file of snapshot {} of {} is no whole snapshot: {why}",
                snapshot.name, snapshot.node
            );
            Err(StepError::new("qdrant.archive", message)
                .help("nothing can be recovered from it; make a new snapshot, and look into the node's log"))
        }
    }
}

fn contents_of_file(path: &std::path::Path) -> io::Result<Contents> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    (&file).take(END).read_to_end(&mut end)?;
    if length % BLOCK != 0 || (end.len() as u64) < END || end.iter().any(|byte| *byte != 0) {
        return Err(io::Error::other("it does not end as a tar does"));
    }
    file.rewind()?;
    let mut archive = tar::Archive::new(file);
    contents(archive.entries_with_seek()?)
}

fn contents<R: Read>(entries: tar::Entries<'_, R>) -> io::Result<Contents> {
    let mut found = Contents::default();
    for entry in entries {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let parts: Vec<&str> =
            path.iter().filter_map(|part| part.to_str()).filter(|part| *part != ".").collect();
        let (id, rest) = match parts.split_first() {
            Some((first, rest)) => match first.parse() {
                Ok(id) if !rest.is_empty() => (Some(id), rest),
                _ => (None, parts.as_slice()),
            },
            None => continue,
        };
        let json = |entry| -> io::Result<Value> {
            let mut text = Vec::new();
            Read::take(entry, LARGEST).read_to_end(&mut text)?;
            serde_json::from_slice(&text)
                .map_err(|error| io::Error::other(format!("{} is not readable: {error}", path.display())))
        };
        match rest {
            ["config.json"] if id.is_none() => found.config = Some(json(entry)?),
            ["replica_state.json"] => {
                let is_local = json(entry)?["is_local"] == Value::Bool(true);
                found.shards.entry(id).or_default().is_local = is_local;
            }
            ["segments", _, ..] => found.shards.entry(id).or_default().has_segments = true,
            ["wal", ..] => found.shards.entry(id).or_default().has_wal = true,
            _ => {}
        }
    }
    Ok(found)
}

impl Contents {
    /// Why it is not what it should be, if it is not.
    fn differs(&self, snapshot: &SnapshotEntry, params: &Value) -> Option<String> {
        match (&self.config, snapshot.shard) {
            (None, None) => return Some("it has no config.json".into()),
            (Some(_), Some(id)) => return Some(format!("it is one of a whole node, and not of shard {id}")),
            _ => {}
        }
        for key in ["vectors", "shard_number"] {
            let (found, wanted) = (self.config.as_ref().map(|config| &config["params"][key]), &params[key]);
            if let Some(found) = found.filter(|found| !wanted.is_null() && *found != wanted) {
                return Some(format!("its config.json has `{key}` {found}, and the collection had {wanted}"));
            }
        }
        let wanted: Vec<Option<u32>> = match snapshot.shard {
            Some(_) => vec![None],
            None => snapshot.shards.iter().map(|id| Some(*id)).collect(),
        };
        wanted.into_iter().find_map(|id| {
            let named = id.or(snapshot.shard).map_or(String::new(), |id| format!(" {id}"));
            match self.shards.get(&id) {
                Some(Shard { is_local: true, has_segments: true, has_wal: true }) => None,
                Some(Shard { is_local: false, .. }) | None => {
                    Some(format!("it does not hold shard{named}, which the node had"))
                }
                Some(Shard { has_segments: false, .. }) => Some(format!("its shard{named} has no segments")),
                Some(Shard { has_wal: false, .. }) => {
                    Some(format!("its shard{named} has no write-ahead log"))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The archive of these files.
    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn snapshot(shards: &[u32], shard: Option<u32>) -> SnapshotEntry {
        let at = "2026-11-22T06:46:22Z";
        let entry = json!({ "node": "n", "shards": shards, "shard": shard, "name": "s", "started_at": at, "answered_at": at });
        serde_json::from_value(entry).unwrap()
    }

    const LOCAL: &str = r#"{"is_local":true}"#;
    const CONFIG: &str = r#"{"params":{"vectors":{"size":4},"shard_number":1}}"#;

    fn check(files: &[(&str, &str)], shards: &[u32], shard: Option<u32>, expected: Option<&str>) {
        let bytes = archive(files);
        let found = contents(tar::Archive::new(bytes.as_slice()).entries().unwrap()).unwrap();
        let params = json!({ "vectors": { "size": 4 }, "shard_number": 1 });
        assert_eq!(found.differs(&snapshot(shards, shard), &params).as_deref(), expected);
    }

    #[test]
    fn a_file_of_a_node_has_its_shards() {
        let whole = [
            ("config.json", CONFIG),
            ("0/segments/a.tar", "x"),
            ("0/wal/open-1", "x"),
            ("0/replica_state.json", LOCAL),
        ];
        check(&whole, &[0], None, None);
        check(&whole, &[], None, None);
        check(&whole, &[0, 1], None, Some("it does not hold shard 1, which the node had"));
        check(&whole[1..], &[0], None, Some("it has no config.json"));
        check(&whole[..3], &[0], None, Some("it does not hold shard 0, which the node had"));
        let elsewhere = [whole[0], ("0/replica_state.json", r#"{"is_local":false}"#)];
        check(&elsewhere, &[0], None, Some("it does not hold shard 0, which the node had"));
        check(&[whole[0], whole[2], whole[3]], &[0], None, Some("its shard 0 has no segments"));
        check(&[whole[0], whole[1], whole[3]], &[0], None, Some("its shard 0 has no write-ahead log"));
        let other = [("config.json", r#"{"params":{"vectors":{"size":8},"shard_number":1}}"#)];
        let words = r#"its config.json has `vectors` {"size":8}, and the collection had {"size":4}"#;
        check(&other, &[], None, Some(words));
    }

    #[test]
    fn a_file_of_a_shard_has_it_at_the_top() {
        let whole = [("segments/a/files/x", "x"), ("wal/open-1", "x"), ("replica_state.json", LOCAL)];
        check(&whole, &[3], Some(3), None);
        check(&whole[..2], &[3], Some(3), Some("it does not hold shard 3, which the node had"));
        check(
            &[("config.json", CONFIG)],
            &[3],
            Some(3),
            Some("it is one of a whole node, and not of shard 3"),
        );
    }

    #[test]
    fn a_file_that_ends_early_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let whole = archive(&[("config.json", CONFIG)]);
        std::fs::write(&path, &whole).unwrap();
        assert!(contents_of_file(&path).unwrap().config.is_some());
        for length in [0, 512, whole.len() - 1024, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = contents_of_file(&path).unwrap_err();
            assert_eq!(error.to_string(), "it does not end as a tar does", "{length}");
        }
    }

    #[test]
    fn a_real_snapshot_holds_what_it_should() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/qdrant/qdrant-collection.snapshot");
        let found = contents_of_file(path.as_ref()).unwrap();
        let params = json!({ "vectors": { "size": 4, "distance": "Cosine" }, "shard_number": 1 });
        assert_eq!(found.differs(&snapshot(&[0], None), &params), None);
    }
}
