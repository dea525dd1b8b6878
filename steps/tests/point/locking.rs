//! A store that was asked for object lock: a point is sealed only where the store says of every file that it is locked.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use drydock_step::artifact::{Listed, LockAsked, LockMode, Locked};
use drydock_step::target::Seals;
use drydock_step::test_host::TEST_BEGINS_MS;
use drydock_step::{ArtifactStore, ByteStream, Connection, Identity, StepError, Stored};
use drydock_steps::point::seal::Seal;
use serde_json::Value;

use crate::world::World;

/// A folder that says of its files that they are locked, or that they are not.
struct Locking {
    folder: Arc<dyn Connection>,
    /// What it says of paths that end like this.
    of: (&'static str, Option<Locked>),
}

const DAY_MS: i64 = 86_400_000;

fn until(days: i64, mode: LockMode) -> Option<Locked> {
    Some(Locked { mode, until_ms: TEST_BEGINS_MS + days * DAY_MS })
}

impl Locking {
    fn inner(&self) -> &dyn ArtifactStore {
        self.folder.store().unwrap()
    }
}

#[async_trait]
impl Connection for Locking {
    async fn ping(&self) -> Result<(), StepError> {
        self.folder.ping().await
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        self.folder.identity().await
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seals(&self) -> Option<Arc<dyn Seals>> {
        self.folder.seals()
    }

    fn store(&self) -> Option<&dyn ArtifactStore> {
        Some(self)
    }
}

#[async_trait]
impl ArtifactStore for Locking {
    async fn put(&self, path: &str, body: ByteStream) -> Result<Stored, StepError> {
        self.inner().put(path, body).await
    }

    async fn put_new(&self, path: &str, body: Bytes) -> Result<Stored, StepError> {
        self.inner().put_new(path, body).await
    }

    async fn open(&self, path: &str, offset: u64) -> Result<ByteStream, StepError> {
        self.inner().open(path, offset).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StepError> {
        self.inner().size(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StepError> {
        self.inner().list(prefix).await
    }

    async fn delete(&self, path: &str) -> Result<bool, StepError> {
        self.inner().delete(path).await
    }

    fn lock_asked(&self) -> Option<LockAsked> {
        Some(LockAsked { mode: LockMode::Compliance, days: 30 })
    }

    async fn locked(&self, path: &str) -> Result<Option<Locked>, StepError> {
        let (end, lock) = self.of;
        Ok(if path.ends_with(end) { lock } else { until(30, LockMode::Compliance) })
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        self.inner().local_path(path)
    }
}

/// A night whose store says this of one file.
async fn night(of: (&'static str, Option<Locked>)) -> (World, Value) {
    let mut world = World::new().await;
    let night = world.night().await;
    world.store = Arc::new(Locking { folder: world.store.clone(), of });
    world.forget();
    (world, night)
}

#[tokio::test(start_paused = true)]
async fn every_file_of_a_point_is_locked_as_it_was_asked() {
    let (world, with) = night(("log.trn", until(29, LockMode::Compliance))).await;
    let outputs = world.outputs(&Seal, with).await;
    assert!(outputs["claims"].as_array().unwrap().contains(&Value::from("artifacts_locked")), "{outputs}");
    let refused = async |lock: Option<Locked>, words: &str| {
        let (world, with) = night(("log.trn", lock)).await;
        let error = world.error(&Seal, with).await;
        assert_eq!(error.code, "point.unproved");
        let claim = "artifacts_locked does not hold for store: sql/log.trn ";
        assert!(error.message.contains(&format!("{claim}{words}")), "{error}");
    };
    refused(None, "is not locked").await;
    refused(until(-1, LockMode::Compliance), "was locked until ").await;
    refused(until(30, LockMode::Governance), "is locked by governance, and compliance was asked for").await;
}
