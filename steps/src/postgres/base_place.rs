//! The folder of a base backup in the store: [`label_fits`] its name, [`claimed`] before anything is put there, [`closed`] by its `backup.json` when it is whole, and
//! [`verdict`] on an attempt that was lost in between.

use bytes::Bytes;
use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, Ctx, Reconciled, StepError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::base_entry::BaseEntry;
use super::base_record::{path_in, text_of};
use super::last_word;

/// The longest name of a slot or a label that every version takes.
const LONGEST: usize = 60;

/// Nothing, when a label can stand in a path and in the server's log.
///
/// # Errors
/// `input`.
pub(super) fn label_fits(label: &str) -> Result<(), StepError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if label.is_empty() || label.len() > LONGEST || label.starts_with('.') || !label.chars().all(fits) {
        let message = format!("input `label`, `{label}`, is no name of a backup");
        return Err(StepError::new("input", message)
            .help(format!("up to {LONGEST} letters, digits, `.`, `_` and `-`, the first of them no `.`")));
    }
    Ok(())
}

/// Takes a folder for this step's backup: it is noted first, so that a later attempt knows what lies there for its own, and may replace it.
///
/// # Errors
/// `artifact.exists`, when something lies there that this step has not put there.
pub(super) async fn claimed(ctx: &Ctx, store: &dyn ArtifactStore, folder: &str) -> Result<(), StepError> {
    let is_own = ctx.notes.iter().any(|note| note.get("begun").is_some_and(|begun| begun == folder));
    if is_own {
        // What is whole is so no more when a part of it is replaced.
        store.delete(&path_in(folder)).await?;
        return Ok(());
    }
    if store.size(&path_in(folder)).await?.is_some() {
        let message = format!("there is already a base backup in {folder}");
        return Err(StepError::new("artifact.exists", message)
            .help("give it another `label`, or leave that out; or another `prefix`"));
    }
    if !store.list(folder).await?.is_empty() {
        let message =
            format!("there is already something in {folder}: an unfinished base backup of another step");
        return Err(StepError::new("artifact.exists", message).help(
            "resume or abandon the run that was at it, then remove the folder; or give this one another `label`",
        ));
    }
    ctx.note(json!({ "begun": folder })).await
}

/// Notes a backup that is whole, then writes its `backup.json`; the step's outputs.
///
/// # Errors
/// `artifact.exists` when there is another one, or what the store says.
pub(super) async fn closed(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    entry: &BaseEntry,
) -> Result<Value, StepError> {
    let outputs = json!(entry);
    last_word::noted(ctx, &outputs).await?;
    store.put_new(&path_in(entry.folder()), Bytes::from(text_of(entry)?)).await?;
    Ok(outputs)
}

/// What became of an attempt: where the backup was noted and lies there, at most its `backup.json` is still to be written. Of any other
/// nothing is left but files that the next attempt replaces.
///
/// # Errors
/// What the store says.
pub(super) async fn verdict(ctx: &Ctx, store: &dyn ArtifactStore) -> Result<Reconciled, StepError> {
    let given = last_word::of(ctx).and_then(|given| BaseEntry::deserialize(given).ok());
    let Some(entry) = given else { return Ok(Reconciled::NotDone) };
    if store.size(&entry.artifact.path).await? != Some(entry.artifact.size) {
        return Ok(Reconciled::NotDone);
    }
    let (path, text) = (path_in(entry.folder()), text_of(&entry)?);
    let is_closed = match store.size(&path).await? {
        Some(size) if size == text.len() as u64 => {
            bytes_of(store.open(&path, 0).await?, text.len()).await? == text.as_bytes()
        }
        _ => false,
    };
    Ok(if is_closed { Reconciled::Done(json!(entry)) } else { Reconciled::Partly(json!(entry)) })
}

/// The backup that an attempt before this one has noted, and that is only to be closed.
///
/// # Errors
/// `internal`, when what is gone on from is none.
pub(super) fn gone_on_from(from: Option<&Value>) -> Result<Option<BaseEntry>, StepError> {
    from.map(BaseEntry::deserialize).transpose().map_err(|error| StepError::internal(error.to_string()))
}
