//! `point.prune`: [`Prune`] removes recovery points that no rule keeps, with the files that nothing else needs.

use async_trait::async_trait;
use chrono::TimeDelta;
use drydock_recovery::pruning::Guards;
use drydock_recovery::retention::{Keep, Retention};
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, KindShape, Millis, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::pruning::{Doomed, Planned, Pruner, Terms, Told, planned, pruned};
use super::{layout, moment};
use crate::described::described;

/// How many points the outputs name, and a dry run.
const NAMED: usize = 500;

/// So many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepGiven {
    last: usize,
    daily: usize,
    weekly: usize,
    monthly: usize,
    yearly: usize,
}

const KEEP: &[Field] = &[
    Field::optional("last", Shape::Integer, "So many of the newest points."),
    Field::optional("daily", Shape::Integer, "The newest of each of so many days that have any, in UTC."),
    Field::optional("weekly", Shape::Integer, "The newest of each of so many weeks that have any."),
    Field::optional("monthly", Shape::Integer, "The newest of each of so many months that have any."),
    Field::optional("yearly", Shape::Integer, "The newest of each of so many years that have any."),
];

inputs! {
    /// Inputs of `point.prune`.
    pub struct PruneInputs {
        /// Which points stay.
        keep: KeepGiven = known(Shape::Record(KEEP)),
        /// How far back every moment stays reachable by log points, counted from the newest point.
        pitr: Option<Millis> = maybe(Shape::Duration),
        /// The greatest share of the points, and of their bytes, that is removed at once, in percent; where it would be more, nothing is.
        max_share: f64 = maybe(Shape::Number).or("30"),
        /// So many verified points are left, or nothing is removed.
        min_verified: usize = maybe(Shape::Integer).or("3"),
        /// Whether files go too that no sealed point has: of points that were never sealed, WAL that leads nowhere any more, and what puts that were cut have left.
        orphans: bool = maybe(Shape::Boolean).or("false"),
        /// How much older than the newest point one must be that was opened and never sealed, to count as an orphan.
        unsealed_after: Millis = maybe(Shape::Duration).or("\"1d\""),
    }
}

const TOLD: Shape = Shape::Record(&[
    Field::required("id", Shape::Text, "Its id."),
    Field::required("kind", Shape::Text, "`point`, `log`, `differential` or `unsealed`."),
    Field::optional("at", Shape::Datetime, "The moment that it stands for."),
    Field::required("keep", Shape::Boolean, "Whether it stays."),
    Field::required("why", Shape::Text, "Why."),
]);

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("removed", Shape::List(&TOLD), "What went, newest first; the first 500."),
    Field::required("kept", Shape::List(&TOLD), "What stays, in the same order; the first 500."),
    Field::required("removed_count", Shape::Integer, "How many went."),
    Field::required("kept_count", Shape::Integer, "How many stay."),
    Field::required("files", Shape::Integer, "How many files went with them."),
    Field::required("freed_bytes", Shape::Integer, "How long those were together."),
    Field::required(
        "refused",
        Shape::List(&Shape::Text),
        "Files that the store does not let go, and why; the next pruning tries again.",
    ),
]);

/// Removes points.
pub struct Prune;

fn span(of: Millis) -> Result<TimeDelta, StepError> {
    i64::try_from(of.0)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .ok_or_else(|| StepError::new("input", format!("{of} is longer than a time can be")))
}

impl PruneInputs {
    fn terms(&self) -> Result<Terms, StepError> {
        let KeepGiven { last, daily, weekly, monthly, yearly } = *self.keep.known()?;
        let pitr = self.pitr.known()?.map(span).transpose()?;
        let guards =
            Guards { max_share: *self.max_share.known()?, min_verified: *self.min_verified.known()? };
        Ok(Terms {
            retention: Retention { keep: Keep { last, daily, weekly, monthly, yearly }, pitr },
            guards,
            orphans: *self.orphans.known()?,
            unsealed_after: span(*self.unsealed_after.known()?)?,
        })
    }
}

/// Why nothing is removed, as the failure of an attempt.
pub fn stopped(stops: &[String]) -> StepError {
    let message = format!("nothing was removed: {}", stops.join("; "));
    StepError::new("point.prune", message).help("a dry run explains what would become of each point, and why")
}

fn parted(planned: &Planned) -> (Vec<&Told>, Vec<&Told>) {
    planned.points.iter().chain(&planned.unsealed).partition(|one| one.keep)
}

fn outputs(planned: &Planned) -> Value {
    let (kept, removed) = parted(planned);
    json!({
        "removed": removed.get(..NAMED).unwrap_or(&removed),
        "kept": kept.get(..NAMED).unwrap_or(&kept),
        "removed_count": removed.len(),
        "kept_count": kept.len(),
        "files": planned.files,
        "freed_bytes": planned.bytes,
        "refused": [],
    })
}

/// What this step was about to remove when it was lost. What another attempt has ended is over: a step that is asked to run again decides
/// anew.
fn begun(ctx: &Ctx) -> Option<&Value> {
    let by_other = |note: &Value| note.get("ended").is_some_and(|attempt| attempt != &*ctx.attempt);
    let from = ctx.notes.iter().rposition(by_other).map_or(0, |last| last + 1);
    ctx.notes.get(from..)?.iter().rev().find(|note| note.get("doomed").is_some())
}

#[async_trait]
impl StepKind for Prune {
    type Inputs = PruneInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["list, read, put and delete artifacts in the store"],
            example: "prune:\n  uses: point.prune\n  target: backups\n  with: { keep: { last: 3, daily: 7, weekly: 5, monthly: 12 }, pitr: 7d }\n",
            ..described(
                "point.prune",
                "Removes recovery points and log points that no rule keeps, and the files that nothing else needs. What the chain of \
                 another needs stays, what is held stays, and nothing goes that is newer than the newest sealed point. Ages are counted \
                 from that point, never by the runner's clock. It removes nothing at all where too much would go at once.",
            )
        }
    }

    fn judge(&self, inputs: &PruneInputs) -> Result<(), StepError> {
        let keeps_nothing = inputs.keep.value() == Some(&KeepGiven::default());
        if keeps_nothing && inputs.pitr.value() == Some(&None) {
            return Err(StepError::new("input", "`keep` keeps nothing, and `pitr` is not given")
                .help("say what stays, such as `keep: { last: 3, daily: 7 }`"));
        }
        if inputs.max_share.value().is_some_and(|share| !(0.0..=100.0).contains(share)) {
            return Err(StepError::new("input", "`max_share` is a share in percent, from 0 to 100"));
        }
        Ok(())
    }

    fn touches(&self, target: Option<&str>, _inputs: &PruneInputs) -> Vec<Touch> {
        // A point's files may lie anywhere in the store.
        vec![Touch { target: target.map(str::to_owned), resource: "?".into(), access: Access::Destroys }]
    }

    fn actions(&self, target: Option<&str>, inputs: &PruneInputs, facts: &Facts) -> Vec<Action> {
        let reads = |text: String| Action::reads(ActionKind::Artifact, target, text);
        let writes = |text: String| Action::writes(ActionKind::Artifact, target, text);
        let mut actions = vec![reads(format!("read {}/*", layout::POINTS))];
        let Ok(planned) = Planned::deserialize(facts) else {
            let terms = match inputs.keep.value() {
                Some(keep) => format!("{keep:?}").trim_start_matches("KeepGiven ").to_owned(),
                None => inputs.keep.or_after(|_| String::new()),
            };
            actions.push(writes(format!("remove the points that no rule keeps: {terms}")));
            return actions;
        };
        let (kept, removed) = parted(&planned);
        let line = |one: &Told| format!("{} {}: {}", one.kind, one.id, one.why);
        actions.extend(removed.iter().take(NAMED).map(|one| writes(format!("remove {}", line(one)))));
        actions.extend(planned.interrupted.iter().map(|id| writes(format!("go on removing {id}"))));
        if planned.files > 0 {
            let text = format!("remove {} files of {} bytes with them", planned.files, planned.bytes);
            actions.push(writes(text));
        }
        actions.extend(planned.spared.iter().map(|why| reads(why.clone())));
        actions.extend(kept.iter().take(NAMED).map(|one| reads(format!("keep {}", line(one)))));
        actions
    }

    /// What would go, and why; and what stands against it.
    async fn preflight(&self, ctx: &Ctx, inputs: &PruneInputs) -> Result<Preflight, StepError> {
        let Ok(terms) = inputs.terms() else { return Ok(Preflight::default()) };
        let connection = ctx.connection().await?;
        let mut planned = planned(&*connection, &terms, moment::now(ctx)?).await?;
        let findings = planned.stops.iter().map(|why| PreflightFinding {
            code: "point.prune".into(),
            fatal: true,
            message: format!("nothing is removed: {why}"),
            help: None,
        });
        let findings = findings.collect();
        planned.points.truncate(2 * NAMED);
        Ok(Preflight { facts: json!(planned), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &PruneInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (connection, terms) = (ctx.connection().await?, inputs.terms()?);
        let now = moment::now(ctx)?;
        let (doomed, mut outputs) = match from.and_then(resumed) {
            Some((doomed, outputs)) => (doomed.still(&planned(&*connection, &terms, now).await?), outputs),
            None => {
                let planned = planned(&*connection, &terms, now).await?;
                if !planned.stops.is_empty() {
                    return Err(stopped(&planned.stops));
                }
                (planned.doomed(), outputs(&planned))
            }
        };
        ctx.note(json!({ "doomed": doomed, "outputs": outputs })).await?;
        let by = format!("run {} of plan {}", ctx.run, ctx.plan);
        let told = |done| ctx.progress(done, None, "files", "removed");
        let pruner = Pruner { by: &by, now };
        let refused = ctx.or_cancelled(pruned(&*connection, &doomed, &terms, &pruner, &told)).await?;
        outputs["refused"] = json!(refused.get(..NAMED).unwrap_or(&refused));
        ctx.note(json!({ "ended": &*ctx.attempt })).await?;
        Ok(Ended::Outputs(outputs))
    }

    /// What was about to go goes: what is gone already is gone by us.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &PruneInputs) -> Result<Reconciled, StepError> {
        Ok(begun(ctx).map_or(Reconciled::NotDone, |note| Reconciled::Partly(note.clone())))
    }
}

/// What a note says that was to be removed, and what is said of it then.
fn resumed(note: &Value) -> Option<(Doomed, Value)> {
    let doomed = Doomed::deserialize(note.get("doomed")?).ok()?;
    Some((doomed, note.get("outputs")?.clone()))
}
