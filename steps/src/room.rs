//! Whether the runner may write to a folder, and how much room is left there: [`room_in`].

use std::io;
use std::path::Path;

/// The bytes that are left in a folder which the runner may write; `None` where the system does not tell.
///
/// # Errors
/// What the system says where the runner may not write there, also because all of it is mounted for reading only.
#[cfg(unix)]
pub fn room_in(folder: &Path) -> io::Result<Option<u64>> {
    use rustix::fs::{Access, access, statvfs};
    access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    let of = statvfs(folder)?;
    Ok(Some(of.f_bavail.saturating_mul(of.f_frsize)))
}

/// The bytes that are left in a folder which the runner may write; `None` where the system does not tell.
///
/// # Errors
/// None on this system.
#[cfg(not(unix))]
pub fn room_in(_folder: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}
