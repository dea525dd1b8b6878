//! `artifact.place`: [`Place`] brings artifacts to where a server sees them, into a folder of the runner or another store, and asks that server
//! whether it does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::target::{SeenPlace, SeesFiles};
use drydock_step::{
    Access, Action, ActionKind, Connection, Ctx, Effect, Ended, Facts, Field, KindShape, PlanPath, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, Stored, TargetNeed, Touch, inputs, known,
    maybe,
};
use serde_json::{Value, json};

use super::ahead::Ahead;
use super::copy::both;
use super::expected::{EXPECTED, Expected};
use super::folder::FolderStore;
use super::transfer::{Going, Progress, Transfer, below, listable};
use crate::artifact_shape::ARTIFACT;
use crate::described::described;
use crate::rehash::closed;

const OUTPUTS: Shape = Shape::Record(&[
    Field::required(
        "artifacts",
        Shape::List(&ARTIFACT),
        "Each of them, by its path in the folder or the other store.",
    ),
    Field::required("bytes", Shape::Integer, "How many bytes they have together."),
    Field::required(
        "files",
        Shape::List(&Shape::Text),
        "With `folder`: each of them as a file of the runner, in the same order.",
    ),
    Field::required(
        "seen",
        Shape::List(&Shape::Text),
        "With `seen_by`: each of them as that server names it, in the same order.",
    ),
]);

inputs! {
    /// Inputs of `artifact.place`: `artifacts`, and exactly one of `folder` and `to`.
    pub struct PlaceInputs {
        /// The artifacts, each a path or `{path, size, sha256}`.
        artifacts: Vec<Expected> = known(Shape::List(&EXPECTED)),
        /// A folder of the runner that the server sees; its parent must be there.
        folder: Option<PlanPath> = maybe(Shape::Path),
        /// The target of a store that the server sees (`sees:` of its own target).
        to: Option<String> = maybe(Shape::Text),
        /// Where below that; left out, their paths stay as they are, so that what names them by path finds them there.
        into: String = maybe(Shape::Text).or("\"\""),
        /// The target of the server that shall see them: once they are there, it is asked whether it can open each. It finds them as its `sees` says, with `folder` as `seen_at` says.
        seen_by: Option<String> = maybe(Shape::Text),
        /// With `seen_by`: the folder, or the root of the store, as that server names it: `\\nas01\drop`. Left out, its `sees` says it, which is about stores alone.
        seen_at: Option<String> = maybe(Shape::Text),
        /// How many are under way at a time.
        max_parallel: u32 = maybe(Shape::Integer).or("4"),
    }
}

/// Places artifacts.
pub struct Place;

#[async_trait]
impl StepKind for Place {
    type Inputs = PlaceInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            target_inputs: &[("to", &["artifacts"]), ("seen_by", &["sqlserver"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "artifacts: read the store, write to the other",
                "runner: write to the folder",
                "sqlserver, with `seen_by`: sysadmin, or CREATE ANY DATABASE",
            ],
            example: "media:\n  uses: artifact.place\n  target: offsite\n  needs: [point]\n  with: { artifacts: \"{{ steps.point.outputs.artifacts }}\", to: backups, seen_by: sql }\n",
            ..described(
                "artifact.place",
                "Brings artifacts to where a server sees them: into a folder of the runner, or another store. What is there with the same length and hash stays; each is read back. Nothing is written over. With `seen_by` it ends well only when the server can open each of them.",
            )
        }
    }

    fn judge(&self, inputs: &PlaceInputs) -> Result<(), StepError> {
        match (inputs.seen_by.value(), inputs.seen_at.value(), inputs.folder.value()) {
            (Some(None), Some(Some(_)), _) => {
                return Err(StepError::new(
                    "input",
                    "`seen_at` says how a server names the folder: it needs `seen_by`",
                ));
            }
            (Some(Some(_)), Some(None), Some(Some(_))) => {
                return Err(StepError::new("input", "`seen_at` is needed, with `folder` and `seen_by`")
                    .help("say how the server names the folder; what its `sees` says is about stores"));
            }
            _ => {}
        }
        match (inputs.folder.value(), inputs.to.value()) {
            (Some(Some(_)), Some(Some(_))) | (Some(None), Some(None)) => {
                Err(StepError::new("input", "exactly one of `folder` and `to` is needed"))
            }
            _ if inputs.max_parallel.value() == Some(&0) => {
                Err(StepError::new("input", "`max_parallel` is at least 1"))
            }
            _ => Ok(()),
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &PlaceInputs) -> Vec<Touch> {
        let into = inputs.into.value().filter(|into| !into.is_empty());
        let (to, resource) = match inputs.folder.value() {
            Some(Some(folder)) => (None, format!("path {folder}")),
            _ => {
                (inputs.to.value().cloned().flatten(), into.map_or("?".into(), |into| format!("path {into}")))
            }
        };
        let read = inputs.artifacts.value().map(|all| {
            let read = |one: &Expected| format!("path {}", one.path);
            all.iter().map(read).collect::<Vec<_>>()
        });
        let reads = read.unwrap_or_else(|| vec!["?".into()]).into_iter();
        let reads = reads.map(|resource| Touch {
            target: target.map(str::to_owned),
            resource,
            access: Access::Reads,
        });
        let asked = inputs.seen_by.value().cloned().flatten().map(|server| Touch {
            target: Some(server),
            resource: "its files".into(),
            access: Access::Reads,
        });
        reads.chain([Touch { target: to, resource, access: Access::Writes }]).chain(asked).collect()
    }

    fn actions(&self, target: Option<&str>, inputs: &PlaceInputs, _facts: &Facts) -> Vec<Action> {
        let (to, place) = match inputs.folder.value() {
            Some(Some(folder)) => (None, format!("into {folder}")),
            _ => (inputs.to.value().and_then(Option::as_deref), "into the store".to_owned()),
        };
        let asks = |which: &str| {
            let server = inputs.seen_by.value().and_then(Option::as_deref);
            server.map(|server| {
                Action::reads(ActionKind::Sql, Some(server), format!("RESTORE LABELONLY of {which}"))
            })
        };
        let Some(all) = inputs.artifacts.value() else {
            let which = inputs.artifacts.or_after(|_| String::new());
            let actions = [
                Action::reads(ActionKind::Artifact, target, format!("read {which}")),
                Action::writes(ActionKind::Artifact, to, format!("put {which} {place}, and read it back")),
            ];
            return actions.into_iter().chain(asks(&which)).collect();
        };
        let of = |one: &Expected| {
            let at = inputs.into.or_after(|into| below(into, &one.path));
            [
                Action::reads(ActionKind::Artifact, target, format!("read {}", one.path)),
                Action::writes(ActionKind::Artifact, to, format!("put {at} {place}, and read it back")),
            ]
            .into_iter()
            .chain(asks(&at))
        };
        all.iter().flat_map(of).collect()
    }

    /// Whether the stores answer, the artifacts are there, nothing else stands where they go, there is room, and the server sees the folder.
    async fn preflight(&self, ctx: &Ctx, inputs: &PlaceInputs) -> Result<Preflight, StepError> {
        let mut ahead = Ahead::default();
        if !inputs.all_known() {
            return Ok(ahead.told());
        }
        let way = Way::of(ctx, inputs).await?;
        let (source, other) = both(&*way.from, &*way.there)?;
        let folder = way.root.as_ref().map(FolderStore::new);
        let reached = match &way.root {
            Some(root) => (ahead.reaches(&*way.from).await?, ahead.folder(root).await?),
            None => (ahead.reaches(&*way.from).await?, ahead.reaches(&*way.there).await?),
        };
        let going = going(inputs)?;
        if matches!(reached, (true, true)) {
            let other = folder.as_ref().map_or(other, |folder| folder);
            let sizes = ahead.sources(source, inputs.artifacts.known()?).await?;
            if let Some(first) = going.first()
                && let Some(error) = closed(source, &first.what.path).await?
            {
                ahead.meets(error)?;
            }
            let bytes = ahead.places(other, &going, &sizes).await?;
            ahead.room(other, going.first(), bytes).await?;
        }
        if let (Some(server), Some(first)) = (inputs.seen_by.known()?, going.first()) {
            let (server, at) = (ctx.host.connect(server).await?, inputs.seen_at.known()?.as_deref());
            let seen = match sees(&*server)?.sees_folder(&first.to, at).await {
                Ok(seen) => unseen(std::slice::from_ref(&seen)),
                Err(error) => Err(error),
            };
            if let Err(error) = seen {
                ahead.meets(error)?;
            }
        }
        Ok(ahead.told())
    }

    /// Whether what is brought is what it should be.
    async fn prove(&self, ctx: &Ctx, inputs: &PlaceInputs) -> Result<Vec<PreflightFinding>, StepError> {
        let mut ahead = Ahead::default();
        let connection = ctx.connection().await?;
        if let (Some(store), Some(artifacts)) = (connection.store(), inputs.artifacts.value()) {
            ahead.reads(store, artifacts).await?;
        }
        Ok(ahead.told().findings)
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &PlaceInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let way = Way::of(ctx, inputs).await?;
        let (source, other) = both(&*way.from, &*way.there)?;
        let folder = way.root.as_ref().map(FolderStore::new);
        let other = folder.as_ref().map_or(other, |folder| folder);
        let all = inputs.artifacts.known()?;
        listable(all.len(), "place less at a time")?;
        let total = all.iter().map(|one| one.size).sum::<Option<u64>>();
        let at_a_time = usize::try_from(*inputs.max_parallel.known()?).unwrap_or(usize::MAX);
        let transfer =
            Transfer { ctx, from: source, to: other, at_a_time, progress: Progress::new(ctx, total) };
        let going = going(inputs)?;
        let artifacts = ctx.or_cancelled(transfer.all(&going)).await?;
        let seen = match inputs.seen_by.known()? {
            Some(server) => ctx.or_cancelled(seen(ctx, server, inputs, &artifacts)).await?,
            None => Vec::new(),
        };
        Ok(Ended::Outputs(outputs(&artifacts, way.root.as_deref(), &seen)))
    }

    /// Whether all of it is there is asked by the next attempt, which brings what is not.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &PlaceInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

impl PlaceInputs {
    fn all_known(&self) -> bool {
        let known =
            [self.seen_by.value().is_some(), self.seen_at.value().is_some(), self.into.value().is_some()];
        let place = self.folder.value().is_some() && self.to.value().is_some();
        self.artifacts.value().is_some() && place && known.iter().all(|known| *known)
    }
}

/// Each artifact, and where it goes.
fn going(inputs: &PlaceInputs) -> Result<Vec<Going>, StepError> {
    let into = inputs.into.known()?;
    let going = |what: &Expected| Going { to: below(into, &what.path), what: what.clone() };
    Ok(inputs.artifacts.known()?.iter().map(going).collect())
}

/// From where to where.
struct Way {
    from: Arc<dyn Connection>,
    /// The other store; the same where it is a folder.
    there: Arc<dyn Connection>,
    /// The folder.
    root: Option<PathBuf>,
}

impl Way {
    async fn of(ctx: &Ctx, inputs: &PlaceInputs) -> Result<Self, StepError> {
        let from = ctx.connection().await?;
        let root = inputs.folder.known()?.as_ref().map(|folder| folder.resolved(&ctx.folder));
        let there = match inputs.to.known()? {
            Some(to) => ctx.host.connect(to).await?,
            None => from.clone(),
        };
        Ok(Self { from, there, root })
    }
}

fn sees(server: &dyn Connection) -> Result<&dyn SeesFiles, StepError> {
    server.sees_files().ok_or_else(|| StepError::internal("the server of `seen_by` cannot tell what it sees"))
}

/// Each of them as the server names it, which has opened it.
async fn seen(
    ctx: &Ctx,
    server: &str,
    inputs: &PlaceInputs,
    artifacts: &[Stored],
) -> Result<Vec<String>, StepError> {
    let (connection, at) = (ctx.host.connect(server).await?, inputs.seen_at.known()?.as_deref());
    let sees = sees(&*connection)?;
    let mut all = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        all.push(sees.sees_file(&artifact.path, at).await?);
    }
    unseen(&all)?;
    Ok(all.into_iter().map(|one| one.at).collect())
}

/// What a server does not see, as an error.
fn unseen(all: &[SeenPlace]) -> Result<(), StepError> {
    let said = |one: &SeenPlace| one.why_not.as_ref().map(|why| format!("{}: {why}", one.at));
    let not: Vec<String> = all.iter().filter_map(said).collect();
    let help = "is the share mounted on the server, may its service account read there, and does `sees` (or `seen_at`) name the folder right?";
    match not.as_slice() {
        [] => Ok(()),
        [one] => Err(StepError::new("artifact.unseen", format!("the server does not see {one}")).help(help)),
        [first, rest @ ..] => {
            let message = format!("the server does not see {first}; nor {} others", rest.len());
            Err(StepError::new("artifact.unseen", message).help(help))
        }
    }
}

fn outputs(artifacts: &[Stored], root: Option<&Path>, seen: &[String]) -> Value {
    let file = |root: &Path, one: &Stored| root.join(&one.path).display().to_string();
    let files: Vec<String> =
        root.map_or_else(Vec::new, |root| artifacts.iter().map(|one| file(root, one)).collect());
    let bytes: u64 = artifacts.iter().map(|one| one.size).sum();
    json!({ "artifacts": artifacts, "bytes": bytes, "files": files, "seen": seen })
}

#[cfg(test)]
mod tests {
    use drydock_step::artifact::stream_of;
    use drydock_step::test_host::{TestHost, actions, execute};
    use drydock_step::{Settings, TargetKind};

    use super::*;
    use crate::artifact::target::ArtifactsTarget;

    async fn outcome(dir: &Path, with: Value) -> Result<Value, StepError> {
        let connected = async |name: &str| {
            let values = json!({ "url": name }).as_object().unwrap().clone();
            let settings = Settings { values, folder: dir.into(), attempt: "r1/s/1".into() };
            ArtifactsTarget.connect(settings).await.unwrap()
        };
        let (here, there) = (connected("here").await, connected("there").await);
        here.store().unwrap().put("sql/full.bak", stream_of("hello")).await.unwrap();
        let host = Arc::new(TestHost::new(dir).target("t", here).target("there", there));
        match execute(&Place, &host.ctx(Some("t")), with).await? {
            Ended::Outputs(outputs) => Ok(outputs),
            Ended::Waits(message) => panic!("{message}"),
        }
    }

    #[tokio::test]
    async fn artifacts_come_to_a_folder_or_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let with = json!({ "artifacts": ["sql/full.bak"], "folder": "drop", "into": "in" });
        let placed = outcome(dir.path(), with).await.unwrap();
        let file = dir.path().join("drop/in/sql/full.bak");
        assert_eq!(placed["files"], json!([file]));
        assert_eq!(
            (&placed["artifacts"][0]["path"], &placed["bytes"]),
            (&json!("in/sql/full.bak"), &json!(5))
        );
        assert_eq!(std::fs::read(file).unwrap(), b"hello");
        let with = json!({ "artifacts": ["sql/full.bak"], "to": "there" });
        assert_eq!(outcome(dir.path(), with).await.unwrap()["files"], json!([]));
        assert_eq!(std::fs::read(dir.path().join("there/sql/full.bak")).unwrap(), b"hello");
    }

    #[tokio::test]
    async fn nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("drop/sql")).unwrap();
        std::fs::write(dir.path().join("drop/sql/full.bak"), "other").unwrap();
        let with = json!({ "artifacts": ["sql/full.bak"], "folder": "drop" });
        let error = outcome(dir.path(), with).await.unwrap_err();
        assert_eq!(error.code, "artifact.exists", "{error}");
        assert_eq!(std::fs::read(dir.path().join("drop/sql/full.bak")).unwrap(), b"other");
        let error = outcome(dir.path(), json!({ "artifacts": [] })).await.unwrap_err();
        assert_eq!(error.message, "exactly one of `folder` and `to` is needed");
    }

    #[test]
    fn a_dry_run_shows_where_they_come() {
        let with = json!({ "artifacts": ["a"], "folder": "/srv/drop", "into": "in" });
        assert_eq!(actions(&Place, with).unwrap()[1].text, "put in/a into /srv/drop, and read it back");
    }
}
