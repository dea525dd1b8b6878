//! A store whose artifacts are encrypted to age recipients before they lie anywhere: [`EncryptedStore`].
//!
//! What callers see of an artifact is what they put: its length and its SHA-256 are over the bytes that `open` gives back. They must be:
//! the server that takes a snapshot back compares it with the hash that its own server made of it, and a restore compares what it read.
//! But a runner that only backs up has no identity, and still has to prove what it stored. So each artifact `a/b` lies there as two:
//!
//! - `a/b.<n>-<id>.age`, an age file as any age program reads it; `n` is the length of its header, from which a listing tells how long
//!   the artifact is, and `id` is made of the header, so that no two are of one name and a replacement never writes over what is in use;
//! - `a/b.age-sum`, written last, which makes the artifact be there: which file is its, and the lengths and hashes of both forms.
//!
//! With an identity an artifact is read, decrypted and hashed; without one what lies there is hashed and compared with its sum. The latter
//! proves that it is what was stored; who may write to the store could write both anew, so that it is the former that proves a backup.
//! What was stored before the recipients were named lies there as it is, and is read as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use drydock_step::artifact::{Leftover, Listed, bytes_of, path_parts, stream_of};
use drydock_step::{ArtifactStore, ByteStream, LockAsked, Locked, Sealed, StepError, Stored};

use super::age_file::{Sealing, decrypted, plain_length};
use super::age_keys::Keys;
use super::age_sum::{AgeSum, data_of, data_path, sum_of, sum_path};
use crate::points_layout::Filed;

/// The most bytes of a sum.
const SUM_LIMIT: usize = 4096;

/// A store over another, which holds what is encrypted.
pub(super) struct EncryptedStore {
    inner: Arc<dyn ArtifactStore>,
    keys: Arc<Keys>,
}

impl EncryptedStore {
    pub(super) fn new(inner: Arc<dyn ArtifactStore>, keys: Keys) -> Self {
        Self { inner, keys: Arc::new(keys) }
    }

    /// What was written down of an artifact; `None` where there is none that is encrypted.
    async fn sum(&self, path: &str) -> Result<Option<AgeSum>, StepError> {
        path_parts(path)?;
        let at = sum_path(path);
        match self.inner.open(&at, 0).await {
            Ok(stream) => AgeSum::parse(path, &bytes_of(stream, SUM_LIMIT).await?).map(Some),
            Err(error) if error.code == "artifact.absent" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores what is encrypted and gives what is to be written down of it.
    async fn seal(&self, path: &str, body: ByteStream) -> Result<AgeSum, StepError> {
        path_parts(path)?;
        let put = Arc::new(Mutex::new(None));
        let sealing = Sealing::begin(&self.keys.recipients, body, Arc::clone(&put))?;
        let lies =
            self.inner.put(&data_path(path, sealing.header_length, &sealing.id), sealing.stream()).await?;
        let put = put.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (size, sha256) =
            put.ok_or_else(|| StepError::internal("an encrypted stream was stored before its end"))?;
        Ok(AgeSum { content: Stored { path: path.to_owned(), size, sha256 }, lies })
    }

    /// Whether it is stored as it is: where there are no recipients, and what the catalogue is made of. A runner that only backs up has to read
    /// which point it builds on, and so has whoever looks for one.
    fn stays_plain(&self, path: &str) -> bool {
        self.keys.recipients.is_empty() || Filed::at(path).is_some()
    }

    /// Removes what another artifact of the name left; a store that lets nothing be removed keeps it.
    async fn forget(&self, path: &str) {
        // It is hidden by what was put in its place.
        let _ = self.inner.delete(path).await;
    }

    async fn length(&self, path: &str, files: &[(u64, u64)]) -> Result<Option<Listed>, StepError> {
        let size = match files {
            [(header, lies)] => plain_length(*header, *lies),
            _ => None,
        };
        let size = match size {
            Some(size) => Some(size),
            None => self.sum(path).await?.map(|sum| sum.content.size),
        };
        Ok(size.map(|size| Listed { path: path.to_owned(), size }))
    }
}

#[async_trait]
impl ArtifactStore for EncryptedStore {
    async fn put(&self, path: &str, body: ByteStream) -> Result<Stored, StepError> {
        let before = self.sum(path).await?;
        if self.stays_plain(path) {
            let stored = self.inner.put(path, body).await?;
            if let Some(before) = before {
                self.inner.delete(&sum_path(path)).await?;
                self.forget(&before.lies.path).await;
            }
            return Ok(stored);
        }
        let sum = self.seal(path, body).await?;
        self.inner.put(&sum_path(path), stream_of(sum.text())).await?;
        match before {
            Some(before) => self.forget(&before.lies.path).await,
            // Where nothing lies there is nothing to remove: storing needs no right to.
            None if self.inner.size(path).await?.is_some() => self.forget(path).await,
            None => {}
        }
        Ok(sum.content)
    }

    async fn put_new(&self, path: &str, body: Bytes) -> Result<Stored, StepError> {
        let exists = || StepError::new("artifact.exists", format!("there is already an artifact {path}"));
        if self.stays_plain(path) {
            return match self.sum(path).await? {
                Some(_) => Err(exists()),
                None => self.inner.put_new(path, body).await,
            };
        }
        if self.size(path).await?.is_some() {
            return Err(exists());
        }
        let sum = self.seal(path, stream_of(body)).await?;
        match self.inner.put_new(&sum_path(path), sum.text().into()).await {
            Ok(_) => Ok(sum.content),
            Err(error) => {
                if !error.unknown {
                    self.forget(&sum.lies.path).await;
                }
                Err(if error.code == "artifact.exists" { exists() } else { error })
            }
        }
    }

    async fn open(&self, path: &str, offset: u64) -> Result<ByteStream, StepError> {
        match self.sum(path).await? {
            None => self.inner.open(path, offset).await,
            Some(sum) => decrypted(&self.inner, &self.keys, sum, offset).await,
        }
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StepError> {
        match self.sum(path).await? {
            None => self.inner.size(path).await,
            Some(sum) => Ok(Some(sum.content.size)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StepError> {
        let mut files: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        let (mut sums, mut found) = (BTreeSet::new(), BTreeMap::new());
        for Listed { path, size } in self.inner.list(prefix).await? {
            if let Some(of) = sum_of(&path) {
                sums.insert(of.to_owned());
            } else if let Some((of, header)) = data_of(&path) {
                files.entry(of.to_owned()).or_default().push((header, size));
            } else {
                found.insert(path, size);
            }
        }
        if !prefix.is_empty() && self.sum(prefix).await?.is_some() {
            sums.insert(prefix.to_owned());
        }
        for path in sums {
            let files = files.get(&path).map_or(&[][..], Vec::as_slice);
            if let Some(one) = self.length(&path, files).await? {
                found.insert(one.path, one.size);
            }
        }
        Ok(found.into_iter().map(|(path, size)| Listed { path, size }).collect())
    }

    async fn delete(&self, path: &str) -> Result<bool, StepError> {
        let Some(sum) = self.sum(path).await? else { return self.inner.delete(path).await };
        let was_there = self.inner.delete(&sum_path(path)).await?;
        self.inner.delete(&sum.lies.path).await?;
        self.inner.delete(path).await?;
        Ok(was_there)
    }

    async fn written_ms(&self, path: &str) -> Result<Option<i64>, StepError> {
        match self.sum(path).await? {
            Some(sum) => self.inner.written_ms(&sum.lies.path).await,
            None => self.inner.written_ms(path).await,
        }
    }

    /// Encrypted files that no sum names: of puts that were killed before it was written, and of artifacts that were put again. A put that has not
    /// come to its sum yet looks the same, so that their age decides.
    async fn leftovers(&self) -> Result<Vec<Leftover>, StepError> {
        let mut found = self.inner.leftovers().await?;
        let (mut files, mut sums): (BTreeMap<String, Vec<Listed>>, _) = (BTreeMap::new(), BTreeSet::new());
        for one in self.inner.list("").await? {
            if let Some(of) = sum_of(&one.path) {
                sums.insert(of.to_owned());
            } else if let Some((of, _)) = data_of(&one.path) {
                files.entry(of.to_owned()).or_default().push(one);
            }
        }
        // The only file of an artifact that has a sum is the one that it names.
        files.retain(|of, all| all.len() > 1 || !sums.contains(of));
        for (of, all) in files {
            let named = match self.sum(&of).await {
                Ok(sum) => sum.map(|sum| sum.lies.path),
                // Nobody knows which of them it names.
                Err(error) if error.code == "artifact.damaged" => continue,
                Err(error) => return Err(error),
            };
            for Listed { path, size } in all.into_iter().filter(|one| Some(&one.path) != named.as_ref()) {
                // Of what nobody knows the age, nobody knows that it is left.
                if let Some(written) = self.inner.written_ms(&path).await? {
                    found.push(Leftover { path, size, written_ms: Some(written) });
                }
            }
        }
        Ok(found)
    }

    async fn clear(&self, left: &Leftover) -> Result<bool, StepError> {
        let Some((of, _)) = data_of(&left.path) else { return self.inner.clear(left).await };
        match self.sum(of).await? {
            Some(sum) if sum.lies.path == left.path => Ok(false),
            _ => self.inner.delete(&left.path).await,
        }
    }

    fn lock_asked(&self) -> Option<LockAsked> {
        self.inner.lock_asked()
    }

    /// The shorter one of what lies there and of its sum.
    async fn locked(&self, path: &str) -> Result<Option<Locked>, StepError> {
        let Some(sum) = self.sum(path).await? else { return self.inner.locked(path).await };
        let both = (self.inner.locked(&sum.lies.path).await?, self.inner.locked(&sum_path(path)).await?);
        Ok(match both {
            (Some(one), Some(other)) if other.until_ms < one.until_ms => Some(other),
            (Some(one), Some(_)) => Some(one),
            _ => None,
        })
    }

    async fn sealed(&self, path: &str) -> Result<Option<Sealed>, StepError> {
        match self.sum(path).await? {
            Some(AgeSum { content, lies }) if self.keys.identities.is_empty() => {
                let bytes = self.inner.open(&lies.path, 0).await?;
                Ok(Some(Sealed { content, lies, bytes }))
            }
            _ => Ok(None),
        }
    }

    fn local_path(&self, _path: &str) -> Option<std::path::PathBuf> {
        None
    }
}
