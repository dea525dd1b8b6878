//! `point.open`: [`Open`] begins a recovery point: its id, the name of its mark, and its folder in the store.

use async_trait::async_trait;
use bytes::Bytes;
use drydock_recovery::Time;
use drydock_recovery::manifest::{Opened, Origin, PlanRef, PointId};
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError,
    StepKind, TargetNeed, Touch, inputs,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::said::signed;
pub(super) use super::said::store_of;
use super::{layout, moment};
use crate::described::described;

inputs! {
    /// `point.open` takes no inputs.
    pub struct OpenInputs {}
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("id", Shape::Text, "The point's id, a ULID."),
    Field::required("mark", Shape::Text, "The name that the point's mark shall have: `dd_` and the id."),
    Field::required("prefix", Shape::Text, "The point's folder in the store."),
    Field::required("opened_at", Shape::Datetime, "When it was opened."),
]);

/// Opens a point. Its bases have ended when it begins.
pub struct Open;

/// The id of the point that an attempt opens: the time, and of the attempt's own id as much as fits. The time stands first, so
/// that ids and marks sort as the points were opened.
fn id_for(at: Time, attempt: &str) -> Result<PointId, StepError> {
    let digest = Sha256::digest(attempt.as_bytes());
    let random = digest.iter().take(10).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    let ms = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    PointId::parse(&Ulid::from_parts(ms, random).to_string())
        .map_err(|error| StepError::internal(error.to_string()))
}

fn opened_for(ctx: &Ctx, at: Time) -> Result<Opened, StepError> {
    let plan = PlanRef { name: ctx.plan.to_string(), digest: ctx.digest.to_string() };
    let environment = ctx.environment.as_deref().unwrap_or_default().to_owned();
    let origin = Origin { plan, environment, run: ctx.run.to_string(), by: ctx.by.to_string() };
    Ok(Opened::new(id_for(at, &ctx.attempt)?, origin, at))
}

fn outputs(opened: &Opened) -> Value {
    json!({
        "id": opened.id,
        "mark": opened.mark,
        "prefix": layout::prefix(&opened.id),
        "opened_at": opened.opened_at,
    })
}

/// The point that this attempt was about to open, from its note.
fn noted(ctx: &Ctx) -> Result<Option<Opened>, StepError> {
    let mut notes = ctx.notes.iter().rev();
    let note = notes.find(|note| note.get("attempt").and_then(Value::as_str) == Some(&ctx.attempt));
    let Some(at) = note.and_then(|note| note.get("opened_at")) else { return Ok(None) };
    let at = serde_json::from_value(at.clone())
        .map_err(|error| StepError::internal(format!("the note of {}: {error}", ctx.attempt)))?;
    opened_for(ctx, at).map(Some)
}

#[async_trait]
impl StepKind for Open {
    type Inputs = OpenInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["put new artifacts into the store"],
            example: "open:\n  uses: point.open\n  target: backups\n  needs: [full]\n",
            ..described(
                "point.open",
                "Opens a recovery point: gives its id, the name of its mark and its folder in the store. Everything that the \
                 point is made of is fixed after it; full and differential backups have ended before.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, _inputs: &OpenInputs) -> Vec<Touch> {
        let resource = format!("path {}/", layout::POINTS);
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Writes }]
    }

    fn actions(&self, target: Option<&str>, _inputs: &OpenInputs, _facts: &Facts) -> Vec<Action> {
        let text = format!("put {}/<new id>/opened.json", layout::POINTS);
        vec![Action::writes(ActionKind::Artifact, target, text)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        _inputs: &OpenInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let opened = opened_for(ctx, moment::now(ctx)?)?;
        ctx.note(json!({ "attempt": &*ctx.attempt, "opened_at": opened.opened_at })).await?;
        let text = signed(&*connection, &opened.file())?;
        store_of(&*connection)?.put_new(&layout::opened(&opened.id), Bytes::from(text)).await?;
        Ok(Ended::Outputs(outputs(&opened)))
    }

    async fn reconcile(&self, ctx: &Ctx, _inputs: &OpenInputs) -> Result<Reconciled, StepError> {
        let Some(opened) = noted(ctx)? else { return Ok(Reconciled::NotDone) };
        let connection = ctx.connection().await?;
        let there = store_of(&*connection)?.size(&layout::opened(&opened.id)).await?.is_some();
        Ok(if there { Reconciled::Done(outputs(&opened)) } else { Reconciled::NotDone })
    }
}
