//! `point.verify`: [`Verify`] looks whether a sealed point still holds what it says, and then says of it that it was verified.

use async_trait::async_trait;
use drydock_recovery::manifest::{PointMark, PointMarkKind};
use drydock_step::{
    Access, Action, ActionKind, Connection, Ctx, Effect, Ended, Facts, Field, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalogue::catalogue_of;
use super::resolved::resolved;
use super::said::{said_before, said_once, store_of};
use super::verifying::{Asked, Report, Wanted, verified};
use super::{layout, moment};
use crate::described::described;
use crate::said_effect::{SAID_EFFECT, SaidEffect};

/// How many findings stand in a message.
const TOLD: usize = 50;

/// What becomes of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFindings {
    /// The step fails.
    Fail,
    /// The step gives them, and says nothing of the point.
    Report,
}

inputs! {
    /// Inputs of `point.verify`.
    pub struct VerifyInputs {
        /// The point or log point: its id, the beginning of it, or `latest` for the newest sealed point.
        point: String = known(Shape::Text),
        /// Read every file back and hash it; without it, that they are there with their sizes is enough.
        deep: bool = maybe(Shape::Boolean).or("false"),
        /// With `deep`: read back only so many files, other ones in each run.
        sample: Option<usize> = maybe(Shape::Integer),
        /// A target that is asked to read every backup, HEADERONLY and VERIFYONLY, from the media that the manifest names.
        truth: Option<String> = maybe(Shape::Text),
        /// What becomes of findings: the step fails with all of them, or gives them as its output.
        on_findings: OnFindings = maybe(Shape::OneOf(&["fail", "report"])).or("\"fail\""),
        /// `reads` leaves no mark at the point, so that a validation may use it.
        effect: SaidEffect = maybe(SAID_EFFECT).or("\"writes\""),
    }
}

const FINDING: Shape = Shape::Record(&[
    Field::required("claim", Shape::Text, "The claim that does not hold."),
    Field::required("of", Shape::Text, "The database, collection, cluster or file that it is about."),
    Field::required("why", Shape::Text, "What was found."),
]);

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("id", Shape::Text, "The point's id."),
    Field::required("files", Shape::Integer, "How many files are there with their sizes."),
    Field::required("bytes", Shape::Integer, "Their bytes."),
    Field::required("hashed", Shape::Integer, "How many of them were read back and hashed."),
    Field::required("read_by_server", Shape::Integer, "How many backups the server has read."),
    Field::required("findings", Shape::List(&FINDING), "What is wrong with it."),
    Field::required("unasked", Shape::List(&Shape::Text), "What nobody asked about, and why."),
    Field::optional("mark", Shape::Text, "Where it lies in the store that it was verified."),
]);

/// Verifies a point.
pub struct Verify;

async fn report(ctx: &Ctx, connection: &dyn Connection, inputs: &VerifyInputs) -> Result<Report, StepError> {
    let found = catalogue_of(connection).await?;
    let id = resolved(&found, inputs.point.known()?)?;
    let wanted =
        Wanted { deep: *inputs.deep.known()?, sample: *inputs.sample.known()?, seed: ctx.run.to_string() };
    let truth = inputs.truth.known()?.as_deref();
    let server = match truth {
        Some(truth) => Some(ctx.host.connect(truth).await?),
        None => None,
    };
    let asked = match (truth, &server) {
        (Some(name), Some(server)) => {
            let proves = server.proves().ok_or_else(|| {
                StepError::new("point.truth", format!("target {name} cannot prove that backups can be read"))
            })?;
            Some(Asked { name, proves })
        }
        _ => None,
    };
    let told = |done, path: &str| ctx.progress(done, None, "bytes", format!("read back {path}"));
    verified(store_of(connection)?, &found, &id, &wanted, asked, moment::now(ctx)?, &told).await
}

/// All that is wrong, as one failure.
pub fn unverified(report: &Report) -> StepError {
    let mut lines: Vec<String> = report.findings.iter().take(TOLD).map(ToString::to_string).collect();
    if report.findings.len() > TOLD {
        lines.push(format!("and {} more", report.findings.len() - TOLD));
    }
    let message = format!("point {} does not hold what it says: {}", report.id, lines.join("; "));
    StepError::new("point.unverified", message).help(format!(
        "bring back what is missing; or `drydock points bad {} --reason TEXT`, so that nobody restores it",
        report.id
    ))
}

#[async_trait]
impl StepKind for Verify {
    type Inputs = VerifyInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            target_inputs: &[("truth", &["sqlserver"])],
            outputs: OUTPUTS,
            effect: Effect::ByInput("effect"),
            permissions: &[
                "list and read artifacts in the store, and put the mark",
                "RESTORE HEADERONLY and VERIFYONLY on `truth`, where it is named",
            ],
            example: "verify:\n  uses: point.verify\n  target: backups\n  with: { point: latest, deep: true, truth: sql }\n",
            ..described(
                "point.verify",
                "Looks whether a sealed point still holds what it says: its manifest's digest and signature, its claims as far as the \
                 manifest tells, that a restore finds its chain, and every file. Everything that is wrong is told at once. Where nothing \
                 is, a small object beside the point says that it was verified, how, and by which run.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &VerifyInputs) -> Vec<Touch> {
        let touch = |target: Option<&str>, resource: String, access| Touch {
            target: target.map(str::to_owned),
            resource,
            access,
        };
        let mut touches = vec![touch(target, format!("path {}/", layout::POINTS), Access::Reads)];
        if inputs.effect.value() != Some(&SaidEffect::Reads) {
            touches.push(touch(target, format!("path {}/*/marks/", layout::POINTS), Access::Writes));
        }
        if let Some(truth) = inputs.truth.value().and_then(Option::as_deref) {
            touches.push(touch(Some(truth), "backups".to_owned(), Access::Reads));
        }
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &VerifyInputs, _facts: &Facts) -> Vec<Action> {
        let point = &inputs.point;
        let how = match (inputs.deep.value(), inputs.sample.value()) {
            (Some(true), Some(Some(sample))) => format!("read back and hash {sample} files of point {point}"),
            (Some(true), _) => format!("read back and hash every file of point {point}"),
            _ => format!("look at every file of point {point}"),
        };
        let mut actions = vec![Action::reads(ActionKind::Artifact, target, how)];
        if let Some(truth) = inputs.truth.value().and_then(Option::as_deref) {
            let text = "RESTORE HEADERONLY and VERIFYONLY WITH CHECKSUM of every backup of the point";
            actions.push(Action::reads(ActionKind::Sql, Some(truth), text));
        }
        if inputs.effect.value() != Some(&SaidEffect::Reads) {
            let text = format!("put {}/<id>/marks/<time>-verified.json", layout::POINTS);
            actions.push(Action::writes(ActionKind::Artifact, target, text));
        }
        actions
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &VerifyInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let report = ctx.or_cancelled(report(ctx, &*connection, inputs)).await?;
        let mut outputs = json!(report);
        if !report.findings.is_empty() {
            return match inputs.on_findings.known()? {
                OnFindings::Fail => Err(unverified(&report)),
                OnFindings::Report => Ok(Ended::Outputs(outputs)),
            };
        }
        if *inputs.effect.known()? == SaidEffect::Reads {
            return Ok(Ended::Outputs(outputs));
        }
        let said = PointMarkKind::Verified { how: report.how(), run: ctx.run.to_string(), restored: None };
        let mark = PointMark::new(report.id.clone(), moment::now(ctx)?, format!("plan {}", ctx.plan), said);
        said_once(ctx, &*connection, &mark, &mut outputs).await?;
        Ok(Ended::Outputs(outputs))
    }

    async fn reconcile(&self, ctx: &Ctx, _inputs: &VerifyInputs) -> Result<Reconciled, StepError> {
        said_before(ctx).await
    }
}
