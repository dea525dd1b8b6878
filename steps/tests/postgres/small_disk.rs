//! A volume that is soon full: [`SmallDisk`], in memory, where we may mount one.

use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

/// A volume. It is gone with its value, and with the process of the test at the latest.
pub(crate) struct SmallDisk {
    dir: TempDir,
    watch: Option<(Child, ChildStdin)>,
}

impl SmallDisk {
    /// One of so many MiB, which everybody may write; nothing where only root may mount it, and that is told.
    pub(crate) fn of(mib: u32) -> Option<Self> {
        let dir = crate::server::folder();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0777"), "tmpfs"]).arg(dir.path());
        let mounted = mount.output();
        if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
            println!("not tested: a volume that is full needs a mount, which is root's affair ({mounted:?})");
            return None;
        }
        let mut watch = Command::new("/bin/sh");
        watch.args(["-c", "cat > /dev/null; umount -l \"$1\"", "sh"]).arg(dir.path()).current_dir("/");
        let mut watch =
            watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pipe = watch.stdin.take().unwrap();
        Some(Self { dir, watch: Some((watch, pipe)) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Gives it room.
    pub(crate) fn grow(&self, mib: u32) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={mib}m")]).arg(self.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Some((mut watch, pipe)) = self.watch.take() {
            drop(pipe);
            let _ = watch.wait();
        }
    }
}
