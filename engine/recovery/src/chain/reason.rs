//! [`Reason`]: why no chain leads to what was asked for, and what would help.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::Time;
use crate::backup::clock;
use crate::lsn::Lsn;

/// Why there is no chain. It is written as text; [`Reason::code`] is its stable word, [`Reason::help`] its advice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The history has several databases and none was asked for.
    #[error("the history has several databases: {}", .names.join(", "))]
    WhichDatabase {
        /// Their names.
        names: Vec<String>,
    },
    /// The history has no backup of the database.
    #[error("the history has no backup of {database}{}", others(.names))]
    NoBackups {
        /// The database asked for.
        database: String,
        /// The databases that it has backups of.
        names: Vec<String>,
    },
    /// Nothing to begin with.
    #[error("no usable full backup of {database}")]
    NoFull {
        /// The database.
        database: String,
    },
    /// All fulls are later than the goal.
    #[error("no full backup ended at or before {goal}; the oldest, the {oldest}, is later")]
    NoFullBefore {
        /// What was asked for.
        goal: String,
        /// Label of the oldest full.
        oldest: String,
        /// When it ended.
        finished: Time,
    },
    /// The goal lies within the only full's own duration.
    #[error("{} lies within the {full}, which began at {}; a full backup leads to no moment before its own end, and \
        there is no older one", clock(*.at), clock(*.started))]
    InsideFull {
        /// The time asked for.
        at: Time,
        /// The full's label.
        full: String,
        /// When it began.
        started: Time,
        /// When it ended.
        finished: Time,
    },
    /// A log backup is missing.
    #[error("{0}")]
    Gap(Box<Gap>),
    /// The goal is later than everything.
    #[error("no backup holds what happened after {}: the {newest} is the last and leads to LSN {lsn}; {goal} is later", clock(*.reached))]
    NotCovered {
        /// What was asked for.
        goal: String,
        /// The last moment that the backups prove.
        reached: Time,
        /// Label of the last backup.
        newest: String,
        /// Where it leads.
        lsn: Lsn,
    },
    /// The goal lies inside a log that can only be restored whole.
    #[error("{goal} lies inside the {backup}, which holds bulk-logged changes: a restore cannot stop inside it (errors \
        4341, 4327), only at its end {} or before it, at {}", clock(*.finished), clock(*.before))]
    BulkLogged {
        /// What was asked for.
        goal: String,
        /// The log's label.
        backup: String,
        /// When it ended.
        finished: Time,
        /// When the backup before it ended.
        before: Time,
    },
    /// Nothing continues a half-done restore.
    #[error("no log backup of {database} covers LSN {lsn}, where the restore stands{}", nearest(.next))]
    NothingContinues {
        /// The database.
        database: String,
        /// Where the restore stands.
        lsn: Lsn,
        /// Label and beginning of the first log after it.
        next: Option<(String, Lsn)>,
    },
    /// Logs were excluded, and nothing else is left to apply.
    #[error("a restore that stands at LSN {lsn} can be continued with logs only, and logs are left out")]
    ContinuedWithoutLogs {
        /// Where the restore stands.
        lsn: Lsn,
    },
    /// The log that would fit is on another line of history.
    #[error(
        "the {backup} would cover LSN {lsn}, but it is on recovery fork {fork}, and the chain is on {line}"
    )]
    OtherFork {
        /// The log's label.
        backup: String,
        /// Where the chain stands.
        lsn: Lsn,
        /// The log's fork.
        fork: String,
        /// The chain's line.
        line: String,
    },
    /// A backup that might have been the missing one cannot be used.
    #[error("the {backup} would help, but it cannot be used: {why}")]
    Unusable {
        /// The set's label.
        backup: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A stretch of the log that no backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where the reachable part ends.
    pub from: Lsn,
    /// Where the next log begins.
    pub to: Lsn,
    /// Label of the last reachable backup.
    pub after: String,
    /// When it ended.
    pub since: Time,
    /// Label of the next log.
    pub before: String,
    /// When that one began.
    pub until: Time,
    /// The first full that ended after the goal, as a label and its end.
    pub restart: Option<(String, Time)>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { from, to, after, before, .. } = self;
        write!(f, "a log backup is missing: none holds LSN {from} to {to}. ")?;
        write!(f, "The {after} leads to LSN {from}; the next log, the {before}, begins at LSN {to}. ")?;
        write!(f, "What is missing was written between {} and {}", clock(self.since), clock(self.until))
    }
}

impl Gap {
    fn help(&self) -> String {
        let Gap { from, to, since, restart, .. } = self;
        let later = restart
            .as_ref()
            .map(|(label, end)| format!("; or for {} or later, from the {label}", clock(*end)));
        format!(
            "find the log backup that holds LSN {from} to {to} (other replicas, other jobs, copies elsewhere) and add it to \
             the history; or ask for {} or earlier{}",
            clock(*since),
            later.unwrap_or_default()
        )
    }
}

fn others(names: &[String]) -> String {
    if names.is_empty() {
        "; it is empty".to_owned()
    } else {
        format!("; it has backups of {}", names.join(", "))
    }
}

fn nearest(next: &Option<(String, Lsn)>) -> String {
    match next {
        Some((label, lsn)) => format!("; the next one, the {label}, begins at LSN {lsn}"),
        None => "; all end before it".to_owned(),
    }
}

impl Reason {
    /// A stable word for each reason.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::WhichDatabase { .. } => "which_database",
            Reason::NoBackups { .. } => "no_backups",
            Reason::NoFull { .. } => "no_full",
            Reason::NoFullBefore { .. } => "no_full_before",
            Reason::InsideFull { .. } => "inside_full",
            Reason::Gap(_) => "gap",
            Reason::NotCovered { .. } => "not_covered",
            Reason::BulkLogged { .. } => "bulk_logged",
            Reason::NothingContinues { .. } => "nothing_continues",
            Reason::ContinuedWithoutLogs { .. } => "continued_without_logs",
            Reason::OtherFork { .. } => "other_fork",
            Reason::Unusable { .. } => "unusable",
        }
    }

    /// Where the chain stands that cannot be led on, where there is one.
    pub(crate) fn stands_at(&self) -> Option<Lsn> {
        match self {
            Reason::Gap(gap) => Some(gap.from),
            Reason::NotCovered { lsn, .. } | Reason::NothingContinues { lsn, .. } => Some(*lsn),
            _ => None,
        }
    }

    /// What would help, where something would.
    pub fn help(&self) -> Option<String> {
        match self {
            Reason::WhichDatabase { .. } => Some("name one with --database".to_owned()),
            Reason::NoBackups { names, .. } if names.is_empty() => None,
            Reason::NoBackups { .. } => Some("name one of these with --database".to_owned()),
            Reason::NoFull { .. } => Some(
                "add a full backup to the history (a copy-only one will do); logs and differentials need one to begin with"
                    .to_owned(),
            ),
            Reason::NoFullBefore { finished, .. } | Reason::InsideFull { finished, .. } => {
                Some(format!("ask for {} or later, or add an older full backup to the history", clock(*finished)))
            }
            Reason::Gap(gap) => Some(gap.help()),
            Reason::NotCovered { reached, .. } => Some(format!(
                "ask for {} or earlier; if the server still runs, a tail-log backup holds the rest; if a newer log backup exists, \
                 add it to the history",
                clock(*reached)
            )),
            Reason::BulkLogged { finished, before, .. } => {
                Some(format!("ask for {} or {}", clock(*before), clock(*finished)))
            }
            Reason::NothingContinues { lsn, .. } => Some(format!(
                "add the log backup that covers LSN {lsn} to the history, or begin anew from a full backup"
            )),
            Reason::ContinuedWithoutLogs { .. } => Some("leave --no-logs away".to_owned()),
            Reason::OtherFork { .. } => Some("logs of an abandoned fork cannot be mixed in (error 4330)".to_owned()),
            Reason::Unusable { .. } => Some("look for a sound copy of it".to_owned()),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
