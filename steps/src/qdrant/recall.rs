//! `qdrant.recall`: [`Recall`] asks a restored collection what was asked of it at the backup, and says how much of that it still finds.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Ctx, Ended, Facts, Field, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::requests;
use super::sample_file::{SAMPLE, SampleEntry, SampleFile, artifact as as_stored, bytes, share};
use super::sample_nearest::{Nearest, matched, others};
use super::target::QdrantConnection;
use crate::described::described;

/// How many of the worst queries the outputs name, and how many of them an error.
const NAMED: usize = 5;
const IN_WORDS: usize = 3;

inputs! {
    /// Inputs of `qdrant.recall`.
    pub struct RecallInputs {
        /// The collection that was restored, by any name, or an alias.
        collection: String = known(Shape::Text),
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// The samples that were taken of it, as `qdrant.sample` and `point.select` give them. Where a point has none, nothing is compared.
        samples: Vec<SampleEntry> = known(Shape::List(&SAMPLE)),
        /// The least share that is wanted, 0 to 1.
        min_recall: f64 = maybe(Shape::Number).or("0.95"),
    }
}

const POINT: Shape = Shape::Either(&Shape::Integer, &Shape::Text);

const OUTPUTS: Shape = Shape::Record(&[
    Field::required(
        "recall",
        Shape::Number,
        "The share of the stored neighbours that a search finds now, 0 to 1; 1 where there was nothing to compare. Of several samples, the least.",
    ),
    Field::required(
        "recall_then",
        Shape::Number,
        "The share that a search found when that sample was taken.",
    ),
    Field::required(
        "agreement",
        Shape::Number,
        "The share of the stored neighbours that are there with the scores that they had, by comparing all points: below 1 the data are others.",
    ),
    Field::required("queries", Shape::Integer, "How many searches were compared."),
    Field::required(
        "worst",
        Shape::List(&Shape::Record(&[
            Field::required("point", POINT, "The point that was searched around."),
            Field::optional("using", Shape::Text, "The name of the vector."),
            Field::required(
                "of",
                Shape::Integer,
                "How many neighbours were stored, but for the point itself.",
            ),
            Field::required("found", Shape::Integer, "How many of them a search finds now."),
            Field::required(
                "stored",
                Shape::Integer,
                "How many neighbours were stored, the point itself among them.",
            ),
            Field::required(
                "agree",
                Shape::Integer,
                "How many of them are there with the scores that they had.",
            ),
            Field::required("absent", Shape::Integer, "How many of them are not in the collection."),
        ])),
        "The searches that lost the most, up to five; none where none lost anything.",
    ),
]);

/// Compares searches.
pub struct Recall;

#[async_trait]
impl StepKind for Recall {
    type Inputs = RecallInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: OUTPUTS,
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
            Some(share) if !(0.0..=1.0).contains(share) => {
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
        let (collection, qdrant) = (inputs.collection.known()?, QdrantConnection::of(&*connection)?);
        let samples = inputs.samples.known()?;
        if samples.is_empty() {
            ctx.log(format!("no sample was taken of {collection}: nothing is compared"));
        }
        let work = async {
            let mut all = Compared::default();
            for entry in samples {
                let file = file_of(store, entry).await?;
                let using = file.head.using.clone();
                let nearest = Nearest { qdrant, collection, using: using.as_deref(), k: file.head.k };
                all.add(compared(ctx, &nearest, file).await?);
            }
            Ok(all)
        };
        let found = ctx.or_cancelled(work).await?;
        let min = *inputs.min_recall.known()?;
        if found.recall.min(found.agreement) < min {
            Err(found.error(collection, min))
        } else {
            Ok(Ended::Outputs(json!(found)))
        }
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &RecallInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// The file of a sample, as it was stored.
async fn file_of(store: &dyn ArtifactStore, entry: &SampleEntry) -> Result<SampleFile, StepError> {
    let artifact = &entry.artifact;
    let text = bytes(store, &artifact.path).await.map_err(|error| match error.code.as_str() {
        "artifact.absent" => error.help("without it nobody can say whether searches find what they found; the collection is not worse for it"),
        _ => error,
    })?;
    let found = as_stored(&artifact.path, &text);
    if !found.same_content(artifact) {
        let message = format!(
            "{} was stored as {} bytes, sha256 {}, and is now {} bytes, sha256 {}",
            artifact.path, artifact.size, artifact.sha256, found.size, found.sha256
        );
        return Err(StepError::new("artifact.damaged", message));
    }
    SampleFile::parse(&text).map_err(|why| {
        StepError::new("qdrant.sample", format!("{} is no sample that can be read: {why}", artifact.path))
    })
}

/// One search, compared.
#[derive(Debug, Clone, Serialize)]
struct Lost {
    point: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    using: Option<String>,
    of: u64,
    found: u64,
    stored: u64,
    agree: u64,
    absent: u64,
}

impl Lost {
    /// How much it lost, of one.
    fn severity(&self) -> f64 {
        1.0 - share(self.found, self.of).min(share(self.agree, self.stored))
    }
}

/// What was found out; the outputs of the kind.
#[derive(Debug, Clone, Serialize)]
struct Compared {
    recall: f64,
    recall_then: f64,
    agreement: f64,
    queries: u64,
    worst: Vec<Lost>,
}

impl Default for Compared {
    fn default() -> Self {
        Self { recall: 1.0, recall_then: 1.0, agreement: 1.0, queries: 0, worst: Vec::new() }
    }
}

/// Asks every search of a sample again.
async fn compared(ctx: &Ctx, nearest: &Nearest<'_>, file: SampleFile) -> Result<Compared, StepError> {
    let mut all = Compared { queries: file.queries.len() as u64, ..Compared::default() };
    let (mut of, mut found, mut then, mut stored, mut agree) = (0, 0, 0, 0, 0);
    for (done, query) in file.queries.into_iter().enumerate() {
        ctx.progress(done as u64, Some(all.queries), "queries", nearest.collection);
        let (exact, by_index) =
            (nearest.to(&query.vector, true).await?, nearest.to(&query.vector, false).await?);
        let wanted = others(&query.neighbours, &query.point, nearest.k);
        let (whole, now): (Vec<_>, Vec<_>) = (query.neighbours.iter().collect(), exact.iter().collect());
        let mut lost = Lost {
            of: wanted.len() as u64,
            found: matched(&wanted, &others(&by_index, &query.point, nearest.k), false),
            stored: whole.len() as u64,
            agree: matched(&whole, &now, true),
            absent: 0,
            using: file.head.using.clone(),
            point: query.point.clone(),
        };
        (of, found, then) = (of + lost.of, found + lost.found, then + query.found);
        (stored, agree) = (stored + lost.stored, agree + lost.agree);
        if lost.severity() > 0.0 {
            let ids: Vec<Value> = query.neighbours.iter().map(|one| one.id.clone()).collect();
            if all.is_among_the_worst(&lost) {
                lost.absent = lost.stored.saturating_sub(nearest.there(&ids).await?);
                all.name(lost);
            }
        }
    }
    (all.recall, all.recall_then, all.agreement) = (share(found, of), share(then, of), share(agree, stored));
    Ok(all)
}

impl Compared {
    fn is_among_the_worst(&self, lost: &Lost) -> bool {
        self.worst.len() < NAMED || self.worst.last().is_some_and(|least| lost.severity() > least.severity())
    }

    fn name(&mut self, lost: Lost) {
        self.worst.push(lost);
        self.worst.sort_by(|a, b| b.severity().total_cmp(&a.severity()));
        self.worst.truncate(NAMED);
    }

    /// Together with another sample: the least counts.
    fn add(&mut self, other: Self) {
        if self.queries == 0 || other.recall < self.recall {
            (self.recall, self.recall_then) = (other.recall, other.recall_then);
        }
        self.agreement = self.agreement.min(other.agreement);
        self.queries += other.queries;
        other.worst.into_iter().for_each(|lost| self.name(lost));
    }

    fn error(&self, collection: &str, min: f64) -> StepError {
        let words = |lost: &Lost| {
            let using = lost.using.as_ref().map_or(String::new(), |name| format!(" by {name}"));
            let absent = match lost.absent {
                0 => String::new(),
                some => format!(", and {some} are not there at all"),
            };
            format!(
                "around point {}{using} a search finds {} of {}, and {} of {} have the scores that they had{absent}",
                lost.point, lost.found, lost.of, lost.agree, lost.stored
            )
        };
        let worst: Vec<String> = self.worst.iter().take(IN_WORDS).map(words).collect();
        let message = format!(
            "of the neighbours that were stored of {collection}, a search finds {} (then {}), and {} are there with the scores that they \
             had; at least {min} is wanted. The worst: {}",
            self.recall,
            self.recall_then,
            self.agreement,
            worst.join("; ")
        );
        let explained = |lost: &Lost| {
            lost.agree + lost.absent >= lost.stored && lost.found + lost.absent >= lost.of && lost.absent > 0
        };
        StepError::new("qdrant.recall", message).help(if self.worst.iter().all(explained) {
            "what is there is as it was, and some points are not there: they were lost, or they were written after the snapshot and before \
             the sample; the collection's count and the band of the point's snapshot tell which"
        } else if self.agreement < min {
            "the data are others than those that were sampled: see whether it was recovered from the right snapshot, whole, and whether \
             somebody has written to it since"
        } else if self.recall_then < min {
            "the data are the same, and the index found no more when the sample was taken: `min_recall` is above what it ever was"
        } else {
            "the data are the same, and the index finds less than it did: wait until the collection is green, and compare its \
             `hnsw_config` and quantization with those at the backup"
        })
    }
}
