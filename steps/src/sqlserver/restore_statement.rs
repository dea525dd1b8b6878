//! The statements of a restore, in order: [`Stage`], made by [`stages`].

use super::media::devices;
use super::restore_chain::{RestoreChain, Stop};
use super::sql::quoted;
use drydock_recovery::backup::BackupType;

/// What a restore is given beside its chain. Names and texts are quoted already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The database as a name.
    pub(super) database: String,
    /// The devices of each set.
    pub(super) media: Vec<Vec<String>>,
    /// Where each file goes: MOVE clauses; nothing where that is not known yet.
    pub(super) moves: Vec<String>,
    /// Over what is there.
    pub(super) replace: bool,
    /// Compare checksums; absent ones are an error.
    pub(super) checksum: bool,
    /// After how many percent the server tells of it.
    pub(super) stats: Option<u8>,
    /// How the media are read: MAXTRANSFERSIZE, BUFFERCOUNT.
    pub(super) transfer: Vec<String>,
    /// The undo file as a text, where the database is left readable instead of open.
    pub(super) standby: Option<String>,
    /// What is kept when the database is opened: KEEP_REPLICATION, KEEP_CDC.
    pub(super) keep: Vec<&'static str>,
    /// Whether only its owner and administrators are let in afterwards.
    pub(super) restricted: bool,
}

/// What a statement does within a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Keeps everybody out.
    Fence,
    /// Restores the set of this index.
    Set(usize),
    /// Opens the database.
    Recover,
    /// Lets everybody in.
    Admit,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stage {
    /// What it does.
    pub(super) part: Part,
    /// The same in a few words.
    pub(super) doing: String,
    /// Its text.
    pub(super) sql: String,
}

impl Plan {
    /// Nobody can slip in between this and the restore, as one could where a single user is let in.
    pub(super) fn fence(&self) -> Stage {
        self.alter(Part::Fence, "SET OFFLINE WITH ROLLBACK IMMEDIATE")
    }

    /// Closes an open database to all but its owner and administrators, should its recovery have let others in.
    pub(super) fn restrict(&self) -> Stage {
        self.alter(Part::Recover, "SET RESTRICTED_USER WITH ROLLBACK IMMEDIATE")
    }

    /// Lets everybody in once the database has proved itself.
    pub(super) fn admit(&self) -> Stage {
        self.alter(Part::Admit, "SET MULTI_USER")
    }

    fn alter(&self, part: Part, change: &str) -> Stage {
        let sql = format!("ALTER DATABASE {} {change}", self.database);
        Stage { part, doing: sql.clone(), sql }
    }

    /// Opens the database where the sets have led it, at first to its owner and administrators alone; or leaves it readable there.
    pub(super) fn recover(&self) -> Stage {
        let mut options = match &self.standby {
            Some(undo) => vec![format!("STANDBY = {undo}")],
            None => vec!["RECOVERY".to_owned(), "RESTRICTED_USER".to_owned()],
        };
        options.extend(self.keep.iter().map(|kept| (*kept).to_owned()));
        let sql = format!("RESTORE DATABASE {} WITH {}", self.database, options.join(", "));
        Stage { part: Part::Recover, doing: sql.clone(), sql }
    }

    fn set(&self, index: usize, chain: &RestoreChain) -> Stage {
        let piece = chain.pieces.get(index);
        let kind = piece.map(|piece| &piece.backup.kind);
        let is_log = kind == Some(&BackupType::Log);
        let verb = if is_log { "RESTORE LOG" } else { "RESTORE DATABASE" };
        let position = piece.map_or(1, |piece| piece.backup.position);
        let mut options = vec![format!("FILE = {position}"), "NORECOVERY".to_owned()];
        if self.checksum {
            options.push("CHECKSUM".into());
        }
        if kind == Some(&BackupType::Full) {
            if self.replace {
                options.push("REPLACE".into());
            }
            options.extend(self.moves.iter().cloned());
        }
        // A time is repeated with every log, so that a clock that went wrong cannot carry the restore beyond it. Which log holds a mark
        // is known.
        let is_last = index + 1 == chain.pieces.len();
        match &chain.stop {
            Stop::Mark(mark) if is_last && is_log => {
                let stop = if mark.before { "STOPBEFOREMARK" } else { "STOPATMARK" };
                options.push(format!("{stop} = {}", quoted(&format!("lsn:{}", mark.lsn))));
            }
            Stop::At { local, .. } if is_log => options.push(format!("STOPAT = {}", quoted(local))),
            _ => {}
        }
        options.extend(self.transfer.iter().cloned());
        if let Some(percent) = self.stats {
            options.push(format!("STATS = {percent}"));
        }
        let media = self.media.get(index).map(Vec::as_slice).unwrap_or_default();
        let from = devices(media.iter().map(String::as_str));
        let doing = format!("{verb} {} (set {} of {})", self.database, index + 1, chain.pieces.len());
        let sql = format!("{verb} {} FROM {from} WITH {}", self.database, options.join(", "));
        Stage { part: Part::Set(index), doing, sql }
    }

    /// One statement a set.
    pub(super) fn sets(&self, chain: &RestoreChain) -> Vec<Stage> {
        (0..chain.pieces.len()).map(|index| self.set(index, chain)).collect()
    }
}

/// All statements of a restore; `fenced` where there is a database that somebody may be in.
pub(super) fn stages(plan: &Plan, chain: &RestoreChain, fenced: bool) -> Vec<Stage> {
    let mut stages = Vec::new();
    stages.extend(fenced.then(|| plan.fence()));
    stages.extend(plan.sets(chain));
    stages.push(plan.recover());
    stages.extend((!plan.restricted && plan.standby.is_none()).then(|| plan.admit()));
    stages
}

#[cfg(test)]
mod tests {
    use drydock_recovery::lsn::Lsn;

    use super::*;
    use crate::sqlserver::restore_chain::tests::chain;
    use crate::sqlserver::restore_chain::{GivenChain, MarkStop, Wish};

    fn plan() -> Plan {
        Plan {
            database: "[Octopus]".into(),
            media: vec![vec!["N'/a'".into(), "N'/a2'".into()], vec!["N'/b'".into()], vec!["N'/c'".into()]],
            moves: vec!["MOVE N'x' TO N'/x.mdf'".into()],
            replace: true,
            checksum: true,
            stats: Some(5),
            ..Plan::default()
        }
    }

    #[test]
    fn statements_come_in_order_and_never_recover_early() {
        let given: GivenChain = serde_json::from_value(chain()).unwrap();
        let found = stages(&plan(), &given.needed(None).unwrap(), true);
        let found: Vec<&str> = found.iter().map(|stage| stage.sql.as_str()).collect();
        assert_eq!(
            found,
            [
                "ALTER DATABASE [Octopus] SET OFFLINE WITH ROLLBACK IMMEDIATE",
                "RESTORE DATABASE [Octopus] FROM DISK = N'/a', DISK = N'/a2' WITH FILE = 1, NORECOVERY, CHECKSUM, REPLACE, \
                 MOVE N'x' TO N'/x.mdf', STATS = 5",
                "RESTORE LOG [Octopus] FROM DISK = N'/b' WITH FILE = 1, NORECOVERY, CHECKSUM, STATS = 5",
                "RESTORE LOG [Octopus] FROM DISK = N'/c' WITH FILE = 1, NORECOVERY, CHECKSUM, STOPATMARK = N'lsn:35', STATS = 5",
                "RESTORE DATABASE [Octopus] WITH RECOVERY, RESTRICTED_USER",
                "ALTER DATABASE [Octopus] SET MULTI_USER",
            ]
        );
    }

    #[test]
    fn a_time_is_said_with_every_log() {
        let given: GivenChain = serde_json::from_value(chain()).unwrap();
        let at = given.needed(Some("2026-07-14T03:22:00Z".parse().unwrap())).unwrap();
        let found = stages(&Plan { stats: None, checksum: false, ..plan() }, &at, false);
        let stops: Vec<bool> =
            found.iter().map(|stage| stage.sql.ends_with("STOPAT = N'2026-07-14T05:22:00.000'")).collect();
        assert_eq!(stops, [false, true, true, false, false]);
    }

    #[test]
    fn a_restore_ends_as_the_plan_wants() {
        let given: GivenChain = serde_json::from_value(chain()).unwrap();
        let last = |plan: Plan| -> Vec<String> {
            let found = stages(&plan, &given.needed(None).unwrap(), false);
            found.into_iter().skip(3).map(|stage| stage.sql).collect()
        };
        let standby = Plan { standby: Some("N'/undo.tuf'".into()), ..plan() };
        assert_eq!(last(standby), ["RESTORE DATABASE [Octopus] WITH STANDBY = N'/undo.tuf'"]);
        let kept = Plan { keep: vec!["KEEP_REPLICATION", "KEEP_CDC"], restricted: true, ..plan() };
        let sets = kept.sets(&given.needed(None).unwrap());
        assert!(sets.iter().all(|set| !set.sql.contains("KEEP")), "with NORECOVERY that is error 3031");
        assert_eq!(
            last(kept),
            ["RESTORE DATABASE [Octopus] WITH RECOVERY, RESTRICTED_USER, KEEP_REPLICATION, KEEP_CDC"]
        );
        let before = MarkStop { name: None, lsn: Lsn::from(35), before: true };
        let before = given.needed_to(&Wish::Mark(before)).unwrap();
        let plan =
            Plan { transfer: vec!["MAXTRANSFERSIZE = 65536".into(), "BUFFERCOUNT = 7".into()], ..plan() };
        let sets = plan.sets(&before);
        assert!(
            sets[2].sql.ends_with(
                "CHECKSUM, STOPBEFOREMARK = N'lsn:35', MAXTRANSFERSIZE = 65536, BUFFERCOUNT = 7, STATS = 5"
            ),
            "{}",
            sets[2].sql
        );
    }
}
