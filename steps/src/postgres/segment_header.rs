//! What a segment says of itself: [`checked`] reads the headers of all its pages, so that one that is cut off, foreign or misnamed is
//! found before anybody relies on it.

use drydock_step::StepError;

use super::segment::{Segment, SegmentSize, lsn_text};

/// The upper half of what each page begins with; the lower half is the format's version.
const MAGIC: u8 = 0xD1;
/// The bit that says that a page has the long header, which the first page of each segment has.
const LONG: u16 = 0x0002;
/// Which pages can be.
const PAGES: [u32; 7] = [1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// A long header in bytes.
const HEADER: usize = 40;

/// What the long header tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    /// The cluster's, in decimal as the server shows it.
    pub(super) system_identifier: String,
    /// Made when the cluster was.
    pub(super) size: SegmentSize,
}

/// The fields of a page, in the byte order of the machine that wrote it.
struct Page<'p> {
    bytes: &'p [u8],
    is_little: bool,
}

impl Page<'_> {
    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut part = [0; N];
        if let Some(found) = self.bytes.get(at..at + N) {
            part.copy_from_slice(found);
        }
        if !self.is_little {
            part.reverse();
        }
        part
    }

    fn magic(&self) -> u16 {
        u16::from_le_bytes(self.part(0))
    }

    fn info(&self) -> u16 {
        u16::from_le_bytes(self.part(2))
    }

    fn timeline(&self) -> u32 {
        u32::from_le_bytes(self.part(4))
    }

    fn address(&self) -> u64 {
        u64::from_le_bytes(self.part(8))
    }

    fn system_identifier(&self) -> u64 {
        u64::from_le_bytes(self.part(24))
    }

    fn segment_size(&self) -> u32 {
        u32::from_le_bytes(self.part(32))
    }

    fn page_size(&self) -> u32 {
        u32::from_le_bytes(self.part(36))
    }
}

/// How much of a file is enough for [`headed`], in bytes.
pub(super) const ENOUGH: usize = HEADER;

/// What the first page of a segment says of all the others.
pub(super) struct Head {
    pub(super) facts: SegmentFacts,
    is_little: bool,
    magic: u16,
    address: u64,
    page_size: u32,
}

fn damaged(name: &str, why: &str) -> StepError {
    StepError::new("postgres.wal_damaged", format!("{name} is no whole segment of the WAL: {why}"))
        .help("bring it anew from where it was made; where that is gone, take a new base backup")
}

/// A file of this name that begins like this and has so many bytes is a segment, as far as its beginning tells.
///
/// # Errors
/// `postgres.wal_damaged`, with the file's name and what is wrong.
pub(super) fn headed(name: &str, bytes: &[u8], length: u64) -> Result<Head, StepError> {
    let damaged = |why: String| Err(damaged(name, &why));
    if length < HEADER as u64 || bytes.len() < HEADER {
        return damaged(format!("it has {length} bytes"));
    }
    let mut first = Page { bytes, is_little: bytes.get(1) == Some(&MAGIC) };
    if !first.is_little {
        first.is_little = bytes.first() != Some(&MAGIC);
    }
    if first.magic() >> 8 != u16::from(MAGIC) || first.info() & LONG == 0 {
        return damaged("it does not begin as one".into());
    }
    let Some(size) = SegmentSize::parse(first.segment_size().into()) else {
        return damaged(format!("its header says segments of {} bytes", first.segment_size()));
    };
    if length != size.bytes() {
        return damaged(format!("it has {length} bytes of {}", size.bytes()));
    }
    let Some(segment) = Segment::parse(name, size) else {
        return damaged(format!("that is no name of a segment of {} bytes", size.bytes()));
    };
    if first.address() != segment.start(size) {
        return damaged(format!(
            "by its header it begins at {}, and its name says {}",
            lsn_text(first.address()),
            lsn_text(segment.start(size))
        ));
    }
    // The beginning of a timeline's first segment is a copy of its parent's.
    if first.timeline() == 0 || first.timeline() > segment.timeline {
        return damaged(format!("by its header it is of timeline {}", first.timeline()));
    }
    let page_size = first.page_size();
    if !PAGES.contains(&page_size) {
        return damaged(format!("its header says pages of {page_size} bytes"));
    }
    let facts = SegmentFacts { system_identifier: first.system_identifier().to_string(), size };
    let (is_little, magic, address) = (first.is_little, first.magic(), first.address());
    Ok(Head { facts, is_little, magic, address, page_size })
}

/// A file of this name with this content is a whole segment.
///
/// # Errors
/// `postgres.wal_damaged`, with the file's name and what is wrong.
pub(super) fn checked(name: &str, bytes: &[u8]) -> Result<SegmentFacts, StepError> {
    let head = headed(name, bytes, bytes.len() as u64)?;
    let mut is_empty = false;
    let pages = bytes.chunks(usize::try_from(head.page_size).unwrap_or(usize::MAX));
    for (address, bytes) in (head.address..).step_by(head.page_size as usize).zip(pages) {
        let page = Page { bytes, is_little: head.is_little };
        // Behind the place where the server switched to the next one it is empty.
        is_empty |= page.magic() == 0 && page.address() == 0;
        let fits = match is_empty {
            true => page.magic() == 0 && page.address() == 0,
            false => page.magic() == head.magic && page.address() == address,
        };
        if !fits {
            let why = format!("its page at {} is not the one that belongs there", lsn_text(address));
            return Err(damaged(name, &why));
        }
    }
    Ok(head.facts)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SIZE: usize = 1 << 20;

    /// A segment of 1 MiB as a server of version 15 begins it.
    pub(crate) fn segment(number: u64, system: u64) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        for (at, page) in bytes.chunks_mut(8192).enumerate() {
            page[..2].copy_from_slice(&0xD110_u16.to_le_bytes());
            page[2] = if at == 0 { 2 } else { 0 };
            page[4] = 1;
            let address = number * SIZE as u64 + at as u64 * 8192;
            page[8..16].copy_from_slice(&address.to_le_bytes());
        }
        bytes[24..32].copy_from_slice(&system.to_le_bytes());
        bytes[32..36].copy_from_slice(&(SIZE as u32).to_le_bytes());
        bytes[36..40].copy_from_slice(&8192_u32.to_le_bytes());
        bytes
    }

    #[test]
    fn what_is_not_whole_is_refused_by_name() {
        let name = "000000010000000000000003";
        let check = |name: &str, bytes: &[u8], words: &str| {
            let error = checked(name, bytes).unwrap_err();
            assert_eq!(error.code, "postgres.wal_damaged");
            assert!(
                error.message.starts_with(name) && error.message.contains(words),
                "{error} has no {words}"
            );
        };
        let whole = segment(3, 77);
        assert_eq!(checked(name, &whole).unwrap().system_identifier, "77");
        check(name, &[], "it has 0 bytes");
        check(name, &whole[..SIZE / 2], "it has 524288 bytes of 1048576");
        check(name, &vec![0; SIZE], "it does not begin as one");
        check(
            "000000010000000000000004",
            &whole,
            "by its header it begins at 0/300000, and its name says 0/400000",
        );
        check("000000010000000000001000", &whole, "that is no name of a segment of 1048576 bytes");
        let changed = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            bytes
        };
        check(name, &changed(4, 2), "by its header it is of timeline 2");
        check(name, &changed(8192 * 5 + 8, 1), "its page at 0/30A000 is not the one that belongs there");
        check(name, &changed(33, 3), "its header says segments of ");
        // Empty to the end is how a switch leaves it; a page behind an empty one is not.
        let mut switched = whole.clone();
        switched[8192 * 4..].fill(0);
        checked(name, &switched).unwrap();
        switched[SIZE - 8192..].copy_from_slice(&whole[SIZE - 8192..]);
        check(name, &switched, "its page at 0/3FE000 is not the one");
    }

    #[test]
    fn the_byte_order_of_another_machine_is_read() {
        let mut bytes = segment(3, 77);
        for page in bytes.chunks_mut(8192) {
            for (from, to) in [(0, 2), (2, 4), (4, 8), (8, 16)] {
                page[from..to].reverse();
            }
        }
        for (from, to) in [(24, 32), (32, 36), (36, 40)] {
            bytes[from..to].reverse();
        }
        assert_eq!(checked("000000010000000000000003", &bytes).unwrap().system_identifier, "77");
    }
}
