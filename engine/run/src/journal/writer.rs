//! Writing a journal: [`Journal`]. A batch is one write and one sync; after a failure nothing more is written.
//!
//! A sync of a file that grew has to make its new length durable too, which costs as much as the bytes. So a batch that does not fit into
//! the room behind the last one is written with spaces behind it: the batches that follow overwrite those, and only their bytes are
//! synced. What is left of the room is cut off when the sitting is over; a journal that a kill has left with it is sound.

use std::io;
use std::path::{Path, PathBuf};

use drydock_machine::{Moment, RunEvent};

use super::crash::{CrashAt, CrashWhen};
use super::disk::{Disk, DiskFile};
use super::line::{self, Header, ROOM, VERSION};
use super::reading::Journaled;

/// The least and the most room, in bytes, that is made behind a batch; between them, as much as there is already.
const ROOMS: (u64, u64) = (4 * 1024, 64 * 1024);

/// Why a journal could not be written. It stays so: a failed write or sync is never tried again.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {error}", path.display())]
pub struct JournalError {
    /// What was tried: `cannot write`, `cannot sync`.
    pub what: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// A journal that is written on.
pub struct Journal {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Where the next batch goes.
    end: u64,
    /// How many bytes of room there are behind it.
    room: u64,
    next_seq: u64,
    last_crc: u32,
    header: Option<Header>,
    batch: Vec<u8>,
    pending: Vec<(Moment, RunEvent)>,
    batches: u64,
    crash: Option<CrashAt>,
    failed: bool,
}

impl Journal {
    /// The journal of a new run in its folder, which is made. Nothing counts before the first [`Journal::commit`].
    ///
    /// # Errors
    /// When the folder or the file cannot be made and synced.
    pub fn create(
        disk: &dyn Disk,
        folder: &Path,
        run: &str,
        crash: Option<CrashAt>,
    ) -> Result<Self, JournalError> {
        let path = folder.join("journal.jsonl");
        let file = disk.create(&path).map_err(failed("cannot make", &path))?;
        disk.sync_dir(folder).map_err(failed("cannot sync", folder))?;
        if let Some(parent) = folder.parent() {
            disk.sync_dir(parent).map_err(failed("cannot sync", parent))?;
        }
        let header = Header { version: VERSION, run: run.to_owned() };
        Ok(Self::on(path, file, 0, (0, 0), Some(header), crash))
    }

    /// The journal of a run that is taken up again: what does not count is cut off.
    ///
    /// # Errors
    /// When it cannot be opened, cut and synced.
    pub fn reopen(
        disk: &dyn Disk,
        folder: &Path,
        read: &Journaled,
        len: u64,
        crash: Option<CrashAt>,
    ) -> Result<Self, JournalError> {
        let path = folder.join("journal.jsonl");
        let mut file = disk.open(&path).map_err(failed("cannot open", &path))?;
        if len > read.good_len {
            file.truncate(read.good_len).map_err(failed("cannot cut", &path))?;
            file.sync().map_err(failed("cannot sync", &path))?;
        }
        Ok(Self::on(path, file, read.good_len, (read.next_seq, read.last_crc), None, crash))
    }

    fn on(
        path: PathBuf,
        file: Box<dyn DiskFile>,
        end: u64,
        (next_seq, last_crc): (u64, u32),
        header: Option<Header>,
        crash: Option<CrashAt>,
    ) -> Self {
        let (batch, pending, room, batches, failed) = (Vec::new(), Vec::new(), 0, 0, false);
        Self { path, file, end, room, next_seq, last_crc, header, batch, pending, batches, crash, failed }
    }

    /// Add events to the batch.
    pub fn push(&mut self, at: Moment, events: impl IntoIterator<Item = RunEvent>) {
        self.pending.extend(events.into_iter().map(|event| (at, event)));
    }

    /// Make the batch durable; its events with their sequence numbers. With nothing in it, nothing is written.
    ///
    /// # Errors
    /// When it could not be written and synced; every later commit fails then too.
    pub fn commit(&mut self) -> Result<Vec<(u64, Moment, RunEvent)>, JournalError> {
        if self.failed {
            let error = io::Error::other("an earlier write failed");
            return Err(JournalError { what: "cannot write", path: self.path.clone(), error });
        }
        if self.pending.is_empty() {
            return Ok(Vec::new());
        }
        let result = self.write();
        self.failed = result.is_err();
        result
    }

    fn write(&mut self) -> Result<Vec<(u64, Moment, RunEvent)>, JournalError> {
        let pending = std::mem::take(&mut self.pending);
        let lines = pending.len() as u64 + u64::from(self.header.is_some());
        self.batch.clear();
        self.batches += 1;
        if let (Some(header), Some((at, _))) = (self.header.take(), pending.first()) {
            self.last_crc = line::write_header(&header, *at, (lines == 1).then_some(lines), &mut self.batch);
            self.next_seq = 1;
        }
        let mut written = Vec::with_capacity(pending.len());
        let last = pending.len() - 1;
        for (number, (at, event)) in pending.into_iter().enumerate() {
            let seq = self.next_seq;
            let ends = (number == last).then_some(lines);
            self.last_crc = line::write_event(&event, seq, at, self.last_crc, ends, &mut self.batch)
                .map_err(|error| self.error("cannot write", io::Error::other(error)))?;
            self.next_seq += 1;
            written.push((seq, at, event));
        }
        self.crash_if(CrashWhen::Before);
        if CrashAt::is(self.crash, self.batches, CrashWhen::Torn) {
            // The process ends here: what the half write and its sync say does not matter.
            let _ = self.file.write_at(self.end, &self.batch[..self.batch.len() / 2]);
            let _ = self.file.sync();
            std::process::abort();
        }
        self.write_batch().map_err(|error| self.error("cannot write", error))?;
        self.file.sync().map_err(|error| self.error("cannot sync", error))?;
        self.crash_if(CrashWhen::After);
        Ok(written)
    }

    /// The batch, and new room behind it where it does not fit into what there is.
    fn write_batch(&mut self) -> io::Result<()> {
        let len = self.batch.len() as u64;
        let end = self.end + len;
        let room = match self.room.checked_sub(len) {
            Some(room) => room,
            None => {
                let room = end.clamp(ROOMS.0, ROOMS.1);
                // At most 64 KiB: it fits into any usize.
                self.batch.resize(self.batch.len() + room as usize, ROOM);
                room
            }
        };
        self.file.write_at(self.end, &self.batch)?;
        (self.end, self.room) = (end, room);
        Ok(())
    }

    fn crash_if(&self, when: CrashWhen) {
        if CrashAt::is(self.crash, self.batches, when) {
            std::process::abort();
        }
    }

    fn error(&self, what: &'static str, error: io::Error) -> JournalError {
        JournalError { what, path: self.path.clone(), error }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.room > 0 && !self.failed {
            // Nothing depends on it: a journal with room behind its last line is sound.
            let _ = self.file.truncate(self.end);
        }
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError { what, path, error }
}
