//! How a journal begins and ends, without what lies between: [`Ends`], by which the many runs of a state folder are looked through.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use drydock_machine::{Moment, RunEvent};

use super::line::{self, Content};

/// How much is read at each end: the first two lines lie within it, and the last one.
const REACH: u64 = 16 * 1024;

/// The first and the last event of a journal whose end is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Ends {
    /// The first event, and when it happened.
    pub first: (Moment, RunEvent),
    /// The last event; its line ends the file.
    pub last: RunEvent,
}

impl Ends {
    /// The ends of the journal at this path. `None` where they do not tell enough, and the whole must be read: it does not end with
    /// the line of a whole batch (a process works on it, or was killed), or an end does not verify.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut head = Vec::new();
        file.by_ref().take(REACH).read_to_end(&mut head)?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(len.saturating_sub(REACH)))?;
        file.take(REACH).read_to_end(&mut tail)?;
        Ok(Self::read(&head, &tail))
    }

    fn read(head: &[u8], tail: &[u8]) -> Option<Self> {
        let mut lines = head.split_inclusive(|byte| *byte == b'\n');
        let (header, first) = (lines.next()?, lines.next()?);
        let last = tail.strip_suffix(b"\n")?;
        let last = last.rsplit(|byte| *byte == b'\n').next()?;
        if !matches!(line::parse(header.strip_suffix(b"\n")?).ok()?.content, Content::Header(_)) {
            return None;
        }
        let last = line::parse(last).ok().filter(|line| line.batch.is_some())?;
        let first = line::parse(first.strip_suffix(b"\n")?).ok()?;
        match (first.content, last.content) {
            (Content::Event(event), Content::Event(last)) => {
                Some(Self { first: (first.at, *event), last: *last })
            }
            _ => None,
        }
    }
}
