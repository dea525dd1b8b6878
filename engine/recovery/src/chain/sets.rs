//! [`Usable`]: the backup sets of one database that may be restored: stripes merged, the rest left out with a word.

use std::collections::HashMap;
use std::ops::Deref;

use crate::backup::{Backup, BackupType};
use crate::guid::Guid;
use crate::history::History;

/// One set as it was read, or merged of several entries.
pub(crate) enum Set<'h> {
    Read(&'h Backup),
    Merged(Box<Backup>),
}

impl Deref for Set<'_> {
    type Target = Backup;

    fn deref(&self) -> &Backup {
        match self {
            Set::Read(backup) => backup,
            Set::Merged(backup) => backup,
        }
    }
}

/// The sets of one database, each whole, in the order of their LSNs; and those that cannot be used.
pub(crate) struct Usable<'h> {
    /// Sets of type full, differential or log.
    pub(crate) sets: Vec<Set<'h>>,
    /// Sets that no chain may use, each with what is wrong.
    pub(crate) left_out: Vec<(Set<'h>, String)>,
}

impl<'h> Usable<'h> {
    /// The sets of `database` in `history`.
    pub(crate) fn of(history: &'h History, database: &str) -> Usable<'h> {
        let mut entries: Vec<&Backup> =
            history.backups().iter().filter(|entry| entry.database == database).collect();
        let mut seen: HashMap<&Guid, usize> = HashMap::with_capacity(entries.len());
        // Most sets are one entry; only the others are gathered.
        let mut shared: HashMap<&Guid, Vec<&Backup>> = HashMap::new();
        for entry in &entries {
            *seen.entry(&entry.backup_set_guid).or_default() += 1;
        }
        entries.retain(|entry| {
            let alone = seen.get(&entry.backup_set_guid) == Some(&1);
            if !alone {
                shared.entry(&entry.backup_set_guid).or_default().push(entry);
            }
            alone
        });
        let single = entries.into_iter().map(|entry| (Set::Read(entry), None));
        let (mut sets, mut left_out) = (Vec::with_capacity(seen.len()), Vec::new());
        for (set, disagreement) in single.chain(shared.into_values().filter_map(merged)) {
            match disagreement.or_else(|| fault(&set)) {
                Some(why) => left_out.push((set, why)),
                None => sets.push(set),
            }
        }
        sets.sort_by(|a, b| place(a).cmp(&place(b)));
        left_out.sort_by(|a, b| place(&a.0).cmp(&place(&b.0)));
        Usable { sets, left_out }
    }
}

/// Sorts sets so that neither the order of the input nor the hashing shows.
fn place(set: &Backup) -> impl Ord + '_ {
    (set.first_lsn, set.last_lsn, set.finished_at, &set.backup_set_guid)
}

/// One set of the entries that share a GUID: its stripes' files together; and what they disagree about. Nothing
/// where there are no entries.
fn merged(mut entries: Vec<&Backup>) -> Option<(Set<'_>, Option<String>)> {
    // The same entry stands for the set, whatever the order in which they came.
    entries.sort_by_cached_key(|entry| {
        (entry.range(), entry.finished_at, entry.server.clone(), entry.media.clone())
    });
    let (first, others) = entries.split_first().map(|(first, others)| (*first, others))?;
    if others.is_empty() {
        return Some((Set::Read(first), None));
    }
    let disagreement = disagreement(first, &entries);
    let mut media: Vec<&String> = entries.iter().flat_map(|entry| &entry.media).collect();
    media.sort();
    media.dedup();
    let whole = Backup {
        media: media.into_iter().cloned().collect(),
        is_damaged: entries.iter().filter_map(|entry| entry.is_damaged).max(),
        has_bulk_logged_data: entries.iter().filter_map(|entry| entry.has_bulk_logged_data).max(),
        ..first.clone()
    };
    Some((Set::Merged(Box::new(whole)), disagreement))
}

fn disagreement(first: &Backup, entries: &[&Backup]) -> Option<String> {
    let differ = |same: fn(&Backup, &Backup) -> bool| entries.iter().any(|entry| !same(first, entry));
    let about = if differ(|a, b| a.kind == b.kind) {
        "its type"
    } else if differ(|a, b| a.range() == b.range()) {
        "its LSNs"
    } else if differ(|a, b| a.position == b.position) {
        "its position on the media"
    } else {
        return None;
    };
    Some(format!("{} entries share its GUID and disagree about {about}", entries.len()))
}

fn fault(set: &Backup) -> Option<String> {
    if let BackupType::Other(name) = &set.kind {
        return Some(format!(
            "{name:?} backups cannot be restored by a chain of full, differential and log backups"
        ));
    }
    if set.is_damaged == Some(true) {
        return Some("the server found it damaged while writing".to_owned());
    }
    if set.media.is_empty() {
        return Some("it names no file".to_owned());
    }
    let files = u32::try_from(set.media.len()).unwrap_or(u32::MAX);
    if let Some(wanted) = set.media_count.filter(|wanted| *wanted > files) {
        return Some(format!("it is striped over {wanted} files and only {files} are known (error 3132)"));
    }
    if set.first_lsn > set.last_lsn {
        return Some(format!("its first LSN {} is after its last LSN {}", set.first_lsn, set.last_lsn));
    }
    if set.started_at > set.finished_at {
        return Some("it ends before it begins".to_owned());
    }
    None
}
