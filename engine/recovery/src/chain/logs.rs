//! [`Logs`]: the log backups of one line, and where they lead from a position.

use std::collections::{HashMap, HashSet};

use crate::Time;
use crate::backup::{Backup, BackupType};
use crate::lsn::{Lsn, LsnRange};

/// The logs of one line of history. Logs that hold nothing lead nowhere, but prove that nothing happened.
pub(crate) struct Logs<'s> {
    /// Logs that hold something, by their first LSN.
    by_first: Vec<&'s Backup>,
    /// For each of these, which one up to it leads furthest.
    furthest: Vec<usize>,
    /// For each LSN at which logs end, the latest time at which one of them was finished.
    quiet: HashMap<Lsn, Time>,
    /// Stretches of the log without a gap, in order.
    stretches: Vec<LsnRange>,
    /// Whether a log that begins one slot after an end is adjacent to it.
    inclusive: bool,
}

/// What stopped a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop<'s> {
    /// The goal lies in the last log taken.
    InLast,
    /// No log leads on.
    NoMore,
    /// The goal lies in this log, which can only be restored whole.
    Bulk(&'s Backup),
}

impl<'s> Logs<'s> {
    /// The logs among `sets`, which are in the order of their LSNs.
    pub(crate) fn of(sets: &[&'s Backup]) -> Logs<'s> {
        let logs = || sets.iter().copied().filter(|set| set.kind == BackupType::Log);
        let mut quiet: HashMap<Lsn, Time> = HashMap::new();
        for log in logs() {
            let until = quiet.entry(log.last_lsn).or_insert(log.finished_at);
            *until = log.finished_at.max(*until);
        }
        let by_first: Vec<&Backup> = logs().filter(|log| !log.is_empty_log()).collect();
        let ends: HashSet<Lsn> = by_first.iter().map(|log| log.last_lsn).collect();
        // Servers write the next log's beginning as a log's end. Only a history in which that never happens may be read
        // as one that counts the last record in.
        let inclusive = !by_first.iter().any(|log| ends.contains(&log.first_lsn));
        let mut furthest: Vec<usize> = Vec::with_capacity(by_first.len());
        for (at, log) in by_first.iter().enumerate() {
            let before = furthest.last().copied().unwrap_or(at);
            furthest.push(if log.last_lsn >= by_first[before].last_lsn { at } else { before });
        }
        let mut logs = Logs { by_first, furthest, quiet, stretches: Vec::new(), inclusive };
        logs.stretches = logs.without_gaps();
        logs
    }

    fn without_gaps(&self) -> Vec<LsnRange> {
        let mut stretches: Vec<LsnRange> = Vec::new();
        for log in &self.by_first {
            match stretches.last_mut() {
                Some(open) if log.first_lsn <= self.meeting(open.last) => {
                    open.last = open.last.max(log.last_lsn)
                }
                _ => stretches.push(log.range()),
            }
        }
        stretches
    }

    /// The last position at which a log may begin to be applied where the database stands at `at`.
    fn meeting(&self, at: Lsn) -> Lsn {
        if self.inclusive { at.next() } else { at }
    }

    fn begun_by(&self, at: Lsn) -> &[&'s Backup] {
        let count = self.by_first.partition_point(|log| log.first_lsn <= self.meeting(at));
        self.by_first.get(..count).unwrap_or_default()
    }

    /// The log that can be applied at `at` and leads furthest beyond it.
    fn next(&self, at: Lsn) -> Option<&'s Backup> {
        let last = self.begun_by(at).len().checked_sub(1)?;
        let log = self.by_first.get(*self.furthest.get(last)?)?;
        (log.last_lsn > at).then_some(log)
    }

    /// The first log that begins too late to be applied at `at`.
    pub(crate) fn after(&self, at: Lsn) -> Option<&'s Backup> {
        self.by_first.get(self.begun_by(at).len()).copied()
    }

    /// How many logs begin too late to be applied at `at`.
    pub(crate) fn count_after(&self, at: Lsn) -> usize {
        self.by_first.len() - self.begun_by(at).len()
    }

    /// Which stretch without a gap holds `at`, if any; from all positions of one the same end is reached.
    pub(crate) fn stretch(&self, at: Lsn) -> Option<usize> {
        let index =
            self.stretches.partition_point(|stretch| stretch.first <= self.meeting(at)).checked_sub(1)?;
        self.stretches.get(index).filter(|stretch| at <= stretch.last).map(|_| index)
    }

    /// How far the logs lead from `at`; `at` itself where none applies.
    pub(crate) fn reach(&self, at: Lsn) -> Lsn {
        self.stretch(at).and_then(|index| self.stretches.get(index)).map_or(at, |stretch| stretch.last)
    }

    /// Until when logs prove that nothing happened after `at`.
    pub(crate) fn quiet_until(&self, at: Lsn) -> Option<Time> {
        self.quiet.get(&at).copied()
    }

    /// The logs from `at` on, up to the first for which `is_last` holds. A log that holds the goal and can only be
    /// restored whole (`is_whole` says whether it may be) gives way to another one that fits.
    pub(crate) fn walk(
        &self,
        at: Lsn,
        is_last: impl Fn(&Backup) -> bool,
        is_whole: impl Fn(&Backup) -> bool,
    ) -> (Vec<&'s Backup>, Stop<'s>) {
        let (mut taken, mut stands) = (Vec::new(), at);
        while let Some(log) = self.next(stands) {
            if !is_last(log) {
                taken.push(log);
                stands = log.last_lsn;
                continue;
            }
            let stops = |log: &Backup| !log.is_bulk_logged() || is_whole(log);
            let fits = |log: &&&Backup| log.last_lsn > stands && is_last(log) && stops(log);
            let chosen =
                if stops(log) { Some(log) } else { self.begun_by(stands).iter().rev().find(fits).copied() };
            let Some(last) = chosen else { return (taken, Stop::Bulk(log)) };
            taken.push(last);
            return (taken, Stop::InLast);
        }
        (taken, Stop::NoMore)
    }
}
