//! A store that takes and gives no more than so many bytes a second: [`RatedStore`], by one [`Limiter`] for all who use the store.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drydock_step::artifact::{Leftover, Listed};
use drydock_step::{ArtifactStore, ByteStream, LockAsked, Locked, Sealed, StepError, Stored};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::Instant;

/// Pieces are cut to this, so that the line is used evenly.
const PIECE: usize = 64 * 1024;

/// Lets bytes through at a rate; time that nobody used is not saved up.
#[derive(Debug)]
pub(super) struct Limiter {
    a_second: u64,
    /// When the bytes that went through are paid for.
    paid: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(super) fn new(a_second: u64) -> Self {
        Self { a_second: a_second.max(1), paid: Mutex::default() }
    }

    /// The limiter that all connections of this process share which reach the same store at the same rate.
    pub(super) fn shared(store: &str, a_second: u64) -> Arc<Self> {
        type Limiters = HashMap<(String, u64), Weak<Limiter>>;
        static LIMITERS: LazyLock<Mutex<Limiters>> = LazyLock::new(Mutex::default);
        let mut limiters = LIMITERS.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.retain(|_, limiter| limiter.strong_count() > 0);
        let held = limiters.entry((store.to_owned(), a_second)).or_default();
        held.upgrade().unwrap_or_else(|| {
            let limiter = Arc::new(Self::new(a_second));
            *held = Arc::downgrade(&limiter);
            limiter
        })
    }

    /// Returns when so many bytes may go.
    async fn pass(&self, bytes: usize) {
        let takes = Duration::from_nanos(
            u64::try_from(bytes as u128 * 1_000_000_000 / u128::from(self.a_second)).unwrap_or(u64::MAX),
        );
        let from = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let from = paid.map_or(now, |paid| paid.max(now));
            *paid = from.checked_add(takes);
            from
        };
        tokio::time::sleep_until(from).await;
    }

    fn limited(self: Arc<Self>, body: ByteStream) -> ByteStream {
        let small = body.map_ok(|piece| futures_util::stream::iter(cut(piece)).map(Ok)).try_flatten();
        Box::pin(small.and_then(move |piece: Bytes| {
            let limiter = Arc::clone(&self);
            async move {
                limiter.pass(piece.len()).await;
                Ok(piece)
            }
        }))
    }
}

/// The same bytes in pieces that are not long.
fn cut(mut piece: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(piece.len() / PIECE + 1);
    while piece.len() > PIECE {
        pieces.push(piece.split_to(PIECE));
    }
    pieces.push(piece);
    pieces
}

/// A store behind a limiter.
pub(super) struct RatedStore {
    pub(super) inner: Arc<dyn ArtifactStore>,
    pub(super) limiter: Arc<Limiter>,
}

#[async_trait]
impl ArtifactStore for RatedStore {
    async fn put(&self, path: &str, body: ByteStream) -> Result<Stored, StepError> {
        self.inner.put(path, Arc::clone(&self.limiter).limited(body)).await
    }

    async fn put_new(&self, path: &str, body: Bytes) -> Result<Stored, StepError> {
        self.limiter.pass(body.len()).await;
        self.inner.put_new(path, body).await
    }

    async fn open(&self, path: &str, offset: u64) -> Result<ByteStream, StepError> {
        Ok(Arc::clone(&self.limiter).limited(self.inner.open(path, offset).await?))
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StepError> {
        self.inner.size(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StepError> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, path: &str) -> Result<bool, StepError> {
        self.inner.delete(path).await
    }

    async fn written_ms(&self, path: &str) -> Result<Option<i64>, StepError> {
        self.inner.written_ms(path).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, StepError> {
        self.inner.leftovers().await
    }

    async fn clear(&self, left: &Leftover) -> Result<bool, StepError> {
        self.inner.clear(left).await
    }

    fn lock_asked(&self) -> Option<LockAsked> {
        self.inner.lock_asked()
    }

    async fn locked(&self, path: &str) -> Result<Option<Locked>, StepError> {
        self.inner.locked(path).await
    }

    async fn sealed(&self, path: &str) -> Result<Option<Sealed>, StepError> {
        let sealed = self.inner.sealed(path).await?;
        Ok(sealed.map(|one| Sealed { bytes: Arc::clone(&self.limiter).limited(one.bytes), ..one }))
    }

    fn url(&self, path: &str) -> Option<String> {
        self.inner.url(path)
    }

    /// None: what is read past the store is not limited.
    fn local_path(&self, _path: &str) -> Option<std::path::PathBuf> {
        None
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::artifact::{bytes_of, conformance, stream_of};

    use super::*;
    use crate::artifact::folder::FolderStore;

    fn store(folder: &std::path::Path, limiter: &Arc<Limiter>) -> RatedStore {
        RatedStore { inner: Arc::new(FolderStore::new(folder.join("store"))), limiter: Arc::clone(limiter) }
    }

    #[tokio::test(start_paused = true)]
    async fn puts_and_gets_share_the_rate() {
        let dir = tempfile::tempdir().unwrap();
        let limiter = Arc::new(Limiter::new(PIECE as u64));
        let store = store(dir.path(), &limiter);
        let begun = Instant::now();
        store.put("a", stream_of(vec![7; 3 * PIECE])).await.unwrap();
        // The first piece goes at once; each further one when those before are paid for.
        assert_eq!(begun.elapsed().as_secs(), 2);
        let read = bytes_of(store.open("a", PIECE as u64).await.unwrap(), 4 * PIECE).await.unwrap();
        assert_eq!((read.len(), begun.elapsed().as_secs()), (2 * PIECE, 4));
        let (one, other) = tokio::join!(
            store.put("b", stream_of(vec![1; 2 * PIECE])),
            store.put_new("c", Bytes::from(vec![1; 2 * PIECE]))
        );
        assert!(one.is_ok() && other.is_ok());
        limiter.pass(0).await;
        assert_eq!(begun.elapsed().as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_nobody_used_is_not_saved_up() {
        let limiter = Limiter::new(10);
        tokio::time::sleep(Duration::from_secs(100)).await;
        let begun = Instant::now();
        for _ in 0..3 {
            limiter.pass(10).await;
        }
        assert_eq!(begun.elapsed().as_secs(), 2);
    }

    #[tokio::test]
    async fn it_conforms() {
        let dir = tempfile::tempdir().unwrap();
        conformance::passes(&store(dir.path(), &Arc::new(Limiter::new(1 << 40)))).await.unwrap();
    }

    #[test]
    fn connections_to_one_store_share_a_limiter() {
        let one = Limiter::shared("store", 5);
        assert!(Arc::ptr_eq(&one, &Limiter::shared("store", 5)));
        assert!(!Arc::ptr_eq(&one, &Limiter::shared("other", 5)));
    }
}
