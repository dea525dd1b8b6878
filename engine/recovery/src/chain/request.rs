//! [`ChainRequest`] and [`ChainOutcome`]: what is asked of a history, and what comes back.

use serde::Serialize;

use crate::Time;
use crate::backup::{Backup, clock};
use crate::chain::problem::Problem;
use crate::chain::reason::Reason;
use crate::guid::Guid;
use crate::lsn::Lsn;

/// Where a chain shall lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// As far as the backups lead.
    #[default]
    End,
    /// To the state of a moment: everything committed until then.
    At(Time),
    /// To a marked transaction, included.
    Mark {
        /// Its place in the database's log.
        lsn: Lsn,
        /// When it was committed.
        at: Time,
    },
}

impl Goal {
    /// How messages name it.
    pub(crate) fn label(&self) -> String {
        match self {
            Goal::End => "the end".to_owned(),
            Goal::At(at) => clock(*at),
            Goal::Mark { lsn, at } => format!("the mark at LSN {lsn} of {}", clock(*at)),
        }
    }
}

/// What is asked of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainRequest {
    /// The database; may be left out where the history has only one.
    pub database: Option<String>,
    /// Where the chain shall lead.
    pub goal: Goal,
    /// The recovery fork that the goal lies on, where it is known: an LSN means different things on different forks.
    pub fork: Option<Guid>,
    /// Use no differential.
    pub no_differentials: bool,
    /// Use no log: the newest full and differential at or before the goal.
    pub no_logs: bool,
    /// Where a half-done restore stands (`redo_start_lsn`): only logs are chosen, from there on.
    pub continue_from: Option<Lsn>,
}

/// The backups of one database that lead to one point in time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chain {
    /// The database as the history spells it.
    pub database: String,
    /// The sets to restore, in order.
    pub backups: Vec<Backup>,
    /// Where the logs must stop; absent where the last backup is restored whole.
    pub stop_at: Option<Time>,
    /// The mark at which they must stop, where the goal was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_at_lsn: Option<Lsn>,
    /// The moment that the database will be at.
    pub recovers_to: Time,
    /// What is worth knowing, the weightiest first.
    pub problems: Vec<Problem>,
}

/// No chain, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// The database, where it is known which was meant.
    pub database: Option<String>,
    /// Why there is no chain, the main reason first; never empty.
    pub reasons: Vec<Reason>,
    /// What would help, in the order of the reasons.
    pub help: Vec<String>,
    /// What else is worth knowing about the history.
    pub problems: Vec<Problem>,
}

impl Refusal {
    pub(crate) fn new(database: Option<String>, reasons: Vec<Reason>, problems: Vec<Problem>) -> Refusal {
        let help = reasons.iter().filter_map(Reason::help).collect();
        Refusal { database, reasons, help, problems }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reasons: Vec<String> = self.reasons.iter().map(Reason::to_string).collect();
        f.write_str(&reasons.join("; "))
    }
}

/// A chain, or why there is none.
pub type ChainOutcome = Result<Chain, Refusal>;
