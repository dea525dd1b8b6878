//! `point.select`: [`Select`] chooses the recovery point that a restore goes back to, from the store's files alone.

use async_trait::async_trait;
use drydock_recovery::catalogue::{Selection, To};
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, PreflightFinding, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::catalogue::catalogue_of;
use super::changed::Changed;
use super::expected::expected;
use super::open::store_of;
use super::priced::priced;
use super::selected::{files_of_servers, files_to_restore, selected};
use super::{layout, moment};
use crate::artifact_shape::ARTIFACT;
use crate::described::described;
use crate::rehash::changed;

inputs! {
    /// Inputs of `point.select`.
    pub struct SelectInputs {
        /// What to go back to: a point's id or the beginning of it, `point:latest`, `end` (the last provable moment), or an RFC 3339 time. A time is by the clock of the runner that made the points, which `drydock points list` shows; a server whose clock went otherwise is stopped where its own clock stood then.
        to: String = known(Shape::Text),
        /// What an incomplete point may lack: its databases and collections by name.
        accept_missing: Vec<String> = maybe(Shape::List(&Shape::Text)).or("[]"),
        /// A target that still holds the truth: it is asked how many documents have to be indexed again. One that does not answer is no error: what is restored is often dead.
        truth: Option<String> = maybe(Shape::Text),
        /// The database of the truth; the login's own when left out.
        database: Option<String> = maybe(Shape::Text),
        /// The query that counts documents changed between `{since}` and `{until}`, which stand for two times in UTC.
        changed: String = maybe(Shape::Text).or(CHANGED),
    }
}

/// What Octopus is asked.
const CHANGED: &str = r#""SELECT COUNT_BIG(*) AS n FROM Octopus_Documents WHERE UpdatedAt > '{since}' AND UpdatedAt <= '{until}'""#;

const SAMPLE: Shape = Shape::Record(&[
    Field::optional("using", Shape::Text, "The name of the vector that was searched by, where it has one."),
    Field::required("sampled", Shape::Integer, "How many points were searched around."),
    Field::required("k", Shape::Integer, "How many others were looked for around each."),
    Field::required("recall", Shape::Number, "The share of the true neighbours that the index found then."),
    Field::required("artifact", ARTIFACT, "Where the sample lies in the store."),
]);

const COLLECTION: Shape = Shape::Record(&[
    Field::required("collection", Shape::Text, "Its name."),
    Field::required("points", Shape::Band, "How many points it had."),
    Field::required(
        "snapshots",
        Shape::List(&Shape::Map(&Shape::Any)),
        "A snapshot a node, each with its `artifact`.",
    ),
    Field::required("params", Shape::Any, "The collection's parameters."),
    Field::required("payload_indexes", Shape::Any, "Its payload indexes."),
    Field::required("aliases", Shape::List(&Shape::Text), "Its aliases."),
    Field::required(
        "samples",
        Shape::List(&SAMPLE),
        "What was sampled of it, as `qdrant.recall` takes it; none where the backup took none.",
    ),
]);

const CLUSTER: Shape = Shape::Record(&[
    Field::required("version", Shape::Text, "The server's version."),
    Field::required(
        "bases",
        Shape::List(&Shape::Map(&Shape::Any)),
        "The full base backup and the incremental ones after it, as `postgres.recover` takes them.",
    ),
    Field::required(
        "restore_point",
        Shape::Record(&[
            Field::required("name", Shape::Text, "Its name."),
            Field::required("lsn", Shape::Text, "Where it is in the WAL."),
            Field::required("timeline", Shape::Integer, "The timeline."),
            Field::optional("system_identifier", Shape::Text, "The cluster's own number."),
            Field::required("at", Shape::Datetime, "When it was made, by the server's clock."),
            Field::required("started_at", Shape::Datetime, "When it was asked for, by the runner's clock."),
            Field::required(
                "answered_at",
                Shape::Datetime,
                "When the answer was there, by the runner's clock.",
            ),
        ]),
        "The last place that the WAL is proved to lead to.",
    ),
    Field::required(
        "to",
        Shape::Map(&Shape::Text),
        "Where to stop, `{name}` or `{time}`, as `postgres.recover` takes it.",
    ),
    Field::required(
        "wal",
        Shape::Record(&[
            Field::required("prefix", Shape::Text, "Where the archive lies in the store."),
            Field::required("system_identifier", Shape::Text, "The cluster's own number."),
            Field::required("segments", Shape::List(&ARTIFACT), "The segments that lead there."),
        ]),
        "The WAL that leads there.",
    ),
    Field::required("tables", Shape::Map(&Shape::Band), "Rows around the restore point, by `schema.table`."),
    Field::required(
        "samples",
        Shape::List(&Shape::Map(&Shape::Any)),
        "What was sampled, as `postgres.recall` takes it.",
    ),
    Field::required("skew_s", Shape::Number, "Seconds from asking for the restore point to the mark."),
    Field::optional(
        "clock",
        Shape::Text,
        "What is worth knowing of its clock, where a time was asked for and it went otherwise than the runner's.",
    ),
]);

const CHAIN: Shape = Shape::Record(&[
    Field::required("database", Shape::Text, "The database's name when it was backed up."),
    Field::required("server", Shape::Map(&Shape::Any), "The server that it was on."),
    Field::required("family_guid", Shape::Text, "The database's family."),
    Field::required("recovery_fork", Shape::Text, "The recovery fork that the chain ends on."),
    Field::required(
        "stop_at_mark",
        Shape::Any,
        "The mark to stop at, `{name, lsn}`; null where the last backup is restored whole, or at a moment.",
    ),
    Field::optional(
        "stop_at",
        Shape::Datetime,
        "The moment to stop at, by the server's own clock, where a time was asked for.",
    ),
    Field::required("recovers_to", Shape::Datetime, "The moment that the database will be at."),
    Field::required(
        "backups",
        Shape::List(&Shape::Map(&Shape::Any)),
        "The backups in restore order, each with its `artifacts`.",
    ),
    Field::required("problems", Shape::List(&Shape::Text), "What is worth knowing about the chain."),
]);

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("id", Shape::Text, "The id of the point or log point."),
    Field::required(
        "kind",
        Shape::OneOf(&["point", "log", "differential", "time"]),
        "What it is; `time` for a moment after the point or log point of this id.",
    ),
    Field::required("mark", Shape::Text, "The name of its mark, whose row is there after the restore."),
    Field::required("at", Shape::Datetime, "The moment that it stands for."),
    Field::required(
        "sqlserver",
        Shape::Map(&CHAIN),
        "The chain of each database, by the name that the backup plan gave it.",
    ),
    Field::required(
        "qdrant",
        Shape::Record(&[
            Field::required("version", Shape::Text, "The version of Qdrant."),
            Field::required("collections", Shape::List(&COLLECTION), "The collections."),
        ]),
        "The collections of the point, or of the point that the log point builds on.",
    ),
    Field::required(
        "postgres",
        Shape::Map(&CLUSTER),
        "The clusters of the point, or of the point that the log point builds on, by the name that the backup plan gave each.",
    ),
    Field::required("vector_base", Shape::Any, "The point whose snapshots these are."),
    Field::optional(
        "skew_s",
        Shape::Number,
        "The greatest skew of collections and clusters, in seconds; `price` has that of each.",
    ),
    Field::required(
        "server_objects",
        Shape::Map(&ARTIFACT),
        "Scripts of what servers have beside their databases, as `sqlserver.restore_objects` takes them.",
    ),
    Field::required("rows", Shape::Map(&Shape::Band), "Row counts around the mark, by table."),
    Field::required("migrations", Shape::List(&Shape::Text), "The migrations that were applied."),
    Field::required("versions", Shape::Map(&Shape::Text), "Versions of servers and application."),
    Field::required("incomplete", Shape::List(&Shape::Text), "What it lacks, by name."),
    Field::required(
        "clocks",
        Shape::Map(&Shape::Number),
        "The servers whose clocks went otherwise than the runner's when it was made, and how many seconds ahead.",
    ),
    Field::required(
        "price",
        Shape::Record(&[
            Field::required("lost_s", Shape::Number, "Seconds of work that are lost."),
            Field::required(
                "reindex",
                Shape::List(&Shape::Map(&Shape::Any)),
                "What must be indexed again, a collection each.",
            ),
            Field::required("orphans", Shape::Text, "Which vectors without a document are to be expected."),
            Field::optional(
                "documents",
                Shape::Integer,
                "How many documents have to be indexed again, at least, as the truth counted them.",
            ),
            Field::optional(
                "expected",
                Shape::Record(&[
                    Field::required(
                        "seconds",
                        Shape::Number,
                        "The median of what the last restores by this plan took.",
                    ),
                    Field::required("least_s", Shape::Number, "The fastest of them."),
                    Field::required("most_s", Shape::Number, "The slowest."),
                    Field::required("restores", Shape::Integer, "How many there are."),
                    Field::required("from_bytes", Shape::Integer, "Bytes that the median one came from."),
                    Field::required("bytes", Shape::Integer, "Bytes that this one comes from."),
                    Field::required("environment", Shape::Text, "Where they were done, or `several`."),
                ]),
                "How long it may be expected to take, by what `point.restored` kept of earlier ones.",
            ),
            Field::optional("expected_unknown", Shape::Text, "Why nobody knows how long it takes."),
            Field::optional("documents_unknown", Shape::Text, "Why they could not be counted."),
        ]),
        "What going back costs.",
    ),
    Field::required(
        "passed_over",
        Shape::List(&Shape::Text),
        "What is newer and could not be used, and why.",
    ),
]);

/// Chooses a point.
pub struct Select;

/// What the truth is asked, where it is.
fn counted_of(inputs: &SelectInputs) -> Result<Option<Changed<'_>>, StepError> {
    let Some(truth) = inputs.truth.known()?.as_deref() else { return Ok(None) };
    Ok(Some(Changed { truth, database: inputs.database.known()?.as_deref(), sql: inputs.changed.known()? }))
}

/// What was chosen. A collection is as `qdrant.recover` takes it, so its skew stands beside the collections.
fn outputs(selection: &Selection) -> Value {
    let mut outputs = selection.outputs();
    let collections = outputs.pointer_mut("/qdrant/collections").and_then(Value::as_array_mut);
    for collection in collections.into_iter().flatten().filter_map(Value::as_object_mut) {
        collection.shift_remove("skew_s");
        // A manifest leaves it out where there is none, and a plan may name it in any case.
        collection.entry("samples").or_insert_with(|| Value::Array(Vec::new()));
    }
    let collections = selection.qdrant.collections.iter().map(|part| part.skew_s);
    let skews = collections.chain(selection.postgres.values().map(|one| one.part.skew_s));
    outputs["skew_s"] = skews.max_by(f64::total_cmp).into();
    outputs
}

#[async_trait]
impl StepKind for Select {
    type Inputs = SelectInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            target_inputs: &[("truth", &["sqlserver"])],
            outputs: OUTPUTS,
            answers_in_dry_run: true,
            permissions: &["list and read artifacts in the store"],
            example: "point:\n  uses: point.select\n  target: backups\n  with: { to: \"{{ params.to }}\" }\n",
            ..described(
                "point.select",
                "Chooses the recovery point that a restore goes back to, and gives the chain of each database and the snapshots of \
                 each collection. It reads the store alone, and looks that every file is there.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &SelectInputs) -> Vec<Touch> {
        let touch = |target: Option<&str>, resource: String| Touch {
            target: target.map(str::to_owned),
            resource,
            access: Access::Reads,
        };
        let mut touches = vec![touch(target, format!("path {}/", layout::POINTS))];
        if let Some(truth) = inputs.truth.value().and_then(Option::as_deref) {
            let database = inputs.database.or_after(|name| name.clone().unwrap_or_else(|| "?".to_owned()));
            touches.push(touch(Some(truth), format!("database {database}")));
        }
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &SelectInputs, _facts: &Facts) -> Vec<Action> {
        let text = format!("choose {} among {}/*/manifest.json", inputs.to, layout::POINTS);
        let mut actions = vec![Action::reads(ActionKind::Artifact, target, text)];
        if let Some(truth) = inputs.truth.value().and_then(Option::as_deref) {
            actions.push(Action::reads(ActionKind::Sql, Some(truth), inputs.changed.to_string()));
        }
        actions
    }

    fn headlines(&self, outputs: &Value) -> Vec<String> {
        priced(outputs)
    }

    /// A moment between two points is found from the time again; a point has an id.
    fn pinned(&self, outputs: &Value) -> Vec<(&'static str, Value)> {
        if outputs["kind"] == "time" { Vec::new() } else { vec![("to", outputs["id"].clone())] }
    }

    fn moving(&self) -> &'static [&'static str] {
        &["/price", "/passed_over"]
    }

    /// Whether the files of the point are what they were when it was sealed.
    async fn prove(&self, ctx: &Ctx, inputs: &SelectInputs) -> Result<Vec<PreflightFinding>, StepError> {
        let (Some(to), Some(accepted)) = (inputs.to.value(), inputs.accept_missing.value()) else {
            return Ok(Vec::new());
        };
        let connection = ctx.connection().await?;
        let store = store_of(&*connection)?;
        let found = catalogue_of(&*connection).await?;
        match selected(store, found, &To::parse(to), accepted, moment::now(ctx)?).await {
            Ok(selection) => changed(store, files_of_servers(&selection)).await,
            // That nothing can be chosen is said by the answer itself.
            Err(error) if !error.transient => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &SelectInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let to = To::parse(inputs.to.known()?);
        let connection = ctx.connection().await?;
        let store = store_of(&*connection)?;
        let counted = counted_of(inputs)?;
        let work = async {
            // A store that is not there holds no point either, and that is not what has to be said of it.
            connection.ping().await?;
            let found = catalogue_of(&*connection).await?;
            let marks = found.marks.clone();
            let accepted = inputs.accept_missing.known()?;
            Ok((selected(store, found, &to, accepted, moment::now(ctx)?).await?, marks))
        };
        let (selection, marks) = ctx.or_cancelled(work).await?;
        for line in &selection.passed_over {
            ctx.log(format!("passed over: {line}"));
        }
        let clocks = selection.postgres.values().filter_map(|one| one.clock.as_ref());
        clocks
            .chain(selection.sqlserver.values().flat_map(|part| &part.problems))
            .for_each(|line| ctx.log(line.clone()));
        let mut outputs = outputs(&selection);
        let bytes = files_to_restore(&selection).values().map(|file| file.size).sum();
        match expected(&marks, &ctx.plan, ctx.environment.as_deref().unwrap_or_default(), bytes) {
            Ok(expected) => outputs["price"]["expected"] = json!(expected),
            Err(why) => outputs["price"]["expected_unknown"] = why.into(),
        }
        if let Some(counted) = counted {
            let price = ctx.or_cancelled(async { Ok(counted.asked(ctx, &selection).await) }).await?;
            match price {
                Ok(documents) => outputs["price"]["documents"] = documents.into(),
                Err(why) => outputs["price"]["documents_unknown"] = why.into(),
            }
        }
        Ok(Ended::Outputs(outputs))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &SelectInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}
