//! `qdrant.fetch`: [`Fetch`] brings the snapshots of one collection into an artifact store, and then removes them from the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use drydock_recovery::manifest::Artifact;
use drydock_step::target::Collections;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, AtWork, Connection, Ctx, Effect, Ended, Facts, KindShape,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use super::archive::inspected;
use super::download::download;
use super::entry::{CollectionEntry, ENTRY, SnapshotEntry};
use super::members::Member;
use super::requests::{self, Whose};
use super::target::QdrantConnection;
use crate::described::described;
use crate::rehash::rehashed;

/// How many bytes come between two words about progress.
const STRIDE: u64 = 4 * 1024 * 1024;

inputs! {
    /// Inputs of `qdrant.fetch`.
    pub struct FetchInputs {
        /// One collection, as `qdrant.snapshot` gives it.
        snapshot: CollectionEntry = known(ENTRY),
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store: the files lie right below it, by the snapshots' names.
        prefix: String = maybe(Shape::Text).or("\"qdrant\""),
        /// Leave the snapshots on the servers.
        keep_on_server: bool = maybe(Shape::Boolean).or("false"),
    }
}

/// Downloads snapshots.
pub struct Fetch;

#[async_trait]
impl StepKind for Fetch {
    type Inputs = FetchInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: ENTRY,
            effect: Effect::Writes,
            permissions: &["qdrant: a key with manage access", "artifacts: write to the store"],
            example: "fetch:\n  uses: qdrant.fetch\n  target: vectors\n  needs: [snapshot]\n  foreach: steps.snapshot.outputs.collections\n  key: item.collection\n  with: { snapshot: \"{{ item }}\", to: backups, prefix: qdrant }\n",
            ..described(
                "qdrant.fetch",
                "Downloads the snapshots of one collection from all nodes, hashing on the way, and removes them from the servers. Gives the collection again, each snapshot with its artifact.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &FetchInputs) -> Vec<Touch> {
        let touch = |target: Option<String>, resource| Touch { target, resource, access: Access::Writes };
        let collection =
            inputs.snapshot.value().map(|entry| format!("snapshots of collection {}", entry.collection));
        vec![
            touch(target.map(str::to_owned), collection.unwrap_or_else(|| "?".into())),
            touch(
                inputs.to.value().cloned(),
                inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}")),
            ),
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &FetchInputs, _facts: &Facts) -> Vec<Action> {
        let to = inputs.to.value().map(String::as_str);
        let removes = inputs.keep_on_server.value() != Some(&true);
        let Some(entry) = inputs.snapshot.value() else {
            let which = inputs.snapshot.or_after(|_| String::new());
            let mut actions = vec![
                Action::reads(
                    ActionKind::Http,
                    target,
                    format!("GET /collections/{{collection}}/snapshots/{{snapshot}} for each of {which}"),
                ),
                Action::writes(ActionKind::Artifact, to, format!("store it below {}", inputs.prefix)),
            ];
            if removes {
                actions.push(Action::writes(
                    ActionKind::Http,
                    target,
                    format!("DELETE /collections/{{collection}}/snapshots/{{snapshot}}?wait=true for each of {which}"),
                ));
            }
            return actions;
        };
        let of = |one: &SnapshotEntry| {
            let download = requests::download(whose(entry, one), &one.name).line_on(&one.node);
            let delete = requests::delete_snapshot(whose(entry, one), &one.name).line_on(&one.node);
            let path = inputs.prefix.or_after(|prefix| path_of(prefix, &one.name));
            [
                Some(Action::reads(ActionKind::Http, target, download)),
                Some(Action::writes(ActionKind::Artifact, to, format!("store {path}"))),
                removes.then(|| Action::writes(ActionKind::Http, target, delete)),
            ]
        };
        entry.snapshots.iter().flat_map(of).flatten().collect()
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &FetchInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let fetching = Fetching::of(ctx, inputs, &*connection, &*store).await?;
        let work = async {
            match fetching.all().await {
                Err(error) if error.code == "qdrant.absent" && fetching.is_gone(&*connection).await? => {
                    ctx.log(format!("{} is gone, and its snapshots with it", fetching.entry.collection));
                    Ok(CollectionEntry { snapshots: Vec::new(), gone: true, ..fetching.entry.clone() })
                }
                fetched => fetched,
            }
        };
        let fetched = ctx.or_cancelled(work).await?;
        Ok(Ended::Outputs(json!(fetched)))
    }

    /// The store is asked what it has, and the servers what they still have.
    async fn reconcile(&self, ctx: &Ctx, inputs: &FetchInputs) -> Result<Reconciled, StepError> {
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let fetching = Fetching::of(ctx, inputs, &*connection, &*store).await?;
        let mut entry = fetching.entry.clone();
        let (mut stored, mut left) = (Vec::new(), false);
        for snapshot in &mut entry.snapshots {
            snapshot.artifact = fetching.in_store(snapshot).await?;
            if let Some(artifact) = &snapshot.artifact {
                fetching.inspected(snapshot, artifact).await?;
            }
            stored.extend(snapshot.artifact.as_ref().map(|artifact| artifact.path.clone()));
            let listed = fetching.member(snapshot)?.node.snapshots(whose(fetching.entry, snapshot)).await?;
            left |= listed.iter().any(|one| one.name == snapshot.name);
        }
        Ok(match (stored.len(), entry.snapshots.len()) {
            (some, all) if some == all && (fetching.keep || !left) => Reconciled::Done(json!(entry)),
            (0, _) => Reconciled::NotDone,
            _ => Reconciled::Partly(json!({ "stored": stored })),
        })
    }
}

/// What a snapshot is of.
fn whose<'a>(entry: &'a CollectionEntry, snapshot: &SnapshotEntry) -> Whose<'a> {
    Whose { collection: &entry.collection, shard: snapshot.shard }
}

/// Where a snapshot lies in a store.
fn path_of(prefix: &str, snapshot: &str) -> String {
    // Collections may have names that no path can have.
    let safe = |c: char| if c.is_control() || c == '\\' || c == '/' { '_' } else { c };
    format!("{}/{}", prefix.trim_end_matches('/'), snapshot.chars().map(safe).collect::<String>())
}

/// One attempt's work.
pub(super) struct Fetching<'a> {
    pub(super) attempt: Arc<dyn AtWork>,
    pub(super) entry: &'a CollectionEntry,
    pub(super) members: Vec<Member>,
    pub(super) store: &'a dyn ArtifactStore,
    pub(super) prefix: &'a str,
    /// Whether the servers keep the snapshots.
    pub(super) keep: bool,
}

impl<'a> Fetching<'a> {
    async fn of(
        ctx: &Ctx,
        inputs: &'a FetchInputs,
        connection: &dyn Connection,
        to: &'a dyn Connection,
    ) -> Result<Self, StepError> {
        let store =
            to.store().ok_or_else(|| StepError::internal("`to` of qdrant.fetch is no artifact store"))?;
        Ok(Self {
            attempt: Arc::new(ctx.clone()),
            entry: inputs.snapshot.known()?,
            members: QdrantConnection::of(connection)?.members().await?,
            store,
            prefix: inputs.prefix.known()?,
            keep: *inputs.keep_on_server.known()?,
        })
    }

    /// Whether somebody has deleted the collection since: then nobody can reach its snapshots any more.
    async fn is_gone(&self, connection: &dyn Connection) -> Result<bool, StepError> {
        let names = QdrantConnection::of(connection)?.collection_names().await?;
        Ok(!names.contains(&self.entry.collection))
    }

    /// The entry with its artifacts. All nodes side by side; all are waited for, so that what is under way is stored.
    ///
    /// # Errors
    /// What a server or the store says, `qdrant.checksum`, `qdrant.archive`.
    pub(super) async fn all(&self) -> Result<CollectionEntry, StepError> {
        let total = self.entry.snapshots.iter().map(|one| one.size).sum::<Option<u64>>();
        let done = Arc::new(AtomicU64::new(0));
        let each = self.entry.snapshots.iter().map(|snapshot| self.one(snapshot, total, done.clone()));
        let snapshots = join_all(each).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(CollectionEntry { snapshots, ..self.entry.clone() })
    }

    async fn one(
        &self,
        snapshot: &SnapshotEntry,
        total: Option<u64>,
        done: Arc<AtomicU64>,
    ) -> Result<SnapshotEntry, StepError> {
        let artifact = match self.in_store(snapshot).await? {
            Some(artifact) => artifact,
            None => {
                let artifact = self.downloaded(snapshot, total, done).await?;
                self.attempt.note(json!({ "stored": artifact })).await?;
                artifact
            }
        };
        self.inspected(snapshot, &artifact).await?;
        let mut fetched = SnapshotEntry { artifact: Some(artifact), ..snapshot.clone() };
        if !self.keep {
            let node = &self.member(snapshot)?.node;
            // The backup is good without it. What is left on a server costs space there, and is told.
            if let Err(error) = node.delete_snapshot(whose(self.entry, snapshot), &snapshot.name).await {
                self.attempt.log(&format!("{} is still on {}: {error}", snapshot.name, snapshot.node));
                fetched.left_on_server = Some(error.message);
            }
        }
        Ok(fetched)
    }

    async fn downloaded(
        &self,
        snapshot: &SnapshotEntry,
        total: Option<u64>,
        done: Arc<AtomicU64>,
    ) -> Result<Artifact, StepError> {
        let (attempt, phase) = (self.attempt.clone(), snapshot.node.clone());
        let seen = move |more| {
            let before = done.fetch_add(more, Ordering::Relaxed);
            if before / STRIDE != (before + more) / STRIDE {
                attempt.progress(before + more, total, "bytes", &phase);
            }
        };
        let path = path_of(self.prefix, &snapshot.name);
        let node = self.member(snapshot)?.node.clone();
        let body = download(node, whose(self.entry, snapshot), &snapshot.name, seen);
        let stored = self.store.put(&path, body).await.map_err(|error| match error.code.as_str() {
            "qdrant.absent" => {
                error.help("it was removed from the server before it was fetched; make a new one")
            }
            _ => error,
        })?;
        let artifact = Artifact { path: stored.path, size: stored.size, sha256: stored.sha256 };
        match &snapshot.sha256 {
            Some(expected) if !expected.eq_ignore_ascii_case(&artifact.sha256) => {
                self.store.delete(&path).await?;
                let message = format!(
                    "snapshot {} of {} came with sha256 {}, and the server said {expected}",
                    snapshot.name, snapshot.node, artifact.sha256
                );
                Err(StepError::transient("qdrant.checksum", message)
                    .help("it was damaged on the way, or another snapshot has taken its name since; it was not kept"))
            }
            _ => Ok(artifact),
        }
    }

    /// Nothing, when the file holds what the node had. One that does not is taken out of the store again.
    async fn inspected(&self, snapshot: &SnapshotEntry, artifact: &Artifact) -> Result<(), StepError> {
        let found = inspected(self.store, artifact, snapshot, &self.entry.params).await;
        if let Err(error) = &found
            && error.code == "qdrant.archive"
        {
            self.store.delete(&artifact.path).await?;
        }
        found
    }

    /// The snapshot as it lies in the store, whole, where it does. What this step noted was hashed when it was written.
    async fn in_store(&self, snapshot: &SnapshotEntry) -> Result<Option<Artifact>, StepError> {
        let path = path_of(self.prefix, &snapshot.name);
        let Some(size) = self.store.size(&path).await? else { return Ok(None) };
        let mut stored =
            self.attempt.notes().iter().filter_map(|note| Artifact::deserialize(note.get("stored")?).ok());
        if let Some(noted) = stored.rfind(|noted| noted.path == path && noted.size == size) {
            return Ok(Some(noted));
        }
        let Some(expected) =
            snapshot.sha256.as_ref().filter(|_| snapshot.size.is_none_or(|said| said == size))
        else {
            return Ok(None);
        };
        let found = rehashed(self.store, &path, |_| {}).await?;
        let same = expected.eq_ignore_ascii_case(&found.sha256);
        Ok(same.then_some(Artifact { path: found.path, size: found.size, sha256: found.sha256 }))
    }

    /// The node that has a snapshot: by its peer id where it has one, since addresses change.
    fn member(&self, snapshot: &SnapshotEntry) -> Result<&Member, StepError> {
        let same = |member: &&Member| match (snapshot.peer_id, member.peer) {
            (Some(id), Some(peer)) => id == peer,
            _ => member.node.url == snapshot.node,
        };
        self.members.iter().find(same).ok_or_else(|| {
            let message = format!(
                "snapshot {} lies on {}, which is no node of the target",
                snapshot.name, snapshot.node
            );
            StepError::new("qdrant.nodes", message)
                .help("fetch from the same servers that the snapshots were made on")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn snapshots_lie_below_the_prefix_by_their_names() {
        assert_eq!(
            path_of("points/p1/qdrant", "agent_a-1-2026.snapshot"),
            "points/p1/qdrant/agent_a-1-2026.snapshot"
        );
        assert_eq!(path_of("q/", "a\\b\n-1.snapshot"), "q/a_b_-1.snapshot");
    }
}
