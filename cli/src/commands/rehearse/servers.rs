//! The practice servers of a rehearsal, as a process of their own: [`Servers`].

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use drydock_machine::Exit;
use drydock_practice::server::Ports;

use crate::session::{Refusal, Session};

use super::folder::{Folder, failed};
use super::kill::Kill;

/// How long the servers may take to answer.
const PATIENCE: u32 = 600;

/// The process; it ends when this is dropped.
pub(super) struct Servers {
    child: Child,
    pub(super) ports: Ports,
}

impl Servers {
    /// Start them with nothing in them.
    pub(super) fn start(
        session: &Session,
        folder: &Folder,
        seed: u64,
        nodes: u8,
        kill: Option<&Kill>,
    ) -> Result<Self, Refusal> {
        let mut command = Command::new(&session.outside.reaper()[0]);
        command
            .arg("practice")
            .arg("--seed")
            .arg(seed.to_string())
            .arg("--qdrant-nodes")
            .arg(nodes.to_string());
        command.arg("--dir").arg(folder.practice()).arg("--artifacts").arg(folder.artifacts());
        command.arg("--ports").arg(folder.ports()).arg("--ledger").arg(folder.ledger());
        command.arg("--environment").arg(folder.environment()).arg("--until-eof");
        if let Some(kill) = kill {
            let path = folder.faults();
            std::fs::write(&path, kill.faults().to_string()).map_err(|error| failed(&path, &error))?;
            command.arg("--faults").arg(path);
        }
        let log = folder.root().join("practice.log");
        let errors = std::fs::File::create(&log).map_err(|error| failed(&log, &error))?;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
        let mut child = command.spawn().map_err(|error| {
            Refusal::new(Exit::Internal, format!("the practice servers cannot be started: {error}"))
        })?;
        match wait_for(&mut child, &folder.ports()) {
            Ok(ports) => Ok(Self { child, ports }),
            Err(message) => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Err(Refusal::new(Exit::Internal, format!("the practice servers {message}: {}", said.trim())))
            }
        }
    }
}

fn wait_for(child: &mut Child, path: &Path) -> Result<Ports, &'static str> {
    for _ in 0..PATIENCE {
        if let Ok(text) = std::fs::read_to_string(path) {
            return serde_json::from_str(&text).map_err(|_| "wrote ports that cannot be read");
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return Err("ended at once");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("do not answer")
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The end of its input asks it to stop; a server that holds an answer back need not be waited for.
        drop(self.child.stdin.take());
        for _ in 0..40 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
