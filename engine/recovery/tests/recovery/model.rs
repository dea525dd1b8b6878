//! A small model of a database server that is backed up, restored in place and loses backups: it knows the truth of
//! every moment and really applies backups by the server's rules.

use chrono::{DateTime, TimeDelta, Utc};
use drydock_recovery::backup::{Backup, BackupType};
use drydock_recovery::guid::Guid;
use drydock_recovery::lsn::Lsn;

type Time = DateTime<Utc>;

/// A seeded source of numbers (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One committed change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) lsn: u64,
    pub(crate) at: Time,
    pub(crate) id: u32,
}

/// A backup as the history tells of it, and what it really holds.
#[derive(Clone)]
pub(crate) struct Medium {
    pub(crate) backup: Backup,
    /// Of a data backup: everything up to its end. Of a log: the changes in its range.
    pub(crate) changes: Vec<Change>,
}

/// A database in the middle of a restore.
#[derive(Clone, Debug)]
pub(crate) struct Restoring {
    pub(crate) changes: Vec<Change>,
    pub(crate) redo: u64,
    pub(crate) fork: Guid,
    pub(crate) base: Guid,
    /// Until when what was applied proves the state.
    pub(crate) proved: Time,
}

pub(crate) fn block(lsn: u64) -> Lsn {
    Lsn::parse(&format!("{}", 39_000_000_000_000_000_u64 + lsn * 100_000 + 1)).expect("digits")
}

fn position(lsn: Lsn) -> u64 {
    lsn.block()
}

/// The server with its one database, and everything that happened to it.
pub(crate) struct Server {
    pub(crate) dice: Dice,
    pub(crate) now: Time,
    pub(crate) media: Vec<Medium>,
    /// Which changes the database held from a moment on: one entry per change or return.
    truth: Vec<(Time, Vec<Change>)>,
    changes: Vec<Change>,
    end: u64,
    /// Where log backups ended on the way to now, and on which fork.
    log_ends: Vec<(u64, Guid)>,
    fork: Guid,
    fork_point: Option<u64>,
    /// Conventional fulls on the way to now: identity, checkpoint, end.
    bases: Vec<(Guid, u64, u64)>,
    ids: u32,
}

impl Server {
    pub(crate) fn new(seed: u64) -> Server {
        let now = DateTime::from_timestamp(1_783_990_000, 0).expect("a moment");
        let fork = Guid::new("fork-0");
        Server {
            dice: Dice::new(seed),
            now,
            media: Vec::new(),
            truth: vec![(now, Vec::new())],
            changes: Vec::new(),
            end: 1000,
            log_ends: vec![(1000, fork.clone())],
            fork,
            fork_point: None,
            bases: Vec::new(),
            ids: 0,
        }
    }

    /// A number that no change, backup or fork has yet.
    fn fresh(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    fn wait(&mut self) {
        self.now += TimeDelta::milliseconds(1000 + i64::try_from(self.dice.roll(600_000)).expect("small"));
    }

    pub(crate) fn commit(&mut self) {
        self.wait();
        let id = self.fresh();
        self.changes.push(Change { lsn: self.end, at: self.now, id });
        self.end += 1 + self.dice.roll(20);
        self.truth.push((self.now, self.changes.clone()));
    }

    fn set(&mut self, kind: BackupType, first: u64, started_at: Time) -> Backup {
        let guid = format!("{}-{}", kind.as_str(), self.fresh());
        Backup {
            server: "S".into(),
            availability_group: None,
            database: "D".into(),
            kind,
            copy_only: false,
            position: 1,
            backup_set_guid: Guid::new(guid.clone()),
            first_lsn: block(first),
            last_lsn: block(self.end),
            checkpoint_lsn: Some(block(first)),
            database_backup_lsn: self.bases.last().map(|(_, checkpoint, _)| block(*checkpoint)),
            differential_base_lsn: None,
            first_recovery_fork_id: Some(self.fork.clone()),
            recovery_fork_id: Some(self.fork.clone()),
            started_at,
            finished_at: self.now,
            media: vec![format!("{guid}.bak")],
            differential_base_guid: None,
            family_guid: None,
            fork_point_lsn: None,
            has_bulk_logged_data: None,
            is_damaged: None,
            recovery_model: None,
            time_zone: None,
            software_major: None,
            media_count: None,
        }
    }

    /// A full backup; changes and a log backup may happen while it runs.
    pub(crate) fn full(&mut self) {
        self.wait();
        let (first, started) = (self.end, self.now);
        let copy_only = self.dice.roll(4) == 0;
        for _ in 0..self.dice.roll(3) {
            if self.dice.roll(3) == 0 { self.log() } else { self.commit() }
        }
        self.wait();
        let backup = Backup { copy_only, ..self.set(BackupType::Full, first, started) };
        if !copy_only {
            self.bases.push((backup.backup_set_guid.clone(), first, self.end));
        }
        self.media.push(Medium { backup, changes: self.changes.clone() });
    }

    pub(crate) fn differential(&mut self) {
        self.wait();
        let Some((guid, checkpoint, _)) = self.bases.last().cloned() else { return };
        let set = self.set(BackupType::Differential, self.end, self.now);
        let names_its_base = self.dice.roll(3) > 0;
        let backup = Backup {
            differential_base_lsn: names_its_base.then(|| block(checkpoint)),
            differential_base_guid: Some(guid),
            ..set
        };
        self.media.push(Medium { backup, changes: self.changes.clone() });
    }

    pub(crate) fn log(&mut self) {
        self.wait();
        let Some((first, fork)) = self.log_ends.last().cloned() else { return };
        let set = self.set(BackupType::Log, first, self.now);
        let backup = Backup {
            fork_point_lsn: self.fork_point.filter(|_| fork != self.fork).map(block),
            first_recovery_fork_id: Some(fork),
            has_bulk_logged_data: (self.dice.roll(8) == 0).then_some(true),
            ..set
        };
        let changes = self.changes.iter().filter(|change| change.lsn >= first).cloned().collect();
        self.media.push(Medium { backup, changes });
        self.end_log_here();
    }

    fn end_log_here(&mut self) {
        self.log_ends.push((self.end, self.fork.clone()));
        self.fork_point = None;
    }

    /// Log is thrown away without a backup, as a switch of the recovery model does; only a new data backup helps.
    pub(crate) fn truncate(&mut self) {
        self.commit();
        self.end_log_here();
    }

    /// The database is restored in place to an earlier moment and opened: a new fork begins.
    pub(crate) fn go_back(&mut self) {
        let Some((.., oldest)) = self.bases.first().cloned() else { return };
        let steps = 1 + usize::try_from(self.dice.roll(6)).expect("small");
        let Some(keep) = self.changes.len().checked_sub(steps) else { return };
        let point = self.changes[keep].lsn;
        // A second return before the first was backed up would need backups that no header tells apart.
        if point < oldest || self.fork_point.is_some() {
            return;
        }
        // A log that would cross two forks names only one of them in its header; nobody could tell.
        let log_end = self.log_ends.iter().rev().find(|(end, _)| *end <= point);
        if log_end.is_none_or(|(_, fork)| *fork != self.fork) {
            return;
        }
        self.wait();
        self.changes.truncate(keep);
        self.bases.retain(|(.., end)| *end <= point);
        self.log_ends.retain(|(end, _)| *end <= point);
        let fork = self.fresh();
        (self.end, self.fork, self.fork_point) = (point, Guid::new(format!("fork-{fork}")), Some(point));
        self.truth.push((self.now, self.changes.clone()));
    }

    /// When the story begins.
    pub(crate) fn truth_begins(&self) -> Time {
        self.truth[0].0
    }

    /// The changes that the database held at a moment.
    pub(crate) fn truth(&self, at: Time) -> &[Change] {
        let known = self.truth.iter().rev().find(|(since, _)| *since <= at);
        known.map(|(_, changes)| changes.as_slice()).unwrap_or_default()
    }

    pub(crate) fn fork(&self) -> &Guid {
        &self.fork
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// Where a restore of logs stops.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    End,
    Time(Time),
    Lsn(Lsn),
}

impl Until {
    fn has(self, change: &Change) -> bool {
        match self {
            Until::End => true,
            Until::Time(at) => change.at <= at,
            Until::Lsn(lsn) => block(change.lsn) <= lsn,
        }
    }
}

/// Restores a full, by the server's rules.
pub(crate) fn restore_full(medium: &Medium) -> Option<Restoring> {
    let backup = &medium.backup;
    (backup.kind == BackupType::Full).then(|| Restoring {
        changes: medium.changes.clone(),
        redo: position(backup.last_lsn),
        fork: backup.recovery_fork_id.clone().expect("the model writes forks"),
        base: backup.backup_set_guid.clone(),
        proved: backup.finished_at,
    })
}

/// Applies a differential or a log; nothing where the server refuses it.
pub(crate) fn apply(state: &Restoring, medium: &Medium, until: Until) -> Option<Restoring> {
    let backup = &medium.backup;
    let (first, last) = (position(backup.first_lsn), position(backup.last_lsn));
    let fork = backup.recovery_fork_id.clone()?;
    let proved = state.proved.max(backup.finished_at);
    match backup.kind {
        BackupType::Differential => (backup.differential_base_guid.as_ref() == Some(&state.base)
            && state.redo <= last)
            .then(|| Restoring {
                changes: medium.changes.clone(),
                redo: last,
                fork,
                proved,
                base: Guid::new("no longer a full alone"),
            }),
        BackupType::Log => {
            let point = backup.fork_point_lsn.map(position);
            let beyond_fork = point.is_none_or(|point| state.redo > point);
            let expected = if beyond_fork { &fork } else { backup.first_recovery_fork_id.as_ref()? };
            let at_the_point = point == Some(state.redo) && state.fork == fork;
            if !(first <= state.redo && state.redo <= last && (state.fork == *expected || at_the_point)) {
                return None;
            }
            let mut changes = state.changes.clone();
            let news = medium.changes.iter().filter(|change| change.lsn >= state.redo);
            changes.extend(news.take_while(|change| until.has(change)).cloned());
            Some(Restoring { changes, redo: last, fork, base: Guid::new("logs applied"), proved })
        }
        _ => None,
    }
}
