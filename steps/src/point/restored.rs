//! `point.restored`: [`RestoredKind`] says of a point that a restore of it went through and was proved, and what it took.

use async_trait::async_trait;
use drydock_recovery::catalogue::{Selection, To, select};
use drydock_recovery::manifest::{PlanRef, PointMark, PointMarkKind, Restored};
use drydock_step::{
    Access, Action, ActionKind, Connection, Ctx, Effect, Ended, Facts, Field, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::catalogue::catalogue_of;
use super::resolved::{record_of, resolved};
use super::said::{said_before, said_once};
use super::selected::files_to_restore;
use super::{layout, moment};
use crate::described::described;

inputs! {
    /// Inputs of `point.restored`.
    pub struct RestoredInputs {
        /// The point or log point that the run went back to: its id.
        point: String = known(Shape::Text),
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("id", Shape::Text, "The point's id."),
    Field::required("bytes", Shape::Integer, "Bytes of the artifacts that it came from."),
    Field::required("artifacts", Shape::Text, "Digest over the paths and digests of those artifacts."),
    Field::required("mark", Shape::Text, "Where it lies in the store."),
]);

/// Says that a point was restored.
pub struct RestoredKind;

/// What the run is evidence of.
async fn restored(ctx: &Ctx, connection: &dyn Connection, point: &str) -> Result<PointMark, StepError> {
    let (found, now) = (catalogue_of(connection).await?, moment::now(ctx)?);
    let id = resolved(&found, point)?;
    let catalogue = found.catalogue();
    let records = catalogue.records();
    let incomplete = record_of(&records, &id).map(|record| record.incomplete().to_vec()).unwrap_or_default();
    let selection = select(&catalogue, &To::Id(id.to_string()), &incomplete, now).map_err(|error| {
        StepError::new("point.unusable", error.to_string()).help("say which point the run went back to")
    })?;
    let (bytes, artifacts) = came_from(&selection);
    let took_ms = u64::try_from(ctx.now_ms() - ctx.run_started_ms).unwrap_or(0);
    let plan = PlanRef { name: ctx.plan.to_string(), digest: ctx.digest.to_string() };
    let environment = ctx.environment.as_deref().unwrap_or_default().to_owned();
    let restored = Restored { took_ms, sittings: ctx.sitting, bytes, artifacts, plan, environment };
    let how = format!("restored and proved by {}", ctx.plan);
    let said = PointMarkKind::Verified { how, run: ctx.run.to_string(), restored: Some(restored) };
    Ok(PointMark::new(id, now, &*ctx.by, said))
}

/// The bytes of what a restore reads, and the digest over it.
fn came_from(selection: &Selection) -> (u64, String) {
    let files = files_to_restore(selection);
    let mut digest = Sha256::new();
    for (path, file) in &files {
        digest.update(format!("{path}\n{}\n", file.sha256.to_ascii_lowercase()));
    }
    let digest = digest.finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    (files.values().map(|file| file.size).sum(), hex)
}

fn outputs(mark: &PointMark) -> Value {
    let PointMarkKind::Verified { restored: Some(restored), .. } = &mark.said else { return Value::Null };
    json!({
        "id": mark.point,
        "bytes": restored.bytes,
        "artifacts": restored.artifacts,
    })
}

#[async_trait]
impl StepKind for RestoredKind {
    type Inputs = RestoredInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["list and read the catalogue in the store, and put the mark"],
            example: "evidence:\n  uses: point.restored\n  target: backups\n  needs: [recall]\n  with: { point: \"{{ steps.point.outputs.id }}\" }\n",
            ..described(
                "point.restored",
                "Says of a point that this run went back to it and proved it: a small object beside the point, with the time that it took \
                 since the run began, the digest of the plan and that of the artifacts it came from. `point.select` expects of the next \
                 restore what the last ones took. It stands after the step that proves the restore.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, _inputs: &RestoredInputs) -> Vec<Touch> {
        let touch = |resource: String, access| Touch { target: target.map(str::to_owned), resource, access };
        vec![
            touch(format!("path {}/", layout::POINTS), Access::Reads),
            touch(format!("path {}/*/marks/", layout::POINTS), Access::Writes),
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &RestoredInputs, _facts: &Facts) -> Vec<Action> {
        let text = format!("put {}/{}/marks/<time>-verified.json", layout::POINTS, inputs.point);
        vec![Action::writes(ActionKind::Artifact, target, text)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RestoredInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let mark = ctx.or_cancelled(restored(ctx, &*connection, inputs.point.known()?)).await?;
        let mut outputs = outputs(&mark);
        said_once(ctx, &*connection, &mark, &mut outputs).await?;
        Ok(Ended::Outputs(outputs))
    }

    async fn reconcile(&self, ctx: &Ctx, _inputs: &RestoredInputs) -> Result<Reconciled, StepError> {
        said_before(ctx).await
    }
}
