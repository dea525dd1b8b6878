//! [`Problem`]: what is worth knowing about a chain that was found, or about backups that could not be used.

use serde::{Serialize, Serializer};

use crate::Time;
use crate::backup::clock;
use crate::lsn::Lsn;

/// A remark beside a choice. It is written as text; programs that must tell them apart use [`Problem::code`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A backup set that no chain may use.
    #[error("the {backup} is left out: {why}")]
    LeftOut {
        /// The set's label.
        backup: String,
        /// What is wrong with it.
        why: String,
    },
    /// The newest full that could have begun the chain is unusable.
    #[error("the chain begins with the older {used}, because the {newer} cannot be used: {why}")]
    OlderFull {
        /// Label of the full that begins the chain.
        used: String,
        /// Label of the full that should have.
        newer: String,
        /// What is wrong with that one.
        why: String,
    },
    /// The newest line of history leads nowhere.
    #[error(
        "the newest line of history ({newest}) has no way there ({why}); the chain is on the older line ({used})"
    )]
    OlderLine {
        /// The newest line's fork.
        newest: String,
        /// What stands in its way.
        why: String,
        /// The line of the chain.
        used: String,
    },
    /// Backups after the end of the chain that cannot be reached.
    #[error("later backups cannot be reached ({count}, the newest the {newest}): {}", way_on(*.from, *.after, *.missing))]
    Unreached {
        /// How many there are.
        count: usize,
        /// Label of the newest.
        newest: String,
        /// Where the chain ends.
        from: Lsn,
        /// When the chain's last backup ended.
        after: Time,
        /// Where the next log begins, and when it was begun, where there is one.
        missing: Option<(Lsn, Time)>,
    },
    /// Two lines of history were both alive at the time asked for.
    #[error("at {} two lines of history were alive; the chain is on {used}, backed up last at {}, and not on {other}, \
        backed up last at {}", clock(*.at), clock(*.used_until), clock(*.other_until))]
    TwoLines {
        /// The time asked for.
        at: Time,
        /// The line of the chain.
        used: String,
        /// Its newest backup.
        used_until: Time,
        /// The other line.
        other: String,
        /// Its newest backup.
        other_until: Time,
    },
    /// The last log holds the moment at which the database was set back.
    #[error("the {backup} holds a return to an earlier point (LSN {}); if {} lies between that point and the return, the \
        database's true state of that time was abandoned and is not in any backup", point.map_or_else(|| "unknown".to_owned(), |lsn| lsn.to_string()), clock(*.at))]
    AcrossFork {
        /// The log's label.
        backup: String,
        /// Where the fork left its parent.
        point: Option<Lsn>,
        /// The time asked for.
        at: Time,
    },
    /// The time asked for lies within the writing of the last log.
    #[error("{} lies within the writing of the {backup} ({} to {}); should it end before that moment, the server keeps \
        the database restoring (message 4322){next}", clock(*.at), clock(*.started), clock(*.finished))]
    WhileWriting {
        /// The time asked for.
        at: Time,
        /// The log's label.
        backup: String,
        /// When it began.
        started: Time,
        /// When it ended.
        finished: Time,
        /// Which log comes next, as the end of the sentence.
        next: String,
    },
    /// The SIMPLE model stops nowhere between data backups.
    #[error("the database was in the SIMPLE model: it can be restored to its data backups only, here {}, not to {}",
        clock(*.reached), clock(*.at))]
    SimpleModel {
        /// The time asked for.
        at: Time,
        /// When the last backup of the chain ended.
        reached: Time,
    },
    /// Logs were excluded by the request.
    #[error("without logs the chain leads to {}, not to {}", clock(*.reached), clock(*.at))]
    WithoutLogs {
        /// The time asked for.
        at: Time,
        /// When the last backup of the chain ended.
        reached: Time,
    },
    /// Backups of several major versions in one chain.
    #[error("the chain has backups of SQL Server major versions {}; the target must be {} or newer, and a log of a newer \
        version may not apply to an older full", versions(.majors), .majors.last().copied().unwrap_or_default())]
    Versions {
        /// The versions, ascending.
        majors: Vec<u8>,
    },
    /// Backups of several servers that nothing ties together.
    #[error("the chain has backups of {}, and neither an availability group, nor a fork, nor a family says that they are \
        of one database; LSNs alone tie them together", .names.join(" and "))]
    Servers {
        /// The servers' names.
        names: Vec<String>,
    },
    /// A history that counts a log's last record into its end.
    #[error(
        "the {backup} begins one slot after the end of the backup before it; this history seems to count ends \
        inclusively, so they are taken as adjacent"
    )]
    InclusiveEnds {
        /// The log's label.
        backup: String,
    },
}

fn way_on(from: Lsn, after: Time, missing: Option<(Lsn, Time)>) -> String {
    match missing {
        Some((to, before)) => {
            format!("no log backup holds LSN {from} to {to}, between {} and {}", clock(after), clock(before))
        }
        None => format!(
            "no log leads on from LSN {from}, where {} ended, and none of them has its base here",
            clock(after)
        ),
    }
}

fn versions(majors: &[u8]) -> String {
    majors.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

impl Problem {
    /// A stable word for each kind of problem.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::LeftOut { .. } => "left_out",
            Problem::OlderFull { .. } => "older_full",
            Problem::OlderLine { .. } => "older_line",
            Problem::Unreached { .. } => "unreached",
            Problem::TwoLines { .. } => "two_lines",
            Problem::AcrossFork { .. } => "across_fork",
            Problem::WhileWriting { .. } => "while_writing",
            Problem::SimpleModel { .. } => "simple_model",
            Problem::WithoutLogs { .. } => "without_logs",
            Problem::Versions { .. } => "versions",
            Problem::Servers { .. } => "servers",
            Problem::InclusiveEnds { .. } => "inclusive_ends",
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
