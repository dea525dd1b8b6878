//! [`Usable`]: the backup sets of one database that may be restored: stripes merged, the rest left out with a word.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::backup::{Backup, BackupType};
use crate::guid::Guid;
use crate::history::History;

/// The sets of one database, each whole, in the order of their LSNs; and those that cannot be used.
pub(crate) struct Usable<'h> {
    /// Sets of type full, differential or log.
    pub(crate) sets: Vec<Cow<'h, Backup>>,
    /// Sets that no chain may use, each with what is wrong.
    pub(crate) left_out: Vec<(Cow<'h, Backup>, String)>,
}

impl<'h> Usable<'h> {
    /// The sets of `database` in `history`.
    pub(crate) fn of(history: &'h History, database: &str) -> Usable<'h> {
        let mut by_guid: HashMap<&Guid, Vec<&'h Backup>> = HashMap::new();
        for backup in history.backups().iter().filter(|backup| backup.database == database) {
            by_guid.entry(&backup.backup_set_guid).or_default().push(backup);
        }
        let (mut sets, mut left_out) = (Vec::with_capacity(by_guid.len()), Vec::new());
        for entries in by_guid.into_values() {
            let (set, disagreement) = merged(&entries);
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

/// One set of the entries that share a GUID: its stripes' files together; and what they disagree about.
fn merged<'h>(entries: &[&'h Backup]) -> (Cow<'h, Backup>, Option<String>) {
    // The entry that says most stands for the set, whatever the order in which entries came.
    let Some(first) = entries.iter().min_by_key(|entry| (&entry.media, entry.server.as_str())).copied()
    else {
        unreachable!("a group of entries is never empty")
    };
    if entries.len() == 1 {
        return (Cow::Borrowed(first), None);
    }
    let disagreement = disagreement(first, entries);
    let mut media: Vec<&String> = entries.iter().flat_map(|entry| &entry.media).collect();
    media.sort();
    media.dedup();
    let whole = Backup {
        media: media.into_iter().cloned().collect(),
        is_damaged: entries.iter().filter_map(|entry| entry.is_damaged).max(),
        has_bulk_logged_data: entries.iter().filter_map(|entry| entry.has_bulk_logged_data).max(),
        ..first.clone()
    };
    (Cow::Owned(whole), disagreement)
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
