//! What somebody else's archive has: [`Found`], and what is wrong with it, whoever keeps it.

use std::collections::{BTreeMap, BTreeSet};

use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_step::StepError;
use serde::Serialize;
use serde_json::{Value, json};

use super::segment::{Gap, Origin, Segment, SegmentSize, gaps};
use super::wal_faults::told;

/// What a segment has, where nobody says.
const USUAL: u64 = 16 << 20;
/// The most faults that are told.
const MOST: usize = 100;

/// A base backup that the archive has, or knows of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Backup {
    /// Its keeper's name for it.
    pub(super) label: String,
    /// `full`, `diff` or `incr`.
    pub(super) kind: String,
    /// Whether its keeper takes it for whole.
    pub(super) usable: bool,
    pub(super) start_lsn: Option<String>,
    pub(super) stop_lsn: Option<String>,
    /// RFC 3339.
    pub(super) started_at: Option<String>,
    pub(super) stopped_at: Option<String>,
    /// The segments that make it consistent.
    pub(super) first_wal: Option<String>,
    pub(super) last_wal: Option<String>,
    /// Of what is restored, in bytes.
    pub(super) size: Option<u64>,
    /// The backups that it needs as well.
    pub(super) needs: Vec<String>,
    /// The program and its arguments by which its keeper puts it back into the folder that stands for `{into}`; none where nobody keeps it.
    pub(super) restore: Vec<String>,
}

/// What an archive has.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The program that keeps it, with its version.
    pub(super) tool: String,
    pub(super) system_identifier: Option<String>,
    /// How long a segment is, where the archive says it.
    pub(super) segment_size: Option<SegmentSize>,
    /// The names of whole segments, however they are stored.
    pub(super) segments: BTreeSet<String>,
    /// How many of them are compressed, so that nothing but their names was looked at.
    pub(super) by_name: usize,
    /// Segments that are not whole, by name.
    pub(super) partial: Vec<String>,
    pub(super) origins: BTreeMap<u32, Origin>,
    pub(super) backups: Vec<Backup>,
    pub(super) faults: Vec<StepError>,
    /// How PostgreSQL brings WAL from here; nothing where no one command does.
    pub(super) restore_command: Option<String>,
}

/// Seconds since 1970 as a time in words.
pub(super) fn time_of(seconds: i64) -> Option<String> {
    Time::from_timestamp(seconds, 0).map(clock)
}

/// The largest usual length of a segment that all these names fit: their last part counts up to 4 GiB.
fn size_by_names(names: &BTreeSet<String>) -> Option<SegmentSize> {
    let last = names.iter().filter_map(|name| u64::from_str_radix(name.get(16..24)?, 16).ok()).max();
    let mut bytes = USUAL;
    while last.is_some_and(|last| last >= (1 << 32) / bytes) {
        bytes /= 2;
    }
    SegmentSize::parse(bytes)
}

impl Found {
    /// What is known of it; `given` is how long a segment is where the plan says so.
    ///
    /// # Errors
    /// `postgres.archive`, when the names fit no segments.
    pub(super) fn outputs(mut self, given: Option<SegmentSize>) -> Result<Value, StepError> {
        let size =
            self.segment_size.or(given).or_else(|| size_by_names(&self.segments)).ok_or_else(|| {
                StepError::new("postgres.archive", "the names in the archive are no names of WAL segments")
                    .help("see that `at` names an archive of WAL")
            })?;
        let segments: BTreeSet<Segment> =
            self.segments.iter().filter_map(|name| Segment::parse(name, size)).collect();
        let missing = gaps(&segments, &self.origins, size);
        self.faults.splice(0..0, missing.iter().map(|gap| missed(*gap, size)));
        let torn: Vec<StepError> =
            self.backups.iter().filter_map(|backup| torn(backup, &segments, size)).collect();
        self.faults.extend(torn);
        let timelines: BTreeSet<u32> = segments.iter().map(|segment| segment.timeline).collect();
        Ok(json!({
            "tool": self.tool,
            "system_identifier": self.system_identifier,
            "segment_size": size.bytes(),
            "timelines": timelines,
            "segments": segments.len(),
            "by_name": self.by_name,
            "first": segments.first().map(|segment| segment.name(size)),
            "last": segments.last().map(|segment| segment.name(size)),
            "partial": self.partial,
            "gaps": missing.into_iter().map(|gap| gap.in_words(size)).collect::<Vec<_>>(),
            "backups": self.backups,
            "faults": self.faults.iter().take(MOST).map(told).collect::<Vec<_>>(),
            "restore_command": self.restore_command,
        }))
    }
}

fn missed(gap: Gap, size: SegmentSize) -> StepError {
    StepError::new("postgres.wal_gap", format!("the archive has not got {}", gap.in_words(size))).help(
        "see why the server's archive_command failed then; a backup from before can be recovered up to here and no further: take a new one",
    )
}

/// What is missing of the WAL that makes a backup consistent.
fn torn(backup: &Backup, segments: &BTreeSet<Segment>, size: SegmentSize) -> Option<StepError> {
    let parse = |name: &Option<String>| Segment::parse(name.as_deref()?, size);
    let (first, last) = (parse(&backup.first_wal)?, parse(&backup.last_wal)?);
    let missing = (first.number..=last.number)
        .map(|number| Segment { number, ..last })
        // It may begin on an older timeline.
        .find(|wanted| {
            !segments.contains(wanted) && !segments.contains(&Segment { timeline: first.timeline, ..*wanted })
        })?;
    let message = format!(
        "backup {} needs {} to be consistent, which the archive has not got",
        backup.label,
        missing.name(size)
    );
    Some(StepError::new("postgres.wal_gap", message).help("it cannot be restored: take a new one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn gaps_and_torn_backups_are_named_and_the_length_is_seen_by_the_names() {
        let found = |segments: &[&str], first: &str, last: &str| Found {
            segments: names(segments),
            backups: vec![Backup {
                label: "b".into(),
                first_wal: Some(first.into()),
                last_wal: Some(last.into()),
                ..Backup::default()
            }],
            ..Found::default()
        };
        let four = "000000010000000000000004";
        let six = "000000010000000000000006";
        let outputs = found(&[four, six], four, four).outputs(None).unwrap();
        assert_eq!(outputs["segment_size"], 16 << 20);
        assert_eq!(outputs["gaps"], json!(["000000010000000000000005"]));
        assert_eq!(outputs["faults"].as_array().unwrap().len(), 1, "{outputs}");
        let outputs = found(&[four, six], four, six).outputs(None).unwrap();
        assert_eq!(
            outputs["faults"][1]["message"],
            "backup b needs 000000010000000000000005 to be consistent, which the archive has not got"
        );
        // A segment of 16 MiB never has this name, one of 4 MiB may; and behind it another begins.
        let outputs =
            found(&["0000000100000000000003FF", "000000010000000100000000"], four, "no").outputs(None);
        let outputs = outputs.unwrap();
        assert_eq!((&outputs["segment_size"], &outputs["gaps"]), (&json!(4 << 20), &json!([])));
        let said = SegmentSize::parse(64 << 20);
        let outputs =
            found(&["00000001000000000000003F", "000000010000000100000000"], four, "no").outputs(said);
        assert_eq!(outputs.unwrap()["gaps"], json!([]));
        let error = found(&["0000000100000000FFFFFFFF"], four, four).outputs(None).unwrap_err();
        assert_eq!(error.code, "postgres.archive");
    }
}
