//! `qdrant.prune`: [`Prune`] removes snapshots from the servers that nobody needs there any more.

use std::collections::BTreeMap;

use async_trait::async_trait;
use drydock_recovery::manifest::Artifact;
use drydock_step::target::Collections;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Effect, Ended, Facts, Field, KindShape,
    Millis, Preflight, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::making::time;
use super::members::Member;
use super::notes::{ended, goes_on, open_notes};
use super::prune_listing::{Listed, Shelf, listing};
use super::prune_points::{Copy, Known};
use super::prune_verdict::{Terms, Unknown, Verdict, verdicts};
use super::refusal::finding;
use super::requests::{self, Whose};
use super::selection::{SELECTION, Selection};
use super::target::QdrantConnection;
use crate::described::described;
use crate::points_layout::POINTS;
use crate::rehash::rehashed;

/// How many snapshots the outputs name of those that went, and of those that stayed, and a note of those that go.
const NAMED: usize = 500;

inputs! {
    /// Inputs of `qdrant.prune`.
    pub struct PruneInputs {
        /// Whose snapshots: a name, an alias, a glob such as `agent_*`, or a list of those.
        collections: Selection = maybe(SELECTION).or("\"*\""),
        /// The target of the artifact store whose recovery points say what was downloaded.
        from: String = known(Shape::Text),
        /// What was made no longer ago stays.
        keep_for: Millis = maybe(Shape::Duration).or("\"1d\""),
        /// So many of the newest stay, of each collection on each node, and of each shard of which there are snapshots by themselves.
        keep_last: usize = maybe(Shape::Integer).or("1"),
        /// What becomes of snapshots that no recovery point knows, made by hand or by another tool.
        unknown: Unknown = maybe(Shape::OneOf(&["keep", "remove"])).or("\"keep\""),
    }
}

const TOLD: Shape = Shape::Record(&[
    Field::required("collection", Shape::Text, "Its collection."),
    Field::optional("shard", Shape::Integer, "The shard that it is of, where it is of one."),
    Field::required("node", Shape::Text, "The node's URL."),
    Field::required("name", Shape::Text, "Its name on the node."),
    Field::required("size", Shape::Integer, "Its length in bytes."),
    Field::required("why", Shape::Text, "Why it went, or why it stays."),
]);

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("removed", Shape::List(&TOLD), "What went, by collection, node and name; the first 500."),
    Field::required("kept", Shape::List(&TOLD), "What stays, in the same order; the first 500."),
    Field::required("removed_count", Shape::Integer, "How many went."),
    Field::required("kept_count", Shape::Integer, "How many stay."),
    Field::required("freed_bytes", Shape::Integer, "How long those were together that went."),
]);

/// A snapshot and what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Told {
    collection: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<u32>,
    node: String,
    name: String,
    size: u64,
    why: String,
}

/// Where a snapshot lies: collection, shard, node, name.
type Place = (String, Option<u32>, String, String);

impl Told {
    fn of(shelf: &Shelf<'_>, listed: &Listed, why: String) -> Self {
        Self {
            collection: shelf.collection.clone(),
            shard: shelf.shard,
            node: shelf.member.node.url.clone(),
            name: listed.name.clone(),
            size: listed.size,
            why,
        }
    }

    fn place(&self) -> Place {
        (self.collection.clone(), self.shard, self.node.clone(), self.name.clone())
    }

    fn whose(&self) -> Whose<'_> {
        Whose { collection: &self.collection, shard: self.shard }
    }

    /// That it stays, in words.
    fn kept(&self) -> String {
        let shard = self.shard.map_or(String::new(), |id| format!("shard {id} of "));
        format!("{} of {shard}{} on {}: {}", self.name, self.collection, self.node, self.why)
    }
}

/// Removes snapshots from servers.
pub struct Prune;

#[async_trait]
impl StepKind for Prune {
    type Inputs = PruneInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["qdrant: a key with manage access", "artifacts: list and read the store"],
            example: "prune:\n  uses: qdrant.prune\n  target: vectors\n  with: { from: backups, keep_for: 7d, keep_last: 2 }\n",
            ..described(
                "qdrant.prune",
                "Removes snapshots from every node by age and number: those that a sealed recovery point has in the artifact store, read \
                 back with the same SHA-256, and files that recoveries have left. What a point lacks, what may belong to a point that is \
                 not sealed, and what no point knows stays and is told with the reason.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &PruneInputs) -> Vec<Touch> {
        let touch =
            |resource| Touch { target: target.map(str::to_owned), resource, access: Access::Destroys };
        let patterns = inputs.collections.value().map(Selection::patterns);
        let mut touches: Vec<Touch> = match patterns {
            Some(patterns) => {
                patterns.iter().map(|one| touch(format!("snapshots of collection {one}"))).collect()
            }
            None => vec![touch("?".into())],
        };
        let (store, points) = (inputs.from.value().cloned(), format!("path {POINTS}/"));
        touches.push(Touch { target: store, resource: points, access: Access::Reads });
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &PruneInputs, facts: &Facts) -> Vec<Action> {
        let told = |key: &str| facts.get(key).and_then(|told| Vec::<Told>::deserialize(told).ok());
        let points = format!("read {POINTS}/*/manifest.json");
        let mut actions =
            vec![Action::reads(ActionKind::Artifact, inputs.from.value().map(String::as_str), points)];
        let (Some(goes), Some(stays)) = (told("goes"), told("stays")) else {
            let which = format!("the snapshots of {} on every node", inputs.collections);
            actions.push(Action::reads(ActionKind::Http, target, format!("GET {which}")));
            actions.push(Action::writes(ActionKind::Http, target, format!("DELETE what may go of {which}")));
            return actions;
        };
        actions.extend(goes.iter().map(|one| {
            let line = requests::delete_snapshot(one.whose(), &one.name).line_on(&one.node);
            Action::writes(ActionKind::Http, target, format!("{line} ({})", one.why))
        }));
        actions.extend(
            stays.iter().map(|one| Action::reads(ActionKind::Http, target, format!("keep {}", one.kept()))),
        );
        actions
    }

    /// What would go, as far as it is known without reading the copies back.
    async fn preflight(&self, ctx: &Ctx, inputs: &PruneInputs) -> Result<Preflight, StepError> {
        if inputs.collections.value().is_none() || inputs.from.value().is_none() {
            return Ok(Preflight::default());
        }
        let (connection, from) = (ctx.connection().await?, ctx.host.connect(inputs.from.known()?).await?);
        let qdrant = QdrantConnection::of(&*connection)?;
        let refused = |error: StepError| match error.code.as_str() {
            "qdrant.nodes" | "qdrant.absent" => {
                Ok(Preflight { findings: vec![finding(error)], ..Preflight::default() })
            }
            _ => Err(error),
        };
        let members = match qdrant.members().await {
            Ok(members) => members,
            Err(error) => return refused(error),
        };
        let pruning = match Pruning::of(ctx, inputs, qdrant, &members, store_of(&*from)?).await {
            Ok(pruning) => pruning,
            Err(error) => return refused(error),
        };
        let (mut goes, mut stays) = (Vec::new(), Vec::new());
        for shelf in &pruning.shelves {
            for (listed, verdict) in
                shelf.snapshots.iter().zip(verdicts(shelf, &pruning.known, &pruning.terms))
            {
                match verdict {
                    Verdict::Goes(why, _) => goes.push(Told::of(shelf, listed, why)),
                    Verdict::Stays(why) => stays.push(Told::of(shelf, listed, why)),
                }
            }
        }
        Ok(Preflight { facts: json!({ "goes": goes, "stays": stays }), ..Preflight::default() })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &PruneInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.from.known()?).await?);
        let (qdrant, store) = (QdrantConnection::of(&*connection)?, store_of(&*store)?);
        goes_on(ctx, from).await?;
        let begun = from.map_or_else(|| doomed(ctx), removing);
        let work = async {
            let members = qdrant.members().await?;
            Pruning::of(ctx, inputs, qdrant, &members, store).await?.pruned(begun).await
        };
        let outputs = ctx.or_cancelled(work).await?;
        ended(ctx).await?;
        Ok(Ended::Outputs(outputs))
    }

    /// What was about to go is asked for again: what is gone is gone by us.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &PruneInputs) -> Result<Reconciled, StepError> {
        let doomed = doomed(ctx);
        Ok(if doomed.is_empty() {
            Reconciled::NotDone
        } else {
            Reconciled::Partly(json!({ "removing": doomed }))
        })
    }
}

fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection.store().ok_or_else(|| StepError::internal("`from` of qdrant.prune is no artifact store"))
}

/// What attempts that are not over have noted before they removed it.
fn doomed(ctx: &Ctx) -> Vec<Told> {
    let notes = open_notes(ctx).iter().map(|note| note.get("from").unwrap_or(note));
    notes.flat_map(removing).collect()
}

/// What a note says, or the progress that is made of notes.
fn removing(note: &Value) -> Vec<Told> {
    note.get("removing").and_then(|told| Vec::deserialize(told).ok()).unwrap_or_default()
}

/// One attempt's work.
struct Pruning<'a> {
    ctx: &'a Ctx,
    store: &'a dyn ArtifactStore,
    shelves: Vec<Shelf<'a>>,
    known: Known,
    terms: Terms,
}

impl<'a> Pruning<'a> {
    /// Looks at servers and store. The servers come first: what was made since is of a point that the store has opened by then.
    async fn of(
        ctx: &'a Ctx,
        inputs: &PruneInputs,
        qdrant: &QdrantConnection,
        members: &'a [Member],
        store: &'a dyn ArtifactStore,
    ) -> Result<Self, StepError> {
        let aliases = qdrant.aliases().await?;
        let names = inputs.collections.known()?.of(&qdrant.collection_names().await?, &aliases)?;
        let shelves = listing(members, &names).await?;
        let known = Known::of(store, &shelves).await?;
        let terms = Terms {
            keep_for: *inputs.keep_for.known()?,
            keep_last: *inputs.keep_last.known()?,
            unknown: *inputs.unknown.known()?,
            now: time(ctx),
        };
        Ok(Self { ctx, store, shelves, known, terms })
    }

    /// `begun` is what earlier attempts were about to remove.
    async fn pruned(&self, begun: Vec<Told>) -> Result<Value, StepError> {
        let mut removed: BTreeMap<Place, Told> = begun.into_iter().map(|told| (told.place(), told)).collect();
        let mut kept: BTreeMap<Place, Told> = BTreeMap::new();
        let total = self.shelves.iter().map(|shelf| shelf.snapshots.len() as u64).sum();
        for shelf in &self.shelves {
            let mut goes = Vec::new();
            for (listed, verdict) in shelf.snapshots.iter().zip(verdicts(shelf, &self.known, &self.terms)) {
                let verdict = match verdict {
                    Verdict::Goes(why, copies) if !copies.is_empty() => {
                        self.proved(listed, why, &copies).await?
                    }
                    other => other,
                };
                match verdict {
                    Verdict::Goes(why, _) => goes.push(Told::of(shelf, listed, why)),
                    Verdict::Stays(why) => {
                        let told = Told::of(shelf, listed, why);
                        // It is there again, or still, and there is a reason now that it stays.
                        removed.remove(&told.place());
                        kept.insert(told.place(), told);
                    }
                }
            }
            for some in goes.chunks(NAMED) {
                self.ctx.note(json!({ "removing": some })).await?;
                for told in some {
                    shelf.member.node.delete_snapshot(shelf.whose(), &told.name).await?;
                    removed.insert(told.place(), told.clone());
                    self.ctx.progress(removed.len() as u64, Some(total), "snapshots", "removed");
                }
            }
        }
        let (removed, kept): (Vec<Told>, Vec<Told>) =
            (removed.into_values().collect(), kept.into_values().collect());
        for told in &kept {
            self.ctx.log(format!("kept {}", told.kept()));
        }
        let freed: u64 = removed.iter().map(|told| told.size).sum();
        let (first, first_kept) =
            (removed.get(..NAMED).unwrap_or(&removed), kept.get(..NAMED).unwrap_or(&kept));
        Ok(json!({
            "removed": first, "kept": first_kept, "removed_count": removed.len(), "kept_count": kept.len(), "freed_bytes": freed,
        }))
    }

    /// The same verdict, once a copy was read back and is the same; else why it stays.
    async fn proved(&self, listed: &Listed, why: String, copies: &[Copy]) -> Result<Verdict, StepError> {
        let mut damaged = None;
        for Copy { point, artifact, .. } in copies {
            let Artifact { path, .. } = artifact;
            let found = match rehashed(self.store, path, |_| {}).await {
                Ok(found) => found.sha256,
                Err(error) if error.code == "artifact.absent" => "none, for it is gone".to_owned(),
                Err(error) => return Err(error),
            };
            if listed.sha256.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(&found)) {
                return Ok(Verdict::Goes(why, Vec::new()));
            }
            damaged.get_or_insert_with(|| {
                format!("point {point} has it as {path}, whose sha256 is now {found}")
            });
        }
        Ok(Verdict::Stays(damaged.unwrap_or(why)))
    }
}
