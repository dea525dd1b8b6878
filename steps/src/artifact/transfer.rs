//! Artifacts on their way from one place to another: [`Transfer`], which never does twice what is done and believes nothing that it has not
//! read back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use drydock_step::{ArtifactStore, ByteStream, Ctx, StepError, Stored};
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

use super::expected::Expected;
use crate::rehash::{hex, rehashed};

/// The most artifacts of one step: their list is its outputs, which hold 1 MiB.
pub(super) const MOST: usize = 4000;

/// How many bytes come between two words about progress.
const STRIDE: u64 = 4 * 1024 * 1024;

/// One artifact, and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Going {
    pub(super) what: Expected,
    pub(super) to: String,
}

/// One attempt's way between two stores.
pub(super) struct Transfer<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) from: &'a dyn ArtifactStore,
    pub(super) to: &'a dyn ArtifactStore,
    pub(super) at_a_time: usize,
    pub(super) progress: Progress,
}

/// How far it is.
#[derive(Clone)]
pub(super) struct Progress {
    ctx: Ctx,
    done: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    pub(super) fn new(ctx: &Ctx, total: Option<u64>) -> Self {
        Self { ctx: ctx.clone(), done: Arc::default(), total }
    }

    fn seen(&self, more: u64, path: &str) {
        let before = self.done.fetch_add(more, Ordering::Relaxed);
        if before / STRIDE != (before + more) / STRIDE {
            self.ctx.progress(before + more, self.total, "bytes", path);
        }
    }
}

/// Refuses more than one step can list.
pub(super) fn listable(count: usize, help: &str) -> Result<(), StepError> {
    if count <= MOST {
        return Ok(());
    }
    let message = format!("{count} artifacts are more than one step can list, which is {MOST}");
    Err(StepError::new("input", message).help(help))
}

/// A path below another; itself where that is empty.
pub(super) fn below(prefix: &str, path: &str) -> String {
    match prefix.trim_matches('/') {
        "" => path.to_owned(),
        prefix => format!("{prefix}/{path}"),
    }
}

impl Transfer<'_> {
    /// Brings all of them over, some at a time: as they are at the other side, in the order given.
    pub(super) async fn all(&self, going: &[Going]) -> Result<Vec<Stored>, StepError> {
        let each = going.iter().cloned().map(|one| async move { self.one(&one).await }).collect::<Vec<_>>();
        futures_util::stream::iter(each).buffered(self.at_a_time).try_collect().await
    }

    /// One of them, unless it is there already.
    pub(super) async fn one(&self, going: &Going) -> Result<Stored, StepError> {
        let Going { what, to } = going;
        let there = self.to.size(to).await?;
        if there.is_some() {
            return self.present(what, to).await;
        }
        let size = match what.size {
            Some(size) => Some(size),
            None => self.from.size(&what.path).await?,
        };
        let body = self.from.open(&what.path, 0).await?;
        let body = proved(body, what.clone(), size, self.progress.clone());
        let stored = self.to.put(to, body).await?;
        read_back(self.to, &stored).await?;
        self.ctx.log(format!("{to} is there, {} bytes", stored.size));
        Ok(stored)
    }

    /// What is there under the name; it must be the same.
    async fn present(&self, what: &Expected, to: &str) -> Result<Stored, StepError> {
        let found = rehashed(self.to, to, |_| {}).await?;
        let same = match what.sha256 {
            Some(_) => what.compared(&found),
            // Nobody says what it should be but the source itself.
            None => {
                let source =
                    rehashed(self.from, &what.path, |more| self.progress.seen(more, &what.path)).await?;
                Expected { size: Some(source.size), sha256: Some(source.sha256), ..what.clone() }
                    .compared(&found)
            }
        };
        match same {
            None => {
                self.ctx.log(format!("{to} was there already"));
                Ok(found)
            }
            Some(why) => Err(StepError::new("artifact.exists", format!("another {to} is there: {why}"))
                .help("nothing is written over: choose another place, or remove what is there by hand")),
        }
    }
}

/// Fails unless what lies there is what was stored.
pub(super) async fn read_back(store: &dyn ArtifactStore, stored: &Stored) -> Result<(), StepError> {
    let found = rehashed(store, &stored.path, |_| {}).await?;
    let Stored { path, size, sha256 } = stored.clone();
    match (Expected { path, size: Some(size), sha256: Some(sha256) }).compared(&found) {
        None => Ok(()),
        Some(why) => Err(StepError::new("artifact.damaged", format!("read back, {why}"))),
    }
}

/// The same stream, which fails at its end unless it was what it should be: what fails is not stored.
pub(super) fn proved(body: ByteStream, what: Expected, size: Option<u64>, progress: Progress) -> ByteStream {
    struct Proving {
        body: ByteStream,
        what: Expected,
        hash: Sha256,
        read: u64,
        progress: Progress,
    }
    let what = Expected { size, ..what };
    let proving = Proving { body, what, hash: Sha256::new(), read: 0, progress };
    Box::pin(futures_util::stream::try_unfold(proving, |mut proving| async move {
        if let Some(piece) = proving.body.next().await {
            let piece: Bytes = piece?;
            proving.hash.update(&piece);
            proving.read += piece.len() as u64;
            proving.progress.seen(piece.len() as u64, &proving.what.path);
            return Ok(Some((piece, proving)));
        }
        let path = proving.what.path.clone();
        let found = Stored { path, size: proving.read, sha256: hex(&proving.hash.finalize()) };
        match proving.what.compared(&found) {
            None => Ok(None),
            Some(why) => Err(StepError::new("artifact.damaged", why)),
        }
    }))
}
