//! What the clock of the server that wrote a log showed at a moment: [`shown_at`]. STOPAT is compared with that clock and bears no zone.

use chrono::{DateTime, Duration, Utc};
use drydock_recovery::backup::{Backup, BackupType, clock};
use drydock_step::StepError;

/// The offset that a set was made at, in minutes; nothing where the set tells none.
fn offset_of(set: &Backup) -> Option<i64> {
    set.time_zone.filter(|quarters| *quarters != 127).map(|quarters| i64::from(quarters) * 15)
}

/// What the clock showed at `at`, as `2026-07-14T03:10:00.000`. `last` is the set that holds the moment, `all` are the sets around it,
/// and `otherwise` is the offset of a server whose sets tell none.
///
/// # Errors
/// `restore.zone`, when it is not known, or when the clock was put forward or back around then: no time says which of two moments is meant.
pub(super) fn shown_at(
    at: DateTime<Utc>,
    last: Option<&Backup>,
    all: &[Backup],
    otherwise: Option<i16>,
) -> Result<String, StepError> {
    let Some(minutes) = last.and_then(offset_of).or(otherwise.map(i64::from)) else {
        let message = format!("it is not known what the server's clock showed at {}", clock(at));
        return Err(StepError::new("restore.zone", message).help(
            "the backups tell no `time_zone`; restore to a mark, or give each its offset in quarters of an hour",
        ));
    };
    if let Some((from, to)) = changed_around(at, all) {
        let message = format!(
            "the server's clock was changed between {} and {}: the time that it showed at {} does not say which moment is meant",
            clock(from),
            clock(to),
            clock(at)
        );
        let help = format!("name the place by its LSN or by a mark (`stop_at_mark`){}", ends_around(at, all));
        return Err(StepError::new("restore.zone", message).help(help));
    }
    Ok((at + Duration::minutes(minutes)).format("%Y-%m-%dT%H:%M:%S%.3f").to_string())
}

/// The span in which the clock was changed, where the moment lies so near to it that its time is told twice or not at all.
fn changed_around(at: DateTime<Utc>, all: &[Backup]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let mut told: Vec<(DateTime<Utc>, i64)> =
        all.iter().filter_map(|set| Some((set.finished_at, offset_of(set)?))).collect();
    told.sort_unstable();
    told.windows(2).find_map(|pair| {
        let [(before, old), (after, new)] = *pair else { return None };
        // A clock that is put back shows the hour before the change again after it.
        let twice = Duration::minutes((old - new).max(0));
        (old != new && before - twice < at && at <= after + twice).then_some((before, after))
    })
}

/// The ends of the logs next to the moment: places that can be restored to all the same.
fn ends_around(at: DateTime<Utc>, all: &[Backup]) -> String {
    let logs = || all.iter().filter(|set| set.kind == BackupType::Log);
    let before = logs().filter(|set| set.finished_at <= at).max_by_key(|set| set.finished_at);
    let after = logs().filter(|set| set.finished_at > at).min_by_key(|set| set.finished_at);
    let told: Vec<String> = [before, after]
        .into_iter()
        .flatten()
        .map(|log| format!("LSN {} at {}", log.last_lsn, clock(log.finished_at)))
        .collect();
    if told.is_empty() { String::new() } else { format!("; logs end around it with {}", told.join(" and ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(kind: &str, lsns: (u32, u32), minutes: (u32, u32), quarters: i16) -> Backup {
        let time = |minute: u32| format!("2026-07-14T03:{minute:02}:00Z");
        serde_json::from_value(json!({
            "server": "SQL01", "database": "Octopus", "type": kind, "copy_only": false, "position": 1,
            "backup_set_guid": format!("{lsns:?}"), "first_lsn": lsns.0.to_string(), "last_lsn": lsns.1.to_string(),
            "started_at": time(minutes.0), "finished_at": time(minutes.1), "media": [], "time_zone": quarters,
        }))
        .unwrap()
    }

    fn at(minute: u32) -> DateTime<Utc> {
        format!("2026-07-14T03:{minute:02}:00Z").parse().unwrap()
    }

    #[test]
    fn a_moment_is_told_by_the_offset_of_its_log() {
        let sets = [set("full", (10, 20), (0, 5), 8), set("log", (15, 30), (6, 10), 8)];
        assert_eq!(shown_at(at(8), sets.last(), &sets, None).unwrap(), "2026-07-14T05:08:00.000");
        let untold = [set("log", (15, 30), (6, 10), 127)];
        assert_eq!(shown_at(at(8), untold.last(), &untold, Some(-90)).unwrap(), "2026-07-14T01:38:00.000");
        let error = shown_at(at(8), untold.last(), &untold, None).unwrap_err();
        assert!(error.code == "restore.zone" && error.message.contains("is not known"), "{error}");
    }

    #[test]
    fn the_hour_that_a_clock_shows_twice_is_refused_and_its_places_are_named() {
        // From UTC+2 to UTC+1 between 03:10 and 03:20.
        let sets = [
            set("full", (10, 20), (0, 5), 8),
            set("log", (15, 30), (6, 10), 8),
            set("log", (30, 40), (11, 20), 4),
        ];
        for minute in [8, 15, 30] {
            let error = shown_at(at(minute), sets.last(), &sets, None).unwrap_err();
            assert_eq!(error.code, "restore.zone");
            assert!(
                error.message.contains("between 2026-07-14T03:10:00Z and 2026-07-14T03:20:00Z"),
                "{error}"
            );
            assert!(error.help.unwrap().contains("LSN "), "{minute}");
        }
        // Put forward, only the log in which it happened is unclear.
        let forward = [set("log", (15, 30), (6, 10), 4), set("log", (30, 40), (11, 20), 8)];
        assert!(shown_at(at(9), forward.first(), &forward, None).is_ok());
        assert_eq!(shown_at(at(15), forward.last(), &forward, None).unwrap_err().code, "restore.zone");
    }
}
