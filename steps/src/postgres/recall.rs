//! `postgres.recall`: [`Recall`] asks a restored table what was asked of it at the backup, and says how much of that it still finds.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Ctx, Ended, Facts, Grant, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::nearest::{Asked, Metric, Nearest, VectorColumn};
use super::rights::reading_here;
use super::sample_entry::{TABLE_SAMPLE, TableSample};
use super::session::Session;
use super::sql::Identifier;
use super::target::PostgresConnection;
use crate::described::described;
use crate::recalled::{Absent, Compared, Loss, RECALLED, compared, text_of};
use crate::sample_file::SampleFile;

inputs! {
    /// Inputs of `postgres.recall`.
    pub struct RecallInputs {
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// The samples that were taken, as `postgres.sample` and `point.select` give them. Where a point has none, nothing is compared.
        samples: Vec<TableSample> = known(Shape::List(&TABLE_SAMPLE)),
        /// The database that was restored; that of each sample where it is left out.
        database: Option<Identifier> = maybe(Shape::Text),
        /// The least share that is wanted, 0 to 1. When it is left out, an index may find a twentieth less than it found then.
        min_recall: Option<f64> = maybe(Shape::Number),
        /// What to do about a search of which stored neighbours are not there: they are lost, or, where the sample was taken after the snapshot, the search is passed over. Counts tell whether anything is lost.
        absent: Absent = maybe(Shape::OneOf(&["fail", "pass_over"])).or("\"fail\""),
    }
}

/// Compares searches.
pub struct Recall;

#[async_trait]
impl StepKind for Recall {
    type Inputs = RecallInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: RECALLED,
            permissions: &[
                "pg_read_all_data, or SELECT on the tables; BYPASSRLS where they have row level security",
                "artifacts: read from the store",
            ],
            example: "recall:\n  uses: postgres.recall\n  target: drill\n  needs: [recover]\n  with: { from: backups, samples: \"{{ steps.point.outputs.postgres.vectors.samples }}\" }\n",
            ..described(
                "postgres.recall",
                "Asks restored tables the searches that `postgres.sample` stored, once by comparing all rows and once by the index, and \
                 fails where less than `min_recall` of the neighbours is found again: whether the data are the same, and whether the \
                 index finds them. Counts alone show neither.",
            )
        }
    }

    fn judge(&self, inputs: &RecallInputs) -> Result<(), StepError> {
        match inputs.min_recall.value() {
            Some(Some(share)) if !(0.0..=1.0).contains(share) => {
                Err(StepError::new("input", format!("`min_recall` is {share}, and must be 0 to 1")))
            }
            _ => Ok(()),
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &RecallInputs) -> Vec<Touch> {
        let touch = |target: Option<String>, resource| Touch { target, resource, access: Access::Reads };
        let Some(samples) = inputs.samples.value() else {
            return vec![touch(target.map(str::to_owned), "?".into())];
        };
        let both = |one: &TableSample| {
            [
                touch(target.map(str::to_owned), format!("database {}", one.database)),
                touch(inputs.from.value().cloned(), format!("path {}", one.artifact.path)),
            ]
        };
        samples.iter().flat_map(both).collect()
    }

    fn actions(&self, target: Option<&str>, inputs: &RecallInputs, _facts: &Facts) -> Vec<Action> {
        let from = inputs.from.value().map(String::as_str);
        let ask = |queries: String| {
            Action::reads(
                ActionKind::Sql,
                target,
                format!("SELECT … ORDER BY <distance>: {queries}, exactly and by the index"),
            )
        };
        let Some(samples) = inputs.samples.value() else {
            return vec![ask(format!("the queries of {}", inputs.samples.or_after(|_| String::new())))];
        };
        let of = |one: &TableSample| {
            let read = Action::reads(ActionKind::Artifact, from, format!("read {}", one.artifact.path));
            [read, ask(format!("{} queries of {}", one.sampled, one.table))]
        };
        samples.iter().flat_map(of).collect()
    }

    fn grants(&self, inputs: &RecallInputs) -> Vec<Grant> {
        reading_here(&inputs.database)
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RecallInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let from = ctx.host.connect(inputs.from.known()?).await?;
        let store = from
            .store()
            .ok_or_else(|| StepError::internal("`from` of postgres.recall is no artifact store"))?;
        let samples = inputs.samples.known()?;
        if samples.is_empty() {
            ctx.log("no sample was taken: nothing is compared");
        }
        let work = async {
            let mut all = Compared::default();
            for sample in samples {
                all.add(again(ctx, inputs, store, sample).await?);
            }
            Ok(all)
        };
        let found = ctx.or_cancelled(work).await?;
        let min = *inputs.min_recall.known()?;
        match found.lost(min) {
            Some(loss) => {
                let of: Vec<&str> = samples.iter().map(|one| one.table.as_str()).collect();
                Err(StepError::new("postgres.recall", found.in_words(&of.join(", "), min)).help(help(loss)))
            }
            None => Ok(Ended::Outputs(json!(found))),
        }
    }

    /// It only reads.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &RecallInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// Asks the searches of one sample again.
async fn again(
    ctx: &Ctx,
    inputs: &RecallInputs,
    store: &dyn ArtifactStore,
    sample: &TableSample,
) -> Result<Compared, StepError> {
    let path = &sample.artifact.path;
    let refused = |why: String| {
        StepError::new("postgres.sample", format!("{path} is no sample that can be read: {why}"))
            .help("it was taken of another store, or was changed: `postgres.sample` writes what this reads")
    };
    let file = SampleFile::parse(&text_of(store, &sample.artifact).await?).map_err(refused)?;
    let metric = file.head.metric.as_deref().and_then(Metric::parse);
    let (Some(metric), Some(key)) = (metric, file.head.key.clone()) else {
        return Err(refused("it does not say how it was measured, or by which key".into()));
    };
    let sampled = Identifier::parse(&sample.database)?;
    let database = inputs.database.known()?.as_ref().unwrap_or(&sampled);
    let connection = ctx.connection().await?;
    let session = Session::open(PostgresConnection::of(&*connection)?.settings(), database.as_str()).await?;
    let (table, column) = (sample.table.as_str(), sample.column.as_str());
    let asked = Asked { table, column: Some(column), key: Some(&key), metric: Some(metric) };
    let at = VectorColumn::found(&session, &asked).await?;
    if !at.is_indexed {
        ctx.log(format!(
            "{table}.{column} has no index by {}: every search compares all rows",
            metric.name()
        ));
    }
    let nearest = Nearest { session, at, k: file.head.k, of: Nearest::name_of(database, table) };
    compared(ctx, &nearest, file, *inputs.absent.known()?).await
}

/// What to do about it.
fn help(loss: Loss) -> &'static str {
    match loss {
        Loss::Points => {
            "what is there is as it was, and some rows are not there: they were lost, or they were written after the restore point and \
             before the sample; postgres.count and the band of the point tell which"
        }
        Loss::Data => {
            "the data are others than those that were sampled: see whether it was recovered to the right place, and whether somebody has \
             written to it since"
        }
        Loss::Nothing => {
            "the data are the same, and the index found no more when the sample was taken: `min_recall` is above what it ever was"
        }
        Loss::Index => {
            "the data are the same, and the index finds less than it did: see postgres.verify for invalid indexes, build it anew with \
             REINDEX INDEX, and compare hnsw.ef_search and ivfflat.probes with those at the backup"
        }
    }
}
