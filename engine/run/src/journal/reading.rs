//! Reading a journal back: [`read`]. A batch counts whole or not at all; a last batch that does not verify is cut; damage before it is
//! refused with its place, and nothing is guessed.

use drydock_machine::{Moment, RunEvent};
use serde_json::Value;

use super::line::{self, Content, Header, Line, LineError, ROOM, VERSION};

/// What a journal holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Journaled {
    /// The run that it says it belongs to.
    pub run: String,
    /// Its events with their times, in order.
    pub events: Vec<(Moment, RunEvent)>,
    /// Events that this build does not know, with the place among `events` where each stands; such a run is shown and not resumed.
    pub unknown: Vec<(usize, String, Value)>,
    /// Where the whole batches end.
    pub good_len: u64,
    /// What follows them.
    pub soundness: Soundness,
    /// The sequence number of the next line.
    pub next_seq: u64,
    /// The checksum of the last line.
    pub last_crc: u32,
}

/// Whether a journal can be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Soundness {
    /// Every byte belongs to a whole batch, or is room for the next.
    Sound,
    /// The last batch is not whole; it begins at this byte and never counted.
    Torn {
        /// The offset.
        at: u64,
    },
}

/// Why a journal is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The first batch is not whole: the run never began.
    #[error("its first batch is not whole: the run never began")]
    NeverBegan,
    /// It was written by a newer Drydock.
    #[error("it is a journal of version {found}; this build reads up to version {VERSION}")]
    Version {
        /// The version that it says.
        found: u64,
    },
    /// Something before the last batch is wrong.
    #[error("damaged at byte {at} (line {line}): {why}")]
    At {
        /// The offset of the line.
        at: u64,
        /// The line's number, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// A line in the file.
struct Placed<'a> {
    at: u64,
    number: u64,
    bytes: &'a [u8],
    whole: bool,
}

/// Read a journal.
///
/// # Errors
/// When it cannot be trusted.
pub fn read(bytes: &[u8]) -> Result<Journaled, Damage> {
    let written = bytes.iter().rposition(|byte| *byte != ROOM).map_or(0, |last| last + 1);
    let bytes = &bytes[..written];
    let mut lines = lines_of(bytes).peekable();
    let mut reader = Reader::default();
    while let Some(placed) = lines.next() {
        if let Err(reject) = reader.take(&placed) {
            let rest: Vec<Placed<'_>> = lines.collect();
            return reader.stop(&placed, reject, &rest);
        }
    }
    if reader.batch.is_empty() { reader.done(Soundness::Sound) } else { reader.torn() }
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = Placed<'_>> {
    let mut at = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').zip(1..).map(move |(line, number)| {
        let start = at;
        at += line.len() as u64;
        let whole = line.last() == Some(&b'\n');
        Placed { at: start, number, bytes: if whole { &line[..line.len() - 1] } else { line }, whole }
    })
}

/// Why a line is not taken.
enum Reject {
    /// It is not what was written: torn, lost or damaged.
    Unverified(String),
    /// It is what somebody wrote, and does not belong here.
    Misplaced(String),
}

#[derive(Default)]
struct Reader {
    header: Option<Header>,
    events: Vec<(Moment, RunEvent)>,
    unknown: Vec<(usize, String, Value)>,
    good_len: u64,
    next_seq: u64,
    last_crc: u32,
    batch: Vec<Line>,
}

impl Reader {
    fn take(&mut self, placed: &Placed<'_>) -> Result<(), Reject> {
        if !placed.whole {
            return Err(Reject::Unverified("the line has no end".to_owned()));
        }
        let line = line::parse(placed.bytes).map_err(|error| match error {
            LineError::Checksum => Reject::Unverified(error.to_string()),
            LineError::Foreign(_) => Reject::Misplaced(error.to_string()),
        })?;
        self.belongs(&line).map_err(Reject::Misplaced)?;
        let ends = line.batch.is_some();
        self.batch.push(line);
        if ends {
            self.keep(placed.at + placed.bytes.len() as u64 + 1);
        }
        Ok(())
    }

    /// Whether a line follows the one before it.
    fn belongs(&self, line: &Line) -> Result<(), String> {
        let (seq, prev) = match self.batch.last() {
            Some(last) => (last.seq + 1, last.crc),
            None => (self.next_seq, self.last_crc),
        };
        if line.seq != seq {
            return Err(format!("line {} of the run stands where line {seq} should", line.seq));
        }
        if line.prev != prev {
            return Err(
                "it does not follow the line before it: a line is missing, or comes from another file"
                    .to_owned(),
            );
        }
        if matches!(line.content, Content::Header(_)) != (seq == 0) {
            return Err("the header stands in the wrong place".to_owned());
        }
        let lines = self.batch.len() as u64 + 1;
        match line.batch {
            Some(stated) if stated != lines => {
                Err(format!("its batch says that it has {stated} lines, and has {lines}"))
            }
            _ => Ok(()),
        }
    }

    fn keep(&mut self, end: u64) {
        self.good_len = end;
        for line in std::mem::take(&mut self.batch) {
            self.next_seq = line.seq + 1;
            self.last_crc = line.crc;
            match line.content {
                Content::Header(header) => self.header = Some(header),
                Content::Event(event) => self.events.push((line.at, *event)),
                Content::Unknown(name, value) => self.unknown.push((self.events.len(), name, value)),
            }
        }
    }

    /// A line is not taken. One that does not verify belongs to the last batch, and is cut, unless something behind it shows that a
    /// later batch was written: a batch is only written once the one before it is durable.
    fn stop(self, failed: &Placed<'_>, reject: Reject, rest: &[Placed<'_>]) -> Result<Journaled, Damage> {
        let why = match reject {
            Reject::Unverified(_) if !self.is_followed(rest) => return self.torn(),
            Reject::Unverified(why) | Reject::Misplaced(why) => why,
        };
        Err(Damage::At { at: failed.at, line: failed.number, why })
    }

    /// Whether lines behind the failed one show that the batch that it belongs to was whole once.
    fn is_followed(&self, rest: &[Placed<'_>]) -> bool {
        let first = self.next_seq;
        let verified: Vec<_> =
            rest.iter().filter(|placed| placed.whole).map(|placed| line::parse(placed.bytes)).collect();
        let lines = || verified.iter().filter_map(|line| line.as_ref().ok());
        let end = lines()
            .find(|line| line.batch.is_some_and(|lines| line.seq + 1 == first + lines))
            .map(|line| line.seq);
        verified.iter().any(|line| matches!(line, Err(LineError::Foreign(_))))
            || lines().any(|line| match end {
                Some(end) => line.seq > end,
                None => line.batch.is_some_and(|lines| line.seq + 1 > first + lines),
            })
    }

    fn torn(self) -> Result<Journaled, Damage> {
        let at = self.good_len;
        self.done(Soundness::Torn { at })
    }

    fn done(self, soundness: Soundness) -> Result<Journaled, Damage> {
        let header = self.header.ok_or(Damage::NeverBegan)?;
        if header.version > VERSION {
            return Err(Damage::Version { found: header.version });
        }
        Ok(Journaled {
            run: header.run,
            events: self.events,
            unknown: self.unknown,
            good_len: self.good_len,
            soundness,
            next_seq: self.next_seq,
            last_crc: self.last_crc,
        })
    }
}
