//! Where a rehearsal lies: [`Folder`], with the plans that ship, the environment, the artifact store, the state and the ledger.

use std::path::{Path, PathBuf};

use drydock_machine::Exit;

use crate::session::{Refusal, Session};

/// The plans that ship, with the files that they name.
pub(super) const SHIPPED: &[(&str, &str)] = &[
    ("backup.yaml", include_str!("../../../../plans/octopus/backup.yaml")),
    ("restore.yaml", include_str!("../../../../plans/octopus/restore.yaml")),
    ("conversation.yaml", include_str!("../../../../plans/octopus/conversation.yaml")),
    ("erasures.txt", include_str!("../../../../plans/octopus/erasures.txt")),
    ("migrations.sql", include_str!("../../../../plans/octopus/migrations.sql")),
];

/// A rehearsal's folder.
pub(super) struct Folder {
    root: PathBuf,
    kept: bool,
}

impl Folder {
    /// The folder that was asked for, which must be empty or new, or one of our own that goes with us; with these plans in it.
    pub(super) fn new(
        session: &Session,
        keep: Option<&Path>,
        plans: &[(&str, &str)],
    ) -> Result<Self, Refusal> {
        let (root, kept) = match keep {
            Some(path) => (session.outside.folder().join(path), true),
            None => (
                std::env::temp_dir().join(format!("drydock-rehearsal-{}", session.outside.new_run_id())),
                false,
            ),
        };
        let taken = std::fs::read_dir(&root).is_ok_and(|mut entries| entries.next().is_some());
        if taken {
            return Err(Refusal::new(Exit::Usage, format!("{} is not empty", root.display()))
                .help("give --keep a new folder"));
        }
        let folder = Self { root, kept };
        for path in [folder.plans(), folder.artifacts()] {
            std::fs::create_dir_all(&path).map_err(|error| failed(&path, &error))?;
        }
        for (name, text) in plans {
            let path = folder.plans().join(name);
            std::fs::write(&path, text).map_err(|error| failed(&path, &error))?;
        }
        Ok(folder)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn plans(&self) -> PathBuf {
        self.root.join("plans")
    }

    pub(super) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(super) fn environment(&self) -> PathBuf {
        self.root.join("environment.yaml")
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.root.join("ledger.jsonl")
    }

    pub(super) fn ports(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    pub(super) fn faults(&self) -> PathBuf {
        self.root.join("faults.json")
    }

    pub(super) fn practice(&self) -> PathBuf {
        self.root.join("practice")
    }

    /// Whether it stays when the rehearsal is over.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Keep it after all: something went wrong and somebody will want to look.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed is only untidy.
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::new(Exit::Internal, format!("cannot write {}: {error}", path.display()))
}
