//! Many nights in a store, made of one that was sealed: [`past`]; and a store that falls or does not let go: [`Falls`].

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use drydock_recovery::manifest::{Manifest, PointId};
use drydock_recovery::sealed::text_of;
use drydock_step::artifact::{ByteStream, Listed};
use drydock_step::{ArtifactStore, Connection, Identity, StepError, Stored};

use crate::world::World;

/// The id of the n-th night.
pub(crate) fn id(n: usize) -> PointId {
    PointId::parse(&format!("01K0{n:022}")).unwrap()
}

/// A point a day, from number 1 on; two that follow one another share a full backup. The one that they were made of is gone.
pub(crate) async fn past(world: &World, nights: usize) -> Vec<Manifest> {
    let sealed = world.point().await;
    let text = world.read(sealed["manifest"].as_str().unwrap()).await;
    let first = Manifest::parse(&text).unwrap();
    let root = world.files().local_path("points").unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    let mut points = Vec::new();
    for n in 1..=nights {
        let mut point = first.clone();
        point.id = id(n);
        point.mark = point.id.mark();
        let days = chrono::TimeDelta::days(i64::try_from(n).unwrap());
        point.marked_at += days;
        point.sealed_at += days;
        for stored in &mut point.sqlserver["octopus"].backups {
            let kept = if stored.backup.kind.as_str() == "full" { n / 2 } else { n };
            for artifact in &mut stored.artifacts {
                artifact.path = format!("{}.{kept}", artifact.path);
            }
        }
        for part in &mut point.qdrant.as_mut().unwrap().collections {
            for snapshot in &mut part.snapshots {
                snapshot.artifact.path = format!("points/{}/qdrant/{}", point.id, snapshot.name);
            }
        }
        for (_, artifact) in point.artifacts() {
            write(world, &artifact.path, &vec![b'x'; usize::try_from(artifact.size).unwrap()]);
        }
        write(
            world,
            &format!("points/{}/manifest.json", point.id),
            text_of(&point, None).unwrap().as_bytes(),
        );
        points.push(point);
    }
    points
}

/// A file of the store.
pub(crate) fn write(world: &World, path: &str, bytes: &[u8]) {
    let place = world.files().local_path(path).unwrap();
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(place, bytes).unwrap();
}

/// The paths of all files.
pub(crate) async fn paths(world: &World) -> Vec<String> {
    world.files().list("").await.unwrap().into_iter().map(|file| file.path).collect()
}

/// A store that stops working after so many changes, or does not let one file go.
pub(crate) struct Falls {
    inner: Arc<dyn Connection>,
    left: AtomicI64,
    locked: Option<String>,
}

impl Falls {
    pub(crate) fn after(world: &World, changes: i64) -> Falls {
        Falls { inner: world.store.clone(), left: AtomicI64::new(changes), locked: None }
    }

    pub(crate) fn locking(world: &World, path: &str) -> Falls {
        Falls { inner: world.store.clone(), left: AtomicI64::new(i64::MAX), locked: Some(path.to_owned()) }
    }

    fn files(&self) -> &dyn ArtifactStore {
        self.inner.store().unwrap()
    }

    fn changes(&self) -> Result<(), StepError> {
        match self.left.fetch_sub(1, Ordering::Relaxed) {
            1.. => Ok(()),
            _ => Err(StepError::transient("artifact.io", "the store has fallen")),
        }
    }
}

#[async_trait]
impl Connection for Falls {
    async fn ping(&self) -> Result<(), StepError> {
        self.inner.ping().await
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        self.inner.identity().await
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn store(&self) -> Option<&dyn ArtifactStore> {
        Some(self)
    }
}

#[async_trait]
impl ArtifactStore for Falls {
    async fn put(&self, path: &str, body: ByteStream) -> Result<Stored, StepError> {
        self.changes()?;
        self.files().put(path, body).await
    }

    async fn put_new(&self, path: &str, body: Bytes) -> Result<Stored, StepError> {
        self.changes()?;
        self.files().put_new(path, body).await
    }

    async fn open(&self, path: &str, offset: u64) -> Result<ByteStream, StepError> {
        self.files().open(path, offset).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StepError> {
        self.files().size(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StepError> {
        self.files().list(prefix).await
    }

    async fn delete(&self, path: &str) -> Result<bool, StepError> {
        if self.locked.as_deref() == Some(path) {
            return Err(StepError::new("artifact.locked", "it is locked until 2027"));
        }
        self.changes()?;
        self.files().delete(path).await
    }

    /// It lies nowhere, so that its files are read as those of a store that is far away.
    fn local_path(&self, _path: &str) -> Option<std::path::PathBuf> {
        None
    }
}
