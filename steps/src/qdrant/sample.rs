//! `qdrant.sample`: [`Sample`] stores what lies nearest to some points of a collection, so that a restored one can be asked the same.

use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Effect, Ended, Facts, KindShape, Preflight,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::answers::{Count, Info};
use super::making::time;
use super::measure::Measure;
use super::nearest::Nearest;
use super::notes::{ended, open_notes};
use super::refusal::finding;
use super::requests;
use super::sample_choice::chosen;
use super::sample_entry::{SAMPLE, SampleEntry};
use super::target::QdrantConnection;
use crate::described::described;
use crate::sample_file::{FORMAT, Head, SampleFile, VERSION};
use crate::sampling::Writing;

/// The most points that are searched around, and the most others that are looked for around each.
const MOST: u64 = 1000;

inputs! {
    /// Inputs of `qdrant.sample`.
    pub struct SampleInputs {
        /// The collection, or an alias.
        collection: String = known(Shape::Text),
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store: the sample lies right below it, by the collection's name.
        prefix: String = maybe(Shape::Text).or("\"qdrant\""),
        /// How many points are searched around, 1 to 1000. All ids are read once to choose them.
        queries: u64 = maybe(Shape::Integer).or("50"),
        /// How many others are looked for around each, 1 to 1000.
        k: u64 = maybe(Shape::Integer).or("10"),
        /// The name of the vector that is searched by, where the collection has several. Points without it are passed over.
        using: Option<String> = maybe(Shape::Text),
    }
}

/// Samples searches.
pub struct Sample;

#[async_trait]
impl StepKind for Sample {
    type Inputs = SampleInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: SAMPLE,
            effect: Effect::Writes,
            permissions: &["qdrant: a read-only key", "artifacts: write to the store"],
            example: "sample:\n  uses: qdrant.sample\n  target: vectors\n  needs: [mark]\n  foreach: steps.snapshot.outputs.collections\n  key: item.collection\n  with: { collection: \"{{ item.collection }}\", to: backups, prefix: qdrant }\n",
            ..described(
                "qdrant.sample",
                "Stores the true nearest neighbours of some points of a collection, found by comparing all of them, with the share that \
                 its index finds. After a restore `qdrant.recall` asks the restored collection the same. The points are chosen by the \
                 run's id, so that a resumed run takes the same.",
            )
        }
    }

    fn judge(&self, inputs: &SampleInputs) -> Result<(), StepError> {
        for (name, value) in [("queries", inputs.queries.value()), ("k", inputs.k.value())] {
            if let Some(number) = value.filter(|number| !(1..=MOST).contains(*number)) {
                return Err(StepError::new(
                    "input",
                    format!("`{name}` is {number}, and must be 1 to {MOST}"),
                ));
            }
        }
        Ok(())
    }

    fn touches(&self, target: Option<&str>, inputs: &SampleInputs) -> Vec<Touch> {
        let collection = inputs.collection.value().map_or("?".into(), |name| format!("collection {name}"));
        let path = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![
            Touch { target: target.map(str::to_owned), resource: collection, access: Access::Reads },
            Touch { target: inputs.to.value().cloned(), resource: path, access: Access::Writes },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &SampleInputs, _facts: &Facts) -> Vec<Action> {
        let collection = inputs.collection.or_after(|name| requests::part(name));
        let read = |line: String| Action::reads(ActionKind::Http, target, line);
        let path = match (inputs.collection.value(), inputs.prefix.value(), inputs.using.value()) {
            (Some(name), Some(prefix), Some(using)) => path_of(prefix, name, using.as_deref()),
            _ => format!("{}/<collection>.sample.json", inputs.prefix),
        };
        vec![
            read(format!(
                "POST /collections/{collection}/points/scroll: all ids, of which {} are chosen",
                inputs.queries
            )),
            read(format!(
                "POST /collections/{collection}/points/query: the {} nearest to each, exactly and by the index",
                inputs.k
            )),
            Action::writes(
                ActionKind::Artifact,
                inputs.to.value().map(String::as_str),
                format!("store {path}"),
            ),
        ]
    }

    /// The collection is there and has the vector.
    async fn preflight(&self, ctx: &Ctx, inputs: &SampleInputs) -> Result<Preflight, StepError> {
        let (Some(collection), Some(using)) = (inputs.collection.value(), inputs.using.value()) else {
            return Ok(Preflight::default());
        };
        let connection = ctx.connection().await?;
        let asked = QdrantConnection::of(&*connection)?.ask::<Info>(&requests::collection(collection)).await;
        let measured =
            asked.and_then(|info| Measure::of(collection, &info.config["params"], using.as_deref()));
        Ok(Preflight { findings: measured.err().map(finding).into_iter().collect(), ..Preflight::default() })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &SampleInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let (connection, to) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let sampling = Sampling::of(ctx, inputs, connection, store_of(&*to)?).await?;
        let entry = ctx.or_cancelled(sampling.sampled(inputs)).await?;
        ended(ctx).await?;
        Ok(Ended::Outputs(json!(entry)))
    }

    /// The store has the file whole or not at all.
    async fn reconcile(&self, ctx: &Ctx, inputs: &SampleInputs) -> Result<Reconciled, StepError> {
        if open_notes(ctx).is_empty() {
            return Ok(Reconciled::NotDone);
        }
        let (connection, to) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let done = Sampling::of(ctx, inputs, connection, store_of(&*to)?).await?.done().await?;
        Ok(done.map_or(Reconciled::NotDone, |entry| Reconciled::Done(json!(entry))))
    }
}

fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection.store().ok_or_else(|| StepError::internal("`to` of qdrant.sample is no artifact store"))
}

/// Where a sample lies in a store. Two collections never have the same file, whatever their names.
fn path_of(prefix: &str, collection: &str, using: Option<&str>) -> String {
    let using = using.map_or(String::new(), |name| format!("@{}", requests::part(name)));
    format!("{}/{}{using}.sample.json", prefix.trim_end_matches('/'), requests::part(collection))
}

/// One attempt's work.
struct Sampling<'a> {
    ctx: &'a Ctx,
    connection: Arc<dyn Connection>,
    store: &'a dyn ArtifactStore,
    /// The real name.
    collection: String,
    path: String,
}

impl<'a> Sampling<'a> {
    async fn of(
        ctx: &'a Ctx,
        inputs: &SampleInputs,
        connection: Arc<dyn Connection>,
        store: &'a dyn ArtifactStore,
    ) -> Result<Self, StepError> {
        let name = inputs.collection.known()?;
        let aliases = QdrantConnection::of(&*connection)?.aliases().await?;
        let real = aliases.into_iter().find(|(alias, _)| alias == name).map(|(_, collection)| collection);
        let collection = real.unwrap_or_else(|| name.clone());
        let path = path_of(inputs.prefix.known()?, &collection, inputs.using.known()?.as_deref());
        Ok(Self { ctx, connection, store, collection, path })
    }

    /// What an attempt that is not over has stored.
    async fn done(&self) -> Result<Option<SampleEntry>, StepError> {
        let by = |note: &Value, file: &SampleFile| {
            note.get("attempt").is_some_and(|attempt| *attempt == file.head.attempt)
        };
        let stored = SampleFile::stored(self.store, &self.path).await?;
        let own = stored.filter(|(file, _)| open_notes(self.ctx).iter().any(|note| by(note, file)));
        Ok(own.map(|(file, artifact)| SampleEntry::of(&file, artifact)))
    }

    async fn sampled(&self, inputs: &SampleInputs) -> Result<SampleEntry, StepError> {
        if let Some(entry) = self.done().await? {
            return Ok(entry);
        }
        let (ctx, collection) = (self.ctx, self.collection.as_str());
        let qdrant = QdrantConnection::of(&*self.connection)?;
        let info: Info = qdrant.ask(&requests::collection(collection)).await?;
        let measure = Measure::of(collection, &info.config["params"], inputs.using.known()?.as_deref())?;
        let Count { count } = qdrant.ask(&requests::count(collection, true, None)).await?;
        let wanted = *inputs.queries.known()?;
        let noted = open_notes(ctx).iter().rev().find_map(|note| note.get("chosen")?.as_array().cloned());
        let points = match noted {
            Some(points) => points,
            // As many to spare: some may be gone before it is their turn, or lack the vector.
            None => {
                let number = usize::try_from(wanted * 2).unwrap_or(usize::MAX);
                chosen(ctx, qdrant, collection, &measure, number, count).await?
            }
        };
        ctx.note(json!({ "attempt": &*ctx.attempt, "chosen": points })).await?;
        let writing = Writing {
            ctx: ctx.clone(),
            searches: Box::new(Nearest {
                connection: self.connection.clone(),
                collection: collection.to_owned(),
                using: measure.using.clone(),
                k: *inputs.k.known()?,
            }),
            head: Head {
                format: FORMAT.to_owned(),
                version: VERSION,
                attempt: ctx.attempt.to_string(),
                collection: collection.to_owned(),
                using: measure.using,
                sampled_at: time(ctx),
                points: count,
                k: *inputs.k.known()?,
                metric: None,
                key: None,
            },
            points: points.into_iter(),
            wanted,
        };
        let stored = self.store.put(&self.path, writing.body()).await?;
        let entry = match SampleFile::stored(self.store, &self.path).await? {
            Some((file, artifact)) if artifact.sha256 == stored.sha256 => SampleEntry::of(&file, artifact),
            _ => {
                let message = format!("{} is not what was stored a moment ago", self.path);
                return Err(StepError::transient("artifact.damaged", message));
            }
        };
        if entry.sampled < wanted.min(count) {
            let vector = entry.using.as_ref().map_or(String::new(), |name| format!(" {name}"));
            ctx.log(format!("only {} points of {collection} had a vector{vector}", entry.sampled));
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn no_two_samples_lie_in_one_file() {
        assert_eq!(path_of("points/p1/qdrant/", "agent_a", None), "points/p1/qdrant/agent_a.sample.json");
        assert_eq!(path_of("q", "a", Some("text")), "q/a@text.sample.json");
        assert_eq!(path_of("q", "a@text", None), "q/a%40text.sample.json");
        assert_eq!(path_of("q", "a/../b", None), "q/a%2F..%2Fb.sample.json");
    }
}
