//! [`Base`]: the data backups that a chain may begin with, a full alone or with one differential.

use std::collections::HashMap;

use crate::Time;
use crate::backup::{Backup, BackupType};
use crate::chain::logs::Stand;
use crate::chain::request::{ChainRequest, Goal};
use crate::lsn::Lsn;

/// What a chain begins with, and where it leads by itself.
#[derive(Clone)]
pub(crate) struct Base<'s> {
    /// The full and its differential; empty where a half-done restore is continued.
    pub(crate) data: Vec<&'s Backup>,
    /// Where the database stands afterwards.
    pub(crate) at: Lsn,
    /// When the last of them was finished; nothing where a restore is continued.
    pub(crate) finished: Option<Time>,
}

impl<'s> Base<'s> {
    fn of(data: Vec<&'s Backup>) -> Base<'s> {
        let last = data.last();
        Base {
            at: last.map(|set| set.last_lsn).unwrap_or_default(),
            finished: last.map(|set| set.finished_at),
            data,
        }
    }

    /// Where it leaves the database, after these logs as well.
    pub(crate) fn stand(&self, logs: &[&'s Backup]) -> Stand<'s> {
        let last = logs.last();
        let fork = self.data.iter().chain(logs).rev().find_map(|set| set.fork());
        Stand { at: last.map_or(self.at, |log| log.last_lsn), fork }
    }

    /// Whether it leaves the database in the SIMPLE model.
    pub(crate) fn is_simple(&self) -> bool {
        self.data.last().is_some_and(|set| set.is_simple())
    }
}

/// Whether `set` ended before the goal, so that a chain to it may hold this set whole.
pub(crate) fn precedes(set: &Backup, goal: Goal) -> bool {
    match goal {
        Goal::End => true,
        Goal::At(at) => set.finished_at <= at,
        Goal::Mark { lsn, .. } => set.last_lsn <= lsn,
    }
}

/// Every base that the request allows, preferred ones first: the newest full with its newest differential, then with
/// older ones, then alone; then the next older full.
pub(crate) fn bases<'s>(sets: &[&'s Backup], request: &ChainRequest) -> Vec<Base<'s>> {
    if let Some(at) = request.continue_from {
        return vec![Base { data: Vec::new(), at, finished: None }];
    }
    // Sets come in the order of their first LSN; a choice goes by where they lead.
    let newest_first = |kind: BackupType| {
        let mut found: Vec<&Backup> =
            sets.iter().copied().filter(|set| set.kind == kind && precedes(set, request.goal)).collect();
        found.sort_by(|a, b| {
            (b.last_lsn, b.finished_at, &b.backup_set_guid).cmp(&(
                a.last_lsn,
                a.finished_at,
                &a.backup_set_guid,
            ))
        });
        found
    };
    let mut differentials: HashMap<Option<Lsn>, Vec<&Backup>> = HashMap::new();
    if !request.no_differentials {
        for set in newest_first(BackupType::Differential) {
            differentials.entry(set.base_checkpoint()).or_default().push(set);
        }
    }
    let mut bases = Vec::new();
    for full in newest_first(BackupType::Full) {
        let matching =
            [full.checkpoint_lsn, None].into_iter().filter_map(|checkpoint| differentials.get(&checkpoint));
        let building = matching.flatten().filter(|set| set.builds_on(full));
        bases.extend(building.map(|differential| Base::of(vec![full, differential])));
        bases.push(Base::of(vec![full]));
    }
    bases
}
