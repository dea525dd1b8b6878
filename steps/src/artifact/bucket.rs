//! An artifact store that is a part of a bucket: [`BucketStore`], over the services of S3, Azure and GCS.
//!
//! An object appears with its last byte, so that nothing that is cut is ever listed: parts of an unfinished upload have no name. Nothing
//! but [`ArtifactStore::delete`] and a put that fails in the middle needs the right to delete.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use drydock_step::artifact::{Listed, path_parts};
use drydock_step::{ArtifactStore, ByteStream, LockAsked, Locked, StepError, Stored};
use futures_util::TryStreamExt;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};
use sha2::{Digest, Sha256};

use super::bucket_error::{is_absence, told};
use super::bucket_put::{PartSize, Place, stored};
use super::bucket_read::resuming;
use super::bucket_wire::Seen;
use crate::rehash::hex;

/// What lies below a prefix of a bucket.
pub(super) struct BucketStore {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) pages: Arc<dyn PaginatedListStore>,
    /// `s3://bucket/prefix`, for messages.
    pub(super) shown: String,
    /// Without slashes around it; empty for the whole bucket.
    pub(super) prefix: String,
    pub(super) parts: PartSize,
    pub(super) lock: Option<LockAsked>,
    /// Whether a listing of all names that begin so has the one that is no longer; Azure's client leaves it out.
    pub(super) lists_itself: bool,
}

impl BucketStore {
    fn key(&self, path: &str) -> Result<Path, StepError> {
        path_parts(path)?;
        let bad = |error: object_store::path::Error| {
            StepError::new("artifact.path", format!("`{path}` is no path in an artifact store: {error}"))
        };
        Path::parse(self.below(path)).map_err(bad)
    }

    /// A path in the bucket; the prefix itself for an empty one.
    fn below(&self, path: &str) -> String {
        match (self.prefix.as_str(), path) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }

    fn doing(&self, verb: &str, path: &str) -> String {
        format!("{verb} {path} in {}", self.shown)
    }

    fn absent(&self, path: &str) -> StepError {
        StepError::new("artifact.absent", format!("there is no artifact {path} in {}", self.shown))
    }

    async fn facts(&self, path: &str) -> Result<Option<(ObjectMeta, Option<Seen>)>, StepError> {
        let key = self.key(path)?;
        match self.store.get_opts(&key, GetOptions::new().with_head(true)).await {
            Ok(found) => {
                let seen = found.extensions.get::<Seen>().copied();
                Ok(Some((found.meta, seen)))
            }
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(told(&self.doing("looking at", path), &error)),
        }
    }

    /// The object of exactly this name, where it can be by the right to list alone.
    async fn itself(&self, path: &str) -> Result<Option<Listed>, StepError> {
        if !self.lists_itself {
            let size = self.size(path).await?;
            return Ok(size.map(|size| Listed { path: path.to_owned(), size }));
        }
        let name = self.below(path);
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        // Of all names that begin so it is the first.
        let page = self.pages.list_paginated(Some(&name), options).await;
        let page = page.map_err(|error| told(&self.doing("listing", path), &error))?;
        let found = page.result.objects.into_iter().find(|object| object.location.as_ref() == name);
        Ok(found.map(|object| Listed { path: path.to_owned(), size: object.size }))
    }

    /// What is said of an object that is locked, and so not removed.
    fn kept(&self, path: &str, lock: Locked) -> StepError {
        let until = chrono::DateTime::from_timestamp_millis(lock.until_ms).unwrap_or_default();
        let (mode, until) = (lock.mode.word(), until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        let message = format!("{}: it is locked ({mode}) until {until}", self.doing("removing", path));
        StepError::new("artifact.locked", message)
            .help("remove it after that; a bucket with object lock would only hide it before")
    }

    /// With what to do where a bucket has no lock to give: the answer names no cause of its own.
    fn unlocked(&self, error: StepError) -> StepError {
        match self.lock {
            Some(_) if error.help.is_none() && error.message.contains("InvalidRequest") => {
                error.help("the `lock` needs a bucket that was made with object lock")
            }
            _ => error,
        }
    }

    /// Asks for the first name alone.
    pub(super) async fn ping(&self) -> Result<(), StepError> {
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let prefix = if self.prefix.is_empty() { None } else { Some(format!("{}/", self.prefix)) };
        let asked = self.pages.list_paginated(prefix.as_deref(), options).await;
        asked.map(|_| ()).map_err(|error| told(&format!("listing {}", self.shown), &error))
    }
}

/// Without the empty objects that some programs put where a file system has a folder.
fn without_folders(objects: BTreeSet<Listed>) -> Vec<Listed> {
    let is_folder = |one: &Listed| {
        let inside = format!("{}/", one.path);
        let from = Listed { path: inside.clone(), size: 0 };
        one.size == 0 && objects.range(from..).next().is_some_and(|next| next.path.starts_with(&inside))
    };
    objects.iter().filter(|one| !is_folder(one)).cloned().collect()
}

#[async_trait]
impl ArtifactStore for BucketStore {
    async fn put(&self, path: &str, body: ByteStream) -> Result<Stored, StepError> {
        let (key, doing) = (self.key(path)?, self.doing("storing", path));
        let place = Place { store: &self.store, key: &key, parts: self.parts, doing: &doing };
        let (size, sha256) = stored(&place, body).await.map_err(|error| self.unlocked(error))?;
        Ok(Stored { path: path.to_owned(), size, sha256 })
    }

    async fn put_new(&self, path: &str, body: Bytes) -> Result<Stored, StepError> {
        let key = self.key(path)?;
        let stored =
            Stored { path: path.to_owned(), size: body.len() as u64, sha256: hex(&Sha256::digest(&body)) };
        match self.store.put_opts(&key, body.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(stored),
            // The same answer is given while another's put is under way, which may yet fail.
            Err(Error::AlreadyExists { .. }) => match self.size(path).await {
                Ok(None) => {
                    let message = format!("{}: another put of it is under way", self.doing("storing", path));
                    Err(StepError::transient("artifact.io", message))
                }
                _ => Err(StepError::new("artifact.exists", format!("there is already an artifact {path}"))),
            },
            Err(error) => {
                let error = self.unlocked(told(&self.doing("storing", path), &error));
                // An answer that was lost may have been a yes.
                Err(StepError { unknown: error.transient, ..error })
            }
        }
    }

    async fn open(&self, path: &str, offset: u64) -> Result<ByteStream, StepError> {
        let doing = self.doing("reading", path);
        let opened = resuming(&self.store, &self.key(path)?, offset, doing.clone()).await;
        opened.map_err(|error| if is_absence(&error) { self.absent(path) } else { told(&doing, &error) })
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StepError> {
        Ok(self.facts(path).await?.map(|(meta, _)| meta.size))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StepError> {
        let failed = |error: Error| told(&self.doing("listing", prefix), &error);
        let prefix = prefix.trim_end_matches('/');
        let mut found = BTreeSet::new();
        if !prefix.is_empty() {
            self.key(prefix)?;
            found.extend(self.itself(prefix).await?);
        }
        let root = Path::parse(self.below(prefix)).map_err(|error| failed(error.into()))?;
        let cut = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let mut objects = self.store.list((!root.as_ref().is_empty()).then_some(&root));
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let path = object.location.as_ref().get(cut..).unwrap_or_default();
            if object.location != root && path_parts(path).is_ok() {
                found.insert(Listed { path: path.to_owned(), size: object.size });
            }
        }
        Ok(without_folders(found))
    }

    async fn delete(&self, path: &str) -> Result<bool, StepError> {
        // The answer to a delete is the same whether there was something or not; and where something is locked it is only hidden by it.
        match self.facts(path).await? {
            None => return Ok(false),
            Some((_, Some(seen))) if seen.holds() => return Err(self.kept(path, seen.lock)),
            Some(_) => {}
        }
        match self.store.delete(&self.key(path)?).await {
            Ok(()) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(told(&self.doing("removing", path), &error)),
        }
    }

    async fn written_ms(&self, path: &str) -> Result<Option<i64>, StepError> {
        Ok(self.facts(path).await?.map(|(meta, _)| meta.last_modified.timestamp_millis()))
    }

    fn lock_asked(&self) -> Option<LockAsked> {
        self.lock
    }

    async fn locked(&self, path: &str) -> Result<Option<Locked>, StepError> {
        let found = self.facts(path).await?.map(|(_, seen)| seen.map(|seen| seen.lock));
        found.ok_or_else(|| self.absent(path))
    }

    fn local_path(&self, _path: &str) -> Option<std::path::PathBuf> {
        None
    }
}
