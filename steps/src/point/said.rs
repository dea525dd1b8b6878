//! What is written about points, each time as a small object of its own, written once: [`say`], [`signed`].

use bytes::Bytes;
use drydock_recovery::manifest::PointMark;
use drydock_recovery::sealed::text_of;
use drydock_step::{ArtifactStore, Connection, Ctx, Reconciled, StepError};
use serde::Serialize;
use serde_json::{Value, json};

use super::layout;

/// How much may be said of one point in one millisecond.
const MOST: u32 = 99;

/// The store of a step's target.
///
/// # Errors
/// `internal`, when it is none: the check let a plan pass that it should not have.
pub(super) fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection.store().ok_or_else(|| StepError::internal("the target of a point's step is no artifact store"))
}

/// The text of something that is written about a point, with its digest, and signed where the store's target says by whom.
///
/// # Errors
/// `internal`, when it is no JSON.
pub(super) fn signed(connection: &dyn Connection, value: &impl Serialize) -> Result<String, StepError> {
    let seals = connection.seals();
    let signer = seals.as_deref().and_then(|seals| seals.signer());
    text_of(value, signer).map_err(|error| StepError::internal(error.to_string()))
}

/// Where the next thing that is said of a point will lie.
///
/// # Errors
/// What the store says.
pub(super) async fn free_place(store: &dyn ArtifactStore, mark: &PointMark) -> Result<String, StepError> {
    for n in 1..=MOST {
        let path = layout::mark(&mark.point, mark.at, mark.said.word(), n);
        if store.size(&path).await?.is_none() {
            return Ok(path);
        }
    }
    let message = format!("{MOST} things were said of {} in one millisecond", mark.point);
    Err(StepError::new("artifact.exists", message).help("try again"))
}

/// Says something about a point; where it lies now.
///
/// # Errors
/// What the store says; `artifact.exists` where somebody else says something in the very same moment.
pub async fn say(connection: &dyn Connection, mark: &PointMark) -> Result<String, StepError> {
    let path = free_place(store_of(connection)?, mark).await?;
    say_at(connection, mark, &path).await?;
    Ok(path)
}

/// The same at a place that was free.
///
/// # Errors
/// What the store says.
pub(super) async fn say_at(
    connection: &dyn Connection,
    mark: &PointMark,
    path: &str,
) -> Result<(), StepError> {
    let text = Bytes::from(signed(connection, mark)?);
    store_of(connection)?.put_new(path, text).await.map(drop)
}

/// Says something about a point as a step does: where it will lie is noted first, so that an attempt which died is known to have said it.
/// `outputs` get the place as their `mark`.
///
/// # Errors
/// What journal and store say.
pub(super) async fn said_once(
    ctx: &Ctx,
    connection: &dyn Connection,
    mark: &PointMark,
    outputs: &mut Value,
) -> Result<(), StepError> {
    let path = free_place(store_of(connection)?, mark).await?;
    outputs["mark"] = path.clone().into();
    ctx.note(json!({ "attempt": &*ctx.attempt, "outputs": outputs })).await?;
    say_at(connection, mark, &path).await
}

/// What became of an attempt that may have died while it said something.
///
/// # Errors
/// What the store says.
pub(super) async fn said_before(ctx: &Ctx) -> Result<Reconciled, StepError> {
    let own = |note: &&Value| note.get("attempt").and_then(Value::as_str) == Some(&ctx.attempt);
    let Some(outputs) = ctx.notes.iter().rev().find(own).and_then(|note| note.get("outputs")) else {
        return Ok(Reconciled::NotDone);
    };
    let path = outputs.get("mark").and_then(Value::as_str).unwrap_or_default();
    let connection = ctx.connection().await?;
    let there = store_of(&*connection)?.size(path).await?.is_some();
    Ok(if there { Reconciled::Done(outputs.clone()) } else { Reconciled::NotDone })
}
