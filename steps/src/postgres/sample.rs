//! `postgres.sample`: [`Sample`] stores what lies nearest to some rows of a table of vectors, so that a restored one can be asked the same.

use async_trait::async_trait;
use drydock_recovery::Time;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Effect, Ended, Facts, Grant, KindShape,
    Preflight, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::finding::found;
use super::last_word;
use super::nearest::{Asked, Metric, Nearest, VectorColumn};
use super::rights::reading;
use super::sample_entry::{TABLE_SAMPLE, TableSample, entry};
use super::session::Session;
use super::sql::Identifier;
use super::target::PostgresConnection;
use crate::described::described;
use crate::sample_file::{FORMAT, Head, SampleFile, VERSION};
use crate::sampling::Writing;

/// The most rows that are searched around, and the most others that are looked for around each: as many as HNSW can give.
const MOST: u64 = 999;

inputs! {
    /// Inputs of `postgres.sample`.
    pub struct SampleInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// The table, as SQL names it: `public.vectors`.
        table: String = known(Shape::Text),
        /// The column of vectors, of pgvector's types; needed where the table has several.
        column: Option<String> = maybe(Shape::Text),
        /// The column that tells rows apart: the primary key where it is left out.
        key: Option<String> = maybe(Shape::Text),
        /// How distance is measured: as the column's index does where it is left out, `l2` without an index.
        metric: Option<String> = maybe(Shape::OneOf(&Metric::NAMES)),
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store: the sample lies below it, by database, table and column.
        prefix: String = maybe(Shape::Text).or("\"postgres\""),
        /// How many rows are searched around, 1 to 999. All keys are read once to choose them.
        queries: u64 = maybe(Shape::Integer).or("50"),
        /// How many others are looked for around each, 1 to 999.
        k: u64 = maybe(Shape::Integer).or("10"),
    }
}

impl SampleInputs {
    fn asked(&self) -> Result<Asked<'_>, StepError> {
        Ok(Asked {
            table: self.table.known()?,
            column: self.column.known()?.as_deref(),
            key: self.key.known()?.as_deref(),
            metric: self.metric.known()?.as_deref().and_then(Metric::parse),
        })
    }
}

/// Samples searches.
pub struct Sample;

#[async_trait]
impl StepKind for Sample {
    type Inputs = SampleInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: TABLE_SAMPLE,
            effect: Effect::Writes,
            permissions: &[
                "pg_read_all_data, or SELECT on the table; BYPASSRLS where it has row level security",
                "artifacts: write to the store",
            ],
            example: "sample:\n  uses: postgres.sample\n  target: vectors\n  with: { database: octopus, table: public.vectors, to: backups, prefix: postgres }\n",
            ..described(
                "postgres.sample",
                "Stores the true nearest neighbours of some rows of a table of vectors, found by comparing all of them, with the share that \
                 its index finds. After a restore `postgres.recall` asks the restored table the same. The rows are chosen by the run's id, \
                 so that a resumed run takes the same.",
            )
        }
    }

    fn judge(&self, inputs: &SampleInputs) -> Result<(), StepError> {
        for (name, value) in [("queries", inputs.queries.value()), ("k", inputs.k.value())] {
            if let Some(number) = value.filter(|number| !(1..=MOST).contains(*number)) {
                let message = format!("`{name}` is {number}, and must be 1 to {MOST}");
                return Err(StepError::new("input", message));
            }
        }
        Ok(())
    }

    fn touches(&self, target: Option<&str>, inputs: &SampleInputs) -> Vec<Touch> {
        let database = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        let path = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![
            Touch { target: target.map(str::to_owned), resource: database, access: Access::Reads },
            Touch { target: inputs.to.value().cloned(), resource: path, access: Access::Writes },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &SampleInputs, _facts: &Facts) -> Vec<Action> {
        let read = |sql: String| Action::reads(ActionKind::Sql, target, sql);
        let mut actions: Vec<Action> = VectorColumn::QUESTIONS.map(|sql| read(sql.to_owned())).into();
        actions.push(read(format!(
            "SELECT … FROM {} ORDER BY <distance> LIMIT {}: what is nearest to each of {} rows, exactly and by the index",
            inputs.table, inputs.k, inputs.queries
        )));
        let path = format!("store {}/<database>/<table>@<column>.sample.json", inputs.prefix);
        actions.push(Action::writes(ActionKind::Artifact, inputs.to.value().map(String::as_str), path));
        actions
    }

    fn grants(&self, inputs: &SampleInputs) -> Vec<Grant> {
        reading(&inputs.database)
    }

    /// The table is there and has such a column.
    async fn preflight(&self, ctx: &Ctx, inputs: &SampleInputs) -> Result<Preflight, StepError> {
        let (Some(database), Ok(asked)) = (inputs.database.value(), inputs.asked()) else {
            return Ok(Preflight::default());
        };
        let connection = ctx.connection().await?;
        let looked = async {
            let session = PostgresConnection::of(&*connection)?.in_database(Some(database.as_str())).await?;
            VectorColumn::found(&session, &asked).await
        };
        Ok(found(looked.await.err()))
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &SampleInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let to = ctx.host.connect(inputs.to.known()?).await?;
        let taken = ctx.or_cancelled(sampled(ctx, inputs, store_of(&*to)?)).await?;
        let outputs = json!(taken);
        last_word::noted(ctx, &outputs).await?;
        Ok(Ended::Outputs(outputs))
    }

    /// A sample that was noted was taken; of any other nothing is left but a file that the next one replaces.
    async fn reconcile(&self, ctx: &Ctx, inputs: &SampleInputs) -> Result<Reconciled, StepError> {
        let Some(given) = last_word::of(ctx) else { return Ok(Reconciled::NotDone) };
        let to = ctx.host.connect(inputs.to.known()?).await?;
        let path = given["artifact"]["path"].as_str().unwrap_or_default();
        let is_there = store_of(&*to)?.size(path).await? == given["artifact"]["size"].as_u64();
        Ok(if is_there { Reconciled::Done(given.clone()) } else { Reconciled::NotDone })
    }
}

fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection.store().ok_or_else(|| StepError::internal("`to` of postgres.sample is no artifact store"))
}

/// Where a sample lies in a store. Two columns never have the same file, whatever their names.
fn path_of(prefix: &str, database: &str, table: &str, column: &str) -> String {
    let part = |name: &str| {
        name.bytes().fold(String::new(), |text, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => text + &char::from(byte).to_string(),
            b'.' if !text.is_empty() => text + ".",
            other => text + &format!("%{other:02X}"),
        })
    };
    let prefix = prefix.trim_end_matches('/');
    format!("{prefix}/{}/{}@{}.sample.json", part(database), part(table), part(column))
}

async fn sampled(
    ctx: &Ctx,
    inputs: &SampleInputs,
    store: &dyn ArtifactStore,
) -> Result<TableSample, StepError> {
    let database = inputs.database.known()?;
    let connection = ctx.connection().await?;
    let postgres = PostgresConnection::of(&*connection)?;
    let session = Session::open(postgres.settings(), database.as_str()).await?;
    let at = VectorColumn::found(&session, &inputs.asked()?).await?;
    if !at.is_indexed {
        ctx.log(format!(
            "{}.{} has no index by {}: every search compares all rows",
            at.table,
            at.column,
            at.metric.name()
        ));
    }
    let counted = session.ask_long("counting rows", &at.counting()).await?;
    let rows = u64::try_from(counted.first()?.number("rows")?.unwrap_or(0)).unwrap_or(0);
    let wanted = *inputs.queries.known()?;
    // As many to spare: some may be gone before it is their turn.
    let seed = format!("{}/{}", ctx.run, ctx.step);
    let chosen = session.ask_long("choosing rows", &at.choosing(&seed, wanted * 2)).await?;
    let points: Vec<Value> =
        chosen.rows().map(|row| row.known("id").map(Value::from)).collect::<Result<_, _>>()?;
    let k = *inputs.k.known()?;
    let of = Nearest::name_of(database, &at.table);
    let head = Head {
        format: FORMAT.to_owned(),
        version: VERSION,
        attempt: ctx.attempt.to_string(),
        collection: of.clone(),
        using: Some(at.column.clone()),
        sampled_at: Time::from_timestamp_millis(ctx.now_ms()).unwrap_or_default(),
        points: rows,
        k,
        metric: Some(at.metric.name().to_owned()),
        key: Some(at.key.clone()),
    };
    let path = path_of(inputs.prefix.known()?, database.as_str(), &at.table, &at.column);
    let table = at.table.clone();
    let searches = Box::new(Nearest { session, at, k, of });
    let writing = Writing { ctx: ctx.clone(), searches, head, points: points.into_iter(), wanted };
    let stored = store.put(&path, writing.body()).await?;
    match SampleFile::stored(store, &path).await? {
        Some((file, artifact)) if artifact.sha256 == stored.sha256 => {
            Ok(entry(&file, database, &table, artifact))
        }
        _ => {
            let message = format!("{path} is not what was stored a moment ago");
            Err(StepError::transient("artifact.damaged", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn no_two_samples_lie_in_one_file() {
        assert_eq!(path_of("p/", "octopus", "public.vectors", "e"), "p/octopus/public.vectors@e.sample.json");
        assert_eq!(
            path_of("p", "a/../b", "\"T\"", "x@y"),
            "p/a%2F../b".replace("/b", "%2Fb") + "/%22T%22@x%40y.sample.json"
        );
        assert_eq!(path_of("p", "..", "t", "c"), "p/%2E./t@c.sample.json");
    }
}
