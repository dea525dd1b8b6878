//! `qdrant.recall`: [`Recall`] asks a restored collection what was asked of it at the backup, and says how much of that it still finds.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Ctx, Ended, Facts, KindShape, Reconciled, Shape, StepError,
    StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::nearest::Nearest;
use super::requests;
use super::sample_entry::{SAMPLE, SampleEntry};
use crate::described::described;
use crate::recalled::{Absent, Compared, Loss, RECALLED, compared, text_of};
use crate::sample_file::SampleFile;

inputs! {
    /// Inputs of `qdrant.recall`.
    pub struct RecallInputs {
        /// The collection that was restored, by any name, or an alias.
        collection: String = known(Shape::Text),
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// The samples that were taken of it, as `qdrant.sample` and `point.select` give them. Where a point has none, nothing is compared.
        samples: Vec<SampleEntry> = known(Shape::List(&SAMPLE)),
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
            target: TargetNeed::OneOf(&["qdrant"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: RECALLED,
            permissions: &["qdrant: a read-only key", "artifacts: read from the store"],
            example: "recall:\n  uses: qdrant.recall\n  target: vectors\n  needs: [recover]\n  foreach: steps.point.outputs.qdrant.collections\n  key: item.collection\n  with: { collection: \"{{ item.collection }}\", from: backups, samples: \"{{ item.samples }}\" }\n",
            ..described(
                "qdrant.recall",
                "Asks a restored collection the searches that `qdrant.sample` stored, once by comparing all points and once as anybody \
                 searches, and fails where less than `min_recall` of the neighbours is found again: whether the data are the same, and \
                 whether the index finds them. Counts alone show neither.",
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
        let collection = inputs.collection.value().map_or("?".into(), |name| format!("collection {name}"));
        let mut touches = vec![touch(target.map(str::to_owned), collection)];
        let samples = inputs.samples.value().into_iter().flatten();
        touches.extend(
            samples.map(|one| touch(inputs.from.value().cloned(), format!("path {}", one.artifact.path))),
        );
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &RecallInputs, _facts: &Facts) -> Vec<Action> {
        let collection = inputs.collection.or_after(|name| requests::part(name));
        let ask = |queries: String| {
            let line =
                format!("POST /collections/{collection}/points/query: {queries}, exactly and by the index");
            Action::reads(ActionKind::Http, target, line)
        };
        let from = inputs.from.value().map(String::as_str);
        let Some(samples) = inputs.samples.value() else {
            return vec![ask(format!("the queries of {}", inputs.samples.or_after(|_| String::new())))];
        };
        let of = |one: &SampleEntry| {
            let read = Action::reads(ActionKind::Artifact, from, format!("read {}", one.artifact.path));
            [read, ask(format!("{} queries", one.sampled))]
        };
        samples.iter().flat_map(of).collect()
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RecallInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let (connection, from) = (ctx.connection().await?, ctx.host.connect(inputs.from.known()?).await?);
        let store = from
            .store()
            .ok_or_else(|| StepError::internal("`from` of qdrant.recall is no artifact store"))?;
        let collection = inputs.collection.known()?;
        let samples = inputs.samples.known()?;
        if samples.is_empty() {
            ctx.log(format!("no sample was taken of {collection}: nothing is compared"));
        }
        let work = async {
            let mut all = Compared::default();
            for entry in samples {
                let file = file_of(store, entry).await?;
                let nearest = Nearest {
                    connection: connection.clone(),
                    collection: collection.clone(),
                    using: file.head.using.clone(),
                    k: file.head.k,
                };
                all.add(compared(ctx, &nearest, file, *inputs.absent.known()?).await?);
            }
            Ok(all)
        };
        let found = ctx.or_cancelled(work).await?;
        let min = *inputs.min_recall.known()?;
        match found.lost(min) {
            Some(loss) => {
                Err(StepError::new("qdrant.recall", found.in_words(collection, min)).help(help(loss)))
            }
            None => Ok(Ended::Outputs(json!(found))),
        }
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &RecallInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// The file of a sample, as it was stored.
async fn file_of(store: &dyn ArtifactStore, entry: &SampleEntry) -> Result<SampleFile, StepError> {
    let text = text_of(store, &entry.artifact).await?;
    SampleFile::parse(&text).map_err(|why| {
        StepError::new(
            "qdrant.sample",
            format!("{} is no sample that can be read: {why}", entry.artifact.path),
        )
    })
}

/// What to do about it.
fn help(loss: Loss) -> &'static str {
    match loss {
        Loss::Points => {
            "what is there is as it was, and some points are not there: they were lost, or they were written after the snapshot and before \
             the sample; the collection's count and the band of the point's snapshot tell which"
        }
        Loss::Data => {
            "the data are others than those that were sampled: see whether it was recovered from the right snapshot, whole, and whether \
             somebody has written to it since"
        }
        Loss::Nothing => {
            "the data are the same, and the index found no more when the sample was taken: `min_recall` is above what it ever was"
        }
        Loss::Index => {
            "the data are the same, and the index finds less than it did: wait until the collection is green, and compare its \
             `hnsw_config` and quantization with those at the backup"
        }
    }
}
