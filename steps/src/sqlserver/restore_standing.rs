//! Where a restore that was begun stands, by what the server says and what was noted: [`Standing`], [`Begun`].

use chrono::{NaiveDateTime, TimeDelta};
use drydock_recovery::guid::Guid;
use drydock_recovery::lsn::Lsn;
use drydock_step::StepError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::present;
use super::database::{DatabaseFacts, State};
use super::restore_chain::{MarkStop, RestoreChain, Stop};
use super::session::Session;
use super::sql::Identifier;

/// What is kept before the first statement is sent: the database as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Its state; nothing when there was none.
    pub(super) was: Option<String>,
    /// Its recovery fork, where that was to be seen.
    pub(super) fork: Option<Guid>,
    /// The newest restore that msdb told of.
    pub(super) history: Option<i64>,
    /// The session that works.
    pub(super) session_id: i64,
}

/// What is kept after each set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// How many sets of the chain are restored.
    pub(super) sets: usize,
    /// The last of them.
    pub(super) set: Guid,
    /// Where the server goes on.
    pub(super) redo_lsn: Option<Lsn>,
}

/// Where a restore stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// Nothing of it is there, or nothing that could be gone on with.
    Nothing,
    /// So many sets are restored; all of them where it only has to be recovered.
    Sets(usize),
    /// It is open.
    Recovered,
    /// The server's answer fits no place in the chain.
    Unclear(String),
}

/// A restore as msdb tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restored {
    id: i64,
    set: Guid,
}

impl Restored {
    /// The newest restore of a database.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn newest(session: &Session, database: &Identifier) -> Result<Option<Self>, StepError> {
        let sql = format!(
            "SELECT TOP (1) rh.restore_history_id, bs.backup_set_uuid FROM msdb.dbo.restorehistory AS rh \
             JOIN msdb.dbo.backupset AS bs ON bs.backup_set_id = rh.backup_set_id \
             WHERE rh.destination_database_name = {} ORDER BY rh.restore_history_id DESC",
            database.quoted()
        );
        let answer = session.ask("looking into the restore history", &sql).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        let id = present(row.number("restore_history_id")?, "restore_history_id")?;
        Ok(Some(Self { id, set: present(row.guid("backup_set_uuid")?, "backup_set_uuid")? }))
    }

    /// Checks that the server's own record of its newest restore names the moment that was meant, where it names one.
    ///
    /// # Errors
    /// `restore.position`, when it names another; what the server says.
    pub(super) async fn check_stop(
        session: &Session,
        database: &Identifier,
        stop: &Stop,
    ) -> Result<(), StepError> {
        let Stop::At { local, .. } = stop else { return Ok(()) };
        let sql = format!(
            "SELECT TOP (1) stop_at FROM msdb.dbo.restorehistory WHERE destination_database_name = {} ORDER BY restore_history_id DESC",
            database.quoted()
        );
        let answer = session.ask("looking into the restore history", &sql).await?;
        let told = answer.rows().next().map(|row| row.time("stop_at")).transpose()?.flatten();
        let meant = NaiveDateTime::parse_from_str(local, "%Y-%m-%dT%H:%M:%S%.f").ok();
        match (told, meant) {
            // `datetime` has ticks of a three-hundredth of a second.
            (Some(told), Some(meant)) if (told - meant).abs() > TimeDelta::milliseconds(4) => {
                let message = format!(
                    "database {database} shall stop at {local}, and msdb tells that it stopped at {told}"
                );
                Err(StepError::new("restore.position", message)
                    .help("the database is left RESTORING; restore again from the full backup"))
            }
            _ => Ok(()),
        }
    }

    /// Its number.
    pub(super) fn id(&self) -> i64 {
        self.id
    }
}

/// What the notes of a step tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Noted {
    /// Of the last attempt that began.
    pub(super) begun: Option<Begun>,
    /// The last set that it restored.
    pub(super) applied: Option<Applied>,
    /// The mark's place, as msdb told it to the first attempt: it may tell another later.
    pub(super) stop: Option<MarkStop>,
    /// Whether it has proved itself and its name is being swapped.
    pub(super) is_swapping: bool,
    /// Whether it was opened and has not proved itself: it has only to be looked at again.
    pub(super) is_unproved: bool,
}

impl Noted {
    /// The notes of this step's attempts; in a group, those about one database.
    pub(super) fn of(notes: &[Value], member: Option<&Identifier>) -> Self {
        let mut noted = Self::default();
        let own = |note: &&Value| {
            member.is_none_or(|member| note.get("database").and_then(Value::as_str) == Some(member.as_str()))
        };
        for note in notes {
            if note.get("decided").is_some() {
                // From here on another restore is told of, under names of its own.
                noted = Self { stop: noted.stop, ..Self::default() };
            }
            if !own(&note) {
                continue;
            }
            if let Some(unproved) = note.get("unproved").and_then(Value::as_bool) {
                noted.is_unproved = unproved;
            }
            noted.is_swapping |= note.get("swapping").is_some();
            if let Some(stop) = note.get("stop").and_then(|stop| MarkStop::deserialize(stop).ok()) {
                noted.stop = Some(stop);
            }
            if let Some(begun) = note.get("begun").and_then(|begun| Begun::deserialize(begun).ok()) {
                noted = Self { begun: Some(begun), stop: noted.stop, ..Self::default() };
            }
            if let Some(applied) = note.get("applied").and_then(|applied| Applied::deserialize(applied).ok())
            {
                noted.applied = Some(applied);
            }
        }
        noted
    }
}

/// Where the restore of a chain stands. Positions in the log decide; notes and msdb only tell apart what positions cannot.
pub(super) fn standing(
    chain: &RestoreChain,
    noted: &Noted,
    database: Option<&DatabaseFacts>,
    newest: Option<&Restored>,
) -> Standing {
    let (Some(begun), Some(database)) = (&noted.begun, database) else { return Standing::Nothing };
    let last = chain.pieces.last().map(|piece| &piece.backup.backup_set_guid);
    let since = newest.filter(|newest| begun.history.is_none_or(|before| newest.id > before));
    let ended = since.is_some_and(|newest| Some(&newest.set) == last)
        || noted.applied.as_ref().is_some_and(|applied| applied.sets == chain.pieces.len());
    // A database that waits, readable, for further logs is not recovered.
    if database.state == State::Restoring || database.is_standby {
        return match database.redo() {
            Some((redo, fork)) => sets_until(chain, redo, fork, ended),
            // The full backup was not restored to its end.
            None => Standing::Nothing,
        };
    }
    match database.state {
        State::Online if ended => Standing::Recovered,
        // Every restore that ends begins a fork of its own.
        State::Online if begun.fork.is_some() && begun.fork == database.fork => Standing::Nothing,
        State::Online if begun.was.as_deref() == Some("ONLINE") && since.is_none() => Standing::Nothing,
        State::Online => Standing::Unclear(
            "the database is ONLINE, and neither msdb nor the run's notes say that this restore opened it"
                .into(),
        ),
        State::Recovering => Standing::Unclear("the database is still being recovered".into()),
        State::Restoring
        | State::RecoveryPending
        | State::Suspect
        | State::Emergency
        | State::Offline
        | State::Other => Standing::Nothing,
    }
}

/// Where a database that waits for logs stands on a chain, whoever brought it there; nothing where it does not wait.
pub(super) fn waiting(chain: &RestoreChain, database: Option<&DatabaseFacts>) -> Option<Standing> {
    let database = database.filter(|database| database.is_standby)?;
    let (redo, fork) = database.redo()?;
    Some(sets_until(chain, redo, fork, false))
}

/// How many sets lead to this position.
fn sets_until(chain: &RestoreChain, redo: Lsn, fork: Option<&Guid>, ended: bool) -> Standing {
    let all = chain.pieces.len();
    let last = chain.pieces.last().map(|piece| piece.backup.last_lsn);
    if let Stop::Mark(mark) = &chain.stop
        && !mark.before
        && redo > mark.lsn
        && last.is_some_and(|last| redo <= last)
    {
        return Standing::Sets(all);
    }
    let stops_inside = match &chain.stop {
        Stop::Mark(mark) => mark.before,
        Stop::At { .. } => true,
        Stop::End => false,
    };
    let sets = || chain.pieces.iter().map(|piece| &piece.backup).enumerate();
    let on_fork = |own: Option<&Guid>| own.zip(fork).is_none_or(|(own, fork)| own == fork);
    if let Some((at, _)) = sets().rev().find(|(_, set)| set.last_lsn == redo && on_fork(set.fork())) {
        return Standing::Sets(at + 1);
    }
    let inside = sets().find(|(_, set)| set.first_lsn <= redo && redo < set.last_lsn && on_fork(set.fork()));
    match inside {
        // A stop inside leaves the last log half applied, and so does a log that was cut off.
        Some((at, _)) if stops_inside && at > 0 && ended => Standing::Sets(all),
        Some((at, _)) if at > 0 => Standing::Sets(at),
        _ => Standing::Unclear(format!(
            "the database is RESTORING and stands at LSN {redo}, where none of these backups leads"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sqlserver::database::FileFacts;
    use crate::sqlserver::restore_chain::GivenChain;
    use crate::sqlserver::restore_chain::tests::chain;

    fn needed(stop_at: Option<&str>) -> RestoreChain {
        let given: GivenChain = serde_json::from_value(chain()).unwrap();
        given.needed(stop_at.map(|at| at.parse().unwrap())).unwrap()
    }

    fn database(state: State, redo: Option<u64>, fork: &str) -> DatabaseFacts {
        let file = FileFacts {
            logical: "x".into(),
            path: "/x".into(),
            is_data: true,
            redo_start: redo.map(Lsn::from),
            redo_fork: Some(Guid::new("f1")),
            has_base: false,
            size: 0,
        };
        DatabaseFacts {
            state,
            state_word: String::new(),
            is_multi_user: true,
            is_standby: false,
            recovery_model: "FULL".into(),
            is_replica: false,
            is_snapshot: false,
            family: None,
            fork: Some(Guid::new(fork)),
            last_log_backup: None,
            files: vec![file],
        }
    }

    fn begun(was: Option<&str>) -> Noted {
        let note = json!({ "begun": { "was": was, "fork": "old", "history": 4, "session_id": 51 } });
        Noted::of(&[json!({ "other": 1 }), note], None)
    }

    fn newest(id: i64, set: &str) -> Option<Restored> {
        Some(Restored { id, set: Guid::new(set) })
    }

    #[test]
    fn a_restoring_database_stands_where_its_log_says() {
        let check = |redo: Option<u64>, expected: Standing| {
            let found =
                standing(&needed(None), &begun(None), Some(&database(State::Restoring, redo, "f1")), None);
            assert_eq!(found, expected, "{redo:?}");
        };
        check(None, Standing::Nothing);
        check(Some(20), Standing::Sets(1));
        check(Some(25), Standing::Sets(1));
        check(Some(30), Standing::Sets(2));
        check(Some(35), Standing::Sets(2));
        check(Some(36), Standing::Sets(3));
        let Standing::Unclear(why) =
            standing(&needed(None), &begun(None), Some(&database(State::Restoring, Some(5), "f1")), None)
        else {
            panic!("5 is no place in the chain")
        };
        assert!(why.contains("stands at LSN 5"), "{why}");
    }

    #[test]
    fn a_stop_at_a_moment_is_only_believed_with_a_witness() {
        let at = needed(Some("2026-07-14T03:22:00Z"));
        let here = database(State::Restoring, Some(33), "f1");
        assert_eq!(standing(&at, &begun(None), Some(&here), None), Standing::Sets(2));
        assert_eq!(standing(&at, &begun(None), Some(&here), newest(5, "C").as_ref()), Standing::Sets(3));
        assert_eq!(standing(&at, &begun(None), Some(&here), newest(4, "c").as_ref()), Standing::Sets(2));
    }

    #[test]
    fn an_open_database_is_told_apart_from_the_one_that_was_there() {
        let check = |was: Option<&str>, fork: &str, newest: Option<Restored>, expected: Standing| {
            let found = standing(
                &needed(None),
                &begun(was),
                Some(&database(State::Online, None, fork)),
                newest.as_ref(),
            );
            assert_eq!(found, expected);
        };
        check(Some("ONLINE"), "old", newest(4, "c"), Standing::Nothing);
        check(Some("ONLINE"), "new", newest(5, "c"), Standing::Recovered);
        check(None, "new", newest(5, "c"), Standing::Recovered);
        let found = standing(&needed(None), &begun(None), Some(&database(State::Online, None, "new")), None);
        assert!(matches!(found, Standing::Unclear(_)), "{found:?}");
        let mut noted = begun(None);
        noted.applied = Some(Applied { sets: 3, set: Guid::new("c"), redo_lsn: None });
        let found = standing(&needed(None), &noted, Some(&database(State::Online, None, "new")), None);
        assert_eq!(found, Standing::Recovered);
    }

    #[test]
    fn what_was_never_begun_is_not_ours() {
        let here = database(State::Restoring, Some(20), "f1");
        assert_eq!(standing(&needed(None), &Noted::default(), Some(&here), None), Standing::Nothing);
        assert_eq!(standing(&needed(None), &begun(None), None, None), Standing::Nothing);
        let offline = database(State::Offline, None, "f1");
        assert_eq!(standing(&needed(None), &begun(Some("ONLINE")), Some(&offline), None), Standing::Nothing);
    }

    #[test]
    fn a_later_attempt_begins_its_notes_anew() {
        let notes = [
            json!({ "begun": { "was": "ONLINE", "fork": null, "history": null, "session_id": 51 } }),
            json!({ "applied": { "sets": 3, "set": "c", "redo_lsn": "36" } }),
            json!({ "begun": { "was": "RESTORING", "fork": null, "history": 7, "session_id": 52 } }),
        ];
        let noted = Noted::of(&notes, None);
        assert_eq!((noted.begun.unwrap().history, noted.applied), (Some(7), None));
    }
}
