//! A full base backup with the incremental ones that follow it: [`BaseChain`]; what unpacks one, [`unpacked`], and several, [`combined`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use drydock_step::{ArtifactStore, Ctx, StepError};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::base_contents::contents;
use super::base_entry::BaseEntry;
use super::program_end::{done, ended_badly};
use super::programs::Program;

/// Its name.
pub(super) const PROGRAM: &str = "pg_combinebackup";

/// Base backups, a full one first; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    entries: Vec<BaseEntry>,
    last: BaseEntry,
}

impl<'de> Deserialize<'de> for BaseChain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Value::deserialize(deserializer)? {
            list @ Value::Array(_) => serde_json::from_value::<Vec<BaseEntry>>(list),
            one => serde_json::from_value(one).map(|one| vec![one]),
        };
        let entries = read.map_err(serde::de::Error::custom)?;
        let last = entries
            .last()
            .cloned()
            .ok_or_else(|| serde::de::Error::custom("an empty list is no base backup"))?;
        Ok(Self { entries, last })
    }
}

impl BaseChain {
    /// The newest one with those before it, in order.
    pub(super) fn ending(mut before: Vec<BaseEntry>, last: BaseEntry) -> Self {
        before.push(last.clone());
        Self { entries: before, last }
    }

    /// In order.
    pub(super) fn entries(&self) -> &[BaseEntry] {
        &self.entries
    }

    /// The newest, which is what is restored.
    pub(super) fn last(&self) -> &BaseEntry {
        &self.last
    }

    /// Where their tars lie.
    pub(super) fn paths(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.artifact.path.as_str()).collect()
    }

    /// Nothing, when each was made against the one before it.
    ///
    /// # Errors
    /// `postgres.chain`.
    pub(super) fn fits(&self) -> Result<(), StepError> {
        let mut before: Option<&BaseEntry> = None;
        for entry in &self.entries {
            let wrong = match (&entry.against, before) {
                (None, None) => None,
                (None, Some(_)) => Some(format!("{} is a full one, and can only be the first", entry.label)),
                (Some(against), None) => {
                    Some(format!("{} is incremental: {} must stand before it", entry.label, against.label))
                }
                (Some(against), Some(before)) if against.manifest_sha256 != before.manifest.sha256 => {
                    Some(format!(
                        "{} was made against {}, and {} stands before it",
                        entry.label, against.label, before.label
                    ))
                }
                (Some(_), Some(_)) => None,
            };
            if let Some(why) = wrong {
                return Err(StepError::new(
                    "postgres.chain",
                    format!("these base backups are no chain: {why}"),
                )
                .help(
                    "name a full one, and then each incremental one in the order in which they were made",
                ));
            }
            before = Some(entry);
        }
        Ok(())
    }
}

/// Unpacks a base backup into a folder that is made, proving that it is the one that was stored.
///
/// # Errors
/// `artifact.damaged`, `postgres.base`, `postgres.unpack`, or what the store says.
pub(super) async fn unpacked(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    entry: &BaseEntry,
    into: &Path,
) -> Result<(), StepError> {
    make_private(into).map_err(|error| {
        StepError::new("postgres.unpack", format!("{} cannot be made: {error}", into.display()))
            .help("the folder around it must be there, and let the runner write")
    })?;
    let (telling, total, done) = (ctx.clone(), entry.artifact.size, AtomicU64::new(0));
    let phase = format!("unpacking {}", entry.label);
    let seen = move |more| {
        let before = done.fetch_add(more, Ordering::Relaxed);
        if (before >> 24) != ((before + more) >> 24) {
            telling.progress(before + more, Some(total), "bytes", phase.as_str());
        }
    };
    let found = contents(store, &entry.artifact.path, Some(into), seen).await?;
    if !found.sha256.eq_ignore_ascii_case(&entry.artifact.sha256) {
        let message = format!(
            "{} has sha256 {}, expected {}",
            entry.artifact.path, found.sha256, entry.artifact.sha256
        );
        return Err(
            StepError::new("artifact.damaged", message).help("take another base backup; nothing was started")
        );
    }
    Ok(())
}

/// Makes one data folder of a full base backup and the incremental ones after it; the program that did it.
///
/// # Errors
/// Those of [`unpacked`]; `postgres.programs`; `postgres.chain`, with what pg_combinebackup says.
pub(super) async fn combined(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    entries: &[BaseEntry],
    folders: &[PathBuf],
    into: &Path,
) -> Result<Program, StepError> {
    let major = entries.last().map_or(0, |last| last.server_major);
    let program = Program::find(ctx, folders, PROGRAM, major).await?;
    let parts = Parts::beside(into)?;
    let mut argv = vec![program.path.clone()];
    for (n, entry) in entries.iter().enumerate() {
        let part = parts.folder.join(n.to_string());
        unpacked(ctx, store, entry, &part).await?;
        argv.push(part.display().to_string());
    }
    argv.extend([format!("--output={}", into.display()), "--manifest-checksums=SHA256".to_owned()]);
    let end = done(ctx, argv).await?;
    if end.code == Some(0) {
        return Ok(program);
    }
    let error = ended_badly(PROGRAM, &end);
    Err(StepError { code: "postgres.chain".into(), ..error }
        .help("its words say why; take another chain, or a full base backup"))
}

/// The unpacked parts, which go when they are combined.
struct Parts {
    folder: PathBuf,
}

impl Parts {
    fn beside(into: &Path) -> Result<Self, StepError> {
        let mut name = into.as_os_str().to_owned();
        name.push(".parts");
        let made = Self { folder: name.into() };
        let _ = std::fs::remove_dir_all(&made.folder);
        std::fs::create_dir_all(&made.folder).map_err(|error| {
            StepError::new("postgres.unpack", format!("{} cannot be made: {error}", made.folder.display()))
        })?;
        Ok(made)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A server starts over no folder that others may read.
#[cfg(unix)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        }
        made => made,
    }
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}
