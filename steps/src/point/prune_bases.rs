//! Base backups of PostgreSQL whose points go: what lies beside them goes too, and one stays that another was made against:
//! [`spare_bases`].

use std::collections::{BTreeMap, BTreeSet};

use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, StepError};
use serde::Deserialize;

/// What lies in the folder of a base backup and says what it is.
const RECORD: &str = "backup.json";

/// The most that is read of one.
const LARGEST: usize = 1024 * 1024;

/// What a base backup says of itself, as far as it is needed here.
#[derive(Deserialize)]
struct Base {
    manifest: File,
    against: Option<Against>,
}

#[derive(Deserialize)]
struct File {
    sha256: String,
}

#[derive(Deserialize)]
struct Against {
    manifest_sha256: String,
}

/// Adds the records of base backups that go, and takes out the backups that one which stays was made against; in words, which.
///
/// # Errors
/// What the store says.
pub(super) async fn spare_bases(
    store: &dyn ArtifactStore,
    files: &mut BTreeMap<String, u64>,
) -> Result<Vec<String>, StepError> {
    let manifests = files.keys().filter_map(|path| path.strip_suffix("/backup_manifest"));
    let folders: BTreeSet<String> = manifests.map(str::to_owned).collect();
    let shelves: BTreeSet<&str> =
        folders.iter().filter_map(|folder| folder.rsplit_once('/').map(|(shelf, _)| shelf)).collect();
    let mut going: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
    let mut wanted: Vec<(String, String)> = Vec::new();
    for shelf in shelves {
        for file in store.list(shelf).await? {
            let Some(folder) = file.path.strip_suffix(&format!("/{RECORD}")) else { continue };
            let Some(base) = base(store, &file.path).await? else { continue };
            let against = base.against.map(|one| one.manifest_sha256.to_lowercase());
            if folders.contains(folder) {
                files.insert(file.path.clone(), file.size);
                going.insert(base.manifest.sha256.to_lowercase(), (folder.to_owned(), against));
            } else {
                wanted.extend(against.map(|sha256| (sha256, folder.to_owned())));
            }
        }
    }
    let mut spared = Vec::new();
    while let Some((sha256, by)) = wanted.pop() {
        if let Some((folder, against)) = going.remove(&sha256) {
            let own = format!("{folder}/");
            files.retain(|path, _| !path.starts_with(&own));
            wanted.extend(against.map(|sha256| (sha256, folder.clone())));
            spared.push(format!("{folder} stays: {by} was made against it"));
        }
    }
    spared.sort();
    Ok(spared)
}

/// What a record says; nothing where it is gone or is another's.
async fn base(store: &dyn ArtifactStore, path: &str) -> Result<Option<Base>, StepError> {
    let read = async { bytes_of(store.open(path, 0).await?, LARGEST).await };
    match read.await {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if matches!(error.code.as_str(), "artifact.absent" | "artifact.large") => Ok(None),
        Err(error) => Err(error),
    }
}
