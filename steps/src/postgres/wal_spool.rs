//! The folder on the runner that pg_receivewal writes into, and that outlives runs: [`Spool`]. One streamer has it at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use drydock_step::StepError;

use super::segment::{Segment, SegmentSize, WalFile};

/// The file whose lock says that somebody has the spool; the system frees it when that process ends.
const LOCK: &str = ".drydock-lock";
/// Where files go that a gap has made useless for streaming on.
const ASIDE: &str = "behind-a-gap";

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
        let failed = |error| spool_failed(&self.folder, "be listed", &error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            found.extend(WalFile::parse(name, size).map(|file| (name.to_owned(), file)));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
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
        drop(spool);
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = Spool::taken(&dir.path().join("file")).err().unwrap();
        assert_eq!(error.code, "postgres.wal_spool");
        Spool::taken(&folder).unwrap();
    }
}
