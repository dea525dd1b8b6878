//! `qdrant.recover`: [`Recover`] brings one collection back from its snapshots in an artifact store.

use async_trait::async_trait;
use drydock_recovery::manifest::Band;
use drydock_step::{
    Access, Action, ActionKind, Connection, Ctx, Effect, Ended, Facts, Field, In, KindShape, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::entry::CollectionEntry;
use super::members::Member;
use super::notes::{ended, goes_on, open_notes};
use super::placing::{parts, sent_to};
use super::recovery::{Progress, Recovery, Strategy};
use super::refusal::finding;
use super::requests;
use super::selection::SCRATCH;
use super::target::{QdrantConnection, numbers};
use crate::described::described;

inputs! {
    /// Inputs of `qdrant.recover`.
    pub struct RecoverInputs {
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// One collection, as `qdrant.fetch` or `point.select` gives it.
        snapshot: CollectionEntry = known(Shape::Map(&Shape::Any)),
        /// Recover under this name. Its aliases then stay where they are.
        collection: Option<String> = maybe(Shape::Text),
        /// When the collection is there: `prove` recovers under a scratch name first and counts, `in_place` does not.
        strategy: Strategy = maybe(Shape::OneOf(&["prove", "in_place"])).or("\"prove\""),
        /// The band that the exact count must lie in, instead of the snapshot's own.
        points: Option<Band> = maybe(Shape::Band),
        /// The Qdrant that made the snapshot; given, a server that does not read it is refused.
        version: Option<String> = maybe(Shape::Text),
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("collection", Shape::Text, "The name that it was recovered under."),
    Field::required("points", Shape::Integer, "Its exact number of points."),
    Field::required(
        "status",
        Shape::Text,
        "`green`, or `grey` where nothing was optimised since the server's start.",
    ),
    Field::required(
        "strategy",
        Shape::OneOf(&["straight", "prove", "in_place"]),
        "What was done; `straight` where there was no such collection.",
    ),
    Field::required(
        "left_on_server",
        Shape::List(&Shape::Text),
        "Uploaded files that could not be removed, and why.",
    ),
]);

impl RecoverInputs {
    /// The name to recover under, where it is known.
    fn name(&self) -> Option<&str> {
        match (self.collection.value()?, self.snapshot.value()) {
            (Some(name), _) => Some(name),
            (None, entry) => Some(&entry?.collection),
        }
    }
}

/// Recovers a collection.
pub struct Recover;

#[async_trait]
impl StepKind for Recover {
    type Inputs = RecoverInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["qdrant: a key with manage access", "artifacts: read the store"],
            example: "recover_vectors:\n  uses: qdrant.recover\n  target: vectors\n  needs: [point]\n  foreach: steps.point.outputs.qdrant.collections\n  key: item.collection\n  with: { from: backups, snapshot: \"{{ item }}\" }\n",
            ..described(
                "qdrant.recover",
                "Recovers one collection from the snapshots of its nodes, node by node, and waits until it rests. A collection that is there is lost; a damaged file never reaches it.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &RecoverInputs) -> Vec<Touch> {
        let name = inputs.name().map_or("?".into(), |name| format!("collection {name}"));
        let files = match inputs.snapshot.value() {
            Some(entry) => {
                let artifacts = parts(entry).into_iter().filter_map(|one| one.artifact.as_ref());
                artifacts.map(|artifact| format!("path {}", artifact.path)).collect()
            }
            None => vec!["?".to_owned()],
        };
        let (target, from) = (target.map(str::to_owned), inputs.from.value().cloned());
        let read = |resource| Touch { target: from.clone(), resource, access: Access::Reads };
        let mut touches: Vec<Touch> = files.into_iter().map(read).collect();
        touches.push(Touch { target, resource: name, access: Access::Destroys });
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &RecoverInputs, facts: &Facts) -> Vec<Action> {
        let http = |line: String| Action::writes(ActionKind::Http, target, line);
        let (In::Known(entry), Some(name)) = (&inputs.snapshot, inputs.name()) else {
            let after = inputs.snapshot.or_after(|entry| entry.collection.clone());
            return vec![
                Action::reads(
                    ActionKind::Artifact,
                    inputs.from.value().map(String::as_str),
                    format!("read back the files of {after}"),
                ),
                http(format!("POST each file of {after} to /collections/{{collection}}/snapshots/upload")),
            ];
        };
        let node = |at: usize| facts["nodes"][at].as_str().unwrap_or_default();
        let artifacts: Vec<_> = parts(entry).into_iter().filter_map(|one| one.artifact.as_ref()).collect();
        let from = inputs.from.value().map(String::as_str);
        let mut actions: Vec<Action> = artifacts
            .iter()
            .map(|artifact| {
                Action::reads(ActionKind::Artifact, from, format!("read {} back and hash it", artifact.path))
            })
            .collect();
        let upload = |name: &str| {
            let line = |(at, artifact): (usize, &&drydock_recovery::manifest::Artifact)| {
                let ask = requests::upload(name, &artifact.sha256);
                http(format!("{} with {}", ask.line_on(node(at)), artifact.path))
            };
            artifacts.iter().enumerate().map(line).collect::<Vec<_>>()
        };
        let proves = inputs.strategy.value() != Some(&Strategy::InPlace);
        if proves && facts["exists"] != json!(false) {
            let scratch = format!("{SCRATCH}{name}");
            actions.extend(upload(&scratch));
            actions
                .push(http(format!("{} after it was counted", requests::delete_collection(&scratch).line())));
        }
        actions.extend(upload(name));
        let indexes = entry.payload_indexes.as_object().into_iter().flatten();
        actions.extend(indexes.map(|(field, index)| {
            let ask = requests::create_index(name, field, &index["data_type"]);
            http(format!("{} where it is missing", ask.line()))
        }));
        let aliases: Vec<&str> = entry.aliases.iter().map(String::as_str).collect();
        if name == entry.collection && !aliases.is_empty() {
            let ask = requests::point_aliases(name, &aliases, &[]);
            actions.push(http(format!("{} where they point elsewhere", ask.line())));
        }
        let uploaded =
            requests::delete_snapshot(name, "drydock-").line().replace("drydock-?", "drydock-{file}?");
        actions.push(http(format!("{uploaded} for each file that was sent")));
        actions
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &RecoverInputs) -> Result<Preflight, StepError> {
        let mut found = Preflight::default();
        let (In::Known(_), In::Known(_), In::Known(_)) = (&inputs.snapshot, &inputs.collection, &inputs.from)
        else {
            return Ok(found);
        };
        match Self::looked(ctx, inputs, &mut found.findings).await {
            Ok(facts) => found.facts = facts,
            Err(error) if error.transient || error.code == "internal" => return Err(error),
            Err(error) => found.findings.push(finding(error)),
        }
        Ok(found)
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RecoverInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.from.known()?).await?);
        let qdrant = QdrantConnection::of(&*connection)?;
        let work = async {
            let members = qdrant.members().await?;
            let recovery = Self::recovery(ctx, inputs, qdrant, &members, &*store)?;
            readable(inputs, qdrant).await?;
            goes_on(ctx, from).await?;
            let noted = || Ok(Progress::of(open_notes(ctx), recovery.name));
            let outputs = recovery.run(&from.map_or_else(noted, Progress::read)?).await?;
            ended(ctx).await?;
            Ok(Ended::Outputs(outputs))
        };
        tokio::select! {
            ended = work => ended,
            // The server goes on with what it has: it is asked what became of it.
            () = ctx.cancelled() => Err(StepError { unknown: true, ..StepError::cancelled() }),
        }
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &RecoverInputs) -> Result<Reconciled, StepError> {
        let name = inputs.name().ok_or_else(|| StepError::internal("a recovery of nothing"))?;
        let progress = Progress::of(open_notes(ctx), name);
        if progress.is_untouched() {
            return Ok(Reconciled::NotDone);
        }
        let connection = ctx.connection().await?;
        for member in QdrantConnection::of(&*connection)?.members().await? {
            for collection in progress.collections() {
                if member.node.activity(collection).await?.recovers() {
                    return Ok(Reconciled::Busy(1000));
                }
            }
        }
        Ok(Reconciled::Partly(json!(progress)))
    }
}

impl Recover {
    fn recovery<'a>(
        ctx: &'a Ctx,
        inputs: &'a RecoverInputs,
        qdrant: &'a QdrantConnection,
        members: &'a [Member],
        store: &'a dyn Connection,
    ) -> Result<Recovery<'a>, StepError> {
        let entry = inputs.snapshot.known()?;
        Ok(Recovery {
            ctx,
            qdrant,
            members,
            store: store
                .store()
                .ok_or_else(|| StepError::internal("`from` of qdrant.recover is no artifact store"))?,
            entry,
            name: inputs.collection.known()?.as_deref().unwrap_or(&entry.collection),
            strategy: *inputs.strategy.known()?,
            band: inputs.points.known()?.unwrap_or(entry.points),
            files: sent_to(entry, members)?,
        })
    }

    /// What preflight learns: whether the collection is there, and which node each file goes to.
    async fn looked(
        ctx: &Ctx,
        inputs: &RecoverInputs,
        findings: &mut Vec<PreflightFinding>,
    ) -> Result<Facts, StepError> {
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.from.known()?).await?);
        let qdrant = QdrantConnection::of(&*connection)?;
        let members = qdrant.members().await?;
        let recovery = Self::recovery(ctx, inputs, qdrant, &members, &*store)?;
        findings.extend(readable(inputs, qdrant).await.err().map(finding));
        for file in &recovery.files {
            let (path, expected) = (&file.artifact.path, file.artifact.size);
            let wrong = match recovery.store.size(path).await? {
                Some(size) if size == expected => continue,
                Some(size) => StepError::new(
                    "artifact.damaged",
                    format!("{path} has {size} bytes, expected {expected}"),
                ),
                None => StepError::new("artifact.absent", format!("{path} is not in the store")),
            };
            findings.push(finding(wrong));
        }
        let there = recovery.found().await?;
        if there.existed {
            let points = there.points.map_or("broken".into(), |points| format!("with {points} points"));
            findings.push(PreflightFinding {
                code: "qdrant.overwrites".into(),
                fatal: false,
                message: format!("collection {} is there, {points}, and will be replaced", recovery.name),
                help: None,
            });
        }
        let nodes: Vec<&str> = recovery.files.iter().map(|file| file.member.node.url.as_str()).collect();
        Ok(json!({ "exists": there.existed, "nodes": nodes }))
    }
}

/// Nothing, when the servers read snapshots of the version that is given.
///
/// # Errors
/// `qdrant.version`.
async fn readable(inputs: &RecoverInputs, qdrant: &QdrantConnection) -> Result<(), StepError> {
    let Some(made_by) = inputs.version.value().and_then(Option::as_deref) else { return Ok(()) };
    let server = qdrant.version().await?;
    if reads(&numbers(&server), &numbers(made_by)) {
        return Ok(());
    }
    let message = format!("the server is Qdrant {server}, and the snapshot was made by {made_by}");
    Err(StepError::new("qdrant.version", message).help(
        "the same minor version with an equal or later patch reads it, and the next minor version does",
    ))
}

/// Whether a server of one version reads snapshots of another: of the same minor version and no later patch, or of the one before.
fn reads(server: &[u64], made_by: &[u64]) -> bool {
    let at = |version: &[u64], part: usize| version.get(part).copied().unwrap_or(0);
    let next_minor = at(server, 1).checked_sub(at(made_by, 1));
    at(server, 0) == at(made_by, 0)
        && (next_minor == Some(1) || (next_minor == Some(0) && at(server, 2) >= at(made_by, 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_reads_its_own_minor_version_and_the_one_before() {
        let check = |server: &str, made_by: &str, expected: bool| {
            assert_eq!(reads(&numbers(server), &numbers(made_by)), expected, "{server} reads {made_by}");
        };
        check("1.17.1", "1.17.1", true);
        check("1.17.1", "1.17.0", true);
        check("1.17.0", "1.17.1", false);
        check("1.18.0", "1.17.1", true);
        check("1.19.0", "1.17.1", false);
        check("1.16.3", "1.17.1", false);
        check("2.17.1", "1.17.1", false);
    }
}
