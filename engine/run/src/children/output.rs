//! What a child writes, read without end but kept within limits: [`Kept`] keeps the beginning, [`Tail`] the end,
//! [`OutputFile`] everything.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use drydock_step::{ChildOutput, ChildPipe, StepError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// How much is handed on at once, at most.
const PIECE: usize = 256 * 1024;

/// Takes bytes and keeps what it wants of them.
pub(super) trait Sink {
    /// Take these.
    fn take(&mut self, bytes: &[u8]);
}

/// What becomes of a child's standard output where it does not write a file by itself.
pub(super) enum Output {
    /// Its beginning is kept.
    Kept(Kept),
    /// It is handed on.
    Piped(ChildPipe),
}

impl Output {
    /// Of a spec.
    pub(super) fn of(spec: &ChildOutput) -> Self {
        match spec {
            ChildOutput::Kept { limit } => Self::Kept(Kept::new(*limit)),
            ChildOutput::Piped(pipe) => Self::Piped(pipe.clone()),
            ChildOutput::File(_) | ChildOutput::Dropped => Self::Kept(Kept::new(0)),
        }
    }

    /// Reads to the end; or, where it is handed on, until nobody takes it any more: the child's next write fails then.
    pub(super) async fn drain(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let pipe = match self {
            Self::Kept(kept) => return drain(from, kept).await,
            Self::Piped(pipe) => pipe,
        };
        let Some(mut from) = from else { return };
        let mut piece = BytesMut::with_capacity(PIECE);
        while let Ok(1..) = from.read_buf(&mut piece).await {
            if !pipe.put(piece.split().freeze()).await {
                return;
            }
            piece.reserve(PIECE);
        }
    }

    /// What was kept, and whether there was more.
    pub(super) fn kept(self) -> (Vec<u8>, bool) {
        match self {
            Self::Kept(kept) => (kept.bytes, kept.truncated),
            Self::Piped(_) => (Vec::new(), false),
        }
    }
}

/// The first bytes, up to a limit.
pub(super) struct Kept {
    /// What was kept.
    pub(super) bytes: Vec<u8>,
    /// Whether there was more.
    pub(super) truncated: bool,
    limit: usize,
}

impl Kept {
    /// Keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), truncated: false, limit }
    }
}

impl Sink for Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = bytes.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.truncated |= room < bytes.len();
    }
}

/// The last bytes, up to a limit.
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Tail {
    /// Keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit }
    }

    /// As text; a character cut at the beginning is left out.
    pub(super) fn into_text(self) -> String {
        let full = self.bytes.len() == self.limit;
        let bytes = Vec::from(self.bytes);
        let cut = if full { bytes.iter().take_while(|byte| **byte & 0xc0 == 0x80).count().min(3) } else { 0 };
        String::from_utf8_lossy(&bytes[cut..]).into_owned()
    }
}

impl Sink for Tail {
    fn take(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let over = (self.bytes.len() + bytes.len()).saturating_sub(self.limit);
        self.bytes.drain(..over);
        self.bytes.extend(bytes);
    }
}

/// A file that a child writes by itself.
pub(super) struct OutputFile {
    file: File,
    path: PathBuf,
}

impl OutputFile {
    /// The file of this path, empty.
    pub(super) fn create(path: &Path) -> Result<Self, StepError> {
        match File::create(path) {
            Ok(file) => Ok(Self { file, path: path.to_owned() }),
            Err(error) => Err(cannot_write(path, &error)),
        }
    }

    /// One more handle, for the child.
    pub(super) fn handle(&self) -> Result<File, StepError> {
        self.file.try_clone().map_err(|error| cannot_write(&self.path, &error))
    }

    /// Returns when everything written is on the disk, with the file's name.
    pub(super) async fn sync(self) -> Result<(), StepError> {
        let Self { file, path } = self;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned);
        let synced = tokio::task::spawn_blocking(move || {
            file.sync_all()?;
            // A folder can be opened and synced on Unix alone; elsewhere its entries are journalled by the file system.
            if cfg!(unix) {
                File::open(folder.unwrap_or_else(|| PathBuf::from(".")))?.sync_all()
            } else {
                Ok(())
            }
        })
        .await;
        match synced {
            Ok(done) => done.map_err(|error| cannot_write(&path, &error)),
            Err(_) => Err(StepError::internal("the thread that syncs an output file ended early")),
        }
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> StepError {
    StepError::new("process.output", format!("the output file {} cannot be written: {error}", path.display()))
        .help("its folder must exist and let Drydock write")
}

/// Reads to the end. A child that writes more than is kept is not held up by it.
pub(super) async fn drain(from: Option<impl AsyncRead + Unpin>, sink: &mut impl Sink) {
    let Some(mut from) = from else { return };
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Ok(1..) = from.read_buf(&mut chunk).await {
        sink.take(&chunk);
        chunk.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(limit: usize, parts: &[&str]) -> (String, bool) {
        let mut kept = Kept::new(limit);
        parts.iter().for_each(|part| kept.take(part.as_bytes()));
        (String::from_utf8(kept.bytes).unwrap(), kept.truncated)
    }

    fn tail(limit: usize, parts: &[&str]) -> String {
        let mut tail = Tail::new(limit);
        parts.iter().for_each(|part| tail.take(part.as_bytes()));
        tail.into_text()
    }

    #[test]
    fn the_beginning_is_kept_to_the_byte() {
        assert_eq!(kept(4, &["ab", "cd"]), ("abcd".into(), false));
        assert_eq!(kept(4, &["ab", "cde", "f"]), ("abcd".into(), true));
        assert_eq!(kept(0, &["a"]), (String::new(), true));
    }

    #[test]
    fn the_end_is_kept_without_half_a_character() {
        assert_eq!(tail(4, &["ab", "cd"]), "abcd");
        assert_eq!(tail(4, &["ab", "cde", "f"]), "cdef");
        assert_eq!(tail(4, &["xabcdefgh"]), "efgh");
        assert_eq!(tail(4, &["äöü"]), "öü");
        assert_eq!(tail(3, &["äöü"]), "ü");
    }

    #[tokio::test]
    async fn the_end_of_a_stream_ends_the_reading() {
        let mut kept = Kept::new(CHUNK);
        drain(Some(&vec![7u8; 3 * CHUNK][..]), &mut kept).await;
        assert_eq!((kept.bytes.len(), kept.truncated), (CHUNK, true));
    }
}
