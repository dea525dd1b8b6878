//! Streams through age: [`Sealing`] encrypts one on its way into a store, [`decrypted`] gives one back from any offset.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;
use age::x25519::Recipient;
use age::{DecryptError, Decryptor, Encryptor};
use bytes::Bytes;
use drydock_step::{ArtifactStore, ByteStream, StepError, Stored};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::age_keys::Keys;
use super::age_sum::AgeSum;
use crate::rehash::hex;

/// What age encrypts at a time, and what each adds.
const CHUNK: u64 = 64 * 1024;
const TAG: u64 = 16;

/// What stands between the header and the first chunk.
const NONCE: u64 = 16;

/// Bytes that are decrypted and handed on at once.
const PIECE: usize = 256 * 1024;

/// How long what was put is, by the length of its header and of the whole file. `None` for lengths that no such file has.
pub(super) fn plain_length(header: u64, file: u64) -> Option<u64> {
    let body = file.checked_sub(header)?.checked_sub(NONCE)?;
    body.checked_sub(body.div_ceil(CHUNK + TAG).max(1) * TAG)
}

/// The bytes that the encryption has made and nobody has taken yet.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the length and the hash of what was put are left, once it has come to its end.
type Put = Arc<Mutex<Option<(u64, String)>>>;

/// A stream that is encrypted on its way.
pub(super) struct Sealing {
    pub(super) header_length: u64,
    /// 16 hexadecimal digits, of this encryption alone.
    pub(super) id: String,
    head: Bytes,
    rest: Rest,
}

struct Rest {
    body: ByteStream,
    sink: Sink,
    writer: Option<StreamWriter<Sink>>,
    hash: Sha256,
    size: u64,
    put: Put,
}

impl Sealing {
    pub(super) fn begin(recipients: &[Recipient], body: ByteStream, put: Put) -> Result<Self, StepError> {
        let failed = |why: String| StepError::internal(format!("encrypting: {why}"));
        let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(|error| failed(error.to_string()))?;
        let sink = Sink::default();
        let writer = encryptor.wrap_output(sink.clone()).map_err(|error| failed(error.to_string()))?;
        let head = sink.take();
        let id = hex(&Sha256::digest(&head)).chars().take(16).collect();
        let rest = Rest { body, sink, writer: Some(writer), hash: Sha256::new(), size: 0, put };
        Ok(Self { header_length: (head.len() as u64).saturating_sub(NONCE), id, head, rest })
    }

    /// The encrypted bytes.
    pub(super) fn stream(self) -> ByteStream {
        let head = futures_util::stream::iter([Ok(self.head)]);
        Box::pin(head.chain(futures_util::stream::try_unfold(self.rest, Rest::next)))
    }
}

impl Rest {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StepError> {
        let failed = |error: io::Error| StepError::internal(format!("encrypting: {error}"));
        while let Some(writer) = &mut self.writer {
            match self.body.next().await {
                Some(piece) => {
                    let piece = piece?;
                    self.hash.update(&piece);
                    self.size += piece.len() as u64;
                    writer.write_all(&piece).map_err(failed)?;
                }
                None => {
                    if let Some(writer) = self.writer.take() {
                        writer.finish().map_err(failed)?;
                    }
                    let hash = std::mem::take(&mut self.hash);
                    let told = (self.size, hex(&hash.finalize()));
                    *self.put.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
                }
            }
            let made = self.sink.take();
            if !made.is_empty() {
                return Ok(Some((made, self)));
            }
        }
        Ok(None)
    }
}

/// What was put, from `offset` on.
///
/// # Errors
/// `artifact.encrypted` when no identity is at hand that it was encrypted to; from the stream `artifact.damaged` for bytes that nobody who
/// has the key has written.
pub(super) async fn decrypted(
    store: &Arc<dyn ArtifactStore>,
    keys: &Arc<Keys>,
    sum: AgeSum,
    offset: u64,
) -> Result<ByteStream, StepError> {
    let AgeSum { content, lies } = sum;
    if keys.identities.is_empty() {
        let message = format!("{} is encrypted, and no identity is at hand", content.path);
        return Err(StepError::new("artifact.encrypted", message).help("give the target `decrypt_with`"));
    }
    if offset >= content.size {
        return Ok(Box::pin(futures_util::stream::empty()));
    }
    let (out, pieces) = mpsc::channel(2);
    let (begun, begins) = oneshot::channel();
    let lying = Lying {
        store: Arc::clone(store),
        lies,
        runtime: Handle::current(),
        at: 0,
        pieces: None,
        piece: Bytes::new(),
        gone: out.clone(),
    };
    let keys = Arc::clone(keys);
    // The crate seeks in what can block alone. The thread ends when nobody listens any more.
    tokio::task::spawn_blocking(move || give(lying, &keys, &content, offset, begun, &out));
    match begins.await {
        Ok(Ok(())) => {
            let next = |mut pieces: mpsc::Receiver<Result<Bytes, StepError>>| async move {
                pieces.recv().await.map(|piece| (piece, pieces))
            };
            Ok(Box::pin(futures_util::stream::unfold(pieces, next)))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StepError::internal("the thread that decrypts has died")),
    }
}

/// Decrypts to the end, or until nobody listens.
fn give(
    lying: Lying,
    keys: &Keys,
    content: &Stored,
    offset: u64,
    begun: oneshot::Sender<Result<(), StepError>>,
    out: &mpsc::Sender<Result<Bytes, StepError>>,
) {
    let path = content.path.as_str();
    let identities = keys.identities.iter().map(|identity| identity as &dyn age::Identity);
    let reader = Decryptor::new(lying)
        .and_then(|found| found.decrypt(identities))
        .map_err(|error| refused(path, error))
        .and_then(|mut reader| match reader.seek(SeekFrom::Start(offset)) {
            Ok(_) => Ok(reader),
            Err(error) => Err(failed(path, error)),
        });
    let mut reader = match reader {
        Ok(reader) => {
            let _ = begun.send(Ok(()));
            reader
        }
        Err(error) => {
            let _ = begun.send(Err(error));
            return;
        }
    };
    loop {
        let mut piece = vec![0; PIECE];
        let read = full(&mut reader, &mut piece);
        let is_last = !matches!(read, Ok(PIECE));
        let read = read.map_err(|error| failed(path, error)).map(|length| {
            piece.truncate(length);
            Bytes::from(piece)
        });
        if out.blocking_send(read).is_err() || is_last {
            return;
        }
    }
}

/// As many bytes as there are, up to a whole piece.
fn full(reader: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match reader.read(&mut piece[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn refused(path: &str, error: DecryptError) -> StepError {
    match error {
        DecryptError::NoMatchingKeys => {
            let message = format!("{path} is encrypted to others than the identity of `decrypt_with`");
            StepError::new("artifact.encrypted", message)
                .help("`encrypt_to` named its readers when it was stored: ask one of them")
        }
        DecryptError::Io(error) => failed(path, error),
        other => {
            StepError::new("artifact.damaged", format!("{path} is no age file that can be read: {other}"))
        }
    }
}

fn failed(path: &str, error: io::Error) -> StepError {
    let words = error.to_string();
    match error.into_inner().map(|inner| inner.downcast::<StepError>()) {
        Some(Ok(own)) => *own,
        _ => StepError::new("artifact.damaged", format!("{path} cannot be decrypted to its end: {words}")),
    }
}

/// An encrypted file in a store, as what blocks reads it.
struct Lying {
    store: Arc<dyn ArtifactStore>,
    lies: Stored,
    runtime: Handle,
    at: u64,
    pieces: Option<ByteStream>,
    piece: Bytes,
    /// Whoever listens to what is decrypted.
    gone: mpsc::Sender<Result<Bytes, StepError>>,
}

impl Lying {
    async fn more(&mut self) -> Result<Bytes, StepError> {
        let mut pieces = match self.pieces.take() {
            Some(pieces) => pieces,
            None => self.store.open(&self.lies.path, self.at).await?,
        };
        let next = tokio::select! {
            next = pieces.next() => next.transpose()?,
            () = self.gone.closed() => return Err(StepError::cancelled()),
        };
        // A stream that has ended is not asked again.
        self.pieces = Some(if next.is_some() { pieces } else { Box::pin(futures_util::stream::empty()) });
        Ok(next.unwrap_or_default())
    }
}

impl Read for Lying {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let runtime = self.runtime.clone();
            self.piece = runtime.block_on(self.more()).map_err(io::Error::other)?;
        }
        let length = self.piece.len().min(into.len());
        into[..length].copy_from_slice(&self.piece.split_to(length));
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Lying {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.lies.size.checked_add_signed(by),
        };
        let at = at.ok_or_else(|| io::Error::other("a place before the beginning"))?;
        if at != self.at {
            (self.at, self.pieces, self.piece) = (at, None, Bytes::new());
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::plain_length;

    #[test]
    fn the_length_of_what_was_put_follows_from_the_file() {
        let check = |plain: u64, chunks: u64| {
            assert_eq!(plain_length(200, 200 + 16 + plain + 16 * chunks), Some(plain), "{plain}");
        };
        check(0, 1);
        check(1, 1);
        check(65_536, 1);
        check(65_537, 2);
        check(10 * 65_536, 10);
        assert_eq!(plain_length(200, 100), None);
    }
}
