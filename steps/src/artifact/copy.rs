//! `artifact.copy`: [`Copy`] brings artifacts from one store into another, such as one at another site.

use async_trait::async_trait;
use drydock_recovery::manifest::{Manifest, PointId};
use drydock_step::artifact::bytes_of;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Effect, Ended, Facts, Field, In, KindShape,
    Preflight, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::ahead::Ahead;
use super::expected::{EXPECTED, Expected};
use super::transfer::{Going, Progress, Transfer, below, listable};
use crate::artifact_shape::ARTIFACT;
use crate::described::described;
use crate::points_layout::{manifest, prefix};

/// The most bytes of a manifest.
const MANIFEST_LIMIT: usize = 64 * 1024 * 1024;

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("artifacts", Shape::List(&ARTIFACT), "Each of them, as it lies in the other store."),
    Field::required("bytes", Shape::Integer, "How many bytes they have together."),
]);

inputs! {
    /// Inputs of `artifact.copy`: `to`, and exactly one of `artifacts`, `prefix` and `point`.
    pub struct CopyInputs {
        /// The target of the other store.
        to: String = known(Shape::Text),
        /// These artifacts, each a path or `{path, size, sha256}`.
        artifacts: Option<Vec<Expected>> = maybe(Shape::List(&EXPECTED)),
        /// All artifacts below this path; none there is an error.
        prefix: Option<String> = maybe(Shape::Text),
        /// All that belongs to a sealed recovery point, by its id: what its manifest names, wherever that lies, and what lies in its folder; the manifest comes last, so that the point is not there before all of it is.
        point: Option<String> = maybe(Shape::Text),
        /// The folder in the other store that they come below; left out, their paths stay as they are, which a point's must.
        into: String = maybe(Shape::Text).or("\"\""),
        /// How many are under way at a time.
        max_parallel: u32 = maybe(Shape::Integer).or("4"),
    }
}

/// Which artifacts.
enum Chosen {
    These(Vec<Expected>),
    Below(String),
    Point(PointId),
}

impl CopyInputs {
    fn chosen(&self) -> Result<Chosen, StepError> {
        let (these, prefix, point) = (self.artifacts.known()?, self.prefix.known()?, self.point.known()?);
        match (these, prefix, point) {
            (Some(these), None, None) => Ok(Chosen::These(these.clone())),
            (None, Some(prefix), None) => Ok(Chosen::Below(prefix.clone())),
            (None, None, Some(point)) => PointId::parse(point).map(Chosen::Point).map_err(|error| {
                StepError::new("input", format!("`point`, {point}, is no id of a point: {error}"))
            }),
            _ => Err(StepError::new("input", "exactly one of `artifacts`, `prefix` and `point` is needed")),
        }
    }

    fn all_known(&self) -> bool {
        self.artifacts.value().is_some() && self.prefix.value().is_some() && self.point.value().is_some()
    }

    /// What is copied, in words; `?` where it is not known yet.
    fn shown(&self) -> String {
        let known = [
            self.artifacts.value().and_then(Option::as_ref).map(|all| format!("{} artifacts", all.len())),
            self.prefix.value().and_then(Option::as_ref).map(|prefix| format!("{prefix}/*")),
            self.point.value().and_then(Option::as_ref).map(|point| format!("point {point}")),
        ];
        let after = [
            matches!(self.artifacts, In::After(_)).then(|| self.artifacts.or_after(|_| String::new())),
            matches!(self.prefix, In::After(_)).then(|| self.prefix.or_after(|_| String::new())),
            matches!(self.point, In::After(_)).then(|| self.point.or_after(|_| String::new())),
        ];
        known.into_iter().chain(after).flatten().next().unwrap_or_else(|| "?".into())
    }
}

/// Copies artifacts.
pub struct Copy;

#[async_trait]
impl StepKind for Copy {
    type Inputs = CopyInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["artifacts: read the store, write to the other"],
            example: "offsite:\n  uses: artifact.copy\n  target: backups\n  needs: [seal]\n  with: { to: offsite, point: \"{{ steps.seal.outputs.id }}\" }\n",
            ..described(
                "artifact.copy",
                "Copies artifacts into another store: a list of them, all below a path, or all of a recovery point. What is there with the same length and hash is not copied again; each is read back.",
            )
        }
    }

    fn judge(&self, inputs: &CopyInputs) -> Result<(), StepError> {
        if inputs.all_known() {
            inputs.chosen()?;
        }
        match (inputs.point.value().and_then(Option::as_ref), inputs.into.value()) {
            (Some(_), Some(into)) if !into.is_empty() => Err(StepError::new(
                "input",
                "`into` does not go with `point`: a manifest names its artifacts by their paths",
            )),
            _ if inputs.max_parallel.value() == Some(&0) => {
                Err(StepError::new("input", "`max_parallel` is at least 1"))
            }
            _ => Ok(()),
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &CopyInputs) -> Vec<Touch> {
        let into = inputs.into.value().filter(|into| !into.is_empty());
        let written = into.map_or("?".into(), |into| format!("path {into}"));
        let listed = inputs.artifacts.value().and_then(Option::as_ref);
        let below = inputs.prefix.value().and_then(Option::as_ref);
        // The files of a point lie anywhere in the store.
        let read: Vec<String> = match (listed, below) {
            (Some(listed), _) => listed.iter().map(|one| format!("path {}", one.path)).collect(),
            (None, Some(prefix)) => vec![format!("path {prefix}")],
            (None, None) => vec!["?".to_owned()],
        };
        let reads = |resource| Touch { target: target.map(str::to_owned), resource, access: Access::Reads };
        let to = Touch { target: inputs.to.value().cloned(), resource: written, access: Access::Writes };
        read.into_iter().map(reads).chain([to]).collect()
    }

    fn actions(&self, target: Option<&str>, inputs: &CopyInputs, _facts: &Facts) -> Vec<Action> {
        let to = inputs.to.value().map(String::as_str);
        let shown = inputs.shown();
        vec![
            Action::reads(ActionKind::Artifact, target, format!("read {shown}")),
            Action::writes(
                ActionKind::Artifact,
                to,
                format!("store {shown}, unless it is there, and read it back"),
            ),
        ]
    }

    /// Whether both stores answer, what is to be copied is there, and nothing else stands where it goes.
    async fn preflight(&self, ctx: &Ctx, inputs: &CopyInputs) -> Result<Preflight, StepError> {
        let mut ahead = Ahead::default();
        let (Some(to), Some(into), true) = (inputs.to.value(), inputs.into.value(), inputs.all_known())
        else {
            return Ok(ahead.told());
        };
        let (from, to) = (ctx.connection().await?, ctx.host.connect(to).await?);
        let (source, other) = both(&*from, &*to)?;
        let reached = (ahead.reaches(&*from).await?, ahead.reaches(&*to).await?);
        if !matches!(reached, (true, true)) {
            return Ok(ahead.told());
        }
        if let Err(error) = another_place(&*from, &*to, into).await {
            ahead.meets(error)?;
            return Ok(ahead.told());
        }
        let all = match chosen(source, inputs.chosen()?).await {
            Ok((all, last)) => all.into_iter().chain(last).collect::<Vec<_>>(),
            Err(error) => {
                ahead.meets(error)?;
                return Ok(ahead.told());
            }
        };
        let sizes = ahead.sources(source, &all).await?;
        let going =
            all.into_iter().map(|what| Going { to: below(into, &what.path), what }).collect::<Vec<_>>();
        let bytes = ahead.places(other, &going, &sizes).await?;
        ahead.room(other, going.first(), bytes).await?;
        Ok(ahead.told())
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &CopyInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let (from, to) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let into = inputs.into.known()?;
        let (source, other) = both(&*from, &*to)?;
        another_place(&*from, &*to, into).await?;
        let at_a_time = usize::try_from(*inputs.max_parallel.known()?).unwrap_or(usize::MAX);
        ctx.or_cancelled(copied(ctx, (source, other), inputs.chosen()?, into, at_a_time)).await
    }

    /// Whether all of it is there is asked by the next attempt, which copies what is not.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &CopyInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// The two stores.
pub(super) fn both<'a>(
    from: &'a dyn Connection,
    to: &'a dyn Connection,
) -> Result<(&'a dyn ArtifactStore, &'a dyn ArtifactStore), StepError> {
    match (from.store(), to.store()) {
        (Some(from), Some(to)) => Ok((from, to)),
        _ => Err(StepError::internal("a target is no artifact store")),
    }
}

/// Refuses to copy artifacts onto themselves.
async fn another_place(from: &dyn Connection, to: &dyn Connection, into: &str) -> Result<(), StepError> {
    if into.is_empty() && from.identity().await? == to.identity().await? {
        return Err(StepError::new("input", "`to` is the same store")
            .help("name another store, or a folder of it with `into`"));
    }
    Ok(())
}

/// The artifacts, and the one that comes last.
async fn chosen(
    store: &dyn ArtifactStore,
    chosen: Chosen,
) -> Result<(Vec<Expected>, Option<Expected>), StepError> {
    match chosen {
        Chosen::These(all) => Ok((all, None)),
        Chosen::Below(prefix) => Ok((listed(store, &prefix).await?, None)),
        Chosen::Point(id) => of_point(store, &id).await,
    }
}

async fn copied(
    ctx: &Ctx,
    (from, to): (&dyn ArtifactStore, &dyn ArtifactStore),
    what: Chosen,
    into: &str,
    at_a_time: usize,
) -> Result<Ended, StepError> {
    let (all, last) = chosen(from, what).await?;
    listable(all.len() + 1, "copy less at a time")?;
    let total = all.iter().map(|one| one.size).sum::<Option<u64>>();
    let transfer = Transfer { ctx, from, to, at_a_time, progress: Progress::new(ctx, total) };
    let going = |what: Expected| Going { to: below(into, &what.path), what };
    let mut artifacts = transfer.all(&all.into_iter().map(going).collect::<Vec<_>>()).await?;
    if let Some(last) = last {
        artifacts.push(transfer.one(&going(last)).await?);
    }
    let bytes: u64 = artifacts.iter().map(|one| one.size).sum();
    Ok(Ended::Outputs(json!({ "artifacts": artifacts, "bytes": bytes })))
}

/// All that lies below a path.
async fn listed(store: &dyn ArtifactStore, prefix: &str) -> Result<Vec<Expected>, StepError> {
    let listed = store.list(prefix).await?;
    if listed.is_empty() {
        return Err(StepError::new("artifact.absent", format!("there is nothing below {prefix}")));
    }
    Ok(listed
        .into_iter()
        .map(|one| Expected { path: one.path, size: Some(one.size), sha256: None })
        .collect())
}

/// What belongs to a point, without its manifest; and its manifest.
async fn of_point(
    store: &dyn ArtifactStore,
    id: &PointId,
) -> Result<(Vec<Expected>, Option<Expected>), StepError> {
    let at = manifest(id);
    let bytes = match store.open(&at, 0).await {
        Ok(stream) => bytes_of(stream, MANIFEST_LIMIT).await?,
        Err(error) if error.code == "artifact.absent" => {
            return Err(StepError::new("point.missing", format!("there is no sealed point {id}")));
        }
        Err(error) => return Err(error),
    };
    let sealed = Manifest::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|error| StepError::new("point.unusable", format!("{at}: {error}")))?;
    let in_folder = store.list(&prefix(id)).await?.into_iter();
    let mut all: IndexMap<String, Expected> = in_folder
        .map(|one| (one.path.clone(), Expected { path: one.path, size: Some(one.size), sha256: None }))
        .collect();
    for (_, artifact) in sealed.artifacts() {
        let (path, size, sha256) =
            (artifact.path.clone(), Some(artifact.size), Some(artifact.sha256.clone()));
        all.insert(path.clone(), Expected { path, size, sha256 });
    }
    let last = all.shift_remove(&at);
    Ok((all.into_values().collect(), last))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::artifact::stream_of;
    use drydock_step::test_host::{TestHost, actions, execute};
    use drydock_step::{Settings, TargetKind};

    use super::*;
    use crate::artifact::target::ArtifactsTarget;

    async fn store(dir: &std::path::Path, name: &str) -> Arc<dyn Connection> {
        let values = json!({ "url": name }).as_object().unwrap().clone();
        ArtifactsTarget
            .connect(Settings { values, folder: dir.into(), attempt: "r1/s/1".into() })
            .await
            .unwrap()
    }

    struct World {
        _dir: tempfile::TempDir,
        here: Arc<dyn Connection>,
        there: Arc<dyn Connection>,
        host: Arc<TestHost>,
    }

    impl World {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (here, there) = (store(dir.path(), "here").await, store(dir.path(), "there").await);
            here.store().unwrap().put("a/hello", stream_of("hello")).await.unwrap();
            here.store().unwrap().put("a/other", stream_of("other")).await.unwrap();
            let host = TestHost::new(dir.path()).target("t", here.clone()).target("there", there.clone());
            Self { _dir: dir, here, there, host: Arc::new(host) }
        }

        async fn outcome(&self, with: Value) -> Result<Value, StepError> {
            match execute(&Copy, &self.host.ctx(Some("t")), with).await? {
                Ended::Outputs(outputs) => Ok(outputs),
                Ended::Waits(message) => panic!("{message}"),
            }
        }

        async fn refused(&self, with: Value, code: &str, words: &str) {
            let error = self.outcome(with).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_there_is_not_copied_again() {
        let world = World::new().await;
        let with = json!({ "to": "there", "prefix": "a" });
        let first = world.outcome(with.clone()).await.unwrap();
        assert_eq!((&first["bytes"], &first["artifacts"][1]["path"]), (&json!(10), &json!("a/other")));
        let was_there =
            |world: &World| format!("{:?}", world.host.samples()).matches("was there already").count();
        assert_eq!(was_there(&world), 0);
        assert_eq!(world.outcome(with).await.unwrap(), first);
        assert_eq!(was_there(&world), 2);
        let into = json!({ "to": "t", "artifacts": ["a/hello"], "into": "mirror/" });
        assert_eq!(world.outcome(into).await.unwrap()["artifacts"][0]["path"], "mirror/a/hello");
    }

    #[tokio::test]
    async fn what_is_not_as_it_should_be_is_not_stored() {
        let world = World::new().await;
        let wrong = json!({ "path": "a/hello", "sha256": "00" });
        world
            .refused(json!({ "to": "there", "artifacts": [wrong] }), "artifact.damaged", "expected 00")
            .await;
        assert_eq!(world.there.store().unwrap().list("").await.unwrap(), Vec::new());
        world.there.store().unwrap().put("a/hello", stream_of("hullo")).await.unwrap();
        world
            .refused(json!({ "to": "there", "prefix": "a" }), "artifact.exists", "another a/hello is there")
            .await;
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        let world = World::new().await;
        world.refused(json!({ "to": "t", "prefix": "a" }), "input", "`to` is the same store").await;
        world.refused(json!({ "to": "there" }), "input", "exactly one of").await;
        world
            .refused(json!({ "to": "there", "prefix": "none" }), "artifact.absent", "nothing below none")
            .await;
        world.refused(json!({ "to": "there", "artifacts": ["x"] }), "artifact.absent", "no artifact x").await;
        world.refused(json!({ "to": "there", "point": "x" }), "input", "`point`, x, is no id").await;
        let id = "01JD0000000000000000000000";
        world
            .refused(json!({ "to": "there", "point": id, "into": "x" }), "input", "`into` does not go")
            .await;
        world
            .refused(json!({ "to": "there", "point": id }), "point.missing", "there is no sealed point")
            .await;
        world
            .here
            .store()
            .unwrap()
            .put(&format!("points/{id}/manifest.json"), stream_of("{}"))
            .await
            .unwrap();
        world.refused(json!({ "to": "there", "point": id }), "point.unusable", "manifest.json: ").await;
    }

    #[test]
    fn a_dry_run_shows_what_is_copied() {
        let text = |with: Value| actions(&Copy, with).unwrap()[1].text.clone();
        let told = "store a/*, unless it is there, and read it back";
        assert_eq!(text(json!({ "to": "there", "prefix": "a" })), told);
        let after = json!({ "to": "there", "point": { "$after": ["seal"] } });
        assert!(text(after).starts_with("store (known after seal)"));
    }
}
