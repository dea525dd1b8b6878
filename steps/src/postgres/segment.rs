//! Names of WAL files, and what they say of places in the WAL: [`Segment`], [`WalFile`], [`gaps`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::recover_to::lsn_number;

/// The smallest segment that initdb makes.
const SMALLEST: u64 = 1 << 20;
/// The largest.
const LARGEST: u64 = 1 << 30;

/// The length of a segment in bytes: a power of two from 1 MiB to 1 GiB, fixed when the cluster is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentSize(u64);

impl SegmentSize {
    /// Nothing, when no cluster has segments of this length.
    pub(super) fn parse(bytes: u64) -> Option<Self> {
        (bytes.is_power_of_two() && (SMALLEST..=LARGEST).contains(&bytes)).then_some(Self(bytes))
    }

    /// In bytes.
    pub(super) fn bytes(self) -> u64 {
        self.0
    }

    /// How many of them share the middle part of a name.
    fn in_a_log(self) -> u64 {
        (1 << 32) / self.0
    }
}

/// A segment of the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The timeline that its name says.
    pub(super) timeline: u32,
    /// Counted from the beginning of the WAL, whatever the timeline.
    pub(super) number: u64,
}

impl Segment {
    /// The segment that holds the byte at this place.
    pub(super) fn holding(timeline: u32, lsn: u64, size: SegmentSize) -> Self {
        Self { timeline, number: lsn / size.0 }
    }

    /// Nothing, when no segment of this length bears the name.
    pub(super) fn parse(name: &str, size: SegmentSize) -> Option<Self> {
        if name.len() != 24 || !is_upper_hexadecimal(name) {
            return None;
        }
        let part = |range: std::ops::Range<usize>| u64::from_str_radix(name.get(range)?, 16).ok();
        let (timeline, log, segment) = (part(0..8)?, part(8..16)?, part(16..24)?);
        let timeline = u32::try_from(timeline).ok().filter(|timeline| *timeline > 0)?;
        (segment < size.in_a_log()).then(|| Self { timeline, number: log * size.in_a_log() + segment })
    }

    /// Its name.
    pub(super) fn name(self, size: SegmentSize) -> String {
        let in_a_log = size.in_a_log();
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / in_a_log, self.number % in_a_log)
    }

    /// Where it begins.
    pub(super) fn start(self, size: SegmentSize) -> u64 {
        self.number.saturating_mul(size.0)
    }

    /// The one that follows on the same timeline.
    pub(super) fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

/// A file of an archive or a spool, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalFile {
    /// A whole segment.
    Segment(Segment),
    /// One that is still written, or that a timeline ended in.
    Partial(Segment),
    /// What a timeline came out of.
    History(u32),
    /// A note that the server leaves of a base backup.
    Backup,
}

impl WalFile {
    /// Nothing, when it is no name of a file of the WAL.
    pub(super) fn parse(name: &str, size: SegmentSize) -> Option<Self> {
        match name.split_once('.') {
            None => Segment::parse(name, size).map(Self::Segment),
            Some((segment, "partial")) => Segment::parse(segment, size).map(Self::Partial),
            Some((timeline, "history")) if timeline.len() == 8 && is_upper_hexadecimal(timeline) => {
                u32::from_str_radix(timeline, 16).ok().filter(|timeline| *timeline > 1).map(Self::History)
            }
            Some((segment, rest)) => {
                let offset = rest.strip_suffix(".backup")?;
                Segment::parse(segment, size)?;
                (offset.len() == 8 && is_upper_hexadecimal(offset)).then_some(Self::Backup)
            }
        }
    }
}

fn is_upper_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

/// A place in the WAL as the server writes it: `0/8348C48`.
pub(super) fn lsn_text(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

/// What a timeline came out of: its parent, and where it left that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The timeline before.
    pub(super) parent: u32,
    /// The first place that is not its parent's any more.
    pub(super) lsn: u64,
}

impl Origin {
    /// The last line of a history; nothing when there is none that can be read. A line is number, place and reason, with tabs between.
    pub(super) fn parse(history: &str) -> Option<Self> {
        let line = history.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
        let mut fields = line.split('\t');
        let parent = fields.next()?.trim().parse().ok()?;
        Some(Self { parent, lsn: lsn_number(fields.next()?.trim())? })
    }
}

/// Segments that are missing: from the first to the last, both included, on one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gap {
    /// The first that is missing.
    pub(super) first: Segment,
    /// The last of them.
    pub(super) last: u64,
}

impl Gap {
    /// How many are missing.
    pub(super) fn segments(self) -> u64 {
        self.last - self.first.number + 1
    }

    /// By name: `000000010000000000000003`, or the first and the last with how many they are.
    pub(super) fn in_words(self, size: SegmentSize) -> String {
        let first = self.first.name(size);
        match self.segments() {
            1 => first,
            n => format!(
                "{first} to {} ({n} segments)",
                Segment { number: self.last, ..self.first }.name(size)
            ),
        }
    }
}

/// What is missing between the oldest and the newest segment of each timeline, and where one timeline goes over into another.
///
/// A new timeline begins inside a segment of its parent's: the server copies what lies before that place, so that the parent's own
/// segment there is not needed. Timelines without a history in `origins` stand for themselves.
pub(super) fn gaps(
    segments: &BTreeSet<Segment>,
    origins: &BTreeMap<u32, Origin>,
    size: SegmentSize,
) -> Vec<Gap> {
    let mut timelines: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for segment in segments {
        timelines.entry(segment.timeline).or_default().push(segment.number);
    }
    // The first that each timeline must have, and the last that a child of it needs of it.
    let mut from: BTreeMap<u32, u64> = BTreeMap::new();
    let mut through: BTreeMap<u32, u64> = BTreeMap::new();
    for (timeline, origin) in origins {
        let switch = origin.lsn / size.0;
        let parent_first = timelines.get(&origin.parent).and_then(|numbers| numbers.first());
        let (Some(parent_first), true) = (parent_first, timelines.contains_key(timeline)) else { continue };
        if *parent_first <= switch {
            from.insert(*timeline, switch);
            if let Some(last) = switch.checked_sub(1) {
                let needed = through.entry(origin.parent).or_insert(last);
                *needed = last.max(*needed);
            }
        }
    }
    let mut found = Vec::new();
    for (&timeline, numbers) in &timelines {
        let Some(&first) = numbers.first() else { continue };
        let mut next = from.get(&timeline).map_or(first, |from| first.min(*from));
        let mut missing = |next: u64, before: u64| {
            if next < before {
                found.push(Gap { first: Segment { timeline, number: next }, last: before - 1 });
            }
        };
        for &number in numbers {
            missing(next, number);
            next = number + 1;
        }
        if let Some(last) = through.get(&timeline) {
            missing(next, last + 1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize(16 << 20);

    /// The same numbers each time.
    fn numbers(mut state: u64) -> impl Iterator<Item = u64> {
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 17
        })
    }

    #[test]
    fn a_name_and_a_place_lead_to_each_other() {
        let mut dice = numbers(7);
        for _ in 0..2000 {
            let size = SegmentSize::parse(1 << (20 + dice.next().unwrap() % 11)).unwrap();
            let (timeline, lsn) = (1 + dice.next().unwrap() as u32 % 5000, dice.next().unwrap());
            let segment = Segment::holding(timeline, lsn, size);
            assert_eq!(Segment::parse(&segment.name(size), size), Some(segment), "{segment:?} of {size:?}");
            assert!(segment.start(size) <= lsn && lsn < segment.next().start(size), "{lsn:X} of {size:?}");
            assert_eq!(lsn_number(&lsn_text(lsn)), Some(lsn));
            assert!(segment.name(size) < segment.next().name(size), "names are in the order of places");
        }
    }

    #[test]
    fn each_kind_of_file_is_known_by_its_name() {
        let parsed = |name| WalFile::parse(name, SIZE);
        let segment = Segment { timeline: 1, number: 3 };
        assert_eq!(parsed("000000010000000000000003"), Some(WalFile::Segment(segment)));
        assert_eq!(parsed("000000010000000000000003.partial"), Some(WalFile::Partial(segment)));
        assert_eq!(parsed("00000002.history"), Some(WalFile::History(2)));
        assert_eq!(parsed("000000010000000000000003.00000028.backup"), Some(WalFile::Backup));
        for other in [
            "",
            "00000001000000000000000",
            "00000001000000000000000g",
            "00000001000000000000000a",
            "000000000000000000000003",
            "000000010000000000000100",
            "000000010000000000000003.gz",
            "000000010000000000000003.partial.partial",
            "0002.history",
            "00000001.history",
            "000000010000000000000003.28.backup",
            "system.json",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
        assert_eq!(SegmentSize::parse(3 << 20), None);
        assert_eq!((SegmentSize::parse(1 << 19), SegmentSize::parse(1 << 31)), (None, None));
    }

    fn found(names: &[(u32, std::ops::Range<u64>)], origins: &[(u32, u32, u64)]) -> Vec<String> {
        let segments = names
            .iter()
            .flat_map(|(timeline, range)| range.clone().map(|number| Segment { timeline: *timeline, number }))
            .collect();
        let origins = origins.iter().map(|&(child, parent, lsn)| (child, Origin { parent, lsn })).collect();
        gaps(&segments, &origins, SIZE).into_iter().map(|gap| gap.in_words(SIZE)).collect()
    }

    #[test]
    fn what_is_missing_is_named_also_where_a_timeline_begins() {
        let inside = |segment: u64| segment * SIZE.0 + 100;
        let none: Vec<String> = Vec::new();
        assert_eq!(found(&[], &[]), none);
        assert_eq!(found(&[(1, 3..9)], &[]), none);
        assert_eq!(found(&[(1, 3..5), (1, 6..7)], &[]), ["000000010000000000000005"]);
        assert_eq!(
            found(&[(1, 254..255), (1, 258..259)], &[]),
            ["0000000100000000000000FF to 000000010000000100000001 (3 segments)"]
        );
        // Timeline 2 begins inside segment 5, which the parent need not have.
        assert_eq!(found(&[(1, 3..5), (2, 5..8)], &[(2, 1, inside(5))]), none);
        assert_eq!(found(&[(1, 3..9), (2, 5..8)], &[(2, 1, inside(5))]), none, "the parent went on");
        assert_eq!(
            found(&[(1, 3..4), (2, 6..8)], &[(2, 1, inside(5))]),
            ["000000010000000000000004", "000000020000000000000005"]
        );
        // The archive begins with the child.
        assert_eq!(found(&[(2, 6..8)], &[(2, 1, inside(5))]), none);
    }

    #[test]
    fn what_is_taken_out_of_a_row_is_what_is_missing() {
        let mut dice = numbers(99);
        for _ in 0..500 {
            let (first, length) = (dice.next().unwrap() % 1000, 3 + dice.next().unwrap() % 60);
            let all: BTreeSet<Segment> =
                (first..first + length).map(|number| Segment { timeline: 1, number }).collect();
            let mut kept = all.clone();
            for _ in 0..dice.next().unwrap() % 10 {
                // The ends stay: beyond them nobody knows what there was.
                let number = first + 1 + dice.next().unwrap() % (length - 2);
                kept.remove(&Segment { timeline: 1, number });
            }
            let missing: BTreeSet<Segment> = gaps(&kept, &BTreeMap::new(), SIZE)
                .into_iter()
                .flat_map(|gap| (gap.first.number..=gap.last).map(|number| Segment { timeline: 1, number }))
                .collect();
            assert_eq!(missing, all.difference(&kept).copied().collect());
        }
    }

    #[test]
    fn the_last_line_of_a_history_tells_the_origin() {
        let text = "1\t0/8348C48\tat restore point \"p\"\n\n2\t1/9000000\tno recovery target specified\n";
        assert_eq!(Origin::parse(text), Some(Origin { parent: 2, lsn: 0x1_0900_0000 }));
        assert_eq!((Origin::parse(""), Origin::parse("two words")), (None, None));
    }
}
