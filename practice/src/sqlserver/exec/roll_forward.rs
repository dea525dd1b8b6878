//! Which records of a log backup a restore applies, and where it stops. Main function: [`plan`].

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::sqlserver::error::SqlError;
use crate::sqlserver::moment;
use crate::sqlserver::store::database::{Fork, Redo};
use crate::sqlserver::store::lsn::Lsn;
use crate::sqlserver::store::media::SetHeader;
use crate::sqlserver::store::record::Record;
use crate::sqlserver::value::datetime_rounded;

/// Where a restore stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// With the last transaction committed by then, in the server's local time, as `datetime` keeps it.
    Time(NaiveDateTime),
    /// At the first mark of that name, at or after a time if one is given.
    Mark {
        /// The mark; its case counts.
        name: String,
        /// See above.
        after: Option<NaiveDateTime>,
        /// Without the marked transaction.
        before: bool,
    },
    /// At the record of that LSN.
    Lsn {
        /// The LSN.
        lsn: Lsn,
        /// Without the record.
        before: bool,
    },
}

impl Target {
    /// Reads a mark: a name, or `lsn:` and a number.
    ///
    /// # Errors
    /// 4334 for an LSN that is none, 241 for an AFTER that is no datetime.
    pub fn mark(name: &str, after: Option<&str>, before: bool) -> Result<Self, SqlError> {
        if let Some(digits) = name.strip_prefix("lsn:") {
            let lsn = Lsn::parse(digits.trim());
            let lsn =
                lsn.ok_or_else(|| SqlError::new(4334, "The named mark does not identify a valid LSN."))?;
            return Ok(Self::Lsn { lsn, before });
        }
        let after = after.map(datetime).transpose()?;
        Ok(Self::Mark { name: name.to_owned(), after, before })
    }
}

/// A STOPAT time: at most milliseconds and no zone, as `datetime` is read.
///
/// # Errors
/// 241.
pub fn datetime(text: &str) -> Result<NaiveDateTime, SqlError> {
    let read = moment::parse(text).filter(|read| read.decimals <= 3 && read.offset.is_none());
    let failed =
        || SqlError::new(241, "Conversion failed when converting date and/or time from character string.");
    read.map(|read| datetime_rounded(read.local)).ok_or_else(failed)
}

fn kept(at: DateTime<Utc>) -> NaiveDateTime {
    datetime_rounded(at.naive_utc())
}

/// What of a log is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The first of the log's records that is not applied any more.
    pub end: usize,
    /// Where roll forward has come to.
    pub through: Lsn,
    /// Whether the target was there; true when none was given.
    pub reached: bool,
}

/// What of a log backup is applied to a database that has come to `redo`.
///
/// # Errors
/// 4330, 4335, 4338, 4305, 4326, 4341.
pub fn plan(
    set: &SetHeader,
    records: &[Record],
    redo: &Redo,
    forks: &[Fork],
    target: Option<&Target>,
) -> Result<Plan, SqlError> {
    check_forks(set, redo.lsn, forks)?;
    let is_behind = match target {
        Some(Target::Time(time)) => redo.last_commit.is_some_and(|last| kept(last) > *time),
        Some(Target::Lsn { lsn, .. }) => *lsn < redo.lsn,
        _ => false,
    };
    if is_behind {
        return Err(too_early(4335));
    }
    if set.first > redo.lsn {
        let first_commit = records.iter().find_map(|record| record.at);
        return Err(match (target, first_commit) {
            (Some(Target::Time(time)), Some(first)) if *time < kept(first) => too_early(4338),
            _ => {
                let (first, redo) = (set.first, redo.lsn);
                SqlError::new(
                    4305,
                    format!(
                        "The log in this backup set begins at LSN {first}, which is too recent to apply to the database. An earlier log backup that includes LSN {redo} can be restored."
                    ),
                )
            }
        });
    }
    let is_empty = set.first == set.last && set.last == redo.lsn;
    if set.last <= redo.lsn && !is_empty {
        let (last, redo) = (set.last, redo.lsn);
        return Err(SqlError::new(
            4326,
            format!(
                "The log in this backup set terminates at LSN {last}, which is too early to apply to the database. A more recent log backup that includes LSN {redo} can be restored."
            ),
        ));
    }
    let plan = stop(set, records, redo, target);
    // The facts name 4327 beside 4341 and do not tell them apart.
    let is_inside = target.is_some() && plan.reached && (plan.end < records.len() || is_mark(target));
    if set.has_bulk && is_inside {
        let text = "This log backup contains bulk-logged changes. It cannot be used to stop at an arbitrary point in time.";
        return Err(SqlError::new(4341, text));
    }
    Ok(plan)
}

const fn is_mark(target: Option<&Target>) -> bool {
    matches!(target, Some(Target::Mark { .. } | Target::Lsn { .. }))
}

fn too_early(number: i32) -> SqlError {
    SqlError::new(
        number,
        if number == 4335 {
            "The specified STOPAT time is too early. All or part of the database is already rolled forward beyond that point."
        } else {
            "The STOPAT clause specifies a point too early to allow this backup set to be restored. Choose a different stop point or use RESTORE DATABASE WITH RECOVERY to recover at the current point."
        },
    )
}

/// The error for a full or differential backup whose end lies after the point to stop at.
#[must_use]
pub fn beyond_target() -> SqlError {
    too_early(4338)
}

/// The place that a database has come to must lie on the set's history: on a stretch of it, and not beyond the
/// point at which the set left that stretch.
fn check_forks(set: &SetHeader, redo: Lsn, forks: &[Fork]) -> Result<(), SqlError> {
    let current = forks.last().map(|fork| fork.id);
    let at = set.forks.iter().position(|fork| Some(fork.id) == current);
    let left = at.and_then(|at| set.forks.get(at + 1)).map(|next| next.from);
    if at.is_some() && left.is_none_or(|left| redo <= left) {
        return Ok(());
    }
    let text = "This backup set cannot be applied because it is on a recovery path that is inconsistent with the database. The recovery path is the sequence of data and log backups that have brought the database to a particular recovery point. Find a compatible backup to restore, or restore the rest of the database to match a recovery point within this backup set.";
    Err(SqlError::new(4330, text))
}

fn stop(set: &SetHeader, records: &[Record], redo: &Redo, target: Option<&Target>) -> Plan {
    let all = |reached| Plan { end: records.len(), through: set.last, reached };
    let at = |end: usize| Plan {
        end,
        through: records.get(end).map_or(set.last, |record| record.lsn),
        reached: true,
    };
    let ahead = |record: &Record| record.lsn >= redo.lsn;
    match target {
        None => all(true),
        Some(Target::Time(time)) => {
            let later = records.iter().position(|r| ahead(r) && r.at.is_some_and(|at| kept(at) > *time));
            let last = records.iter().rev().find_map(|record| record.at).map(kept);
            later.map_or_else(|| all(last == Some(*time)), at)
        }
        Some(Target::Mark { name, after, before }) => {
            let is_it = |record: &Record| {
                let named = record.mark.as_ref().is_some_and(|mark| mark.name == *name);
                let late_enough = record.at.is_some_and(|at| after.is_none_or(|after| kept(at) >= after));
                ahead(record) && named && late_enough
            };
            records
                .iter()
                .position(is_it)
                .map_or_else(|| all(false), |found| at(found + usize::from(!before)))
        }
        Some(Target::Lsn { lsn, before }) => {
            let found = records.iter().position(|record| (record.lsn..record.next).contains(lsn));
            found.map_or_else(|| all(false), |found| at(found + usize::from(!before)))
        }
    }
}

/// The history of a database that has been rolled forward to `through` along a set's history.
#[must_use]
pub fn history(forks: &[Fork], through: Lsn) -> Vec<Fork> {
    let mut history: Vec<Fork> = forks.iter().filter(|fork| fork.from < through).cloned().collect();
    if history.is_empty() {
        history.extend(forks.first().cloned());
    }
    history
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::sqlserver::lang::statement::RecoveryModel;
    use crate::sqlserver::store::database::Access;
    use crate::sqlserver::store::media::SetKind;
    use crate::sqlserver::store::record::Mark;

    fn lsn(block: u64) -> Lsn {
        Lsn::new(9300, block, 1)
    }

    fn fork(id: u128, from: u64) -> Fork {
        Fork { id: Uuid::from_u128(id), from: lsn(from) }
    }

    /// A log of three commits, at 10, 20 and 30 seconds, the second of them marked `dd_01`; it covers blocks 100 to 130.
    fn log(forks: Vec<Fork>) -> (SetHeader, Vec<Record>) {
        let at = |seconds: i64| DateTime::from_timestamp(1_784_000_000 + seconds, 0).unwrap();
        let record = |n: u64| Record {
            lsn: lsn(90 + n * 10),
            next: lsn(100 + n * 10),
            at: Some(at(i64::try_from(n * 10).unwrap())),
            mark: (n == 2).then(|| Mark { name: "dd_01".into(), description: None, user: "sa".into() }),
            shared: None,
            bulk: false,
            changes: Vec::new(),
        };
        let (first_fork, last_fork) = (forks[0].id, forks[forks.len() - 1].id);
        let set = SetHeader {
            kind: SetKind::Log,
            compatibility: None,
            position: 1,
            name: None,
            description: None,
            user: String::new(),
            server: String::new(),
            database: String::new(),
            database_created: at(0),
            size: 0,
            first: lsn(100),
            last: lsn(130),
            checkpoint: lsn(50),
            database_backup: lsn(50),
            started: at(0),
            finished: at(40),
            last_valid_restore: Some(at(30)),
            guid: Uuid::nil(),
            binding: Uuid::nil(),
            family: Uuid::nil(),
            forks,
            first_fork,
            fork: last_fork,
            fork_point: None,
            model: RecoveryModel::Full,
            access: Access::MultiUser,
            read_only: false,
            differential_base: None,
            has_checksums: true,
            compressed: false,
            copy_only: false,
            begins_chain: false,
            tail: false,
            tail_with_norecovery: false,
            files: Vec::new(),
            file_sizes: Vec::new(),
            database_version: 957,
            created_by: String::new(),
            algorithm: None,
            encrypted: None,
            is_damaged: false,
            damaged_pages: Vec::new(),
            has_bulk: false,
            software: (16, 4236),
            device_type: 2,
        };
        (set, (1..=3).map(record).collect())
    }

    /// Plans for a database that has come to `redo` on the first fork; how many records it ends before and whether the
    /// target was there, or the error's number.
    fn check(redo: u64, target: Option<&Target>, expected: Result<(usize, bool), i32>) {
        let (set, records) = log(vec![fork(1, 10)]);
        let last_commit = (redo > 100).then(|| records[0].at.unwrap());
        let redo = Redo { lsn: lsn(redo), last_commit, rolled_forward: true };
        let found = plan(&set, &records, &redo, &[fork(1, 10)], target);
        let found = found.map(|plan| (plan.end, plan.reached)).map_err(|error| error.number);
        assert_eq!(found, expected, "{redo:?} {target:?}");
    }

    fn time(text: &str) -> Target {
        Target::Time(datetime(text).unwrap())
    }

    #[test]
    fn a_log_must_cover_the_place_that_was_come_to() {
        check(100, None, Ok((3, true)));
        check(120, None, Ok((3, true)));
        check(99, None, Err(4305));
        check(130, None, Err(4326));
        check(140, None, Err(4326));
    }

    #[test]
    fn a_time_ends_with_the_last_commit_by_then() {
        // 1,784,000,000 seconds are 2026-07-14 03:33:20.
        check(100, Some(&time("2026-07-14T03:33:40")), Ok((2, true)));
        check(100, Some(&time("2026-07-14T03:33:39.997")), Ok((1, true)));
        check(100, Some(&time("2026-07-14T03:33:21")), Ok((0, true)));
        check(100, Some(&time("2026-07-14T03:33:50")), Ok((3, true)));
        check(100, Some(&time("2026-07-14T03:33:51")), Ok((3, false)));
        check(110, Some(&time("2026-07-14T03:33:21")), Err(4335));
        check(99, Some(&time("2026-07-14T03:33:21")), Err(4338));
    }

    #[test]
    fn a_mark_is_found_by_its_name_and_time_or_lsn() {
        let mark = |name: &str, after, before| Target::mark(name, after, before).unwrap();
        check(100, Some(&mark("dd_01", None, false)), Ok((2, true)));
        check(100, Some(&mark("dd_01", None, true)), Ok((1, true)));
        check(100, Some(&mark("DD_01", None, false)), Ok((3, false)));
        check(100, Some(&mark("dd_01", Some("2026-07-14T03:33:41"), false)), Ok((3, false)));
        check(120, Some(&mark("dd_01", None, false)), Ok((3, false)));
        check(100, Some(&mark(&format!("lsn:{}", lsn(110)), None, false)), Ok((2, true)));
        check(100, Some(&mark(&format!("lsn:{}", lsn(110)), None, true)), Ok((1, true)));
        check(120, Some(&mark(&format!("lsn:{}", lsn(110)), None, false)), Err(4335));
        assert_eq!(Target::mark("lsn:0x27", None, false).unwrap_err().number, 4334);
    }

    #[test]
    fn a_log_with_bulk_logged_changes_is_restored_whole() {
        let (mut set, records) = log(vec![fork(1, 10)]);
        set.has_bulk = true;
        let redo = Redo { lsn: lsn(100), last_commit: None, rolled_forward: true };
        let mark = Target::mark("dd_01", None, false).unwrap();
        let cases = [
            (None, Ok((3, true))),
            (Some(time("2026-07-14T03:33:40")), Err(4341)),
            (Some(time("2026-07-14T03:33:50")), Ok((3, true))),
            (Some(time("2026-07-14T03:33:51")), Ok((3, false))),
            (Some(mark), Err(4341)),
        ];
        for (target, expected) in cases {
            let found = plan(&set, &records, &redo, &[fork(1, 10)], target.as_ref());
            let found = found.map(|plan| (plan.end, plan.reached)).map_err(|error| error.number);
            assert_eq!(found, expected, "{target:?}");
        }
    }

    #[test]
    fn a_log_must_be_of_the_databases_own_history() {
        // The set left the first fork at block 110 for the second.
        let (set, records) = log(vec![fork(1, 10), fork(2, 110)]);
        let cases = [
            (vec![fork(1, 10)], 100, None),
            (vec![fork(1, 10)], 110, None),
            (vec![fork(1, 10)], 120, Some(4330)),
            (vec![fork(1, 10), fork(2, 110)], 120, None),
            (vec![fork(1, 10), fork(3, 110)], 120, Some(4330)),
        ];
        for (forks, redo, expected) in cases {
            let redo = Redo { lsn: lsn(redo), last_commit: None, rolled_forward: true };
            let found = plan(&set, &records, &redo, &forks, None).err().map(|error| error.number);
            assert_eq!(found, expected, "{redo:?} {forks:?}");
        }
        assert_eq!(history(&set.forks, lsn(110)), [fork(1, 10)]);
        assert_eq!(history(&set.forks, lsn(120)).len(), 2);
    }
}
