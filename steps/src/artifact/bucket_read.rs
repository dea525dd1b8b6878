//! Reading an object over lines that are cut: [`resuming`].
//!
//! Each time it goes on where it was, and only in the very object that it began with: by its ETag and `If-Match`. One that was replaced
//! meanwhile is an error; the halves of two are never glued together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drydock_step::{ByteStream, StepError};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore};

use super::bucket_error::told;

/// How often it goes on without having got a byte in between.
const TRIES: u32 = 6;

/// How long it waits before the first of them; twice as long before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// An object that is being read.
struct Reading {
    store: Arc<dyn ObjectStore>,
    key: Path,
    /// What is being done, for messages: `reading a/b in s3://bucket`.
    doing: String,
    e_tag: Option<String>,
    at: u64,
    size: u64,
    /// Tries since the last byte.
    tries: u32,
    pieces: Option<BoxStream<'static, Result<Bytes, Error>>>,
}

/// The bytes of an object from `offset` on, after the first answer for it.
///
/// # Errors
/// Those of the first answer, as the store gives them.
pub(super) async fn resuming(
    store: &Arc<dyn ObjectStore>,
    key: &Path,
    offset: u64,
    doing: String,
) -> Result<ByteStream, Error> {
    let (size, e_tag, pieces) = if offset == 0 {
        let found = store.get_opts(key, GetOptions::new()).await?;
        let (size, e_tag) = (found.meta.size, found.meta.e_tag.clone());
        (size, e_tag, Some(found.into_stream()))
    } else {
        // A range that begins at the end is refused, so that where that is must be known first.
        let meta = store.get_opts(key, GetOptions::new().with_head(true)).await?.meta;
        (meta.size, meta.e_tag, None)
    };
    let (store, key) = (Arc::clone(store), key.clone());
    let reading = Reading { store, key, doing, e_tag, at: offset, size, tries: 0, pieces };
    Ok(Box::pin(futures_util::stream::try_unfold(reading, next)))
}

async fn next(mut reading: Reading) -> Result<Option<(Bytes, Reading)>, StepError> {
    while reading.at < reading.size {
        match reading.piece().await {
            Ok(piece) => {
                reading.at += piece.len() as u64;
                reading.tries = 0;
                return Ok(Some((piece, reading)));
            }
            Err(error) => reading.waited(error).await?,
        }
    }
    Ok(None)
}

impl Reading {
    /// The next bytes, at least one.
    async fn piece(&mut self) -> Result<Bytes, StepError> {
        if self.pieces.is_none() {
            self.pieces = Some(self.rest().await?);
        }
        loop {
            let piece = match &mut self.pieces {
                Some(pieces) => pieces.next().await,
                None => None,
            };
            match piece {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => return Ok(piece),
                Some(Err(error)) => return Err(told(&self.doing, &error)),
                None => {
                    let message =
                        format!("{}: it ended after {} of {} bytes", self.doing, self.at, self.size);
                    return Err(StepError::transient("artifact.io", message));
                }
            }
        }
    }

    /// The rest of the same object.
    async fn rest(&mut self) -> Result<BoxStream<'static, Result<Bytes, Error>>, StepError> {
        let options = GetOptions::new()
            .with_range(Some(GetRange::Bounded(self.at..self.size)))
            .with_if_match(self.e_tag.clone());
        match self.store.get_opts(&self.key, options).await {
            // Not every server heeds the condition.
            Ok(found) if found.meta.e_tag == self.e_tag && found.meta.size == self.size => {
                Ok(found.into_stream())
            }
            Ok(_) | Err(Error::Precondition { .. } | Error::NotFound { .. }) => Err(self.changed()),
            Err(error) => Err(told(&self.doing, &error)),
        }
    }

    fn changed(&self) -> StepError {
        let message =
            format!("{}: after {} of {} bytes it is another one, or gone", self.doing, self.at, self.size);
        StepError::new("artifact.changed", message)
    }

    /// Returns after a while when it is worth another try.
    async fn waited(&mut self, error: StepError) -> Result<(), StepError> {
        self.pieces = None;
        // A cut body is told in many ways; what the store itself refuses will not pass.
        if self.tries == TRIES || !error.transient {
            return Err(error);
        }
        tokio::time::sleep(FIRST_WAIT * 2_u32.pow(self.tries)).await;
        self.tries += 1;
        Ok(())
    }
}
