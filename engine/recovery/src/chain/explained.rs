//! [`Explained`]: each backup of the database with a word why it is in a chain or not, given by [`explain`].

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Serialize, Serializer};

use crate::backup::{Backup, BackupType, clock};
use crate::chain::base::precedes;
use crate::chain::line::{Line, lines};
use crate::chain::request::{Chain, ChainRequest, Goal};
use crate::chain::sets::Usable;
use crate::guid::Guid;
use crate::history::History;
use crate::lsn::Lsn;

/// A backup and why it is used or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// The set.
    pub backup_set_guid: Guid,
    /// The set in words.
    pub backup: String,
    /// Its files.
    pub media: Vec<String>,
    /// Whether it is in the chain.
    pub used: bool,
    /// Why.
    pub why: Why,
}

/// Why a backup is in a chain, or is not. It is written as text; [`Why::code`] is its stable word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Of a full: the newest from which something leads to the goal.
    BeginsTheChain(String),
    /// Of a differential: the newest of its full before the goal.
    SavesLogs(String),
    /// Of a log: it leads on from here.
    LeadsOn(Lsn),
    /// Of a log: it leads on from here, and the goal lies in it.
    HoldsTheGoal(Lsn, String),
    /// What is wrong with it.
    Unusable(String),
    /// It is on another line of history.
    OtherLine(String),
    /// It ended, or of a log began, after the goal.
    AfterTheGoal(String),
    /// A newer one of its type is used.
    Older,
    /// It is newer than the one used, and nothing leads from it to the goal.
    LeadsNowhere(String),
    /// Of a differential: its base is not in the chain.
    OtherBase(String),
    /// Its type was not wanted.
    NotWanted,
    /// Of a log: it ends before logs are needed.
    EndsBefore(Lsn),
    /// Of a log: it holds no change.
    Empty,
    /// Of a log: what it holds is in others that are used.
    Covered,
    /// Of a log: it begins behind the chain's end.
    BehindTheEnd(Lsn),
}

impl Why {
    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Why::BeginsTheChain(_) => "begins_the_chain",
            Why::SavesLogs(_) => "saves_logs",
            Why::LeadsOn(_) => "leads_on",
            Why::HoldsTheGoal(..) => "holds_the_goal",
            Why::Unusable(_) => "unusable",
            Why::OtherLine(_) => "other_line",
            Why::AfterTheGoal(_) => "after_the_goal",
            Why::Older => "older",
            Why::LeadsNowhere(_) => "leads_nowhere",
            Why::OtherBase(_) => "other_base",
            Why::NotWanted => "not_wanted",
            Why::EndsBefore(_) => "ends_before",
            Why::Empty => "empty",
            Why::Covered => "covered",
            Why::BehindTheEnd(_) => "behind_the_end",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::BeginsTheChain(goal) => write!(f, "the newest full backup from which others lead to {goal}"),
            Why::SavesLogs(goal) => write!(f, "the newest differential of that full before {goal}"),
            Why::LeadsOn(at) => write!(f, "leads on from LSN {at}"),
            Why::HoldsTheGoal(at, goal) => write!(f, "leads on from LSN {at}, and {goal} lies in it"),
            Why::Unusable(why) => f.write_str(why),
            Why::OtherLine(line) => write!(f, "it is not on {line}"),
            Why::AfterTheGoal(goal) => write!(f, "it holds what came after {goal}"),
            Why::Older => f.write_str("a newer one is used"),
            Why::LeadsNowhere(goal) => write!(f, "nothing leads from it to {goal}"),
            Why::OtherBase(base) => write!(f, "it builds on {base}, which is not used"),
            Why::NotWanted => f.write_str("backups of its type were not wanted"),
            Why::EndsBefore(at) => write!(f, "it ends before LSN {at}, from where on logs are needed"),
            Why::Empty => f.write_str("it holds no change"),
            Why::Covered => f.write_str("others that are used hold what it holds"),
            Why::BehindTheEnd(at) => write!(f, "it begins behind LSN {at}, where the chain ends"),
        }
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Every backup of the chain's database, in the order of their LSNs, those that cannot be used last.
pub fn explain(history: &History, request: &ChainRequest, chain: &Chain) -> Vec<Explained> {
    let usable = Usable::of(history, &chain.database);
    let lines = lines(&usable.sets);
    let judge = Judge::new(request, chain, &lines);
    let explained = |set: &Backup, used: bool, why: Why| Explained {
        backup_set_guid: set.backup_set_guid.clone(),
        backup: set.label(),
        media: set.media.clone(),
        used,
        why,
    };
    let usable_sets = usable.sets.iter().map(|set| match judge.place(set) {
        Some(at) => explained(set, true, judge.used(at)),
        None => explained(set, false, judge.unused(set)),
    });
    let left_out = usable.left_out.iter().map(|(set, why)| explained(set, false, Why::Unusable(why.clone())));
    usable_sets.chain(left_out).collect()
}

/// What is needed to judge a set.
struct Judge<'c> {
    request: &'c ChainRequest,
    chain: &'c Chain,
    goal: String,
    line: String,
    places: HashMap<&'c Guid, usize>,
    on_line: HashSet<&'c Guid>,
    /// Where the data backups lead; logs are needed from here on.
    from: Lsn,
    end: Lsn,
}

impl<'c> Judge<'c> {
    fn new(request: &'c ChainRequest, chain: &'c Chain, lines: &[Line<'c>]) -> Self {
        let guids = chain.backups.iter().map(|set| &set.backup_set_guid);
        let places: HashMap<&Guid, usize> = guids.enumerate().map(|(at, guid)| (guid, at)).collect();
        // The line that has all of the chain; the newest of several.
        let has_all = |line: &&Line<'_>| {
            line.sets.iter().filter(|set| places.contains_key(&set.backup_set_guid)).count() == places.len()
        };
        let line = lines.iter().find(has_all);
        let is_data = |set: &&Backup| set.kind != BackupType::Log;
        let base = chain.backups.iter().rfind(is_data).map(|set| set.last_lsn);
        Judge {
            places,
            request,
            chain,
            goal: request.goal.label(),
            line: line.map_or_else(|| "the chain's line".to_owned(), Line::label),
            on_line: line
                .map(|line| line.sets.iter().map(|set| &set.backup_set_guid).collect())
                .unwrap_or_default(),
            from: request.continue_from.or(base).unwrap_or_default(),
            end: chain.backups.last().map(|set| set.last_lsn).unwrap_or_default(),
        }
    }

    /// Where in the chain a set is.
    fn place(&self, set: &Backup) -> Option<usize> {
        self.places.get(&set.backup_set_guid).copied()
    }

    fn used(&self, at: usize) -> Why {
        let before = at.checked_sub(1).and_then(|at| self.chain.backups.get(at)).map(|set| set.last_lsn);
        let from = before.unwrap_or(self.from);
        let stops = self.chain.stop_at.is_some() || self.chain.stop_at_lsn.is_some();
        match self.chain.backups.get(at).map(|set| &set.kind) {
            Some(BackupType::Full) => Why::BeginsTheChain(self.goal.clone()),
            Some(BackupType::Differential) => Why::SavesLogs(self.goal.clone()),
            _ if stops && at + 1 == self.chain.backups.len() => Why::HoldsTheGoal(from, self.goal.clone()),
            _ => Why::LeadsOn(from),
        }
    }

    fn unused(&self, set: &Backup) -> Why {
        if !self.on_line.contains(&set.backup_set_guid) {
            return Why::OtherLine(self.line.clone());
        }
        match set.kind {
            BackupType::Full => {
                let full = self.chain.backups.iter().find(|used| used.kind == BackupType::Full);
                self.data(set, full.map(|full| full.last_lsn).unwrap_or_default())
            }
            BackupType::Differential if self.request.no_differentials => Why::NotWanted,
            BackupType::Differential => {
                let full = self.chain.backups.iter().find(|used| used.kind == BackupType::Full);
                match full {
                    Some(full) if set.builds_on(full) => self.data(set, self.from),
                    _ => Why::OtherBase(base_of(set)),
                }
            }
            BackupType::Log => self.log(set),
            BackupType::Other(_) => Why::NotWanted,
        }
    }

    /// A full or differential, where the one that is used leads to `used`.
    fn data(&self, set: &Backup, used: Lsn) -> Why {
        if self.request.continue_from.is_some() {
            return Why::NotWanted;
        }
        if !precedes(set, self.request.goal) {
            return Why::AfterTheGoal(self.goal.clone());
        }
        if set.last_lsn <= used { Why::Older } else { Why::LeadsNowhere(self.goal.clone()) }
    }

    fn log(&self, set: &Backup) -> Why {
        if self.request.no_logs {
            return Why::NotWanted;
        }
        if set.range().is_empty() {
            return Why::Empty;
        }
        if set.last_lsn <= self.from {
            return Why::EndsBefore(self.from);
        }
        let after = match self.request.goal {
            Goal::End => false,
            Goal::At(at) => set.started_at > at || set.first_lsn >= self.end,
            Goal::Mark { lsn, .. } => set.first_lsn > lsn,
        };
        if after {
            return Why::AfterTheGoal(self.goal.clone());
        }
        if set.first_lsn >= self.end { Why::BehindTheEnd(self.end) } else { Why::Covered }
    }
}

/// A differential's base in words.
fn base_of(set: &Backup) -> String {
    match (&set.differential_base_guid, set.base_checkpoint()) {
        (Some(guid), _) if !guid.is_nil() => format!("full backup {guid}"),
        (_, Some(checkpoint)) => format!("the full backup with checkpoint LSN {checkpoint}"),
        _ => format!("another full backup than that of {}", clock(set.finished_at)),
    }
}
