//! `artifact.verify`: [`Verify`] reads artifacts back and compares what they are with what they should be.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Ctx, Ended, Facts, Field, In, KindShape, LockAsked, LockMode,
    Locked, Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs,
    maybe,
};
use serde_json::{Value, json};

use super::ahead::Ahead;
use super::expected::{EXPECTED, Expected};
use super::sample::Share;
use super::transfer::listable;
use crate::described::described;
use crate::rehash::rehashed;

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("checked", Shape::Integer, "How many artifacts were read."),
    Field::required("of", Shape::Integer, "Of how many; more with `sample`."),
    Field::required("bytes", Shape::Integer, "How many bytes that were."),
    Field::required(
        "artifacts",
        Shape::List(&Shape::Record(&[
            Field::required("path", Shape::Text, "Its path in the store."),
            Field::required("size", Shape::Integer, "Its length in bytes, as read."),
            Field::required("sha256", Shape::Text, "The SHA-256 of its bytes, as read."),
        ])),
        "Each of them, as it is.",
    ),
]);

inputs! {
    /// Inputs of `artifact.verify`: exactly one of `path`, `paths` and `prefix`.
    pub struct VerifyInputs {
        /// One artifact: its path, or `{path, size, sha256}`.
        path: Option<Expected> = maybe(EXPECTED),
        /// Several artifacts, each a path or `{path, size, sha256}`.
        paths: Option<Vec<Expected>> = maybe(Shape::List(&EXPECTED)),
        /// All artifacts below this path; none there is an error.
        prefix: Option<String> = maybe(Shape::Text),
        /// Only so many of them, a count or a share such as `5%`, at least one; each attempt chooses others.
        sample: Option<Share> = maybe(Shape::Either(&Shape::Integer, &Shape::Text)),
    }
}

/// Which artifacts.
enum Chosen {
    These(Vec<Expected>),
    Below(String),
}

impl VerifyInputs {
    fn chosen(&self) -> Result<Chosen, StepError> {
        match (self.path.known()?.clone(), self.paths.known()?.clone(), self.prefix.known()?.clone()) {
            (Some(path), None, None) => Ok(Chosen::These(vec![path])),
            (None, Some(paths), None) => Ok(Chosen::These(paths)),
            (None, None, Some(prefix)) => Ok(Chosen::Below(prefix)),
            _ => Err(StepError::new("input", "exactly one of `path`, `paths` and `prefix` is needed")),
        }
    }

    fn all_known(&self) -> bool {
        self.path.value().is_some() && self.paths.value().is_some() && self.prefix.value().is_some()
    }

    /// What is read, a line each; `?` where that is not known yet.
    fn shown(&self) -> Vec<String> {
        let mut shown = Vec::new();
        match &self.path {
            In::Known(one) => shown.extend(one.iter().map(|one| one.path.clone())),
            after @ In::After(_) => shown.push(after.or_after(|_| String::new())),
        }
        match &self.paths {
            In::Known(all) => shown.extend(all.iter().flatten().map(|one| one.path.clone())),
            after @ In::After(_) => shown.push(after.or_after(|_| String::new())),
        }
        match &self.prefix {
            In::Known(prefix) => shown.extend(prefix.iter().map(|prefix| format!("{prefix}/*"))),
            after @ In::After(_) => shown.push(after.or_after(|_| String::new())),
        }
        shown
    }
}

/// Reads artifacts back.
pub struct Verify;

#[async_trait]
impl StepKind for Verify {
    type Inputs = VerifyInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            outputs: OUTPUTS,
            permissions: &["artifacts: read the store"],
            example: "intact:\n  uses: artifact.verify\n  target: backups\n  with: { paths: \"{{ steps.full.outputs.artifacts }}\" }\n",
            ..described(
                "artifact.verify",
                "Reads artifacts back to their end and hashes them. One that is not what it should be, or in a store with `lock` is not locked, fails the step, once all were read.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &VerifyInputs) -> Vec<Touch> {
        let touch = |resource| Touch { target: target.map(str::to_owned), resource, access: Access::Reads };
        inputs.shown().into_iter().map(|path| touch(format!("path {path}"))).collect()
    }

    fn actions(&self, target: Option<&str>, inputs: &VerifyInputs, _facts: &Facts) -> Vec<Action> {
        let read = |path| Action::reads(ActionKind::Artifact, target, format!("read {path} and hash it"));
        inputs.shown().into_iter().map(read).collect()
    }

    /// Whether the store answers, and what is to be read is there.
    async fn preflight(&self, ctx: &Ctx, inputs: &VerifyInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let mut ahead = Ahead::default();
        let Some(store) = connection.store().filter(|_| inputs.all_known()) else { return Ok(ahead.told()) };
        if ahead.reaches(&*connection).await? {
            match inputs.chosen()? {
                Chosen::These(all) => drop(ahead.sources(store, &all).await?),
                Chosen::Below(prefix) => {
                    if let Err(error) = below(store, &prefix).await {
                        ahead.meets(error)?;
                    }
                }
            }
        }
        Ok(ahead.told())
    }

    /// Whether what is to be read is what it should be; of a sample nobody knows yet which it will be.
    async fn prove(&self, ctx: &Ctx, inputs: &VerifyInputs) -> Result<Vec<PreflightFinding>, StepError> {
        let connection = ctx.connection().await?;
        let mut ahead = Ahead::default();
        if let Some(store) = connection.store().filter(|_| inputs.all_known())
            && let Chosen::These(all) = inputs.chosen()?
        {
            ahead.reads(store, &all).await?;
        }
        Ok(ahead.told().findings)
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &VerifyInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let store = connection
            .store()
            .ok_or_else(|| StepError::internal("the target of artifact.verify is no artifact store"))?;
        ctx.or_cancelled(verified(ctx, store, inputs.chosen()?, *inputs.sample.known()?)).await
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &VerifyInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

async fn verified(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    chosen: Chosen,
    sample: Option<Share>,
) -> Result<Ended, StepError> {
    let all = match chosen {
        Chosen::These(all) => all,
        Chosen::Below(prefix) => below(store, &prefix).await?,
    };
    let of = all.len();
    let all = match sample {
        Some(share) => share.drawn(all, &ctx.attempt),
        None => all,
    };
    listable(all.len(), "verify a narrower `prefix` at a time, or a `sample`")?;
    let total = all.iter().map(|one| one.size).sum::<Option<u64>>();
    let (mut artifacts, mut damaged, mut unlocked, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for expected in &all {
        let found = rehashed(store, &expected.path, |more| {
            bytes += more;
            ctx.progress(bytes, total, "bytes", expected.path.as_str());
        });
        let found = found.await?;
        damaged.extend(expected.compared(&found));
        if let Some(asked) = store.lock_asked() {
            unlocked.extend(unlike(&expected.path, asked, store.locked(&expected.path).await?));
        }
        artifacts.push(found);
    }
    match damaged.as_slice() {
        [] if !unlocked.is_empty() => {
            let message =
                format!("{} of {} artifacts: {}", unlocked.len(), artifacts.len(), unlocked.join("; "));
            let help = "whoever stored it asked for no `lock`, or the bucket gave none: copy it again with `artifact.copy`, into a bucket with object lock";
            Err(StepError::new("artifact.unlocked", message).help(help))
        }
        [] => {
            let outputs =
                json!({ "checked": artifacts.len(), "of": of, "bytes": bytes, "artifacts": artifacts });
            Ok(Ended::Outputs(outputs))
        }
        [one] => Err(StepError::new("artifact.damaged", one)),
        [first, ..] => {
            let message = format!("{} of {} artifacts are damaged: {first}", damaged.len(), artifacts.len());
            Err(StepError::new("artifact.damaged", message).help(damaged.join("; ")))
        }
    }
}

/// What is wrong with the lock of an artifact in a store that asks for one. One that is over is no fault of the artifact: it had it.
fn unlike(path: &str, asked: LockAsked, lock: Option<Locked>) -> Option<String> {
    match lock {
        None => Some(format!("{path} is not locked")),
        Some(lock) if asked.mode == LockMode::Compliance && lock.mode == LockMode::Governance => {
            Some(format!("{path} is locked by governance, and compliance is asked for"))
        }
        Some(_) => None,
    }
}

/// Every artifact below a path; how long they should be is what the store itself says.
async fn below(store: &dyn ArtifactStore, prefix: &str) -> Result<Vec<Expected>, StepError> {
    let listed = store.list(prefix).await?;
    if listed.is_empty() {
        return Err(StepError::new("artifact.absent", format!("there is nothing below {prefix}")));
    }
    let of = |listed: drydock_step::artifact::Listed| Expected {
        path: listed.path,
        size: Some(listed.size),
        sha256: None,
    };
    Ok(listed.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::artifact::stream_of;
    use drydock_step::test_host::{TestHost, actions, execute};
    use drydock_step::{Settings, TargetKind};

    use super::*;
    use crate::artifact::target::ArtifactsTarget;

    /// sha256 of `hello`.
    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    /// What the kind makes of these inputs over a store with `a/hello` and `a/other`.
    async fn outcome(with: Value) -> Result<Value, StepError> {
        let dir = tempfile::tempdir().unwrap();
        let values = json!({ "url": "." }).as_object().unwrap().clone();
        let settings = Settings { values, folder: dir.path().into(), attempt: "r1/s/1".into() };
        let connection = ArtifactsTarget.connect(settings).await.unwrap();
        let store = connection.store().unwrap();
        store.put("a/hello", stream_of("hello")).await.unwrap();
        store.put("a/other", stream_of("other")).await.unwrap();
        let host = Arc::new(TestHost::new(dir.path()).target("t", connection));
        match execute(&Verify, &host.ctx(Some("t")), with).await? {
            Ended::Outputs(outputs) => Ok(outputs),
            Ended::Waits(message) => panic!("{message}"),
        }
    }

    #[tokio::test]
    async fn what_is_intact_is_listed_as_it_is() {
        let hello = json!({ "path": "a/hello", "size": 5, "sha256": HELLO });
        let upper = json!({ "path": "a/hello", "sha256": HELLO.to_uppercase(), "node": "passed over" });
        for with in [json!({ "path": "a/hello" }), json!({ "path": hello }), json!({ "paths": [upper] })] {
            let expected = json!({ "checked": 1, "of": 1, "bytes": 5, "artifacts": [hello] });
            assert_eq!(outcome(with).await.unwrap(), expected);
        }
        let all = outcome(json!({ "prefix": "a" })).await.unwrap();
        assert_eq!((&all["checked"], &all["bytes"]), (&json!(2), &json!(10)));
        assert_eq!(outcome(json!({ "paths": [] })).await.unwrap()["checked"], 0);
    }

    #[tokio::test]
    async fn of_many_a_sample_is_read() {
        for sample in [json!(1), json!("1%"), json!("50%")] {
            let some = outcome(json!({ "prefix": "a", "sample": sample })).await.unwrap();
            assert_eq!((&some["checked"], &some["of"]), (&json!(1), &json!(2)), "{sample}");
        }
        assert_eq!(outcome(json!({ "prefix": "a", "sample": 9 })).await.unwrap()["checked"], 2);
        let error = outcome(json!({ "prefix": "a", "sample": "0%" })).await.unwrap_err();
        assert!(error.message.contains("more than none, and at most 100%"), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_is_told() {
        let check = async |with: Value, code: &str, words: &str| {
            let error = outcome(with).await.unwrap_err();
            assert_eq!(error.code, code);
            assert!(error.message.contains(words), "{error}");
        };
        let other = json!({ "path": "a/other", "sha256": HELLO });
        let other_hash = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";
        let words = format!("a/other has sha256 {other_hash}, expected {HELLO}");
        check(json!({ "path": other }), "artifact.damaged", &words).await;
        let long = json!({ "path": "a/hello", "size": 6 });
        check(json!({ "path": long }), "artifact.damaged", "a/hello has 5 bytes, expected 6").await;
        let both = json!({ "paths": [other, "a/hello", long] });
        check(both, "artifact.damaged", "2 of 3 artifacts are damaged: a/other has sha256").await;
        check(json!({ "path": "a/none" }), "artifact.absent", "no artifact a/none").await;
        check(json!({ "prefix": "b" }), "artifact.absent", "there is nothing below b").await;
        check(json!({}), "input", "exactly one of `path`, `paths` and `prefix`").await;
        check(json!({ "path": { "size": 1 } }), "input", "missing field `path`").await;
    }

    #[test]
    fn a_dry_run_shows_what_is_read() {
        let text = |with: Value| actions(&Verify, with).unwrap()[0].text.clone();
        assert_eq!(text(json!({ "prefix": "points" })), "read points/* and hash it");
        let after = json!({ "paths": { "$after": ["full"] } });
        assert_eq!(text(after), "read (known after full) and hash it");
    }
}
