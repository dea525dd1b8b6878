//! `artifact.collect`: [`Collect`] takes files which a server wrote into a folder that the runner sees, into a store.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use drydock_step::artifact::Listed;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Ctx, Effect, Ended, Facts, Field, KindShape, PlanPath,
    Preflight, Reconciled, Shape, StepError, StepKind, Stored, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::ahead::Ahead;
use super::expected::Expected;
use super::folder::FolderStore;
use super::transfer::{Going, Progress, Transfer, below, listable};
use crate::artifact_shape::ARTIFACT;
use crate::described::described;

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("artifacts", Shape::List(&ARTIFACT), "Each of them, as it lies in the store."),
    Field::required("bytes", Shape::Integer, "How many bytes they have together."),
    Field::required("files", Shape::List(&Shape::Text), "The file that each of them was, in the same order."),
]);

inputs! {
    /// Inputs of `artifact.collect`.
    pub struct CollectInputs {
        /// The folder, as the runner sees it.
        folder: PlanPath = known(Shape::Path),
        /// The files, relative to the folder; left out, all that are in it and below; none there is an error.
        files: Option<Vec<String>> = maybe(Shape::List(&Shape::Text)),
        /// Where in the store: they keep their names below it.
        prefix: String = known(Shape::Text),
        /// How many are under way at a time.
        max_parallel: u32 = maybe(Shape::Integer).or("4"),
    }
}

/// Collects files.
pub struct Collect;

#[async_trait]
impl StepKind for Collect {
    type Inputs = CollectInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["runner: read the folder", "artifacts: write to the store"],
            example: "media:\n  uses: artifact.collect\n  target: backups\n  needs: [full]\n  with: { folder: /mnt/sql01/backup, files: [OctopusDB.bak], prefix: sql/sql01 }\n",
            ..described(
                "artifact.collect",
                "Takes files of a folder that the runner sees into the store, hashing on the way. The files stay as they are; one that changes meanwhile fails the step. What is there with the same length and hash is not stored again; each is read back.",
            )
        }
    }

    fn judge(&self, inputs: &CollectInputs) -> Result<(), StepError> {
        if inputs.max_parallel.value() == Some(&0) {
            return Err(StepError::new("input", "`max_parallel` is at least 1"));
        }
        Ok(())
    }

    fn touches(&self, target: Option<&str>, inputs: &CollectInputs) -> Vec<Touch> {
        let path = |text: Option<String>| text.map_or("?".into(), |text| format!("path {text}"));
        let (folder, prefix) =
            (inputs.folder.value().map(ToString::to_string), inputs.prefix.value().cloned());
        vec![
            Touch { target: None, resource: path(folder), access: Access::Reads },
            Touch { target: target.map(str::to_owned), resource: path(prefix), access: Access::Writes },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &CollectInputs, _facts: &Facts) -> Vec<Action> {
        let folder = &inputs.folder;
        let files = match inputs.files.value() {
            Some(Some(files)) => files.clone(),
            Some(None) => vec!["*".to_owned()],
            None => vec![inputs.files.or_after(|_| String::new())],
        };
        let of = |file: String| {
            let at = inputs.prefix.or_after(|prefix| below(prefix, &file));
            [
                Action::reads(ActionKind::Artifact, None, format!("read {file} in {folder}")),
                Action::writes(
                    ActionKind::Artifact,
                    target,
                    format!("store {at}, unless it is there, and read it back"),
                ),
            ]
        };
        files.into_iter().flat_map(of).collect()
    }

    /// Whether the store answers and nothing else stands where the files go. That they are not there is only noted: the step that has a
    /// server write them comes before this one.
    async fn preflight(&self, ctx: &Ctx, inputs: &CollectInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let mut ahead = Ahead::default();
        let (Some(store), Some(folder), Some(files), Some(prefix)) =
            (connection.store(), inputs.folder.value(), inputs.files.value(), inputs.prefix.value())
        else {
            return Ok(ahead.told());
        };
        if !ahead.reaches(&*connection).await? {
            return Ok(ahead.told());
        }
        let files = match files_of(&folder.resolved(&ctx.folder), files.as_deref()).await {
            Ok(files) => files,
            Err(error) if error.code == "artifact.absent" => {
                ahead.notes(error);
                return Ok(ahead.told());
            }
            Err(error) => {
                ahead.meets(error)?;
                return Ok(ahead.told());
            }
        };
        let sizes: Vec<Option<u64>> = files.iter().map(|one| Some(one.size)).collect();
        let going: Vec<Going> = files.into_iter().map(|one| going(prefix, one)).collect();
        let bytes = ahead.places(store, &going, &sizes).await?;
        ahead.room(store, going.first(), bytes).await?;
        Ok(ahead.told())
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &CollectInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let connection = ctx.connection().await?;
        let store = connection
            .store()
            .ok_or_else(|| StepError::internal("the target of artifact.collect is no artifact store"))?;
        let root = inputs.folder.known()?.resolved(&ctx.folder);
        let files = files_of(&root, inputs.files.known()?.as_deref()).await?;
        let at_a_time = usize::try_from(*inputs.max_parallel.known()?).unwrap_or(usize::MAX);
        ctx.or_cancelled(collected(ctx, store, &root, files, inputs.prefix.known()?, at_a_time)).await
    }

    /// Whether all of it is there is asked by the next attempt, which stores what is not.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &CollectInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// The files with their lengths, by their paths in the folder.
async fn files_of(root: &Path, named: Option<&[String]>) -> Result<Vec<Listed>, StepError> {
    let folder = FolderStore::new(root);
    let absent = |what: String| {
        let message = format!("there is {what} in {}", root.display());
        StepError::new("artifact.absent", message).help("is the server's folder mounted on the runner?")
    };
    let Some(named) = named else {
        let listed = folder.list("").await?;
        listable(listed.len(), "name `files`, or collect a folder at a time")?;
        return if listed.is_empty() { Err(absent("no file".into())) } else { Ok(listed) };
    };
    listable(named.len(), "collect less at a time")?;
    let mut files = Vec::with_capacity(named.len());
    for path in named {
        let size = folder.size(path).await?.ok_or_else(|| absent(format!("no file {path}")))?;
        files.push(Listed { path: path.clone(), size });
    }
    Ok(files)
}

/// A file on its way below a prefix.
fn going(prefix: &str, one: Listed) -> Going {
    let to = below(prefix, &one.path);
    Going { to, what: Expected { path: one.path, size: Some(one.size), sha256: None } }
}

async fn collected(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    root: &Path,
    files: Vec<Listed>,
    prefix: &str,
    at_a_time: usize,
) -> Result<Ended, StepError> {
    let paths: Vec<PathBuf> = files.iter().map(|one| root.join(&one.path)).collect();
    let before = stamps(&paths).await?;
    let folder = FolderStore::new(root);
    let progress = Progress::new(ctx, Some(files.iter().map(|one| one.size).sum()));
    let transfer = Transfer { ctx, from: &folder, to: store, at_a_time, progress };
    let going: Vec<Going> = files.into_iter().map(|one| going(prefix, one)).collect();
    let artifacts: Vec<Stored> = transfer.all(&going).await?;
    let after = stamps(&paths).await?;
    if let Some(at) = before.iter().zip(&after).position(|(before, after)| before != after) {
        let message = format!("{} was written to while it was read", paths[at].display());
        return Err(StepError::new("artifact.changed", message)
            .help("collect it once whoever writes it is done; what was stored of it stands under its name and must be removed first"));
    }
    let bytes: u64 = artifacts.iter().map(|one| one.size).sum();
    let files: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Ok(Ended::Outputs(json!({ "artifacts": artifacts, "bytes": bytes, "files": files })))
}

/// What tells that files were written to.
async fn stamps(paths: &[PathBuf]) -> Result<Vec<(u64, Option<SystemTime>)>, StepError> {
    let mut stamps = Vec::with_capacity(paths.len());
    for path in paths {
        let facts = tokio::fs::metadata(path).await;
        let facts = facts.map_err(|error| {
            StepError::new("artifact.io", format!("looking at {}: {error}", path.display()))
        })?;
        stamps.push((facts.len(), facts.modified().ok()));
    }
    Ok(stamps)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::{TestHost, actions, execute};
    use drydock_step::{Settings, TargetKind};

    use super::*;
    use crate::artifact::target::ArtifactsTarget;

    async fn outcome(dir: &Path, with: Value) -> Result<Value, StepError> {
        let values = json!({ "url": "store" }).as_object().unwrap().clone();
        let settings = Settings { values, folder: dir.into(), attempt: "r1/s/1".into() };
        let connection = ArtifactsTarget.connect(settings).await.unwrap();
        let host = Arc::new(TestHost::new(dir).target("t", connection));
        match execute(&Collect, &host.ctx(Some("t")), with).await? {
            Ended::Outputs(outputs) => Ok(outputs),
            Ended::Waits(message) => panic!("{message}"),
        }
    }

    #[tokio::test]
    async fn files_are_taken_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("drop/deep")).unwrap();
        std::fs::write(dir.path().join("drop/full.bak"), "hello").unwrap();
        std::fs::write(dir.path().join("drop/deep/log.trn"), "log").unwrap();
        let with = json!({ "folder": "drop", "files": ["full.bak"], "prefix": "sql/01" });
        let one = outcome(dir.path(), with).await.unwrap();
        assert_eq!((&one["artifacts"][0]["path"], &one["bytes"]), (&json!("sql/01/full.bak"), &json!(5)));
        assert_eq!(one["files"], json!([dir.path().join("drop/full.bak")]));
        let all = outcome(dir.path(), json!({ "folder": "drop", "prefix": "sql/01" })).await.unwrap();
        assert_eq!(all["artifacts"][0]["path"], "sql/01/deep/log.trn");
        assert_eq!(all["bytes"], 8);
        assert_eq!(std::fs::read(dir.path().join("drop/full.bak")).unwrap(), b"hello");
    }

    #[tokio::test]
    async fn what_is_not_there_or_another_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let check = async |with: Value, code: &str, words: &str| {
            let error = outcome(dir.path(), with).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(words), "{error}");
        };
        check(json!({ "folder": "drop", "prefix": "p" }), "artifact.absent", "there is no file in").await;
        std::fs::create_dir_all(dir.path().join("drop")).unwrap();
        std::fs::write(dir.path().join("drop/a"), "hello").unwrap();
        check(json!({ "folder": "drop", "files": ["b"], "prefix": "p" }), "artifact.absent", "no file b")
            .await;
        check(json!({ "folder": "drop", "files": ["../a"], "prefix": "p" }), "artifact.path", "../a").await;
        outcome(dir.path(), json!({ "folder": "drop", "prefix": "p" })).await.unwrap();
        std::fs::write(dir.path().join("drop/a"), "hullo").unwrap();
        check(json!({ "folder": "drop", "prefix": "p" }), "artifact.exists", "another p/a is there").await;
    }

    #[test]
    fn a_dry_run_shows_what_is_taken() {
        let with = json!({ "folder": "/drop", "files": ["a"], "prefix": "sql" });
        let texts: Vec<String> = actions(&Collect, with).unwrap().into_iter().map(|one| one.text).collect();
        assert_eq!(texts, ["read a in /drop", "store sql/a, unless it is there, and read it back"]);
    }
}
