//! A database's log file: a line for the log's extent, then a line a record. Main type: [`Log`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::lsn::Lsn;
use super::record::{Change, Mark, Record};

#[derive(Debug, Serialize, Deserialize)]
struct Extent {
    start: Lsn,
    next: Lsn,
}

/// The log of one database, all of its active records in memory too.
///
/// A record is handed to the operating system before the data change: a killed server loses nothing.
/// It is not synced: a practice server does not promise to survive the loss of power.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    start: Lsn,
    next: Lsn,
    records: Vec<Record>,
}

/// A transaction as it is about to be logged.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// When it is committed; nothing for a checkpoint.
    pub at: Option<DateTime<Utc>>,
    /// Its mark.
    pub mark: Option<Mark>,
    /// See [`Record::shared`].
    pub shared: Option<(u64, u32)>,
    /// See [`Record::bulk`].
    pub bulk: bool,
    /// What it changes.
    pub changes: Vec<Change>,
}

impl Log {
    /// Writes an empty log that begins at `start` over whatever is at `path`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, start: Lsn) -> io::Result<Self> {
        Self::write(path, start, start, Vec::new())
    }

    fn write(path: &Path, start: Lsn, next: Lsn, records: Vec<Record>) -> io::Result<Self> {
        let mut text = serde_json::to_vec(&Extent { start, next })?;
        text.push(b'\n');
        for record in &records {
            serde_json::to_writer(&mut text, record)?;
            text.push(b'\n');
        }
        // A reader after a crash finds the old log or the new one, never a part.
        let fresh = path.with_extension("ldf.new");
        std::fs::write(&fresh, &text)?;
        std::fs::rename(&fresh, path)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { path: path.to_owned(), file, length: text.len() as u64, start, next, records })
    }

    /// Reads a log; a last line that was torn by a crash is cut off.
    ///
    /// # Errors
    /// When the file cannot be read or does not begin with its extent.
    pub fn open(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let extent: Extent = serde_json::from_str(lines.next().unwrap_or_default())?;
        let mut length = text.find('\n').map_or(0, |at| at as u64 + 1);
        let mut records = Vec::new();
        for line in lines {
            let Ok(record) = serde_json::from_str::<Record>(line) else { break };
            length += line.len() as u64;
            records.push(record);
        }
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(length)?;
        let next = records.last().map_or(extent.next, |record| record.next);
        Ok(Self { path: path.to_owned(), file, length, start: extent.start, next, records })
    }

    /// The LSN of the oldest record that is still there, or of the next one when none is.
    #[must_use]
    pub const fn start(&self) -> Lsn {
        self.start
    }

    /// The LSN that the next record will have.
    #[must_use]
    pub const fn next(&self) -> Lsn {
        self.next
    }

    /// The records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Appends a record and returns its LSN.
    ///
    /// # Errors
    /// When the file cannot be written; the log is then as before.
    pub fn append(&mut self, entry: Entry) -> io::Result<Lsn> {
        let Entry { at, mark, shared, bulk, changes } = entry;
        let mut record = Record { lsn: self.next, next: self.next, at, mark, shared, bulk, changes };
        record.next = self.next.after(serde_json::to_vec(&record)?.len());
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        self.next = record.next;
        let lsn = record.lsn;
        self.records.push(record);
        Ok(lsn)
    }

    /// Takes the last record back, because the change that it announced was not made.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub fn take_back(&mut self) -> io::Result<()> {
        let Some(record) = self.records.pop() else { return Ok(()) };
        self.next = record.lsn;
        let records = std::mem::take(&mut self.records);
        *self = Self::write(&self.path, self.start, self.next, records)?;
        Ok(())
    }

    /// Forgets the records before `lsn`.
    ///
    /// # Errors
    /// When the file cannot be rewritten.
    pub fn truncate_to(&mut self, lsn: Lsn) -> io::Result<()> {
        let kept = self.records.iter().position(|record| record.lsn >= lsn).unwrap_or(self.records.len());
        let records = self.records.split_off(kept);
        *self = Self::write(&self.path, lsn, self.next, records)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(row: i64) -> Entry {
        Entry { changes: vec![Change::Delete { table: "dbo.t".into(), row }], ..Entry::default() }
    }

    #[test]
    fn a_torn_last_line_is_cut_and_the_rest_kept() {
        let path = std::env::temp_dir().join(format!("drydock-log-{}.ldf", std::process::id()));
        let mut log = Log::create(&path, Lsn::new(40, 16, 1)).unwrap();
        let first = log.append(put(1)).unwrap();
        let second = log.append(put(2)).unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let mut log = Log::open(&path).unwrap();
        assert_eq!(log.records().iter().map(|record| record.lsn).collect::<Vec<_>>(), [first]);
        assert_eq!(log.next(), second);
        log.append(put(3)).unwrap();
        log.truncate_to(second).unwrap();
        let log = Log::open(&path).unwrap();
        assert_eq!((log.start(), log.records().len()), (second, 1));
        std::fs::remove_file(&path).unwrap();
    }
}
