//! What is written about points, each time as a small object of its own, written once: [`say`], [`signed`].

use bytes::Bytes;
use drydock_recovery::manifest::PointMark;
use drydock_recovery::sealed::text_of;
use drydock_step::{ArtifactStore, Connection, StepError};
use serde::Serialize;

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

/// Says something about a point; where it lies now.
///
/// # Errors
/// What the store says.
pub async fn say(connection: &dyn Connection, mark: &PointMark) -> Result<String, StepError> {
    let store = store_of(connection)?;
    let text = signed(connection, mark)?;
    for n in 1..=MOST {
        let path = layout::mark(&mark.point, mark.at, mark.said.word(), n);
        match store.put_new(&path, Bytes::from(text.clone())).await {
            Ok(_) => return Ok(path),
            Err(error) if error.code == "artifact.exists" => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("{MOST} things were said of {} in one millisecond", mark.point);
    Err(StepError::new("artifact.exists", message).help("try again"))
}
