//! A point chosen from a store, all of whose files are there: [`selected`].

use drydock_recovery::Time;
use drydock_recovery::catalogue::{SelectError, Selection, To, select};
use drydock_recovery::manifest::{Artifact, PointMark, PointMarkKind};
use drydock_step::{ArtifactStore, StepError};

use super::catalogue::Found;

/// What is chosen. A point of which a file is not in the store is passed over like a bad one, and refused where it was asked for by
/// its id.
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
    loop {
        let chosen = select(&found.catalogue(), to, accept_missing, now);
        let selection = chosen.map_err(|error| in_words(&error, &found))?;
        let Some(reason) = missing(store, &selection).await? else {
            return Ok(with_unreadable(selection, &found));
        };
        let said = PointMarkKind::Bad { reason };
        found.marks.push(PointMark::new(selection.id.clone(), now, "point.select", said));
    }
}

/// Why a selection cannot be used, as far as the store's files tell.
async fn missing(store: &dyn ArtifactStore, selection: &Selection) -> Result<Option<String>, StepError> {
    let backups =
        selection.sqlserver.values().flat_map(|part| &part.backups).flat_map(|stored| &stored.artifacts);
    let snapshots = selection.qdrant.collections.iter().flat_map(|one| &one.snapshots);
    let files: Vec<&Artifact> = backups.chain(snapshots.map(|one| &one.artifact)).collect();
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

/// Files that nobody can read may be newer points: whoever restores must see them.
fn with_unreadable(mut selection: Selection, found: &Found) -> Selection {
    selection.passed_over.extend(found.unreadable.iter().map(ToString::to_string));
    selection
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
        message.push_str(&format!("; {} were opened and never sealed", found.unsealed.len()));
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
