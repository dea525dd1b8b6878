//! The folder on the runner that pg_receivewal writes into, and that outlives runs: [`Spool`]. One streamer has it at a time.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use drydock_step::StepError;

use super::recover_to::lsn_number;
use super::segment::{Segment, SegmentSize, WalFile};
use crate::room::room_in;

/// The file whose lock says that somebody has the spool; the system frees it when that process ends.
const LOCK: &str = ".drydock-lock";
/// Where files go that a gap has made useless for streaming on.
const ASIDE: &str = "behind-a-gap";

/// Where a segment goes that is cut off and yet has something in it.
const SHORT: &str = "cut-off";
/// Segments that a spool has room for before anything is streamed into it.
const ROOM: u64 = 4;
/// What is read of a file at once.
const PIECE: usize = 64 * 1024;

/// A spool that is ours.
pub(super) struct Spool {
    folder: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Spool {
    /// Takes the folder, which is made where it is not there.
    ///
    /// # Errors
    /// `postgres.wal_busy` (transient) when somebody has it, `postgres.wal_spool` when it cannot be written.
    pub(super) fn taken(folder: &Path) -> Result<Self, StepError> {
        let failed = |error| spool_failed(folder, "be used", &error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another streamer on this runner has the spool {}", folder.display());
                Err(StepError::transient("postgres.wal_busy", message)
                    .help("end it (postgres.wal_stop), or give this one a `spool` of its own"))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files of the WAL in it, by name.
    ///
    /// # Errors
    /// `postgres.wal_spool`.
    pub(super) fn files(&self, size: SegmentSize) -> Result<Vec<(String, WalFile)>, StepError> {
        listed(&self.folder, size)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// `postgres.wal_spool`.
    pub(super) async fn read(&self, name: &str) -> Result<Bytes, StepError> {
        let read = tokio::fs::read(self.folder.join(name)).await;
        read.map(Bytes::from).map_err(|error| spool_failed(&self.folder, &format!("give {name}"), &error))
    }

    /// Removes a segment that is stored.
    ///
    /// # Errors
    /// `postgres.wal_spool`.
    pub(super) fn remove(&self, segment: Segment, size: SegmentSize) -> Result<(), StepError> {
        match std::fs::remove_file(self.folder.join(segment.name(size))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(spool_failed(&self.folder, "be tidied", &error))
            }
            _ => Ok(()),
        }
    }

    /// Takes away what pg_receivewal would not go on with: a segment that it was killed over, or found the disk full, while it still filled
    /// it with zeros, before it wrote anything there. One that is short and has something else in it goes into a folder beside.
    ///
    /// # Errors
    /// `postgres.wal_spool`.
    pub(super) fn without_unfilled(&self, size: SegmentSize) -> Result<(), StepError> {
        let failed = |error| spool_failed(&self.folder, "be tidied", &error);
        for (name, file) in self.files(size)? {
            let path = self.folder.join(&name);
            let length = std::fs::metadata(&path).map_err(failed)?.len();
            if !matches!(file, WalFile::Partial(_)) || length == 0 || length == size.bytes() {
                continue;
            }
            if is_empty(&path).map_err(failed)? {
                std::fs::remove_file(&path).map_err(failed)?;
            } else {
                let aside = self.folder.join(SHORT);
                std::fs::create_dir_all(&aside).map_err(failed)?;
                std::fs::rename(&path, aside.join(&name)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Puts what is in it aside, so that streaming begins where the slot says. Nothing is lost: it lies in a folder beside.
    ///
    /// # Errors
    /// `postgres.wal_spool`.
    pub(super) fn set_aside(&self, size: SegmentSize) -> Result<(), StepError> {
        let failed = |error| spool_failed(&self.folder, "be emptied", &error);
        let aside = self.folder.join(ASIDE);
        std::fs::create_dir_all(&aside).map_err(failed)?;
        for (name, _) in self.files(size)? {
            std::fs::rename(self.folder.join(&name), aside.join(&name)).map_err(failed)?;
        }
        Ok(())
    }
}

fn listed(folder: &Path, size: SegmentSize) -> Result<Vec<(String, WalFile)>, StepError> {
    let failed = |error| spool_failed(folder, "be listed", &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        found.extend(WalFile::parse(name, size).map(|file| (name.to_owned(), file)));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// Where streaming begins with these files in the spool, or with none where the slot says: pg_receivewal goes on behind the newest of them.
pub(super) fn begins_at(
    files: &[(String, WalFile)],
    restart_lsn: Option<&str>,
    size: SegmentSize,
) -> Option<Segment> {
    let begun = files.iter().filter_map(|(_, file)| match file {
        WalFile::Segment(segment) => Some(segment.next()),
        WalFile::Partial(segment) => Some(*segment),
        _ => None,
    });
    let of_slot = restart_lsn.and_then(lsn_number).map(|lsn| Segment::holding(1, lsn, size));
    begun.max_by_key(|segment| segment.number).or(of_slot)
}

/// A spool as it is before anybody takes it; nothing is made or changed. Its files.
///
/// # Errors
/// `postgres.wal_spool` when it could not be used.
pub(super) fn looked_at(folder: &Path, size: SegmentSize) -> Result<Vec<(String, WalFile)>, StepError> {
    let failed = |error: std::io::Error| spool_failed(folder, "be used", &error);
    // Where it is not there yet it is made in the nearest folder above.
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    if !std::fs::metadata(there).map_err(failed)?.is_dir() {
        return Err(failed(std::io::Error::other(format!("{} is no folder", there.display()))));
    }
    let free = room_in(there).map_err(failed)?;
    if let Some(free) = free.filter(|free| *free < ROOM * size.bytes()) {
        let message = format!(
            "the disk of the spool {} has {free} bytes left, and {ROOM} segments need {}",
            folder.display(),
            ROOM * size.bytes()
        );
        return Err(StepError::new("postgres.wal_spool", message)
            .help("free some space, or give a `spool` on another disk"));
    }
    if there == folder { listed(folder, size) } else { Ok(Vec::new()) }
}

/// Whether a file has nothing but zeros.
fn is_empty(path: &Path) -> std::io::Result<bool> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; PIECE]);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(true);
        }
        if piece.iter().take(length).any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
}

fn spool_failed(folder: &Path, what: &str, error: &std::io::Error) -> StepError {
    StepError::new("postgres.wal_spool", format!("the spool {} cannot {what}: {error}", folder.display()))
        .help("`spool` is a folder that the runner may write, with room for some segments, and that outlives runs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_nothing_of_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("spool");
        let size = SegmentSize::parse(16 << 20).unwrap();
        let spool = Spool::taken(&folder).unwrap();
        let error = Spool::taken(&folder).err().unwrap();
        assert!(error.code == "postgres.wal_busy" && error.transient, "{error}");
        for name in
            ["000000010000000000000004.partial", "000000010000000000000003", "00000002.history", "notes"]
        {
            std::fs::write(folder.join(name), name).unwrap();
        }
        let names = || spool.files(size).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(
            names(),
            ["000000010000000000000003", "000000010000000000000004.partial", "00000002.history"]
        );
        spool.remove(Segment { timeline: 1, number: 3 }, size).unwrap();
        spool.remove(Segment { timeline: 1, number: 3 }, size).unwrap();
        spool.set_aside(size).unwrap();
        assert_eq!(names(), Vec::<String>::new());
        assert!(folder.join("behind-a-gap/000000010000000000000004.partial").is_file());
        let partial = |number: u64| Segment { timeline: 1, number }.name(size) + ".partial";
        std::fs::write(folder.join(partial(5)), vec![0; 4096]).unwrap();
        std::fs::write(folder.join(partial(6)), b"\0WAL").unwrap();
        std::fs::write(folder.join(partial(7)), "").unwrap();
        spool.without_unfilled(size).unwrap();
        assert_eq!(names(), [partial(7)], "what was never filled goes, and pg_receivewal takes an empty one");
        assert_eq!(std::fs::read(folder.join("cut-off").join(partial(6))).unwrap(), b"\0WAL");
        drop(spool);
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = Spool::taken(&dir.path().join("file")).err().unwrap();
        assert_eq!(error.code, "postgres.wal_spool");
        Spool::taken(&folder).unwrap();
    }
}
