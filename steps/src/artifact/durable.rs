//! Making names in folders outlive a power cut: [`sync_folder`], and [`make_folders`], which uses it.

use std::io;
use std::path::Path;

/// Returns when the names in a folder are on disk.
#[cfg(unix)]
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Windows has no such call: its file systems journal names by themselves.
#[cfg(not(unix))]
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the folders `parts` below `root`, and `root` itself where its parent is there: a missing parent is more likely a volume that
/// is not mounted than a folder to make.
pub(super) fn make_folders(root: &Path, parts: &[&str]) -> io::Result<()> {
    let mut folder = root.to_owned();
    make(&folder)?;
    for part in parts {
        folder.push(part);
        make(&folder)?;
    }
    Ok(())
}

fn make(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
