//! One line of a journal: JSON with a sequence number, the checksum of the line before, and its own.
//!
//! ```text
//! {"drydock":"journal","version":1,"run":"01J…","seq":0,"at":"…","prev":"00000000","crc":"…"}
//! {"seq":1,"at":"…","event":"run_started",…,"prev":"…","batch":3,"crc":"…"}
//! ```
//! The crc32c covers every byte of the line before `,"crc":`. The last line of a batch says how many lines the batch has. Behind the last
//! line there may be [`ROOM`] for the next ones.

use std::fmt::Write as _;

use drydock_machine::{Moment, RunEvent};
use serde_json::{Map, Value};

/// The version that this build writes.
pub const VERSION: u64 = 1;

/// What stands where nothing has been written yet: room for the next batches while a process works on the run, or after its kill.
pub const ROOM: u8 = b' ';

/// The first line: what the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The format's version.
    pub version: u64,
    /// The run that it belongs to.
    pub run: String,
}

/// What a line holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The first line of the file.
    Header(Header),
    /// An event.
    Event(Box<RunEvent>),
    /// An event that this build does not know, by its name.
    Unknown(String, Value),
}

/// A line that verifies.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Counted from 0, the header.
    pub seq: u64,
    /// When it was written.
    pub at: Moment,
    /// The checksum of the line before; 0 for the header.
    pub prev: u32,
    /// Its own checksum.
    pub crc: u32,
    /// How many lines the batch has that ends with it.
    pub batch: Option<u64>,
    /// What it says.
    pub content: Content,
}

/// Why a line does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has no checksum, or not its own.
    #[error("its checksum is missing or wrong")]
    Checksum,
    /// Its checksum is right and its content is not what a journal holds: another program wrote it.
    #[error("it is no line of a journal: {0}")]
    Foreign(String),
}

/// Where a line's checksum begins.
const CRC_KEY: &str = ",\"crc\":\"";

/// Write the header line.
pub fn write_header(header: &Header, at: Moment, last: Option<u64>, out: &mut Vec<u8>) -> u32 {
    let run = Value::String(header.run.clone());
    let text = format!(r#"{{"drydock":"journal","version":{},"run":{run}"#, header.version);
    finish(text, 0, at, 0, last, out)
}

/// Write the line of an event; returns its checksum. `last` is the number of lines of the batch that it ends.
///
/// # Errors
/// When the event cannot be written as JSON, which no event of ours is.
pub fn write_event(
    event: &RunEvent,
    seq: u64,
    at: Moment,
    prev: u32,
    last: Option<u64>,
    out: &mut Vec<u8>,
) -> Result<u32, serde_json::Error> {
    let mut text = serde_json::to_string(event)?;
    text.pop();
    Ok(finish(text, seq, at, prev, last, out))
}

fn finish(mut text: String, seq: u64, at: Moment, prev: u32, last: Option<u64>, out: &mut Vec<u8>) -> u32 {
    // Writing to a String cannot fail.
    let _ = write!(text, r#","seq":{seq},"at":"{at}","prev":"{prev:08x}""#);
    if let Some(lines) = last {
        let _ = write!(text, r#","batch":{lines}"#);
    }
    let crc = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, r#"{CRC_KEY}{crc:08x}"}}"#);
    out.extend_from_slice(text.as_bytes());
    crc
}

/// Read one line, without its newline.
///
/// # Errors
/// When it does not verify.
pub fn parse(bytes: &[u8]) -> Result<Line, LineError> {
    let text = std::str::from_utf8(bytes).map_err(|_| LineError::Checksum)?;
    let at = text.rfind(CRC_KEY).ok_or(LineError::Checksum)?;
    let stated = text[at + CRC_KEY.len()..].strip_suffix("\"}").ok_or(LineError::Checksum)?;
    let stated = hex(stated).ok_or(LineError::Checksum)?;
    if stated != crc32c::crc32c(&text.as_bytes()[..at]) {
        return Err(LineError::Checksum);
    }
    let foreign = |why: &str| LineError::Foreign(why.to_owned());
    let mut map: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| foreign(&error.to_string()))?;
    let seq = map.get("seq").and_then(Value::as_u64).ok_or_else(|| foreign("it has no `seq`"))?;
    let prev =
        map.get("prev").and_then(Value::as_str).and_then(hex).ok_or_else(|| foreign("it has no `prev`"))?;
    let when =
        map.get("at").and_then(Value::as_str).and_then(moment_of).ok_or_else(|| foreign("it has no `at`"))?;
    let batch = map.get("batch").and_then(Value::as_u64);
    for key in ["seq", "prev", "at", "batch", "crc"] {
        map.shift_remove(key);
    }
    Ok(Line {
        seq,
        at: when,
        prev,
        crc: stated,
        batch,
        content: content_of(map).map_err(|why| foreign(&why))?,
    })
}

fn content_of(map: Map<String, Value>) -> Result<Content, String> {
    if map.get("drydock").and_then(Value::as_str) == Some("journal") {
        let version = map.get("version").and_then(Value::as_u64).ok_or("its header has no `version`")?;
        let run = map.get("run").and_then(Value::as_str).ok_or("its header has no `run`")?.to_owned();
        return Ok(Content::Header(Header { version, run }));
    }
    let name = map.get("event").and_then(Value::as_str).ok_or("it has no `event`")?.to_owned();
    let value = Value::Object(map);
    if !drydock_machine::event::EVENT_NAMES.contains(&name.as_str()) {
        return Ok(Content::Unknown(name, value));
    }
    serde_json::from_value(value)
        .map(|event| Content::Event(Box::new(event)))
        .map_err(|error| format!("event `{name}`: {error}"))
}

fn hex(text: &str) -> Option<u32> {
    if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        u32::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

fn moment_of(text: &str) -> Option<Moment> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| Moment(at.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopping() -> RunEvent {
        RunEvent::Stopping { step: drydock_plan::name::Name::parse("a").unwrap() }
    }

    #[test]
    fn a_line_is_read_back() {
        let mut out = Vec::new();
        let crc = write_event(&stopping(), 7, Moment(1_700_000_000_123), 0xAB, Some(3), &mut out).unwrap();
        let text = String::from_utf8(out.clone()).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"event":"stopping","step":"a","seq":7,"at":"2023-11-14T22:13:20.123Z","prev":"000000ab","batch":3,"crc":"{crc:08x}"}}"#
            ) + "\n"
        );
        let line = parse(&out[..out.len() - 1]).unwrap();
        assert_eq!((line.seq, line.prev, line.crc, line.batch), (7, 0xAB, crc, Some(3)));
        assert_eq!(line.at, Moment(1_700_000_000_123));
        assert_eq!(line.content, Content::Event(Box::new(stopping())));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let mut out = Vec::new();
        write_event(&stopping(), 1, Moment(0), 0, None, &mut out).unwrap();
        out.pop();
        for at in 0..out.len() {
            let mut changed = out.clone();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err(), "byte {at} of {}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn what_another_program_wrote_is_foreign() {
        for text in [r#"{"a":1"#, r#"{"seq":1,"at":"1970-01-01T00:00:00Z","prev":"00000000""#] {
            let crc = crc32c::crc32c(text.as_bytes());
            let line = format!("{text},\"crc\":\"{crc:08x}\"}}");
            assert!(matches!(parse(line.as_bytes()), Err(LineError::Foreign(_))), "{line}");
        }
    }
}
