//! pgbench, round after round, and what it was told is committed: [`Load`].

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::postgres_server::{PASSWORD, Postgres};

/// A round in seconds.
const ROUND: &str = "4";

/// pgbench at a server, ready for its arguments.
fn pgbench(bin: &std::path::Path, port: u16) -> Command {
    let mut command = Command::new(bin.join("pgbench"));
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string(), "-n"]);
    command.env("PGPASSWORD", PASSWORD).current_dir("/").stdin(Stdio::null());
    command
}

/// Writes that go on beside the test, over crashes of the server.
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    rounds: Option<JoinHandle<u64>>,
}

impl Load {
    /// Makes the tables.
    pub(crate) fn tables(server: &Postgres, scale: u32) {
        let mut made = pgbench(&server.bin(), server.port);
        let output = made.args(["-i", "-q", "-s", &scale.to_string(), "postgres"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Begins; at most so many transactions a second.
    pub(crate) fn begin(server: &Postgres, rate: u32) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (bin, port, asked): (PathBuf, u16, Arc<AtomicBool>) = (server.bin(), server.port, ends.clone());
        let rounds = std::thread::spawn(move || {
            let mut committed = 0;
            while !asked.load(Ordering::Relaxed) {
                let mut round = pgbench(&bin, port);
                round.args(["-c", "4", "-j", "1", "-T", ROUND, "--rate", &rate.to_string(), "postgres"]);
                // A round ends badly when the server does, and says all the same what was committed before.
                let said = String::from_utf8(round.output().unwrap().stdout).unwrap();
                let line = said
                    .lines()
                    .find_map(|line| line.strip_prefix("number of transactions actually processed: "));
                match line.and_then(|count| count.split('/').next()?.trim().parse::<u64>().ok()) {
                    Some(count) => committed += count,
                    None => std::thread::sleep(Duration::from_millis(100)),
                }
            }
            committed
        });
        Self { ends, rounds: Some(rounds) }
    }

    /// Ends after the round; how many transactions pgbench was told are committed.
    pub(crate) fn end(mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.rounds.take().map(|rounds| rounds.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}
