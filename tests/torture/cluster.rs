//! A server with small segments, its base backup, and what comes of that when the archive is played into it: [`Cluster`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::postgres_server::{Major, Options, PASSWORD, Postgres, as_user, folder};

/// How long something at a server may take, in steps of 50 ms.
const PATIENCE: u32 = 4_000;

/// The server, and somebody who asks it.
pub(crate) struct Cluster {
    pub(crate) server: Postgres,
    runtime: tokio::runtime::Runtime,
}

/// The name of a segment of 1 MiB on the first timeline.
pub(crate) fn segment(number: u64) -> String {
    format!("{:08X}{:08X}{:08X}", 1, number / 4096, number % 4096)
}

/// Which one it is, counted from the beginning of the WAL.
pub(crate) fn number(name: &str) -> u64 {
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(&name[range], 16).unwrap();
    assert_eq!(part(0..8), 1, "{name} is of another timeline");
    part(8..16) * 4096 + part(16..24)
}

fn done(command: &mut Command) -> String {
    let output = command.current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Cluster {
    /// One with segments of 1 MiB.
    pub(crate) fn start() -> Self {
        let settings = vec![("max_wal_size", "64MB".to_owned()), ("min_wal_size", "4MB".to_owned())];
        let options = Options { own: true, initdb: &["--wal-segsize=1"], settings, ..Options::default() };
        Self::of(Postgres::start(Major::Eighteen, options))
    }

    fn of(server: Postgres) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { server, runtime }
    }

    /// The first value of a query.
    pub(crate) fn one(&self, sql: &str) -> Value {
        self.runtime.block_on(self.server.one("postgres", sql))
    }

    /// Returns when a query that gives a boolean says `true`.
    pub(crate) fn wait_until(&self, sql: &str) {
        for _ in 0..PATIENCE {
            if self.one(sql) == true {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never `{sql}`:\n{}", self.server.log());
    }

    /// The rows that pgbench has left.
    pub(crate) fn rows(&self) -> u64 {
        self.one("SELECT count(*) FROM pgbench_history").as_u64().unwrap()
    }

    /// A base backup without any WAL, in a folder `data` of its own.
    pub(crate) fn base(&self) -> tempfile::TempDir {
        let dir = folder();
        let mut command = as_user(&self.server.bin().join("pg_basebackup"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.server.port.to_string()]);
        command
            .args(["--wal-method=none", "--checkpoint=fast", "--no-sync", "-D"])
            .arg(dir.path().join("data"));
        done(command.env("PGPASSWORD", PASSWORD));
        dir
    }

    /// A server over a base backup that has read the archive in this folder to its end, by nothing but `cp`.
    pub(crate) fn recovered(base: tempfile::TempDir, archive: &Path) -> Self {
        std::fs::write(base.path().join("data/recovery.signal"), "").unwrap();
        let command = format!("cp {}/%f %p", archive.display());
        let options = Options { settings: vec![("restore_command", command)], ..Options::default() };
        let recovered = Self::of(Postgres::over(base, Major::Eighteen, &options));
        recovered.wait_until("SELECT NOT pg_is_in_recovery()");
        recovered
    }

    /// pg_waldump reads everything from this segment on up to this place, without an error.
    pub(crate) fn read_whole(&self, archive: &Path, first: &str, end: &str) {
        let mut command = Command::new(self.server.bin().join("pg_waldump"));
        let start = number(first) << 20;
        command.arg("--path").arg(archive).arg(format!(
            "--start={:X}/{:X}",
            start >> 32,
            start & 0xFFFF_FFFF
        ));
        done(command.arg(format!("--end={end}")).arg("--quiet"));
    }
}

/// The process id of the one pg_receivewal that writes into this spool.
pub(crate) fn receiver(spool: &Path) -> Option<u32> {
    let argument = format!("--directory={}", spool.display());
    let is_it = |path: &PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(b"pg_receivewal"))
            && words.any(|word| word == argument.as_bytes())
    };
    let found = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).find(is_it)?;
    found.file_name()?.to_str()?.parse().ok()
}
