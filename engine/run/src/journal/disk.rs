//! The few calls by which a run reaches its folder: [`Disk`], so that each can be made to fail in tests. [`RealDisk`] is the real one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Folders and files.
pub trait Disk: Send + Sync {
    /// Make one folder; it must not be there.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Make a new file to append to; it must not be there.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Open a file to append to.
    ///
    /// # Errors
    /// What the system says.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Make a folder's entries durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file that is appended to.
pub trait DiskFile: Send {
    /// Append all these bytes in one write.
    ///
    /// # Errors
    /// What the system says; a part may have been written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Make what was written durable.
    ///
    /// # Errors
    /// What the system says; nobody knows then what is durable, and a second try would not tell.
    fn sync(&mut self) -> io::Result<()>;

    /// Drop everything from this offset on.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Windows has no handle of a folder that could be synced; its metadata is journalled by the file system.
        if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
    }
}

impl DiskFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}
