//! How far a recovering server is, by its own word: [`State`], told as [`ARRIVED`]; and opening it for writing: [`promoted`].

use std::time::Duration;

use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_step::{Field, Shape, StepError};
use serde_json::{Value, json};

use super::clock::moment;
use super::recover_to::RecoverTo;
use super::session::Session;

/// In a recovery neither the place where WAL is written nor its file's name can be asked for.
const ASKED: &str = "SELECT pg_is_in_recovery() AS in_recovery, \
    CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS pause, \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn, \
    CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END AS segment, \
    (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint AS last_commit";

/// The timeline that is replayed, and the cluster's number; both may be hidden from a role.
const CONTROL: &str = "SELECT s.system_identifier AS id, c.timeline_id AS timeline, r.min_recovery_end_timeline AS replayed \
    FROM pg_control_system() AS s, pg_control_checkpoint() AS c, pg_control_recovery() AS r";

/// Between two looks at a server that is being promoted.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How often it is looked at: for ten minutes.
const LOOKS: u32 = 3000;

/// The outputs of what has arrived somewhere.
pub(super) const ARRIVED: &[Field] = &[
    Field::required("lsn", Shape::Text, "The place in the WAL that it has arrived at."),
    Field::required("timeline", Shape::Integer, "The timeline that it is on; a new one once it is promoted."),
    Field::required("promoted", Shape::Boolean, "Whether it is open for writing."),
    Field::optional("last_commit", Shape::Datetime, "When the last transaction in it was committed."),
    Field::optional("system_identifier", Shape::Text, "The cluster's own number, where the role may see it."),
];

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    in_recovery: bool,
    is_paused: bool,
    lsn: String,
    timeline: Option<i64>,
    last_commit: Option<Time>,
    system_identifier: Option<String>,
}

impl State {
    /// Asks the server.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(session: &Session) -> Result<Self, StepError> {
        let answer = session.ask("asking how far the recovery is", ASKED).await?;
        let row = answer.first()?;
        let control = session.ask("asking for the server's identity", CONTROL).await.ok();
        let control = control.as_ref().and_then(|control| control.first().ok());
        let segment = row.text("segment")?.and_then(|name| i64::from_str_radix(name.get(..8)?, 16).ok());
        let number = |column: &str| control.and_then(|row| row.number(column).ok().flatten());
        // While it recovers, the control file knows how far it must get at least; 0 where that is behind it.
        let replayed = number("replayed").filter(|timeline| *timeline > 0);
        Ok(Self {
            in_recovery: row.flag("in_recovery")?,
            is_paused: row.text("pause")? == Some("paused"),
            lsn: row.text("lsn")?.unwrap_or("0/0").to_owned(),
            timeline: segment.or(replayed).or_else(|| number("timeline")),
            last_commit: row.number("last_commit")?.map(moment).transpose()?,
            system_identifier: control.and_then(|row| row.text("id").ok().flatten()).map(str::to_owned),
        })
    }

    /// Whether it is where it was to stop. At the end of the WAL it opens itself.
    pub(super) fn has_arrived(&self, to: &RecoverTo) -> bool {
        match to {
            RecoverTo::End => !self.in_recovery,
            _ => self.is_paused || !self.in_recovery,
        }
    }

    /// Whether it is open for writing.
    pub(super) fn is_open(&self) -> bool {
        !self.in_recovery
    }

    /// In a line.
    pub(super) fn in_words(&self) -> String {
        let commit =
            self.last_commit.map(|time| format!(", last commit of {}", clock(time))).unwrap_or_default();
        format!("replayed up to {}{commit}", self.lsn)
    }

    /// The outputs that tell of it.
    pub(super) fn outputs(&self) -> Value {
        let mut outputs = json!({
            "lsn": self.lsn,
            "timeline": self.timeline.unwrap_or_default(),
            "promoted": !self.in_recovery,
        });
        if let Some(time) = self.last_commit {
            outputs["last_commit"] = json!(clock(time));
        }
        if let Some(id) = &self.system_identifier {
            outputs["system_identifier"] = json!(id);
        }
        outputs
    }
}

/// Opens a server for writing that waits where it was to stop; where it is then, on its new timeline.
///
/// # Errors
/// What the server says, `postgres.recovery` when it does not open within ten minutes.
pub(super) async fn promoted(session: &Session) -> Result<State, StepError> {
    let state = State::of(session).await?;
    if !state.in_recovery {
        return Ok(state);
    }
    // Paused at its target, going on means that the recovery ends there.
    let sql = if state.is_paused { "SELECT pg_wal_replay_resume()" } else { "SELECT pg_promote(false)" };
    session.work("opening the server for writing", sql).await?;
    for _ in 0..LOOKS {
        let state = State::of(session).await?;
        if !state.in_recovery {
            return Ok(state);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(StepError::transient(
        "postgres.recovery",
        "the server was told to open for writing and has not done so in ten minutes",
    )
    .help("its log says what it waits for"))
}
