//! A program that a step starts, and how it ended: [`ChildSpec`], [`ChildEnd`]. Started through [`Ctx::spawn`](crate::Ctx::spawn) alone.

use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Where a child's standard output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildOutput {
    /// Kept in memory, at most this many bytes; more fails the attempt.
    Kept {
        /// The limit in bytes.
        limit: usize,
    },
    /// Written to this file, made anew.
    File(PathBuf),
    /// Handed on in pieces while the program runs. It is held up while nobody takes them; once nobody will, its output is closed.
    Piped(ChildPipe),
    /// Thrown away.
    Dropped,
}

/// The end of a pipe that a child's output is put into.
#[derive(Debug, Clone)]
pub struct ChildPipe(mpsc::Sender<Bytes>);

impl ChildPipe {
    /// A pipe that holds so many pieces, and its other end: what comes out of that, until every clone of this end is gone.
    pub fn holding(pieces: usize) -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(pieces.max(1));
        (Self(sender), receiver)
    }

    /// Puts a piece in; `false` once nobody takes any more.
    pub async fn put(&self, piece: Bytes) -> bool {
        self.0.send(piece).await.is_ok()
    }
}

impl PartialEq for ChildPipe {
    /// Whether both are the same pipe.
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for ChildPipe {}

/// A program to start. No shell is between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables set for it, beside the inherited ones (those that secrets are read from are not inherited).
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// Where its output goes. Its errors are always kept, the last 64 KiB of them.
    pub stdout: ChildOutput,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildEnd {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote, when that was kept.
    pub stdout: Vec<u8>,
    /// Whether it wrote more than was kept.
    pub truncated: bool,
    /// The end of what it wrote to its standard error.
    pub stderr: String,
}
