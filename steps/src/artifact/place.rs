//! `artifact.place`: [`Place`] brings artifacts to where a server sees them: into a folder of the runner, or another store.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Connection, Ctx, Effect, Ended, Facts, Field, KindShape, PlanPath,
    Reconciled, Shape, StepError, StepKind, Stored, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::copy::both;
use super::expected::{EXPECTED, Expected};
use super::folder::FolderStore;
use super::transfer::{Going, Progress, Transfer, below, listable};
use crate::artifact_shape::ARTIFACT;
use crate::described::described;

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
            target_inputs: &[("to", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["artifacts: read the store, write to the other", "runner: write to the folder"],
            example: "media:\n  uses: artifact.place\n  target: offsite\n  needs: [point]\n  with: { artifacts: \"{{ steps.point.outputs.artifacts }}\", to: backups }\n",
            ..described(
                "artifact.place",
                "Brings artifacts to where a server sees them: into a folder of the runner, or another store. What is there with the same length and hash stays; each is read back. Nothing is written over.",
            )
        }
    }

    fn judge(&self, inputs: &PlaceInputs) -> Result<(), StepError> {
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
        reads.chain([Touch { target: to, resource, access: Access::Writes }]).collect()
    }

    fn actions(&self, target: Option<&str>, inputs: &PlaceInputs, _facts: &Facts) -> Vec<Action> {
        let (to, place) = match inputs.folder.value() {
            Some(Some(folder)) => (None, format!("into {folder}")),
            _ => (inputs.to.value().and_then(Option::as_deref), "into the store".to_owned()),
        };
        let Some(all) = inputs.artifacts.value() else {
            let which = inputs.artifacts.or_after(|_| String::new());
            return vec![
                Action::reads(ActionKind::Artifact, target, format!("read {which}")),
                Action::writes(ActionKind::Artifact, to, format!("put {which} {place}, and read it back")),
            ];
        };
        let of = |one: &Expected| {
            let at = inputs.into.or_after(|into| below(into, &one.path));
            [
                Action::reads(ActionKind::Artifact, target, format!("read {}", one.path)),
                Action::writes(ActionKind::Artifact, to, format!("put {at} {place}, and read it back")),
            ]
        };
        all.iter().flat_map(of).collect()
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &PlaceInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let from = ctx.connection().await?;
        let root = inputs.folder.known()?.as_ref().map(|folder| folder.resolved(&ctx.folder));
        let there: Arc<dyn Connection> = match inputs.to.known()? {
            Some(to) => ctx.host.connect(to).await?,
            None => from.clone(),
        };
        let (source, other) = both(&*from, &*there)?;
        let folder = root.as_ref().map(FolderStore::new);
        let other = folder.as_ref().map_or(other, |folder| folder);
        let all = inputs.artifacts.known()?;
        listable(all.len(), "place less at a time")?;
        let total = all.iter().map(|one| one.size).sum::<Option<u64>>();
        let at_a_time = usize::try_from(*inputs.max_parallel.known()?).unwrap_or(usize::MAX);
        let transfer =
            Transfer { ctx, from: source, to: other, at_a_time, progress: Progress::new(ctx, total) };
        let into = inputs.into.known()?;
        let going = |what: &Expected| Going { to: below(into, &what.path), what: what.clone() };
        let going: Vec<Going> = all.iter().map(going).collect();
        let artifacts = ctx.or_cancelled(transfer.all(&going)).await?;
        Ok(Ended::Outputs(outputs(&artifacts, root.as_deref())))
    }

    /// Whether all of it is there is asked by the next attempt, which brings what is not.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &PlaceInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

fn outputs(artifacts: &[Stored], root: Option<&Path>) -> Value {
    let file = |root: &Path, one: &Stored| root.join(&one.path).display().to_string();
    let files: Vec<String> =
        root.map_or_else(Vec::new, |root| artifacts.iter().map(|one| file(root, one)).collect());
    let bytes: u64 = artifacts.iter().map(|one| one.size).sum();
    json!({ "artifacts": artifacts, "bytes": bytes, "files": files })
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
