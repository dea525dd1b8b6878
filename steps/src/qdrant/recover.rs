//! `qdrant.recover`: [`Recover`] brings one collection back from its snapshots in an artifact store.

use std::sync::Arc;

use async_trait::async_trait;
use drydock_recovery::manifest::{Artifact, Band};
use drydock_step::{
    Access, Action, ActionKind, CleanUp, Connection, Ctx, Effect, Ended, Facts, Field, From, In, KindShape,
    Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known,
    maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::claims::Needs;
use super::entry::CollectionEntry;
use super::members::Member;
use super::notes::{ended, goes_on, open_notes};
use super::placing::{Goes, Way, location, parts, sent_to};
use super::recovery::{OnBroken, Progress, Recovery, Strategy};
use super::refusal::finding;
use super::rename::{RENAME, Rename};
use super::requests::{self, Whose};
use super::selection::scratch;
use super::serving::{SERVE_AT, ServeAt, Serving};
use super::target::{QdrantConnection, numbers};
use crate::bytes;
use crate::described::described;
use crate::own_name::tag;
use crate::rehash::{changed, closed};

inputs! {
    /// Inputs of `qdrant.recover`.
    pub struct RecoverInputs {
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// One collection, as `qdrant.fetch` or `point.select` gives it.
        snapshot: CollectionEntry = known(Shape::Map(&Shape::Any)),
        /// Recover under this name. Its aliases then stay where they are.
        collection: Option<String> = maybe(Shape::Text),
        /// Recover under a name made of its own, `{ pattern: "agent_*", to: "drill_agent_*" }`. Its aliases then stay where they are.
        rename: Option<Rename> = maybe(RENAME),
        /// When the collection is there: `prove` recovers under a scratch name first and counts, `in_place` does not. `swap` recovers
        /// under a new name and then switches the aliases over to it, where the application reaches the collection by an alias.
        strategy: Strategy = maybe(Shape::OneOf(&["prove", "in_place", "swap"])).or("\"prove\""),
        /// With `strategy: swap`, remove the collections that the aliases led to before.
        drop_replaced: bool = maybe(Shape::Boolean).or("false"),
        /// What becomes of a collection that does not load: `remove_new` removes one that was not there before, `remove` also one whose
        /// data the recovery has destroyed, `keep` none.
        on_broken: OnBroken = maybe(Shape::OneOf(&["remove_new", "remove", "keep"])).or("\"remove_new\""),
        /// How the servers come by the files: `upload` sends them; with `serve` they fetch them from this process, with `store` from the
        /// artifact store's own address.
        by: By = maybe(Shape::OneOf(&["upload", "serve", "store"])).or("\"upload\""),
        /// With `by: serve`, where to listen: `{ bind: "10.0.0.5:0" }`.
        serve: Option<ServeAt> = maybe(SERVE_AT),
        /// The band that the exact count must lie in, instead of the snapshot's own.
        points: Option<Band> = maybe(Shape::Band),
        /// The Qdrant that made the snapshot; given, a server that does not read it is refused.
        version: Option<String> = maybe(Shape::Text),
    }
}

const NODE: &[Field] = &[
    Field::required("node", Shape::Text, "The node's URL."),
    Field::required("points", Shape::Integer, "The exact number of points, as this node finds it."),
    Field::required("shards", Shape::List(&Shape::Integer), "Ids of the shards that it has."),
];

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
        Shape::OneOf(&["straight", "prove", "in_place", "swap"]),
        "What was done; `straight` where there was no such collection.",
    ),
    Field::required("nodes", Shape::List(&Shape::Record(NODE)), "What each node has and counts."),
    Field::required(
        "replaced",
        Shape::List(&Shape::Text),
        "The collections that its aliases led to before they were switched over.",
    ),
    Field::required(
        "left_on_server",
        Shape::List(&Shape::Text),
        "Uploaded files that could not be removed, and why.",
    ),
]);

/// How the servers come by the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// They are sent to them.
    Upload,
    /// They fetch them from this process.
    Serve,
    /// They fetch them from the store.
    Store,
}

impl RecoverInputs {
    /// The name to recover under, where it is known; with `strategy: swap` what it begins with.
    ///
    /// # Errors
    /// `input` when `rename` has none.
    fn name(&self) -> Result<Option<String>, StepError> {
        let (Some(name), Some(rename)) = (self.collection.value(), self.rename.value()) else {
            return Ok(None);
        };
        match (name, rename, self.snapshot.value()) {
            (Some(name), _, _) => Ok(Some(name.clone())),
            (None, _, None) => Ok(None),
            (None, Some(rename), Some(entry)) => rename.of(&entry.collection).map(Some),
            (None, None, Some(entry)) => Ok(Some(entry.collection.clone())),
        }
    }

    fn swaps(&self) -> bool {
        self.strategy.value() == Some(&Strategy::Swap)
    }

    /// Nothing, when the inputs go together, in as far as they are known.
    fn fits_together(&self) -> Result<(), StepError> {
        let refused = |message: &str| Err(StepError::new("input", message));
        let named = matches!(self.collection.value(), Some(Some(_)));
        let rename = self.rename.value().and_then(Option::as_ref);
        if named && rename.is_some() {
            return refused(
                "`rename` and `collection` both name the collection to recover under; one of them is too much",
            );
        }
        if let Some(rename) = rename {
            rename.judge()?;
        }
        if self.swaps() && (named || rename.is_some()) {
            return refused(
                "`strategy` swap names the collection by itself, and goes with neither `collection` nor `rename`",
            );
        }
        if self.drop_replaced.value() == Some(&true) && self.strategy.value().is_some() && !self.swaps() {
            return refused(
                "`drop_replaced` goes with `strategy: swap` alone; the others replace no collection by another",
            );
        }
        match (self.by.value(), self.serve.value()) {
            (Some(By::Serve), Some(None)) => refused(
                "`by: serve` needs `serve: { bind: ADDRESS:PORT }`, an address that the Qdrant nodes reach",
            ),
            (Some(By::Upload | By::Store), Some(Some(_))) => refused("`serve` goes with `by: serve` alone"),
            _ => Ok(()),
        }
    }

    /// The request that brings a file into a collection, as a dry run shows it.
    fn line(&self, whose: Whose<'_>, artifact: &Artifact, node: &str) -> String {
        let from = match self.by.value() {
            Some(By::Serve) => "{this process}",
            Some(By::Store) => "{the store}",
            _ => {
                return format!(
                    "{} with {}",
                    requests::upload(whose, &artifact.sha256).line_on(node),
                    artifact.path
                );
            }
        };
        requests::recover(whose, &format!("{from}/{}", artifact.path), &artifact.sha256).line_on(node)
    }
}

/// The name of a collection that an alias is switched over to: new, and the same for every attempt of a step. A name that was made so
/// before does not grow.
fn swapped_in(ctx: &Ctx, name: &str) -> String {
    let base = match name.rsplit_once(SWAPPED) {
        Some((base, hash)) if hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => base,
        _ => name,
    };
    format!("{base}{SWAPPED}{}", tag(ctx, 8))
}

/// What stands between the name and the number of a collection that an alias leads to.
const SWAPPED: &str = "__dd_";

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
            clean_up: Some(CleanUp {
                kind: "qdrant.drop",
                inputs: &[
                    ("collection", From::First(&["collection"])),
                    ("snapshot", From::First(&["snapshot"])),
                    ("rename", From::First(&["rename"])),
                ],
            }),
            permissions: &["qdrant: a key with manage access", "artifacts: read the store"],
            example: "recover_vectors:\n  uses: qdrant.recover\n  target: vectors\n  needs: [point]\n  foreach: steps.point.outputs.qdrant.collections\n  key: item.collection\n  with: { from: backups, snapshot: \"{{ item }}\" }\n",
            ..described(
                "qdrant.recover",
                "Recovers one collection from the snapshots of its nodes, node by node, and waits until it rests. A collection that is there is lost; a damaged file never reaches it.",
            )
        }
    }

    fn judge(&self, inputs: &RecoverInputs) -> Result<(), StepError> {
        inputs.fits_together()
    }

    fn touches(&self, target: Option<&str>, inputs: &RecoverInputs) -> Vec<Touch> {
        let name = inputs.name().ok().flatten().map_or("?".into(), |name| format!("collection {name}"));
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
        // A swap leaves what there is, unless it is to be removed.
        let leaves = inputs.swaps() && inputs.drop_replaced.value() == Some(&false);
        let access = if leaves { Access::Writes } else { Access::Destroys };
        touches.push(Touch { target, resource: name, access });
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &RecoverInputs, facts: &Facts) -> Vec<Action> {
        let http = |line: String| Action::writes(ActionKind::Http, target, line);
        let from = inputs.from.value().map(String::as_str);
        let name = match inputs.fits_together().and_then(|()| inputs.name()) {
            Ok(name) => name,
            Err(error) => return vec![http(format!("(nothing: {})", error.message))],
        };
        let (In::Known(entry), Some(name)) = (&inputs.snapshot, name) else {
            let after = inputs.snapshot.or_after(|entry| entry.collection.clone());
            return vec![
                Action::reads(ActionKind::Artifact, from, format!("read back the files of {after}")),
                http(format!("POST /collections/{{collection}}/snapshots/upload with each file of {after}")),
            ];
        };
        let name = if inputs.swaps() { format!("{name}{SWAPPED}{{run}}") } else { name };
        let parts: Vec<_> =
            parts(entry).into_iter().filter_map(|one| Some((one.shard, one.artifact.as_ref()?))).collect();
        let read = |(_, artifact): &(Option<u32>, &Artifact)| {
            Action::reads(ActionKind::Artifact, from, format!("read {} back and hash it", artifact.path))
        };
        let mut actions: Vec<Action> = parts.iter().map(read).collect();
        // Qdrant tells nobody how much of its disk is free.
        let size: u64 = parts.iter().map(|(_, artifact)| artifact.size).sum();
        let copies = if inputs.by.value() == Some(&By::Upload) { 2 } else { 1 };
        let needs = format!(
            "nodes need about {} free while it is recovered, beside what is there",
            bytes::size(size.saturating_mul(copies) as f64)
        );
        actions.push(Action::reads(ActionKind::Http, target, needs));
        let recovered = |name: &str| {
            let made =
                entry.is_by_shard().then(|| http(requests::create_collection(name, &entry.config).line()));
            let file = |(at, (shard, artifact)): (usize, &(Option<u32>, &Artifact))| {
                let node = facts["nodes"][at].as_str().unwrap_or_default();
                http(inputs.line(Whose { collection: name, shard: *shard }, artifact, node))
            };
            made.into_iter().chain(parts.iter().enumerate().map(file)).collect::<Vec<_>>()
        };
        // What was sent lies beside the collection until it is removed.
        let left = |name: &str| {
            let uploads = inputs.by.value() == Some(&By::Upload) && !entry.is_by_shard();
            let line = requests::delete_snapshot(Whose::collection(name), "drydock-").line();
            let line = line.replace("drydock-?", "drydock-{file}?");
            uploads.then(|| http(format!("{line} for each file that was sent")))
        };
        if inputs.strategy.value() == Some(&Strategy::Prove) && facts["exists"] != json!(false) {
            let scratch = scratch(&name, "attempt");
            actions.extend(recovered(&scratch));
            actions.extend(left(&scratch));
            actions
                .push(http(format!("{} after it was counted", requests::delete_collection(&scratch).line())));
        }
        actions.extend(recovered(&name));
        let indexes = entry.payload_indexes.as_object().into_iter().flatten();
        actions.extend(indexes.map(|(field, index)| {
            let ask = requests::create_index(&name, field, &index["data_type"]);
            http(format!("{} where it is missing", ask.line()))
        }));
        let aliases: Vec<&str> = entry.aliases.iter().map(String::as_str).collect();
        if (name == entry.collection || inputs.swaps()) && !aliases.is_empty() {
            let ask = requests::point_aliases(&name, &[], &aliases);
            actions.push(http(format!("{} where they point elsewhere", ask.line())));
        }
        if inputs.drop_replaced.value() == Some(&true) {
            actions.push(http("DELETE /collections/{collection} for each that the aliases led to".into()));
        }
        actions.extend(left(&name));
        actions
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &RecoverInputs) -> Result<Preflight, StepError> {
        let mut found = Preflight::default();
        let named = matches!((&inputs.collection, &inputs.rename), (In::Known(_), In::Known(_)));
        let (In::Known(_), true, In::Known(_)) = (&inputs.snapshot, named, &inputs.from) else {
            return Ok(found);
        };
        match Self::looked(ctx, inputs, &mut found.findings).await {
            Ok(facts) => found.facts = facts,
            Err(error) if error.transient || error.code == "internal" => return Err(error),
            Err(error) => found.findings.push(finding(error)),
        }
        Ok(found)
    }

    /// Whether the snapshots are what they were when they were fetched.
    async fn prove(&self, ctx: &Ctx, inputs: &RecoverInputs) -> Result<Vec<PreflightFinding>, StepError> {
        let (Some(entry), Some(from)) = (inputs.snapshot.value(), inputs.from.value()) else {
            return Ok(Vec::new());
        };
        let connection = ctx.host.connect(from).await?;
        let Some(store) = connection.store() else { return Ok(Vec::new()) };
        changed(store, parts(entry).into_iter().filter_map(|one| one.artifact.as_ref())).await
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
            let (name, way) = (Self::destination(ctx, inputs)?, Self::way(inputs, &store).await?);
            let recovery = Self::recovery(ctx, inputs, qdrant, &members, &*store, (&name, &way))?;
            readable(inputs, qdrant).await?;
            goes_on(ctx, from).await?;
            let noted = || Ok(Progress::of(open_notes(ctx), &name));
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
        let progress = Progress::of(open_notes(ctx), &Self::destination(ctx, inputs)?);
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
    /// The name that the collection is recovered under.
    fn destination(ctx: &Ctx, inputs: &RecoverInputs) -> Result<String, StepError> {
        let name = inputs.name()?.ok_or_else(|| StepError::internal("a recovery of nothing"))?;
        Ok(if inputs.swaps() { swapped_in(ctx, &name) } else { name })
    }

    /// How the servers come by the files; from now on, where they fetch them from this process.
    async fn way(inputs: &RecoverInputs, store: &Arc<dyn Connection>) -> Result<Way, StepError> {
        inputs.fits_together()?;
        match (inputs.by.known()?, inputs.serve.known()?) {
            (By::Serve, Some(at)) => {
                let files =
                    parts(inputs.snapshot.known()?).into_iter().filter_map(|one| one.artifact.clone());
                Ok(Way::Serve(Serving::start(at, store.clone(), files.collect()).await?))
            }
            (By::Store, _) => Ok(Way::Store),
            _ => Ok(Way::Upload),
        }
    }

    fn recovery<'a>(
        ctx: &'a Ctx,
        inputs: &'a RecoverInputs,
        qdrant: &'a QdrantConnection,
        members: &'a [Member],
        store: &'a dyn Connection,
        (name, way): (&'a str, &'a Way),
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
            name,
            way,
            strategy: *inputs.strategy.known()?,
            on_broken: *inputs.on_broken.known()?,
            drop_replaced: *inputs.drop_replaced.known()?,
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
        inputs.fits_together()?;
        let (members, name) = (qdrant.members().await?, Self::destination(ctx, inputs)?);
        let recovery = Self::recovery(ctx, inputs, qdrant, &members, &*store, (&name, &Way::Upload))?;
        findings.extend(readable(inputs, qdrant).await.err().map(finding));
        findings.extend(qdrant.refuses(Needs::Manage, ctx.now_ms() / 1000).map(finding));
        findings.extend(qdrant.ailing().await?.into_iter().map(finding));
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
        if let Some(file) = recovery.files.first() {
            findings.extend(closed(recovery.store, &file.artifact.path).await?.map(finding));
        }
        if let (Some(By::Store), Some(file)) = (inputs.by.value(), recovery.files.first()) {
            location(recovery.store, file.artifact)?;
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
        // Which node has a shard is known once the collection is made.
        let nodes = recovery.files.iter().map(|file| match file.goes {
            Goes::Node(member) => member.node.url.as_str(),
            Goes::Shard { .. } => "",
        });
        let nodes: Vec<&str> = nodes.collect();
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
