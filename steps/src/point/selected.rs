//! A point chosen from a store, all of whose files are there: [`selected`].

use std::collections::BTreeMap;

use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_recovery::catalogue::{SelectError, Selection, To, select};
use drydock_recovery::manifest::{Artifact, PointId};
use drydock_step::{ArtifactStore, StepError};

use super::catalogue::Found;

/// What is chosen. A point of which a file is not in the store is passed over, and refused where it was asked for by its id.
///
/// # Errors
/// `point.none`, `point.ambiguous` or `point.unusable`, and what the store says.
pub(super) async fn selected(
    store: &dyn ArtifactStore,
    mut found: Found,
    to: &To,
    accept_missing: &[String],
    now: Time,
) -> Result<Selection, StepError> {
    let (mut passed, mut catalogue) = (Vec::new(), found.taken_catalogue());
    loop {
        let chosen = match select(&catalogue, to, accept_missing, now) {
            Ok(chosen) => chosen,
            Err(error) => return Err(in_words(&with_passed(error, passed), &found)),
        };
        let Some(why) = missing(store, &chosen).await? else {
            // Files that nobody can read may be newer points: whoever restores must see them.
            let unreadable = found.unreadable.iter().map(ToString::to_string);
            let passed_over = passed.into_iter().chain(chosen.passed_over).chain(unreadable).collect();
            // To give back ten thousand points takes as long as to choose among them; nobody has to wait for it.
            drop(tokio::task::spawn_blocking(move || drop(catalogue)));
            return Ok(Selection { passed_over, ..chosen });
        };
        let id = chosen.id;
        if matches!(to, To::Id(_)) {
            return Err(in_words(&SelectError::Unusable { id: id.to_string(), why }, &found));
        }
        passed.push(format!("{id} of {}: {why}", clock(chosen.at)));
        catalogue = catalogue.without(&id);
    }
}

/// The error once some points were passed over: then there are points, and none can be used.
fn with_passed(error: SelectError, mut passed: Vec<String>) -> SelectError {
    if passed.is_empty() {
        return error;
    }
    if let SelectError::AllUnusable { passed_over } = error {
        passed.extend(passed_over);
    }
    SelectError::AllUnusable { passed_over: passed }
}

/// The files that a restore of a selection reads, by path.
pub(super) fn files_to_restore(selection: &Selection) -> BTreeMap<&str, &Artifact> {
    let backups = selection.sqlserver.values().flat_map(|part| &part.backups);
    let snapshots = selection.qdrant.collections.iter().flat_map(|one| &one.snapshots);
    let clusters = selection.postgres.values().flat_map(|part| part.part.cluster.artifacts());
    let files = backups.flat_map(|stored| &stored.artifacts);
    let files = files.chain(snapshots.map(|one| &one.artifact)).chain(clusters);
    files.map(|artifact| (artifact.path.as_str(), artifact)).collect()
}

/// The files of a selection that no step hashes by itself before it uses them: backups, WAL, scripts. Who recovers from a snapshot or a base
/// backup hashes that.
pub(super) fn files_of_servers(selection: &Selection) -> Vec<&Artifact> {
    let backups = selection.sqlserver.values().flat_map(|part| &part.backups);
    let wal = selection.postgres.values().flat_map(|part| &part.part.cluster.wal.segments);
    let files = backups.flat_map(|stored| &stored.artifacts);
    files.chain(wal).chain(selection.server_objects.values()).collect()
}

/// Why a selection cannot be used, as far as the store's files tell.
pub(super) async fn missing(
    store: &dyn ArtifactStore,
    selection: &Selection,
) -> Result<Option<String>, StepError> {
    let backups =
        selection.sqlserver.values().flat_map(|part| &part.backups).flat_map(|stored| &stored.artifacts);
    let snapshots = selection.qdrant.collections.iter().flat_map(|one| &one.snapshots);
    let clusters = selection.postgres.values().flat_map(|part| {
        let bases = part.part.cluster.bases.iter().flat_map(|base| [&base.artifact, &base.manifest]);
        bases.chain(&part.part.cluster.wal.segments)
    });
    let snapshots = snapshots.map(|one| &one.artifact);
    let files: Vec<&Artifact> = backups.chain(snapshots).chain(clusters).collect();
    for file in files {
        match store.size(&file.path).await? {
            Some(size) if size == file.size => {}
            Some(size) => {
                return Ok(Some(format!(
                    "{} is {size} bytes long and was {} when it was sealed",
                    file.path, file.size
                )));
            }
            None => return Ok(Some(format!("{} is not in the store", file.path))),
        }
    }
    Ok(None)
}

fn in_words(error: &SelectError, found: &Found) -> StepError {
    let code = match error {
        SelectError::Empty | SelectError::NoSuchId { .. } | SelectError::NoneBefore { .. } => "point.none",
        SelectError::Ambiguous { .. } => "point.ambiguous",
        SelectError::Unusable { .. } | SelectError::AllUnusable { .. } => "point.unusable",
    };
    let mut message = error.to_string();
    for file in &found.unreadable {
        message.push_str(&format!("; {file}"));
    }
    if matches!(error, SelectError::Empty) && !found.unsealed.is_empty() {
        let ids: Vec<&str> = found.unsealed.iter().map(PointId::as_str).collect();
        message.push_str(&format!("; opened and never sealed: {}", ids.join(", ")));
    }
    let help = match error {
        SelectError::Empty => {
            "seal one with a backup plan, or look whether the environment names the right store"
        }
        SelectError::Unusable { .. } | SelectError::AllUnusable { .. } => {
            "`drydock points list` shows what else there is"
        }
        _ => "`to` is a point's id, `point:latest`, `end`, or an RFC 3339 time such as 2026-07-14T03:00:00Z",
    };
    StepError::new(code, message).help(help)
}
