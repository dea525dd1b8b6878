//! What the recovery points of an artifact store know of snapshots on servers: [`Known`].

use std::collections::{HashMap, HashSet};

use drydock_recovery::Time;
use drydock_recovery::manifest::{Artifact, Manifest, PointId};
use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, StepError};
use serde::Deserialize;

use super::prune_listing::Shelf;
use crate::points_layout::{Filed, POINTS};

/// The longest manifest that is read; one of 10,000 collections has about 20 MB.
const LARGEST: usize = 64 * 1024 * 1024;

/// A copy of a snapshot that a sealed point has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Copy {
    pub(super) point: PointId,
    pub(super) artifact: Artifact,
    /// How long the file in the store is now, where it is there.
    pub(super) size_now: Option<u64>,
}

/// A point that was opened and not sealed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unsealed {
    pub(super) id: PointId,
    /// Nothing where nobody can read it.
    pub(super) opened_at: Option<Time>,
}

/// What a store's points say.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// By collection and name.
    pub(super) copies: HashMap<(String, String), Vec<Copy>>,
    /// Files below points that are not sealed, by their names.
    pub(super) fetched: HashMap<String, PointId>,
    pub(super) unsealed: Vec<Unsealed>,
    /// Manifests that nobody can read, and why.
    pub(super) unreadable: Vec<String>,
}

impl Known {
    /// What is known of these. One manifest is in memory at a time.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn of(store: &dyn ArtifactStore, shelves: &[Shelf<'_>]) -> Result<Self, StepError> {
        let on_shelf = |shelf: &Shelf<'_>| {
            let names = shelf.snapshots.iter().map(|one| (shelf.collection.clone(), one.name.clone()));
            names.collect::<Vec<_>>()
        };
        let wanted: HashSet<(String, String)> = shelves.iter().flat_map(on_shelf).collect();
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let files = store.list(POINTS).await?;
        let sealed: HashSet<PointId> = files
            .iter()
            .filter_map(|file| match Filed::at(&file.path) {
                Some(Filed::Manifest(id) | Filed::LogPoint(id)) => Some(id),
                _ => None,
            })
            .collect();
        // What is being removed is no copy any more.
        let pruning: HashSet<PointId> = files
            .iter()
            .filter_map(|file| match Filed::at(&file.path) {
                Some(Filed::Pruning(id)) => Some(id),
                _ => None,
            })
            .collect();
        let mut known = Self::default();
        for file in &files {
            match Filed::at(&file.path) {
                Some(Filed::Manifest(id)) if !pruning.contains(&id) => {
                    known.read(store, &file.path, &wanted).await?
                }
                Some(Filed::Opened(id)) if !sealed.contains(&id) => {
                    let opened_at = opened_at(store, &file.path).await?;
                    known.unsealed.push(Unsealed { id, opened_at });
                }
                Some(_) => {}
                None => known.hear_of(&file.path, &sealed),
            }
        }
        Ok(known)
    }

    /// Takes in a file that is none of the catalogue's.
    fn hear_of(&mut self, path: &str, sealed: &HashSet<PointId>) {
        let parts = path
            .strip_prefix(POINTS)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.split_once('/'));
        let Some((id, rest)) = parts else { return };
        if let (Ok(id), Some(name)) = (PointId::parse(id), rest.rsplit('/').next())
            && !sealed.contains(&id)
        {
            self.fetched.insert(name.to_owned(), id);
        }
    }

    async fn read(
        &mut self,
        store: &dyn ArtifactStore,
        path: &str,
        wanted: &HashSet<(String, String)>,
    ) -> Result<(), StepError> {
        let text = match bytes(store, path).await {
            // Whoever prunes points may do so beside us.
            Err(error) if error.code == "artifact.absent" => return Ok(()),
            Err(error) if error.code == "artifact.large" => {
                self.unreadable.push(format!("{path} ({})", error.message));
                return Ok(());
            }
            text => text?,
        };
        let manifest = match Manifest::parse(&String::from_utf8_lossy(&text)) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.unreadable.push(format!("{path} ({error})"));
                return Ok(());
            }
        };
        for collection in manifest.qdrant.into_iter().flat_map(|part| part.collections) {
            for snapshot in collection.snapshots {
                let key = (collection.collection.clone(), snapshot.name);
                if wanted.contains(&key) {
                    let size_now = store.size(&snapshot.artifact.path).await?;
                    let copy = Copy { point: manifest.id.clone(), artifact: snapshot.artifact, size_now };
                    self.copies.entry(key).or_default().push(copy);
                }
            }
        }
        Ok(())
    }

    /// The copies that points have of a snapshot of this name.
    pub(super) fn copies(&self, collection: &str, name: &str) -> &[Copy] {
        self.copies.get(&(collection.to_owned(), name.to_owned())).map(Vec::as_slice).unwrap_or_default()
    }

    /// The point that is not sealed and has fetched a snapshot of this name.
    pub(super) fn fetched(&self, name: &str) -> Option<&PointId> {
        self.fetched.get(name)
    }
}

async fn bytes(store: &dyn ArtifactStore, path: &str) -> Result<Vec<u8>, StepError> {
    bytes_of(store.open(path, 0).await?, LARGEST).await
}

/// When a point was opened.
async fn opened_at(store: &dyn ArtifactStore, path: &str) -> Result<Option<Time>, StepError> {
    #[derive(Deserialize)]
    struct Opened {
        opened_at: Time,
    }
    match bytes(store, path).await {
        Err(error) if matches!(error.code.as_str(), "artifact.absent" | "artifact.large") => Ok(None),
        text => Ok(serde_json::from_slice::<Opened>(&text?).ok().map(|opened| opened.opened_at)),
    }
}
