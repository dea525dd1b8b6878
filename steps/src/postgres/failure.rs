//! What the server or the wire says when it fails, as a [`StepError`]: what it means and what to do ([`Failure`]).

use std::error::Error as _;
use std::time::Duration;

use drydock_step::StepError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition};

/// Whether a lost answer leaves something unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It only reads: ask again.
    Reads,
    /// It changes something: nobody knows whether it did.
    Writes,
}

/// How a run goes on after an error of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It may pass by itself.
    Wait,
    /// Somebody has to decide.
    Decide,
    /// The statement is wrong, or meant for another database.
    Statement,
    /// The data are damaged.
    Damage,
    /// The server's surroundings have to be put right.
    Surroundings,
    /// The role may not.
    Permission,
    /// The session was cut off in the middle.
    Unclear,
}

/// The states that are known, each with what to do. They are those of the server's errcodes.txt.
const KNOWN: &[(&[&str], Reaction, &str)] = &[
    (&["40001", "40P01"], Reaction::Wait, "it lost against another transaction; try again"),
    (
        &["55006"],
        Reaction::Wait,
        "sessions are still in it; see pg_stat_activity, and keep the application out first",
    ),
    (&["55P03"], Reaction::Wait, "somebody else holds a lock on it; see pg_locks and pg_stat_activity"),
    (
        &["53300"],
        Reaction::Wait,
        "every connection that `max_connections` allows is taken; see pg_stat_activity, and lower `max_parallel` if they are the plan's own",
    ),
    (
        &["57P03"],
        Reaction::Wait,
        "the server is starting, recovering or shutting down; try again in a moment",
    ),
    (&["53200"], Reaction::Wait, "the server is out of memory; lower `max_parallel` or its work_mem"),
    (
        &["57P01", "57P02", "57P04", "57P05", "25P03", "25P04", "08006", "08003", "08P01"],
        Reaction::Unclear,
        "the session was ended from outside; what it did is found out next",
    ),
    (
        &["57014"],
        Reaction::Decide,
        "somebody cancelled the statement, or a timeout that is set at the server did; nothing of it stays",
    ),
    (
        &["42P04", "42P06", "42P07", "42710", "42723"],
        Reaction::Decide,
        "something of that name is there already, and is left as it is",
    ),
    (&["2BP01"], Reaction::Decide, "other things depend on it; drop them first, or say which should go too"),
    (
        &["3D000"],
        Reaction::Surroundings,
        "there is no such database; see that its name is right, in upper and lower case, and that it is this server",
    ),
    (
        &["25006"],
        Reaction::Surroundings,
        "nothing can be changed here: it is a standby, or the step only reads; name the primary in `host`, or say `target_session_attrs: read-write`",
    ),
    (
        &["53100"],
        Reaction::Surroundings,
        "free space on the server's volume; where it is that of pg_wal, see pg_replication_slots and pg_stat_archiver for what holds it",
    ),
    (
        &["53000", "53400", "54000"],
        Reaction::Surroundings,
        "a limit of the server is reached; the message names it",
    ),
    (
        &["55000"],
        Reaction::Surroundings,
        "the server is not in a state for that; the message says which it would have to be in",
    ),
    (
        &["58P01", "58030", "58000"],
        Reaction::Surroundings,
        "the server cannot open one of its files; of an extension that is missing, install its package at the server",
    ),
    (
        &["0A000"],
        Reaction::Surroundings,
        "this server cannot do it; of an extension that is not available, install its package at the server",
    ),
    (
        &["XX001", "XX002"],
        Reaction::Damage,
        "the server found damage in its own data; keep the last good backup, and look with pg_amcheck how far it goes",
    ),
    (
        &["42P01", "3F000", "42703", "42883", "42704"],
        Reaction::Statement,
        "what it names is not there or not in the `search_path`; see that it is this database, and name the schema",
    ),
    (
        &["42601", "42P02", "42804", "22P02", "22023"],
        Reaction::Statement,
        "the statement is wrong where the message says",
    ),
    (
        &["25001"],
        Reaction::Statement,
        "it cannot stand in a transaction; make it the only statement of its script",
    ),
    (
        &["42501"],
        Reaction::Permission,
        "the role may not do this; `drydock grants` prints what each step needs",
    ),
    (
        &["28P01", "28000"],
        Reaction::Permission,
        "check `user` and `password` of the target, and the line of pg_hba.conf for this role, database, address and encryption",
    ),
];

/// An error as the server words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its SQLSTATE.
    pub(super) state: String,
    /// `ERROR`, or `FATAL` where the session ended with it.
    pub(super) severity: String,
    /// Its words.
    pub(super) message: String,
    detail: Option<String>,
    hint: Option<String>,
    /// Where in the statement, in characters from 1.
    position: Option<usize>,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server refused it.
    Refused(Box<Refusal>),
    /// No whole answer came.
    Lost(String),
    /// The answer took longer than it may.
    TimedOut(Duration),
    /// The encryption did not come about.
    Tls(String),
    /// What came is not what was asked for.
    Garbled(String),
}

impl From<&DbError> for Refusal {
    fn from(error: &DbError) -> Self {
        Self {
            state: error.code().code().to_owned(),
            severity: error.severity().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            position: match error.position() {
                Some(ErrorPosition::Original(at)) => usize::try_from(*at).ok(),
                _ => None,
            },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Some(refused) = error.as_db_error() {
            return Self::Refused(Box::new(refused.into()));
        }
        let mut words: Vec<String> = Vec::new();
        let mut cause = error.source();
        let mut is_io = error.is_closed();
        while let Some(inner) = cause {
            is_io |= inner.is::<std::io::Error>();
            let text = inner.to_string();
            // Wrappers say again what stands within them.
            if !words.iter().any(|known| known.contains(&text)) {
                words.push(text);
            }
            cause = inner.source();
        }
        let outer = error.to_string();
        if outer.contains("TLS handshake") {
            return Self::Tls(words.join(": "));
        }
        if words.is_empty() {
            words.push(if error.is_closed() {
                "the server closed the connection".into()
            } else {
                outer.clone()
            });
        }
        match is_io || outer.contains("connecting") || outer.contains("timeout") {
            true => Self::Lost(words.join(": ")),
            false => Self::Garbled(format!("{outer}: {}", words.join(": "))),
        }
    }
}

impl Failure {
    /// Whether the connection can be used again.
    pub(super) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Refused(refusal) if !refusal.is_fatal())
    }

    /// The state that the server refused with; nothing when it did not.
    pub(super) fn state(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.state),
            _ => None,
        }
    }

    /// The same, with the statement that failed as its detail and the place in it.
    pub(super) fn of_statement(self, sql: &str, doing: &str, effect: Effect) -> StepError {
        let place = match &self {
            Self::Refused(refusal) => refusal.position.map(|at| line_and_column(sql, at)),
            _ => None,
        };
        self.told(doing, effect, place).detail(told(sql))
    }

    /// As the failure of what was being done, such as `counting the rows of octopus`.
    pub(super) fn while_doing(self, doing: &str, effect: Effect) -> StepError {
        self.told(doing, effect, None)
    }

    fn told(self, doing: &str, effect: Effect, place: Option<(usize, usize)>) -> StepError {
        let lost = |why: String| match effect {
            Effect::Reads => StepError::transient("postgres.lost", format!("{doing}: {why}")),
            Effect::Writes => StepError::unknown(
                "postgres.lost",
                format!("{doing}: {why}; whether the server did it is not known"),
            ),
        };
        match self {
            Self::Refused(refusal) => refusal.told(doing, effect, place),
            Self::Lost(why) | Self::Tls(why) => lost(why),
            Self::TimedOut(limit) => lost(format!("no answer came within {} s", limit.as_secs())),
            Self::Garbled(why) => lost(format!("the answer could not be read: {why}")),
        }
    }
}

impl Refusal {
    /// Whether the session ended with it.
    fn is_fatal(&self) -> bool {
        self.severity != "ERROR"
    }

    fn told(self, doing: &str, effect: Effect, place: Option<(usize, usize)>) -> StepError {
        let place = place.map_or(String::new(), |(line, column)| format!(", line {line}, column {column}"));
        let words = self.message.trim().trim_end_matches('.');
        let detail = self.detail.as_deref().map_or(String::new(), |detail| {
            format!("; {}", detail.trim().trim_end_matches('.').replace('\n', " "))
        });
        let (state, severity) = (&self.state, &self.severity);
        let message = format!("{doing}: {words}{detail} ({severity}, SQLSTATE {state}{place})");
        let error = StepError::new(format!("postgres.{state}"), message);
        let known = KNOWN.iter().find(|(states, ..)| states.contains(&state.as_str()));
        let help = match (known, &self.hint) {
            (Some((_, _, help)), Some(hint)) => {
                Some(format!("{help} (the server: {})", hint.trim().trim_end_matches('.')))
            }
            (Some((_, _, help)), None) => Some((*help).to_owned()),
            (None, hint) => hint.as_ref().map(|hint| hint.trim().trim_end_matches('.').to_owned()),
        };
        // A session that ended with an error it is not known for may have ended after its work.
        let reaction = known.map(|(_, reaction, _)| *reaction);
        let unclear = reaction == Some(Reaction::Unclear) || (reaction.is_none() && self.is_fatal());
        StepError {
            transient: reaction == Some(Reaction::Wait) || (unclear && effect == Effect::Reads),
            unknown: unclear && effect == Effect::Writes,
            help,
            ..error
        }
    }
}

/// The line and the column of a character of a statement, each from 1.
fn line_and_column(sql: &str, position: usize) -> (usize, usize) {
    let before: String = sql.chars().take(position.saturating_sub(1)).collect();
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// The statement as a failure tells it: not at all where a password may stand in it.
fn told(sql: &str) -> String {
    match sql.to_lowercase().contains("password") {
        true => "*** (a password may stand in it)".into(),
        false => sql.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(state: &str, severity: &str) -> Failure {
        Failure::Refused(Box::new(Refusal {
            state: state.into(),
            severity: severity.into(),
            message: "It is so.".into(),
            detail: None,
            hint: None,
            position: None,
        }))
    }

    #[test]
    fn a_state_decides_how_a_run_goes_on() {
        for (state, severity, effect, transient, unknown) in [
            ("40001", "ERROR", Effect::Writes, true, false),
            ("53300", "FATAL", Effect::Reads, true, false),
            ("57P01", "FATAL", Effect::Writes, false, true),
            ("57P01", "FATAL", Effect::Reads, true, false),
            ("57014", "ERROR", Effect::Writes, false, false),
            ("28P01", "FATAL", Effect::Reads, false, false),
            ("23505", "ERROR", Effect::Writes, false, false),
            ("F0000", "FATAL", Effect::Writes, false, true),
        ] {
            let error = refusal(state, severity).while_doing("a test", effect);
            assert_eq!(
                (error.code, error.transient, error.unknown),
                (format!("postgres.{state}"), transient, unknown)
            );
            assert_eq!(error.message, format!("a test: It is so ({severity}, SQLSTATE {state})"));
        }
        assert!(refusal("23505", "ERROR").leaves_connection());
        assert!(!refusal("57P01", "FATAL").leaves_connection());
    }

    #[test]
    fn the_servers_own_hint_and_place_are_told() {
        let Failure::Refused(mut refusal) = refusal("42703", "ERROR") else { unreachable!() };
        refusal.hint = Some("Perhaps you meant x.".into());
        refusal.detail = Some("It has\ntwo lines.".into());
        refusal.position = Some(14);
        let error = Failure::Refused(refusal).of_statement("SELECT 1,\n  ä, y", "a query", Effect::Reads);
        assert_eq!(
            error.message,
            "a query: It is so; It has two lines (ERROR, SQLSTATE 42703, line 2, column 4)"
        );
        assert!(error.help.unwrap().ends_with("(the server: Perhaps you meant x)"));
        assert_eq!(error.detail.as_deref(), Some("SELECT 1,\n  ä, y"));
        let secret = self::refusal("42501", "ERROR").of_statement(
            "ALTER ROLE a PASSWORD 'x'",
            "a statement",
            Effect::Writes,
        );
        assert_eq!(secret.detail.as_deref(), Some("*** (a password may stand in it)"));
    }

    #[test]
    fn a_lost_answer_is_unknown_only_where_something_was_changed() {
        let reads = Failure::Lost("gone".into()).while_doing("a query", Effect::Reads);
        assert_eq!((reads.code.as_str(), reads.transient, reads.unknown), ("postgres.lost", true, false));
        let writes = Failure::TimedOut(Duration::from_secs(60)).while_doing("a script", Effect::Writes);
        assert_eq!((writes.transient, writes.unknown), (false, true));
        assert!(writes.message.contains("no answer came within 60 s; whether"), "{writes}");
    }

    #[test]
    fn no_state_has_two_meanings() {
        let mut states: Vec<&str> = KNOWN.iter().flat_map(|(states, ..)| states.iter().copied()).collect();
        let all = states.len();
        states.sort_unstable();
        states.dedup();
        assert_eq!(states.len(), all);
    }
}
