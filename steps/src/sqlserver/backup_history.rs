//! What msdb knows of a database's earlier backups, for those who take the next one: [`Earlier`].

use chrono::{DateTime, Utc};
use drydock_recovery::guid::Guid;
use drydock_recovery::lsn::Lsn;
use drydock_step::StepError;

use super::answer::{Row, present};
use super::owners::LogTaken;
use super::server::ServerFacts;
use super::session::Session;
use super::sql::Identifier;

/// How many sets are looked at, the newest first.
const LOOKED_AT: usize = 1000;

/// An earlier set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Earlier {
    /// `D`, `I` or `L`.
    pub(super) kind: char,
    /// Outside of the sequence.
    pub(super) copy_only: bool,
    /// Its identity.
    pub(super) guid: Option<Guid>,
    /// Where it begins.
    pub(super) first: Lsn,
    /// Where it ends.
    pub(super) last: Lsn,
    /// The fork that it ends on.
    pub(super) fork: Option<Guid>,
    /// Bytes as written.
    pub(super) size: i64,
    /// Whose it is.
    pub(super) taken: LogTaken,
}

fn statement(database: &Identifier) -> String {
    format!(
        "SELECT TOP ({LOOKED_AT}) bs.type, bs.is_copy_only, bs.backup_set_uuid, bs.first_lsn, bs.last_lsn, bs.last_recovery_fork_guid, \
         bs.backup_size, bs.compressed_backup_size, bs.name, bs.user_name, bs.server_name, bs.backup_finish_date, bs.time_zone, \
         bmf.physical_device_name FROM msdb.dbo.backupset AS bs LEFT JOIN msdb.dbo.backupmediafamily AS bmf \
         ON bmf.media_set_id = bs.media_set_id AND bmf.mirror = 0 AND bmf.family_sequence_number = bs.first_family_number \
         WHERE bs.database_name = {} AND bs.type IN ('D', 'I', 'L') ORDER BY bs.backup_set_id DESC",
        database.quoted()
    )
}

impl Earlier {
    /// The newest sets of a database, the newest first.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn ask(
        session: &Session,
        facts: &ServerFacts,
        database: &Identifier,
    ) -> Result<Vec<Self>, StepError> {
        let answer = session.ask("looking into the backup history", &statement(database)).await?;
        answer.rows().map(|row| Self::of(row, facts)).collect()
    }

    fn of(row: Row<'_>, facts: &ServerFacts) -> Result<Self, StepError> {
        let text = |column| Ok::<_, StepError>(row.text(column)?.unwrap_or_default().to_owned());
        let zone = row.number("time_zone")?;
        let at: DateTime<Utc> =
            facts.utc(present(row.time("backup_finish_date")?, "backup_finish_date")?, zone);
        let size = row.number("backup_size")?.unwrap_or(0);
        Ok(Self {
            kind: present(row.text("type")?.and_then(|kind| kind.chars().next()), "type")?,
            copy_only: row.flag("is_copy_only")?,
            guid: row.guid("backup_set_uuid")?,
            first: present(row.lsn("first_lsn")?, "first_lsn")?,
            last: present(row.lsn("last_lsn")?, "last_lsn")?,
            fork: row.guid("last_recovery_fork_guid")?,
            size: row.number("compressed_backup_size")?.unwrap_or(size),
            taken: LogTaken {
                name: row.text("name")?.map(str::to_owned),
                user: text("user_name")?,
                server: text("server_name")?,
                device: text("physical_device_name")?,
                at,
            },
        })
    }
}

/// A stretch of the log that no known backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// Where it begins.
    pub(super) from: Lsn,
    /// Where the next known log begins.
    pub(super) to: Lsn,
}

/// What is missing between the logs since the last full, `newest first`, and where the next log begins.
pub(super) fn gap(sets: &[Earlier], fork: Option<&Guid>, next: Option<Lsn>) -> Option<Gap> {
    let on_fork = |set: &&Earlier| fork.is_none() || set.fork.is_none() || set.fork.as_ref() == fork;
    let full = sets.iter().find(|set| set.kind == 'D' && !set.copy_only)?;
    let after = |set: &&Earlier| set.kind == 'L' && !set.copy_only && set.last >= full.last;
    let mut logs: Vec<&Earlier> = sets.iter().filter(on_fork).filter(after).collect();
    logs.sort_by_key(|log| (log.first, log.last));
    let mut reached = logs.first().map_or(full.last, |log| log.first.min(full.last));
    let begins = logs.iter().map(|log| (log.first, log.last)).chain(next.map(|next| (next, next)));
    for (first, last) in begins {
        if first > reached {
            return Some(Gap { from: reached, to: first });
        }
        reached = reached.max(last);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: char, first: u64, last: u64) -> Earlier {
        Earlier {
            kind,
            copy_only: false,
            guid: None,
            first: Lsn::from(first),
            last: Lsn::from(last),
            fork: None,
            size: 1,
            taken: LogTaken {
                name: None,
                user: String::new(),
                server: String::new(),
                device: String::new(),
                at: DateTime::UNIX_EPOCH,
            },
        }
    }

    #[test]
    fn a_gap_is_found_between_logs_after_a_full_and_before_the_next() {
        let check = |sets: &[Earlier], next: Option<u64>, expected: Option<(u64, u64)>| {
            let expected = expected.map(|(from, to)| Gap { from: Lsn::from(from), to: Lsn::from(to) });
            assert_eq!(gap(sets, None, next.map(Lsn::from)), expected);
        };
        let full = set('D', 10, 20);
        check(&[set('L', 15, 30), full.clone()], Some(30), None);
        check(&[set('L', 30, 40), set('L', 15, 30), full.clone(), set('L', 1, 15)], Some(40), None);
        check(&[set('L', 35, 40), set('L', 15, 30), full.clone()], Some(40), Some((30, 35)));
        check(&[set('L', 15, 30), full.clone()], Some(34), Some((30, 34)));
        check(&[set('L', 25, 30), full.clone()], None, Some((20, 25)));
        check(std::slice::from_ref(&full), Some(15), None);
        check(&[full], Some(25), Some((20, 25)));
        check(&[set('L', 1, 2)], Some(9), None);
    }
}
