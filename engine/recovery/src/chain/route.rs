//! [`Route`]: the way to a goal on one line of history, or the [`Reason`] that there is none.

use std::collections::HashSet;

use crate::Time;
use crate::backup::{Backup, BackupType};
use crate::chain::base::{Base, bases, precedes};
use crate::chain::line::Line;
use crate::chain::logs::{Logs, Stop};
use crate::chain::problem::Problem;
use crate::chain::reason::{Gap, Reason};
use crate::chain::request::{ChainRequest, Goal};
use crate::lsn::Lsn;

/// How truly a route ends at its goal; the better ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exactness {
    /// At the data backup before it, because there are no logs to use.
    Before,
    /// At it, in a log that also holds a return to an earlier point.
    AcrossFork,
    /// At it.
    Exact,
}

/// The sets to restore, in order, and where that ends.
pub(crate) struct Route<'s> {
    pub(crate) data: Vec<&'s Backup>,
    pub(crate) logs: Vec<&'s Backup>,
    pub(crate) stops: bool,
    pub(crate) recovers_to: Time,
    pub(crate) exactness: Exactness,
    /// What lies beyond a gap at its end.
    pub(crate) unreached: Option<Problem>,
}

impl<'s> Route<'s> {
    fn exact(base: &Base<'s>, logs: Vec<&'s Backup>, recovers_to: Time) -> Route<'s> {
        let data = base.data.clone();
        Route { data, logs, stops: false, recovers_to, exactness: Exactness::Exact, unreached: None }
    }

    /// All sets in restore order.
    pub(crate) fn sets(&self) -> impl DoubleEndedIterator<Item = &'s Backup> {
        self.data.iter().chain(&self.logs).copied()
    }
}

/// What one line of history offers.
pub(crate) struct Attempt<'l, 's> {
    pub(crate) line: &'l Line<'s>,
    pub(crate) outcome: Result<Route<'s>, Reason>,
}

/// What a search on one line needs.
pub(crate) struct Search<'a, 's> {
    pub(crate) database: &'a str,
    pub(crate) request: &'a ChainRequest,
    pub(crate) line: &'a Line<'s>,
    pub(crate) logs: &'a Logs<'s>,
}

impl<'s> Search<'_, 's> {
    /// The best route to the goal on this line.
    pub(crate) fn route(&self) -> Result<Route<'s>, Reason> {
        let bases = bases(&self.line.sets, self.request);
        if bases.is_empty() {
            return Err(self.no_base());
        }
        if self.request.no_logs {
            return self.without_logs(&bases);
        }
        match self.request.goal {
            Goal::End => self.to_the_end(&bases),
            goal => self.to(goal, &bases),
        }
    }

    fn without_logs(&self, bases: &[Base<'s>]) -> Result<Route<'s>, Reason> {
        if let Some(lsn) = self.request.continue_from {
            return Err(Reason::ContinuedWithoutLogs { lsn });
        }
        furthest(bases, |base| base.at).and_then(data_alone).ok_or_else(|| self.no_base())
    }

    fn to_the_end(&self, bases: &[Base<'s>]) -> Result<Route<'s>, Reason> {
        let Some(base) = furthest(bases, |base| self.logs.reach(base.at)) else { return Err(self.no_base()) };
        let (logs, _) = self.logs.walk(base.at, |_| false, |_| true);
        let finished = logs.last().map(|log| log.finished_at).or(base.finished);
        let Some(finished) = finished else { return Err(self.nothing_continues(base.at)) };
        let end = logs.last().map_or(base.at, |log| log.last_lsn);
        let recovers_to = self.logs.quiet_until(end).map_or(finished, |until| until.max(finished));
        let unreached = self.unreached(end, finished);
        Ok(Route { unreached, ..Route::exact(base, logs, recovers_to) })
    }

    /// The logs beyond a gap at `end`.
    fn unreached(&self, end: Lsn, after: Time) -> Option<Problem> {
        let next = self.logs.after(end)?;
        let count = self.logs.count_after(end);
        Some(Problem::Unreached { count, from: end, to: next.first_lsn, after, before: next.started_at })
    }

    fn to(&self, goal: Goal, bases: &[Base<'s>]) -> Result<Route<'s>, Reason> {
        // From every position of a stretch without a gap the same logs follow, so one failure is enough for it.
        let mut failed: HashSet<usize> = HashSet::new();
        for base in bases {
            let stretch = self.logs.stretch(base.at);
            if stretch.is_some_and(|index| failed.contains(&index)) {
                continue;
            }
            match self.from(base, goal) {
                Some(route) => return Ok(route),
                None => failed.extend(stretch),
            }
        }
        if let Some(simple) = bases.first().filter(|base| base.is_simple() && matches!(goal, Goal::At(_))) {
            return data_alone(simple).ok_or_else(|| self.no_base());
        }
        furthest(bases, |base| self.logs.reach(base.at))
            .map_or_else(|| Err(self.no_base()), |base| Err(self.shortfall(base, goal)))
    }

    fn from(&self, base: &Base<'s>, goal: Goal) -> Option<Route<'s>> {
        let (logs, stop) = self.walk_to(base.at, goal);
        let end = logs.last().map_or(base.at, |log| log.last_lsn);
        match (stop, goal) {
            (Stop::InLast, Goal::At(at)) => {
                let last = logs.last()?;
                let crosses = last.fork_point_lsn.is_some() && last.first_fork() != last.fork();
                let exactness = if crosses { Exactness::AcrossFork } else { Exactness::Exact };
                let stops = !last.is_bulk_logged();
                Some(Route { stops, exactness, ..Route::exact(base, logs, at) })
            }
            (Stop::InLast, Goal::Mark { at, .. }) => {
                Some(Route { stops: true, ..Route::exact(base, logs, at) })
            }
            (Stop::NoMore, Goal::At(at)) => {
                let proved = self.logs.quiet_until(end).into_iter().chain(base.finished).max()?;
                (proved >= at && end >= self.floor(at)).then(|| Route::exact(base, logs, at))
            }
            _ => None,
        }
    }

    fn walk_to(&self, from: Lsn, goal: Goal) -> (Vec<&'s Backup>, Stop<'s>) {
        match goal {
            Goal::End => self.logs.walk(from, |_| false, |_| true),
            Goal::At(at) => {
                let floor = self.floor(at);
                let is_last = |log: &Backup| log.finished_at >= at && log.last_lsn >= floor;
                self.logs.walk(from, is_last, |log| log.finished_at == at)
            }
            Goal::Mark { lsn, .. } => self.logs.walk(from, |log| lsn < log.last_lsn, |_| false),
        }
    }

    /// What the database had certainly logged by `at`: where the furthest set leads that was finished by then. A log
    /// finished after `at` may still end before this, when a data backup ran beside it.
    fn floor(&self, at: Time) -> Lsn {
        let done = self.line.sets.iter().filter(|set| set.finished_at <= at);
        done.map(|set| set.last_lsn).max().unwrap_or_default()
    }

    /// Why nothing on this line can begin a chain.
    fn no_base(&self) -> Reason {
        let fulls = || self.line.sets.iter().filter(|set| set.kind == BackupType::Full);
        let Some(oldest) = fulls().min_by_key(|set| (set.finished_at, set.last_lsn)) else {
            return Reason::NoFull { database: self.database.to_owned() };
        };
        match self.request.goal {
            Goal::At(at) if oldest.started_at <= at => Reason::InsideFull {
                at,
                full: oldest.label(),
                started: oldest.started_at,
                finished: oldest.finished_at,
            },
            goal => Reason::NoFullBefore {
                goal: goal.label(),
                oldest: oldest.label(),
                finished: oldest.finished_at,
            },
        }
    }

    fn nothing_continues(&self, lsn: Lsn) -> Reason {
        let next = self.logs.after(lsn).map(|log| (log.label(), log.first_lsn));
        Reason::NothingContinues { database: self.database.to_owned(), lsn, next }
    }

    /// Why the base that leads furthest does not lead to the goal.
    fn shortfall(&self, base: &Base<'s>, goal: Goal) -> Reason {
        let (logs, stop) = self.walk_to(base.at, goal);
        let Some(last) = logs.last().or(base.data.last()).copied() else {
            return self.nothing_continues(base.at);
        };
        let reached = self
            .logs
            .quiet_until(last.last_lsn)
            .map_or(last.finished_at, |until| until.max(last.finished_at));
        if let Stop::Bulk(log) = stop {
            let (backup, finished) = (log.label(), log.finished_at);
            return Reason::BulkLogged { goal: goal.label(), backup, finished, before: reached };
        }
        match self.logs.after(last.last_lsn) {
            Some(next) => Reason::Gap(Box::new(Gap {
                from: last.last_lsn,
                to: next.first_lsn,
                after: last.label(),
                since: reached,
                before: next.label(),
                until: next.started_at,
                restart: self.restart_after(goal),
            })),
            None => {
                Reason::NotCovered { goal: goal.label(), reached, newest: last.label(), lsn: last.last_lsn }
            }
        }
    }

    /// The first full that ended after the goal.
    fn restart_after(&self, goal: Goal) -> Option<(String, Time)> {
        let later = self.line.sets.iter().filter(|set| set.kind == BackupType::Full && !precedes(set, goal));
        later.min_by_key(|set| (set.finished_at, set.last_lsn)).map(|set| (set.label(), set.finished_at))
    }
}

/// The first of the bases that `reach` furthest.
fn furthest<'b, 's>(bases: &'b [Base<'s>], reach: impl Fn(&Base<'s>) -> Lsn) -> Option<&'b Base<'s>> {
    bases.iter().rev().max_by_key(|base| reach(base))
}

fn data_alone<'s>(base: &Base<'s>) -> Option<Route<'s>> {
    let recovers_to = base.finished?;
    Some(Route { exactness: Exactness::Before, ..Route::exact(base, Vec::new(), recovers_to) })
}
