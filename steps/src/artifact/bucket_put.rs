//! Storing a stream in a bucket without knowing its length: [`stored`], in one request where it is short, in parts where it is not.
//!
//! S3 takes 10,000 parts at most. Parts begin small, so that little memory is needed, and double every thousand, so that an artifact may
//! have almost 3 TiB; what is sent at a time stays within [`AT_A_TIME`] or one part. A store that wants all parts alike, or holds more, is
//! told by `part_size`.

use std::sync::Arc;

use drydock_step::{ByteStream, StepError};
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, PutPayloadMut};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::bucket_error::told;
use crate::rehash::hex;

/// The most parts of one object.
const MOST_PARTS: u64 = 10_000;

/// The first parts.
const FIRST: u64 = 16 * 1024 * 1024;

/// The largest parts that nobody asked for.
const LARGEST: u64 = 512 * 1024 * 1024;

/// After so many parts they double.
const DOUBLES_AFTER: u64 = 1000;

/// The bytes of parts that are sent at a time, unless one part has more.
const AT_A_TIME: u64 = 64 * 1024 * 1024;

/// Pieces of a part are gathered in blocks.
const BLOCK: usize = 1024 * 1024;

/// How large the parts are.
#[derive(Debug, Clone, Copy)]
pub(super) enum PartSize {
    /// Growing.
    Growing,
    /// All alike, in bytes.
    Fixed(u64),
}

impl PartSize {
    /// The length of the part with this number, from 0 on.
    fn of(self, number: u64) -> u64 {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Growing => {
                let doublings = u32::try_from(number / DOUBLES_AFTER).unwrap_or(u32::MAX);
                FIRST.checked_shl(doublings.min(16)).unwrap_or(LARGEST).min(LARGEST)
            }
        }
    }
}

/// Where a stream goes.
pub(super) struct Place<'a> {
    pub(super) store: &'a Arc<dyn ObjectStore>,
    pub(super) key: &'a Path,
    pub(super) parts: PartSize,
    /// What is being done, for messages: `storing a/b in s3://bucket`.
    pub(super) doing: &'a str,
}

/// Stores a stream: its length and its SHA-256.
pub(super) async fn stored(place: &Place<'_>, mut body: ByteStream) -> Result<(u64, String), StepError> {
    let mut read = Hashed::default();
    let first = read.part(&mut body, place.parts.of(0)).await?;
    if read.at_end {
        place.store.put(place.key, first).await.map_err(|error| told(place.doing, &error))?;
        return Ok(read.told());
    }
    let upload = place.store.put_multipart(place.key).await.map_err(|error| told(place.doing, &error))?;
    let mut upload = Upload(Some(upload));
    match in_parts(place, &mut upload, &mut read, first, body).await {
        Ok(()) => Ok(read.told()),
        Err(error) => Err(upload.abort(error).await),
    }
}

async fn in_parts(
    place: &Place<'_>,
    upload: &mut Upload,
    read: &mut Hashed,
    first: PutPayload,
    mut body: ByteStream,
) -> Result<(), StepError> {
    let failed = |error: Error| told(place.doing, &error);
    let mut sending = Sending::default();
    sending.send(upload, first).await.map_err(failed)?;
    let mut number = 1;
    while !read.at_end {
        let part = read.part(&mut body, place.parts.of(number)).await?;
        if part.content_length() == 0 {
            break;
        }
        if number == MOST_PARTS {
            let message =
                format!("{}: {} bytes are as much as {MOST_PARTS} parts hold", place.doing, read.size);
            return Err(
                StepError::new("artifact.large", message).help("give the target a larger `part_size`")
            );
        }
        sending.send(upload, part).await.map_err(failed)?;
        number += 1;
    }
    sending.finish().await.map_err(failed)?;
    upload.complete().await.map_err(failed)
}

/// What was read of a stream.
#[derive(Default)]
struct Hashed {
    hash: Sha256,
    size: u64,
    at_end: bool,
    /// The rest of a piece that was longer than its part.
    rest: bytes::Bytes,
}

impl Hashed {
    /// The next part, shorter only where the stream ends.
    async fn part(&mut self, body: &mut ByteStream, length: u64) -> Result<PutPayload, StepError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut part = PutPayloadMut::new().with_block_size(BLOCK.min(length));
        while part.content_length() < length {
            if self.rest.is_empty() {
                match body.next().await {
                    Some(piece) => self.rest = piece?,
                    None => {
                        self.at_end = true;
                        break;
                    }
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(length - part.content_length()));
            self.hash.update(&taken);
            self.size += taken.len() as u64;
            part.extend_from_slice(&taken);
        }
        Ok(part.freeze())
    }

    fn told(self) -> (u64, String) {
        (self.size, hex(&self.hash.finalize()))
    }
}

/// Parts that are under way.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<(u64, Result<(), Error>)>,
    bytes: u64,
}

impl Sending {
    async fn send(&mut self, upload: &mut Upload, part: PutPayload) -> Result<(), Error> {
        let length = part.content_length() as u64;
        while self.bytes > 0 && self.bytes + length > AT_A_TIME {
            self.one_ends().await?;
        }
        let Some(upload) = &mut upload.0 else { return Ok(()) };
        let sent = upload.put_part(part);
        self.bytes += length;
        self.tasks.spawn(async move { (length, sent.await) });
        Ok(())
    }

    async fn one_ends(&mut self) -> Result<(), Error> {
        match self.tasks.join_next().await {
            Some(ended) => {
                let (length, ended) = ended?;
                self.bytes -= length;
                ended
            }
            None => Ok(()),
        }
    }

    async fn finish(mut self) -> Result<(), Error> {
        while !self.tasks.is_empty() {
            self.one_ends().await?;
        }
        Ok(())
    }
}

/// An upload that is not complete; what is left of it is removed, also when an attempt is stopped in the middle.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Upload {
    async fn complete(&mut self) -> Result<(), Error> {
        if let Some(upload) = &mut self.0 {
            upload.complete().await?;
        }
        self.0 = None;
        Ok(())
    }

    /// Removes the parts; `why` is the reason, and stays it.
    async fn abort(&mut self, why: StepError) -> StepError {
        let Some(mut upload) = self.0.take() else { return why };
        match upload.abort().await {
            Ok(()) => why,
            Err(_) if why.help.is_some() => why,
            Err(_) => why.help(
                "its parts could not be removed; a rule of the bucket that ends incomplete uploads after some days does",
            ),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut upload) = self.0.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Nobody waits for it: where it fails, the bucket's own rule is what is left.
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_parts_hold_almost_three_tebibytes() {
        let all: u64 = (0..MOST_PARTS).map(|number| PartSize::Growing.of(number)).sum();
        assert_eq!((PartSize::Growing.of(0), PartSize::Growing.of(9_999)), (FIRST, LARGEST));
        assert_eq!(all / (1 << 30), 2_984);
        assert_eq!(PartSize::Fixed(5).of(7_000), 5);
    }
}
