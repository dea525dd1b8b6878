//! [`Logs`]: the log backups of one line, and where they lead from a position.

use std::collections::HashMap;

use crate::Time;
use crate::backup::{Backup, BackupType};
use crate::guid::Guid;
use crate::lsn::{Lsn, LsnRange};

/// Where a database stands between two restores.
#[derive(Clone, Copy)]
pub(crate) struct Stand<'s> {
    /// The next position that it needs.
    pub(crate) at: Lsn,
    /// The fork that it is on, where that is known.
    pub(crate) fork: Option<&'s Guid>,
}

/// The logs of one line of history.
pub(crate) struct Logs<'s> {
    /// Logs that hold something, by their first LSN.
    by_first: Vec<&'s Backup>,
    /// For each of these, which one up to it leads furthest.
    furthest: Vec<usize>,
    /// All sets by the LSN at which they end: until one was finished, nothing happened after its end.
    by_last: Vec<&'s Backup>,
    /// Logs that end where their fork begins: they hold nothing more, but they carry the database onto the fork.
    carriers: HashMap<Lsn, Vec<&'s Backup>>,
    /// Stretches of the log without a gap, in order.
    stretches: Vec<LsnRange>,
    /// Whether a log that begins one slot after an end is adjacent to it.
    inclusive: bool,
}

/// What ended a walk.
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
        let mut carriers: HashMap<Lsn, Vec<&Backup>> = HashMap::new();
        for log in sets.iter().copied().filter(|set| set.kind == BackupType::Log && set.crosses_fork()) {
            carriers.entry(log.last_lsn).or_default().push(log);
        }
        let by_first: Vec<&Backup> = sets.iter().copied().filter(|set| holds_log(set)).collect();
        let mut by_last = sets.to_vec();
        by_last.sort_by_key(|set| set.last_lsn);
        let mut furthest: Vec<usize> = Vec::with_capacity(by_first.len());
        for (at, log) in by_first.iter().enumerate() {
            let before = furthest.last().copied().unwrap_or(at);
            furthest.push(if log.last_lsn >= by_first[before].last_lsn { at } else { before });
        }
        let mut logs =
            Logs { by_first, furthest, by_last, carriers, stretches: Vec::new(), inclusive: false };
        // Servers write the next log's beginning as a log's end. Only a history in which that never happens may be read
        // as one that counts the last record in.
        logs.inclusive = !logs.by_first.iter().any(|log| logs.ending_at(log.first_lsn).any(holds_log));
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

    /// The log that can be applied and leads furthest on; failing that, one that carries the database onto the fork
    /// that begins right here.
    fn next(&self, stand: Stand<'s>) -> Option<&'s Backup> {
        let furthest = self.begun_by(stand.at).len().checked_sub(1).and_then(|last| self.furthest.get(last));
        let log = furthest.and_then(|at| self.by_first.get(*at)).copied();
        log.filter(|log| log.last_lsn > stand.at && follows(log, stand.fork)).or_else(|| self.carrier(stand))
    }

    fn carrier(&self, stand: Stand<'s>) -> Option<&'s Backup> {
        let here = self.carriers.get(&stand.at)?;
        here.iter().copied().find(|log| stand.fork.is_some() && log.first_fork() == stand.fork)
    }

    /// The first log that begins too late to be applied at `at`.
    pub(crate) fn after(&self, at: Lsn) -> Option<&'s Backup> {
        self.by_first.get(self.begun_by(at).len()).copied()
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

    fn ending_at(&self, at: Lsn) -> impl Iterator<Item = &'s Backup> {
        let first = self.by_last.partition_point(|set| set.last_lsn < at);
        self.by_last
            .get(first..)
            .unwrap_or_default()
            .iter()
            .copied()
            .take_while(move |set| set.last_lsn == at)
    }

    /// Until when backups prove that nothing happened to a database that stands here.
    pub(crate) fn quiet_until(&self, stand: Stand<'s>) -> Option<Time> {
        let here = |set: &&Backup| set.fork().zip(stand.fork).is_none_or(|(own, fork)| own == fork);
        self.ending_at(stand.at).filter(here).map(|set| set.finished_at).max()
    }

    /// The logs to apply from a stand on, up to the first for which `is_last` holds. Where that one can only be
    /// restored whole, and may not be (`is_whole`), another that fits takes its place.
    pub(crate) fn walk(
        &self,
        mut stand: Stand<'s>,
        is_last: impl Fn(&Backup) -> bool,
        is_whole: impl Fn(&Backup) -> bool,
    ) -> (Vec<&'s Backup>, Stop<'s>) {
        let mut taken: Vec<&Backup> = Vec::new();
        while let Some(log) = self.next(stand) {
            if is_last(log) {
                let may_stop = |log: &Backup| !log.is_bulk_logged() || is_whole(log);
                let fits = |log: &&&Backup| {
                    log.last_lsn > stand.at && follows(log, stand.fork) && is_last(log) && may_stop(log)
                };
                let other = || self.begun_by(stand.at).iter().rev().find(fits).copied();
                let Some(last) = Some(log).filter(|log| may_stop(log)).or_else(other) else {
                    return (taken, Stop::Bulk(log));
                };
                taken.push(last);
                return (taken, Stop::InLast);
            }
            // Contradictory headers could lead in a circle of forks at one position.
            if taken
                .iter()
                .rev()
                .take_while(|done| done.last_lsn == log.last_lsn)
                .any(|done| std::ptr::eq(*done, log))
            {
                break;
            }
            taken.push(log);
            stand = Stand { at: log.last_lsn, fork: log.fork().or(stand.fork) };
        }
        (taken, Stop::NoMore)
    }
}

fn holds_log(set: &Backup) -> bool {
    set.kind == BackupType::Log && !set.range().is_empty()
}

/// Whether a log of this line can be applied to a database on `fork`: it begins on that fork, or the return that it
/// holds has already happened there. On one line positions are unambiguous but for the very point of a fork.
fn follows(log: &Backup, fork: Option<&Guid>) -> bool {
    let is = |own: Option<&Guid>| own.zip(fork).is_none_or(|(own, fork)| own == fork);
    is(log.first_fork()) || is(log.fork())
}
