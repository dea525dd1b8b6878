//! The point that somebody means: [`resolved`].

use drydock_recovery::catalogue::Record;
use drydock_recovery::manifest::PointId;
use drydock_step::StepError;

use super::catalogue::Found;
use super::layout::Filed;

/// The sealed point or log point that a text means: an id, the beginning of one that no other has, or `latest` for the newest sealed point.
/// One whose manifest cannot be read counts too.
///
/// # Errors
/// `point.none` and `point.ambiguous`; `point.unusable` for one that is not sealed, or is being removed.
pub fn resolved(found: &Found, text: &str) -> Result<PointId, StepError> {
    let wanted = text.strip_prefix("point:").unwrap_or(text);
    if wanted == "latest" {
        let newest = found.points.iter().max_by_key(|point| (point.marked_at, point.id.clone()));
        return newest.map(|point| point.id.clone()).ok_or_else(|| {
            StepError::new("point.none", "the store holds no recovery point")
                .help("seal one with a backup plan, or look whether the environment names the right store")
        });
    }
    let wanted = wanted.to_ascii_uppercase();
    let begins = |id: &&PointId| !wanted.is_empty() && id.as_str().starts_with(&wanted);
    let sealed = found.points.iter().map(|point| &point.id).chain(found.log_points.iter().map(|log| &log.id));
    let mut matching: Vec<PointId> = sealed.filter(begins).cloned().collect();
    let unreadable = found.unreadable.iter().filter_map(|file| match Filed::at(&file.path) {
        Some(Filed::Manifest(id) | Filed::LogPoint(id)) => Some(id),
        _ => None,
    });
    matching.extend(unreadable.filter(|id| begins(&id)));
    matching.sort();
    matching.dedup();
    match matching.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(none(found, text, begins)),
        several => {
            let ids: Vec<&str> = several.iter().map(PointId::as_str).collect();
            let message = format!("{text} is the beginning of several points' ids: {}", ids.join(", "));
            Err(StepError::new("point.ambiguous", message).help("write more of it"))
        }
    }
}

fn none(found: &Found, text: &str, begins: impl Fn(&&PointId) -> bool) -> StepError {
    let unusable = |message: String| StepError::new("point.unusable", message);
    if let Some(id) = found.unsealed.iter().find(&begins) {
        return unusable(format!("point {id} was opened and is not sealed"));
    }
    if let Some(id) = found.pruning.keys().find(&begins) {
        return unusable(format!("point {id} is being removed"))
            .help("`drydock points prune` goes on with it");
    }
    StepError::new("point.none", format!("no point's id begins with {text}"))
        .help("`drydock points list` shows them")
}

/// The point or log point of an id.
pub(super) fn record_of<'c>(records: &[Record<'c>], id: &PointId) -> Option<Record<'c>> {
    records.iter().copied().find(|record| record.id() == id)
}
