//! The chain that a restore is given, and the sets of it that are needed: [`GivenChain`], [`RestoreChain`].

use chrono::{DateTime, Utc};
use drydock_recovery::backup::{Backup, BackupType};
use drydock_recovery::chain::{ChainRequest, Goal, choose};
use drydock_recovery::history::History;
use drydock_recovery::lsn::Lsn;
use drydock_step::StepError;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::restore_zone::shown_at;

/// Backups of one database, as `point.select`, `drydock chain` or the outputs of `sqlserver.backup` give them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenChain {
    pieces: Vec<Piece>,
    mark: Option<MarkStop>,
    stop_at: Option<DateTime<Utc>>,
    recovers_to: Option<DateTime<Utc>>,
    offset_minutes: Option<i16>,
}

/// One backup set and where it lies in the artifact store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The set.
    pub(super) backup: Backup,
    /// Its files in the store; empty where only a server's own media hold it.
    pub(super) artifacts: Vec<String>,
    /// What its database used that not every edition has, where that is told.
    pub(super) edition_features: Vec<String>,
}

/// The mark to stop at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MarkStop {
    /// Its name.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Its place in the log.
    pub(super) lsn: Lsn,
    /// Right before it instead of right after it.
    #[serde(default)]
    pub(super) before: bool,
}

/// Where a plan wants a restore to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Where the chain itself says.
    Chain,
    /// At a moment.
    At(DateTime<Utc>),
    /// At a mark, whose place is known.
    Mark(MarkStop),
}

/// Where a restore stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// At the end of the last set.
    End,
    /// Right after a marked transaction, or right before it.
    Mark(MarkStop),
    /// At a moment, told as the clock of the server that logged it showed it.
    At {
        /// The moment.
        at: DateTime<Utc>,
        /// What that clock showed, `2026-07-14T03:10:00.000`.
        local: String,
    },
}

/// The sets to restore, in order, and where to stop in the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RestoreChain {
    /// A full, perhaps a differential, and logs.
    pub(super) pieces: Vec<Piece>,
    /// Where it stops.
    pub(super) stop: Stop,
    /// The moment that the database will be at.
    pub(super) recovers_to: DateTime<Utc>,
    /// What is worth knowing about the choice.
    pub(super) problems: Vec<String>,
}

fn of<T: DeserializeOwned>(map: &Map<String, Value>, key: &str) -> Result<Option<T>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            serde_json::from_value(value.clone()).map(Some).map_err(|error| format!("`{key}`: {error}"))
        }
    }
}

impl GivenChain {
    fn read(value: Value) -> Result<Self, String> {
        let map = match value {
            Value::Array(backups) => Map::from_iter([("backups".to_owned(), Value::Array(backups))]),
            Value::Object(map) => map,
            _ => return Err("a chain is a mapping with `backups`, or a list of backups".into()),
        };
        let Some(Value::Array(backups)) = map.get("backups") else {
            return Err("it has no list `backups`".into());
        };
        let pieces = backups
            .iter()
            .enumerate()
            .map(|(at, backup)| Piece::read(backup).map_err(|why| format!("`backups[{at}]`: {why}")));
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        let mark = match of(&map, "stop_at_mark")? {
            None => of(&map, "mark")?,
            mark => mark,
        };
        let by_lsn = of(&map, "stop_at_lsn")?.map(|lsn| MarkStop { name: None, lsn, before: false });
        let server: Option<Map<String, Value>> = of(&map, "server")?;
        Ok(Self {
            pieces,
            mark: mark.or(by_lsn),
            stop_at: of(&map, "stop_at")?,
            recovers_to: of(&map, "recovers_to")?,
            offset_minutes: server.map_or(Ok(None), |server| of(&server, "utc_offset_minutes"))?,
        })
    }

    /// All its sets, as they were given.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The sets that lead where the chain leads, or to another moment of it.
    ///
    /// # Errors
    /// `restore.chain`, when these backups do not lead there: which log is missing between which positions and times.
    pub(super) fn needed(&self, stop_at: Option<DateTime<Utc>>) -> Result<RestoreChain, StepError> {
        self.needed_to(&stop_at.map_or(Wish::Chain, Wish::At))
    }

    /// The sets that lead where the plan wishes.
    ///
    /// # Errors
    /// As [`GivenChain::needed`].
    pub(super) fn needed_to(&self, wish: &Wish) -> Result<RestoreChain, StepError> {
        let backups: Vec<Backup> = self.pieces.iter().map(|piece| piece.backup.clone()).collect();
        let mark = match wish {
            Wish::Mark(mark) => Some(mark),
            Wish::Chain => self.mark.as_ref(),
            Wish::At(_) => None,
        };
        let goal = match (wish, mark) {
            (Wish::At(at), _) => Goal::At(*at),
            (_, Some(mark)) => Goal::Mark { lsn: mark.lsn, at: self.moment_of(mark, &backups) },
            (_, None) => self.stop_at.map_or(Goal::End, Goal::At),
        };
        let request = ChainRequest { goal, ..ChainRequest::default() };
        let chosen = choose(&History::from(backups), &request).map_err(|refusal| {
            let why: Vec<String> = refusal.reasons.iter().map(ToString::to_string).collect();
            let error =
                StepError::new("restore.chain", format!("the backups lead nowhere: {}", why.join("; ")));
            match refusal.help.first() {
                Some(help) => error.help(help.clone()),
                None => error,
            }
        })?;
        let piece = |set: &Backup| {
            let same = |piece: &&Piece| piece.backup.backup_set_guid == set.backup_set_guid;
            let given = || self.pieces.iter().filter(same);
            let artifacts = given().flat_map(|piece| piece.artifacts.clone()).collect();
            let edition_features = given().flat_map(|piece| piece.edition_features.clone()).collect();
            Piece { backup: set.clone(), artifacts, edition_features }
        };
        let mut pieces: Vec<Piece> = chosen.backups.iter().map(piece).collect();
        if let (Goal::At(at), true) = (goal, chosen.stop_at.is_some()) {
            pieces.extend(self.next_log(pieces.last(), at).cloned());
        }
        let stop = match (goal, mark) {
            (Goal::Mark { .. }, Some(mark)) => Stop::Mark(mark.clone()),
            (Goal::At(at), _) if chosen.stop_at.is_some() => self.at(at, pieces.last())?,
            _ => Stop::End,
        };
        let problems = chosen.problems.iter().map(ToString::to_string).collect();
        Ok(RestoreChain { pieces, stop, recovers_to: chosen.recovers_to, problems })
    }

    /// The log behind the last one, where the moment lies in the time that this took to be backed up: what was committed then may be in
    /// either of the two.
    fn next_log(&self, last: Option<&Piece>, at: DateTime<Utc>) -> Option<&Piece> {
        let last = &last?.backup;
        let follows = |next: &Backup| {
            next.kind == BackupType::Log
                && next.first_lsn == last.last_lsn
                && next.last_lsn > last.last_lsn
                && next.fork() == last.fork()
        };
        let is_late = last.kind == BackupType::Log && at > last.started_at;
        self.pieces.iter().find(|piece| is_late && follows(&piece.backup))
    }

    /// When a mark was set: the chain tells that of its own. Of another one it is only known which log holds it.
    fn moment_of(&self, mark: &MarkStop, backups: &[Backup]) -> DateTime<Utc> {
        let own = self.mark.as_ref().filter(|own| own.lsn == mark.lsn).and(self.recovers_to);
        let holds = |set: &&Backup| {
            set.kind == BackupType::Log && set.first_lsn <= mark.lsn && mark.lsn < set.last_lsn
        };
        let log = backups.iter().find(holds).map(|log| log.finished_at);
        let last = || backups.iter().map(|backup| backup.finished_at).max().unwrap_or_default();
        own.or(log).unwrap_or_else(last)
    }

    /// The mark that the chain itself names.
    pub(super) fn mark(&self) -> Option<&MarkStop> {
        self.mark.as_ref()
    }

    /// The database that was backed up, as its own server names it.
    pub(super) fn source(&self) -> Option<&str> {
        self.pieces.first().map(|piece| piece.backup.database.as_str())
    }

    /// Whether one of the logs holds this place.
    pub(super) fn holds(&self, lsn: Lsn) -> bool {
        let logs = self.pieces.iter().map(|piece| &piece.backup).filter(|set| set.kind == BackupType::Log);
        logs.into_iter().any(|log| log.first_lsn <= lsn && lsn < log.last_lsn)
    }

    /// A stop at a moment, as the clock of the server that wrote the log showed it.
    fn at(&self, at: DateTime<Utc>, last: Option<&Piece>) -> Result<Stop, StepError> {
        let all: Vec<Backup> = self.pieces.iter().map(|piece| piece.backup.clone()).collect();
        let local = shown_at(at, last.map(|last| &last.backup), &all, self.offset_minutes)?;
        Ok(Stop::At { at, local })
    }
}

impl Piece {
    fn read(value: &Value) -> Result<Self, String> {
        let Value::Object(map) = value else { return Err("it is no mapping".into()) };
        let entry = map.get("backup").unwrap_or(value);
        let backup = Backup::deserialize(entry).map_err(|error| error.to_string())?;
        let path = |artifact: &Value| match artifact {
            Value::String(path) => Ok(path.clone()),
            Value::Object(artifact) => of(artifact, "path")?.ok_or("an artifact has no `path`".to_owned()),
            _ => Err("an artifact is a path or a mapping with `path`".to_owned()),
        };
        let artifacts = match map.get("artifacts") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(artifacts)) => artifacts.iter().map(path).collect::<Result<_, _>>()?,
            Some(_) => return Err("`artifacts` is no list".into()),
        };
        let edition_features = of(map, "edition_features")?.unwrap_or_default();
        Ok(Self { backup, artifacts, edition_features })
    }
}

impl<'de> Deserialize<'de> for GivenChain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use drydock_recovery::backup::clock;
    use serde_json::json;

    use super::*;

    /// A backup's entry: LSNs from and to, minutes after 03:00.
    pub(in crate::sqlserver) fn entry(
        kind: &str,
        guid: &str,
        lsns: (u32, u32),
        minutes: (u32, u32),
    ) -> Value {
        let time = |minute: u32| format!("2026-07-14T03:{minute:02}:00Z");
        json!({
            "server": "SQL01", "database": "Octopus", "type": kind, "copy_only": false, "position": 1,
            "backup_set_guid": guid, "first_lsn": lsns.0.to_string(), "last_lsn": lsns.1.to_string(),
            "checkpoint_lsn": lsns.0.to_string(), "database_backup_lsn": if kind == "full" { "0" } else { "10" },
            "differential_base_lsn": null, "first_recovery_fork_id": "f1", "recovery_fork_id": "f1",
            "started_at": time(minutes.0), "finished_at": time(minutes.1), "media": [format!(r"D:\old\{guid}.bak")],
            "family_guid": "fam", "time_zone": 8, "recovery_model": "FULL",
        })
    }

    /// A full and two logs, the mark in the second.
    pub(in crate::sqlserver) fn chain() -> Value {
        json!({
            "database": "Octopus",
            "server": { "name": "SQL01", "utc_offset_minutes": 120 },
            "stop_at_mark": { "name": "dd_1", "lsn": "35" },
            "recovers_to": "2026-07-14T03:25:00Z",
            "backups": [
                { "backup": entry("full", "a", (10, 20), (0, 5)), "artifacts": [{ "path": "sql/a.bak", "size": 1 }] },
                { "backup": entry("log", "b", (15, 30), (6, 10)), "artifacts": ["sql/b.trn"] },
                { "backup": entry("log", "c", (30, 40), (20, 30)), "artifacts": ["sql/c.trn"] },
            ],
        })
    }

    fn read(chain: Value) -> GivenChain {
        serde_json::from_value(chain).unwrap()
    }

    fn guids(chain: &RestoreChain) -> Vec<&str> {
        chain.pieces.iter().map(|piece| piece.backup.backup_set_guid.as_str()).collect()
    }

    #[test]
    fn the_log_that_holds_the_mark_is_the_last() {
        let found = read(chain()).needed(None).unwrap();
        assert_eq!(guids(&found), ["a", "b", "c"]);
        assert_eq!(
            found.stop,
            Stop::Mark(MarkStop { name: Some("dd_1".into()), lsn: Lsn::from(35), before: false })
        );
        assert_eq!(found.pieces[1].artifacts, ["sql/b.trn"]);
        for (lsn, expected) in [("29", &["a", "b"][..]), ("30", &["a", "b", "c"])] {
            let mut chain = chain();
            chain["stop_at_mark"]["lsn"] = lsn.into();
            assert_eq!(guids(&read(chain).needed(None).unwrap()), expected, "{lsn}");
        }
    }

    #[test]
    fn a_moment_is_told_by_the_clock_of_the_server_that_logged_it() {
        let at = "2026-07-14T03:08:00.5Z".parse().unwrap();
        let found = read(chain()).needed(Some(at)).unwrap();
        assert_eq!(guids(&found), ["a", "b", "c"], "what was committed while b was taken may be in c");
        let early = read(chain()).needed(Some("2026-07-14T03:05:30Z".parse().unwrap())).unwrap();
        assert_eq!(guids(&early), ["a", "b"]);
        assert_eq!(found.stop, Stop::At { at, local: "2026-07-14T05:08:00.500".into() });
        let mut unknown = chain();
        for backup in unknown["backups"].as_array_mut().unwrap() {
            backup["backup"]["time_zone"] = 127.into();
        }
        assert_eq!(read(unknown.clone()).needed(Some(at)).unwrap().stop, found.stop);
        unknown["server"] = Value::Null;
        assert_eq!(read(unknown).needed(Some(at)).unwrap_err().code, "restore.zone");
    }

    #[test]
    fn backups_alone_are_a_chain_to_their_end() {
        let backups = json!([entry("log", "b", (15, 30), (6, 10)), entry("full", "a", (10, 20), (0, 5))]);
        let found = read(backups).needed(None).unwrap();
        assert_eq!((guids(&found), &found.stop), (vec!["a", "b"], &Stop::End));
        assert_eq!(clock(found.recovers_to), "2026-07-14T03:10:00Z");
    }

    #[test]
    fn what_leads_nowhere_says_what_is_missing() {
        let mut gap = chain();
        gap["backups"].as_array_mut().unwrap().remove(1);
        let error = read(gap).needed(None).unwrap_err();
        assert_eq!(error.code, "restore.chain");
        assert!(error.message.contains("20") && error.message.contains("30"), "{error}");
        let mut beyond = chain();
        beyond["stop_at_mark"]["lsn"] = "40".into();
        assert_eq!(read(beyond).needed(None).unwrap_err().code, "restore.chain");
    }

    #[test]
    fn what_is_no_chain_is_refused_with_its_place() {
        for (chain, words) in [
            (json!("x"), "a chain is a mapping"),
            (json!({}), "it has no list `backups`"),
            (json!({ "backups": [{ "server": "x" }] }), "`backups[0]`: missing field `database`"),
            (json!({ "backups": [], "mark": { "lsn": 1.5 } }), "`mark`:"),
            (
                json!([{ "backup": entry("full", "a", (1, 2), (0, 1)), "artifacts": [3] }]),
                "an artifact is a path",
            ),
        ] {
            let error = serde_json::from_value::<GivenChain>(chain).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
