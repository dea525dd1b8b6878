//! `qdrant.snapshot`: [`Snapshot`] makes snapshots of collections on every node, and nothing else: it stands between a pause and the
//! mark.

use std::collections::BTreeMap;

use async_trait::async_trait;
use drydock_step::target::Collections;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, KindShape, Millis, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, maybe,
};
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};

use super::belongings::aliases_of;
use super::claims::Needs;
use super::entry::{CollectionEntry, ENTRY};
use super::making::{Making, Progress, lines, time};
use super::notes::{ended, goes_on, open_notes};
use super::refusal::finding;
use super::requests;
use super::selection::{SELECTION, Selection};
use super::standing::Standing;
use super::target::QdrantConnection;
use crate::described::described;

/// How often the collections are listed again for what came meanwhile.
const PASSES: u32 = 2;

inputs! {
    /// Inputs of `qdrant.snapshot`.
    pub struct SnapshotInputs {
        /// Which collections: a name, an alias, a glob such as `agent_*`, or a list of those.
        collections: Selection = maybe(SELECTION).or("\"*\""),
        /// How many collections are worked on at once; on each node, one snapshot of a collection at a time.
        max_parallel: usize = maybe(Shape::Integer).or("4"),
        /// Snapshots that an earlier attempt made are kept when it began no longer ago; older ones would widen the skew.
        keep_for: Millis = maybe(Shape::Duration).or("\"15m\""),
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("version", Shape::Text, "The servers' version; a snapshot does not tell it."),
    Field::required("collections", Shape::List(&ENTRY), "Each collection with its snapshots, by name."),
    Field::required(
        "listed_after",
        Shape::List(&Shape::Text),
        "The collections that were meant and there after the last snapshot.",
    ),
]);

/// Makes snapshots.
pub struct Snapshot;

#[async_trait]
impl StepKind for Snapshot {
    type Inputs = SnapshotInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["qdrant: a key with manage access"],
            example: "snapshot:\n  uses: qdrant.snapshot\n  target: vectors\n  with: { collections: \"agent_*\" }\n",
            ..described(
                "qdrant.snapshot",
                "Makes a snapshot of each collection on every node. Nothing is downloaded, so that it is quick; `qdrant.fetch` does that later.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &SnapshotInputs) -> Vec<Touch> {
        let touch = |resource| Touch { target: target.map(str::to_owned), resource, access: Access::Writes };
        match inputs.collections.value() {
            Some(selection) => selection
                .patterns()
                .iter()
                .map(|one| touch(format!("snapshots of collection {one}")))
                .collect(),
            None => vec![touch("?".into())],
        }
    }

    fn actions(&self, target: Option<&str>, inputs: &SnapshotInputs, facts: &Facts) -> Vec<Action> {
        let mut actions = vec![
            Action::reads(ActionKind::Http, target, requests::collections().line()),
            Action::reads(ActionKind::Http, target, requests::aliases().line()),
        ];
        let lines =
            facts.get("requests").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        actions.extend(lines.map(|line| Action::writes(ActionKind::Http, target, line.to_owned())));
        if facts.get("collections").is_none() {
            let line = format!(
                "POST /collections/{{collection}}/snapshots?wait=true on every node, for each of {}",
                inputs.collections
            );
            actions.push(Action::writes(ActionKind::Http, target, line));
        }
        actions
    }

    /// The nodes are all there, and every collection that is meant is whole.
    async fn preflight(&self, ctx: &Ctx, inputs: &SnapshotInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let qdrant = QdrantConnection::of(&*connection)?;
        let mut found = Preflight::default();
        let members = match qdrant.members().await {
            Err(error) if error.code == "qdrant.nodes" => {
                found.findings.push(finding(error));
                return Ok(found);
            }
            members => members?,
        };
        let names = match inputs.collections.value() {
            Some(selection) => match meant(qdrant, selection).await {
                Ok(meant) => meant.into_keys().collect(),
                Err(error) if error.code == "qdrant.absent" => {
                    found.findings.push(finding(error));
                    Vec::new()
                }
                Err(error) => return Err(error),
            },
            None => Vec::new(),
        };
        // A snapshot needs no agreement of the nodes; that there is none is told.
        let ailing = qdrant
            .ailing()
            .await?
            .into_iter()
            .map(|error| PreflightFinding { fatal: false, ..finding(error) });
        found.findings.extend(ailing);
        let mut requests = Vec::new();
        for name in &names {
            let now = ctx.now_ms() / 1000;
            found.findings.extend(qdrant.refuses(Needs::Snapshot(name), now).map(finding));
            let whole = match Standing::of(&members, name).await {
                Ok(standing) => {
                    requests.extend(lines(&members, name, &standing));
                    found.findings.extend(standing.optimizer.as_ref().map(|why| PreflightFinding {
                        code: "qdrant.optimizer".into(),
                        fatal: false,
                        message: format!("the optimizer of collection {name} has failed: {why}"),
                        help: Some(
                            "a snapshot holds the points all the same; the server's own log says more".into(),
                        ),
                    }));
                    standing.whole(name)
                }
                Err(error) => Err(error),
            };
            found.findings.extend(whole.err().map(finding));
        }
        let nodes: Vec<&str> = members.iter().map(|member| member.node.url.as_str()).collect();
        found.facts = json!({ "nodes": nodes, "collections": names, "requests": requests });
        Ok(found)
    }

    /// What an earlier attempt of this step has made is looked for first, whether or not it could say how it ended.
    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &SnapshotInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let qdrant = QdrantConnection::of(&*connection)?;
        goes_on(ctx, from).await?;
        let progress = from.map_or_else(|| Ok(Progress::of(open_notes(ctx))), Progress::read)?;
        let outputs = ctx.or_cancelled(made(ctx, qdrant, inputs, progress)).await?;
        ended(ctx).await?;
        Ok(Ended::Outputs(outputs))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &SnapshotInputs) -> Result<Reconciled, StepError> {
        let (progress, _) = Progress::of(open_notes(ctx)).parted(*inputs.keep_for.known()?, time(ctx));
        if progress.is_empty() {
            return Ok(Reconciled::NotDone);
        }
        let connection = ctx.connection().await?;
        let members = QdrantConnection::of(&*connection)?.members().await?;
        let surveyed = Making { attempt: ctx, members: &members, progress }.surveyed().await?;
        Ok(surveyed.map_or(Reconciled::Busy(1000), |progress| Reconciled::Partly(json!(progress))))
    }
}

/// The collections that are meant, each with its aliases.
async fn meant(
    qdrant: &QdrantConnection,
    selection: &Selection,
) -> Result<BTreeMap<String, Vec<String>>, StepError> {
    let aliases = qdrant.aliases().await?;
    let names = selection.of(&qdrant.collection_names().await?, &aliases)?;
    Ok(names.into_iter().map(|name| (name.clone(), aliases_of(&aliases, &name))).collect())
}

async fn made(
    ctx: &Ctx,
    qdrant: &QdrantConnection,
    inputs: &SnapshotInputs,
    progress: Progress,
) -> Result<Value, StepError> {
    let selection = inputs.collections.known()?;
    let members = qdrant.members().await?;
    let version = qdrant.version().await?;
    let (progress, old) = progress.parted(*inputs.keep_for.known()?, time(ctx));
    let making = Making { attempt: ctx, members: &members, progress };
    making.discard_all(&old).await;
    let mut entries: BTreeMap<String, CollectionEntry> = BTreeMap::new();
    let mut listed = meant(qdrant, selection).await?;
    for _ in 0..PASSES {
        let open: Vec<(&String, &Vec<String>)> =
            listed.iter().filter(|(name, _)| !entries.contains_key(*name)).collect();
        if open.is_empty() {
            break;
        }
        let (total, done) = (listed.len() as u64, entries.len() as u64);
        // Made before they are driven: a stream that made them on the way would not be `Send`.
        let each: Vec<_> =
            open.into_iter().map(|(name, aliases)| making.collection(name, aliases.clone())).collect();
        let mut answers = stream::iter(each).buffer_unordered((*inputs.max_parallel.known()?).max(1));
        let (mut failed, mut made) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(entry) => made.push(entry),
                Err(error) => failed.push(error),
            }
            ctx.progress(done + made.len() as u64, Some(total), "collections", "snapshots made");
        }
        drop(answers);
        entries.extend(made.into_iter().map(|entry| (entry.collection.clone(), entry)));
        listed = meant(qdrant, selection).await?;
        // A collection that was dropped meanwhile is no failure, and its snapshot cannot be fetched any more.
        if let Some(error) = failed.into_iter().find(|error| error.code != "qdrant.absent") {
            return Err(error);
        }
        entries.retain(|name, _| listed.contains_key(name));
    }
    let listed_after: Vec<String> = listed.into_keys().collect();
    let collections: Vec<CollectionEntry> = entries.into_values().collect();
    Ok(json!({ "version": version, "collections": collections, "listed_after": listed_after }))
}
