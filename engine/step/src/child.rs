//! A program that a step starts, and how it ended: [`ChildSpec`], [`ChildEnd`]. Started through [`Ctx::spawn`](crate::Ctx::spawn) alone.

use std::path::PathBuf;

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
    /// Thrown away.
    Dropped,
}

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
