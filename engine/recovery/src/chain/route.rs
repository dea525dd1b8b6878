//! [`Route`]: the way to a goal on one line of history, or the [`Reason`] that there is none.

use std::collections::HashSet;

use crate::Time;
use crate::backup::{Backup, BackupType};
use crate::chain::base::{Base, bases, precedes};
use crate::chain::line::Line;
use crate::chain::logs::{Logs, Stand, Stop};
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
    /// What the database had certainly logged by the goal's time: where the furthest set leads that was finished by
    /// then. A log finished after it may still end before this, when a data backup ran beside it.
    floor: Lsn,
}

impl<'a, 's> Search<'a, 's> {
    pub(crate) fn new(
        database: &'a str,
        request: &'a ChainRequest,
        line: &'a Line<'s>,
        logs: &'a Logs<'s>,
    ) -> Self {
        let done =
            line.sets.iter().filter(|set| matches!(request.goal, Goal::At(at) if set.finished_at <= at));
        let floor = done.map(|set| set.last_lsn).max().unwrap_or_default();
        Search { database, request, line, logs, floor }
    }

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
        let (logs, _) = self.logs.walk(base.stand(&[]), |_| false, |_| true);
        let end = base.stand(&logs);
        // Everything that leads here is a proof, and whatever ended here later too. A restore may stand where the last
        // log ended: then there is nothing left to apply.
        let Some(recovers_to) = self.logs.quiet_until(end) else {
            return Err(self.nothing_continues(base.at));
        };
        let finished = logs.last().map(|log| log.finished_at).or(base.finished).unwrap_or(recovers_to);
        let unreached = self.unreached(end.at, finished);
        Ok(Route { unreached, ..Route::exact(base, logs, recovers_to) })
    }

    /// What lies beyond `end` and cannot be reached.
    fn unreached(&self, end: Lsn, after: Time) -> Option<Problem> {
        let beyond = |set: &&&Backup| set.last_lsn > end;
        let count = self.line.sets.iter().filter(beyond).count();
        let missing = self.logs.after(end).map(|next| (next.first_lsn, next.started_at));
        let newest =
            self.line.sets.iter().filter(beyond).max_by_key(|set| (set.finished_at, set.last_lsn))?.label();
        Some(Problem::Unreached { count, newest, from: end, after, missing })
    }

    fn to(&self, goal: Goal, bases: &[Base<'s>]) -> Result<Route<'s>, Reason> {
        // From every position of a stretch without a gap the same logs follow to its end, so one such failure is enough.
        let mut failed: HashSet<usize> = HashSet::new();
        for base in bases {
            let stretch = self.logs.stretch(base.at);
            if stretch.is_some_and(|index| failed.contains(&index)) {
                continue;
            }
            let (logs, stop) = self.walk_to(base.stand(&[]), goal);
            if let Some(route) = self.ends_at(goal, base, logs, stop) {
                return Ok(route);
            }
            if stop == Stop::NoMore {
                failed.extend(stretch);
            }
        }
        if let Some(simple) = bases.first().filter(|base| base.is_simple() && matches!(goal, Goal::At(_))) {
            return data_alone(simple).ok_or_else(|| self.no_base());
        }
        furthest(bases, |base| self.logs.reach(base.at))
            .map_or_else(|| Err(self.no_base()), |base| Err(self.shortfall(base, goal)))
    }

    /// The route of a base and its logs, if they lead to the goal.
    fn ends_at(
        &self,
        goal: Goal,
        base: &Base<'s>,
        logs: Vec<&'s Backup>,
        stop: Stop<'s>,
    ) -> Option<Route<'s>> {
        let end = base.stand(&logs);
        match (stop, goal) {
            (Stop::InLast, Goal::At(at)) => {
                let last = logs.last()?;
                let exactness = if last.crosses_fork() && at < last.finished_at {
                    Exactness::AcrossFork
                } else {
                    Exactness::Exact
                };
                let stops = !last.is_bulk_logged();
                Some(Route { stops, exactness, ..Route::exact(base, logs, at) })
            }
            (Stop::InLast, Goal::Mark { at, .. }) => {
                Some(Route { stops: true, ..Route::exact(base, logs, at) })
            }
            (Stop::NoMore | Stop::Bulk(_), Goal::At(at)) => {
                let proved = self.logs.quiet_until(end)?;
                (proved >= at && end.at >= self.floor).then(|| Route::exact(base, logs, at))
            }
            _ => None,
        }
    }

    fn walk_to(&self, from: Stand<'s>, goal: Goal) -> (Vec<&'s Backup>, Stop<'s>) {
        match goal {
            Goal::End => self.logs.walk(from, |_| false, |_| true),
            Goal::At(at) => {
                let is_last = |log: &Backup| log.finished_at >= at && log.last_lsn >= self.floor;
                self.logs.walk(from, is_last, |log| log.finished_at == at)
            }
            Goal::Mark { lsn, .. } => self.logs.walk(from, |log| lsn < log.last_lsn, |_| false),
        }
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
        let (logs, stop) = self.walk_to(base.stand(&[]), goal);
        let Some(last) = logs.last().or(base.data.last()).copied() else {
            return self.nothing_continues(base.at);
        };
        let reached = self
            .logs
            .quiet_until(base.stand(&logs))
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
