//! What a recovery does before its server is started: [`Work`] fills the folder, brings the WAL and reads it.

use std::path::{Path, PathBuf};

use drydock_step::{ArtifactStore, Ctx, StepError};

use super::base_chain::{BaseChain, combined, unpacked};
use super::base_entry::BaseEntry;
use super::recover_folder::{is_free, is_own, marker, whose};
use super::recover_inputs::RecoverInputs;
use super::recover_programs::Programs;
use super::recover_server::{Recovering, Told, beside};
use super::recover_to::{RecoverTo, lsn_number};
use super::recover_wal::{Found, Reading, staged};

/// One attempt's work.
pub(super) struct Work<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) inputs: &'a RecoverInputs,
    pub(super) chain: &'a BaseChain,
    pub(super) programs: Programs,
    pub(super) into: PathBuf,
    pub(super) server: Recovering<'a>,
    pub(super) store: &'a dyn ArtifactStore,
}

impl Work<'_> {
    /// Makes room: what an earlier attempt of this step has put there goes, anything else stays and is refused.
    ///
    /// # Errors
    /// `postgres.occupied`, `postgres.unpack`.
    pub(super) async fn clear(&self) -> Result<(), StepError> {
        if is_own(self.ctx, &self.into) {
            self.server.stop("immediate").await?;
            for left in [self.into.clone(), beside(&self.into, ".wal"), beside(&self.into, ".log")] {
                let removed =
                    if left.is_dir() { std::fs::remove_dir_all(&left) } else { std::fs::remove_file(&left) };
                if let Err(error) = removed
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    let message = format!(
                        "{}, which an earlier attempt has made, cannot be removed: {error}",
                        left.display()
                    );
                    return Err(StepError::new("postgres.occupied", message));
                }
            }
        }
        is_free(&self.into)?;
        if self.ctx.connection().await.is_ok() {
            return Err(occupied_port(*self.inputs.port.known()?));
        }
        let marker = marker(&self.into);
        std::fs::write(&marker, whose(self.ctx)).map_err(|error| {
            StepError::new("postgres.unpack", format!("{} cannot be written: {error}", marker.display()))
                .help("the folder around `into` must be there, and let the runner write")
        })
    }

    /// Fills the folder, brings the WAL and reads it, and tells the server where to stop.
    ///
    /// # Errors
    /// `postgres.wal` when it does not lead there, and those of unpacking.
    pub(super) async fn placed(&self) -> Result<Found, StepError> {
        let last = self.chain.last();
        match self.chain.entries() {
            [one] => unpacked(self.ctx, self.store, one, &self.into).await?,
            several => {
                let folders = self.inputs.folders(self.ctx)?;
                drop(combined(self.ctx, self.store, several, &folders, &self.into).await?);
            }
        }
        let to = self.inputs.to.known()?;
        let wal = beside(&self.into, ".wal");
        let mut found = Found::default();
        let mut command = "false".to_owned();
        if let Some(prefix) = self.inputs.wal.known()? {
            let first = segment_of(last);
            let os_user = self.inputs.os_user.known()?;
            let may_link = os_user.is_none();
            let staged =
                staged(self.ctx, self.store, prefix, &first, last.segment_size, &wal, may_link).await?;
            self.ctx.log(format!("{} files of WAL and histories, from {first} on", staged.names.len()));
            if *to != RecoverTo::Immediate {
                let reading = Reading {
                    ctx: self.ctx,
                    program: &self.programs.waldump,
                    folder: wal.clone(),
                    timeline: last.timeline,
                    start_lsn: &last.start_lsn,
                };
                found = reading.proved(to).await.map_err(|error| match staged.short.as_slice() {
                    [] => error,
                    short => {
                        StepError { message: format!("{}; {}", error.message, short.join(", ")), ..error }
                    }
                })?;
            }
            command = format!("cp {}/%f \"%p\"", quoted(&wal));
        } else if let Some(given) = self.inputs.restore_command.known()? {
            command.clone_from(given);
        }
        self.configured(to, command)?;
        // It stands beside the folder, where the server's user may not be allowed to make it.
        let log = self.server.log_path();
        std::fs::write(&log, "").map_err(|error| {
            StepError::new("postgres.unpack", format!("{} cannot be written: {error}", log.display()))
        })?;
        let all = [self.into.as_path(), wal.as_path(), log.as_path()];
        let made: Vec<&Path> = all.into_iter().filter(|path| path.exists()).collect();
        self.server.hand_over(&made).await?;
        Ok(found)
    }

    /// Tells the server where to stop, and whom to leave alone.
    fn configured(&self, to: &RecoverTo, restore_command: String) -> Result<(), StepError> {
        let failed = |path: &Path, error: std::io::Error| {
            StepError::new("postgres.unpack", format!("{} cannot be written: {error}", path.display()))
        };
        let told = Told {
            restore_command,
            to,
            timeline: self.inputs.timeline.known()?,
            listen: self.inputs.listen.known()?,
            port: *self.inputs.port.known()?,
            archives: *self.inputs.archives.known()?,
            major: self.chain.last().server_major,
            settings: self.inputs.settings.known()?,
        };
        let path = self.into.join("postgresql.auto.conf");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, format!("{before}{}", told.text())).map_err(|error| failed(&path, error))?;
        // Debian keeps these two elsewhere, so that its backups have none.
        let socket = format!("unix_socket_directories = '{}'\n", self.into.display());
        for (name, text) in [("postgresql.conf", socket.as_str()), ("pg_hba.conf", HBA)] {
            let path = self.into.join(name);
            if !path.exists() {
                std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
                self.ctx.log(format!(
                    "the backup has no {name}; it was given one that lets nobody in from elsewhere"
                ));
            }
        }
        let path = self.into.join("recovery.signal");
        std::fs::write(&path, "").map_err(|error| failed(&path, error))
    }
}

/// What is said of a port that somebody has.
pub(super) fn occupied_port(port: u16) -> StepError {
    StepError::new(
        "postgres.occupied",
        format!("a server answers already where this one shall listen, on port {port}"),
    )
    .help("stop it, or give `port`, and the step's target, another")
}

/// Whom a server lets in whose backup does not say it.
const HBA: &str = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n";

/// The first segment that a recovery needs.
fn segment_of(entry: &BaseEntry) -> String {
    let (lsn, size) = (lsn_number(&entry.start_lsn).unwrap_or_default(), entry.segment_size.max(1));
    let (number, per_log) = (lsn / size, (1_u64 << 32) / size);
    format!("{:08X}{:08X}{:08X}", entry.timeline, number / per_log.max(1), number % per_log.max(1))
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
