//! The ledger: one line for each request that a practice server has answered, or would have answered.
//! Whoever checks a run counts effects here, on the server's side of the wire. Main type: [`Ledger`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// What a server says about one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// `sqlserver`, `qdrant` (or `qdrant-0`, `qdrant-1`, ... in a cluster) or `api`.
    pub server: String,
    /// The attempt the request belongs to, where the client named one.
    pub attempt: Option<String>,
    /// `METHOD /path` of an HTTP request; the statement's kind and object for SQL.
    pub op: String,
    /// Whether the request could change something and was not refused. What a transaction changed is undone again by a later line of the
    /// same attempt, `rollback`, which stands also where the client went away.
    pub writes: bool,
    /// SHA-256 of the request's body in lower-case hex, when it had one and was read to its end.
    pub sha256: Option<String>,
    /// What was asked in full, where it can be read: the batch of a statement that writes, an HTTP request's query.
    pub text: Option<String>,
    /// The work is done and the answer is held back by a fault.
    pub held: bool,
}

/// A line as it is written and read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the work was done, RFC 3339 with microseconds.
    pub at: String,
    /// See [`Line::server`].
    pub server: String,
    /// See [`Line::attempt`].
    pub attempt: Option<String>,
    /// See [`Line::op`].
    pub op: String,
    /// See [`Line::writes`].
    pub writes: bool,
    /// See [`Line::sha256`].
    pub sha256: Option<String>,
    /// See [`Line::text`]; absent in the file where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// See [`Line::held`]; absent in the file unless true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// The append-only record of requests; clones share it.
#[derive(Debug, Clone)]
pub struct Ledger {
    clock: Clock,
    sink: Arc<Mutex<Sink>>,
}

#[derive(Debug)]
enum Sink {
    File(File),
    Memory(Vec<Entry>),
}

impl Ledger {
    /// A ledger that appends to the file at `path`, which is created when it is absent.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: &Path, clock: Clock) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { clock, sink: Arc::new(Mutex::new(Sink::File(file))) })
    }

    /// A ledger without a file; [`Ledger::lines`] shows what was recorded.
    #[must_use]
    pub fn in_memory(clock: Clock) -> Self {
        Self { clock, sink: Arc::new(Mutex::new(Sink::Memory(Vec::new()))) }
    }

    /// Records one request. Call it when the work has been done and before the answer leaves: then a line
    /// that is missing means that nobody can have seen an answer.
    pub fn record(&self, line: Line) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is taken under the lock, so the lines stand in the order of their times.
        let at = self.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let Line { server, attempt, op, writes, sha256, text, held } = line;
        let entry = Entry { at, server, attempt, op, writes, sha256, text, held };
        match &mut *sink {
            Sink::Memory(entries) => entries.push(entry),
            Sink::File(file) => {
                if let Err(error) = append(file, &entry) {
                    tracing::error!(%error, op = entry.op, "the ledger could not be written");
                }
            }
        }
    }

    /// What an [in-memory](Ledger::in_memory) ledger holds, oldest first; nothing for one with a file.
    #[must_use]
    pub fn lines(&self) -> Vec<Entry> {
        match &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Memory(entries) => entries.clone(),
            Sink::File(_) => Vec::new(),
        }
    }
}

fn append(file: &mut File, entry: &Entry) -> io::Result<()> {
    let mut text = serde_json::to_vec(entry)?;
    text.push(b'\n');
    // One write a line, so that a reader of the growing file never sees half of two.
    file.write_all(&text)?;
    file.flush()
}
