//! `artifact.read`: [`Read`] gives what a small artifact says, such as the description of a collection that was quarantined.

use async_trait::async_trait;
use drydock_step::artifact::bytes_of;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Ctx, Ended, Facts, Field, KindShape, Preflight, Reconciled,
    Shape, StepError, StepKind, Stored, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ahead::Ahead;
use super::expected::{EXPECTED, Expected};
use crate::described::described;
use crate::rehash::hex;

/// The most bytes: what is read is an output, and outputs are at most 1 MiB as JSON, where a character may take several.
const MOST: usize = 512 * 1024;

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("path", Shape::Text, "Its path in the store."),
    Field::required("size", Shape::Integer, "Its length in bytes."),
    Field::required("sha256", Shape::Text, "The SHA-256 of its bytes."),
    Field::optional("json", Shape::Any, "What it says, with `as: json`."),
    Field::optional("text", Shape::Text, "What it says, with `as: text`."),
]);

/// What an artifact is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One JSON value.
    Json,
    /// UTF-8.
    Text,
}

inputs! {
    /// Inputs of `artifact.read`.
    pub struct ReadInputs {
        /// The artifact: its path, or `{path, size, sha256}`. At most 512 KiB.
        path: Expected = known(EXPECTED),
        /// What it is taken for.
        form as "as": Form = maybe(Shape::OneOf(&["json", "text"])).or("\"json\""),
    }
}

/// Reads a small artifact.
pub struct Read;

#[async_trait]
impl StepKind for Read {
    type Inputs = ReadInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            outputs: OUTPUTS,
            permissions: &["artifacts: read the store"],
            example: "kept:\n  uses: artifact.read\n  target: backups\n  with: { path: quarantine/r1/agent_7f3a/collection.json }\nback:\n  uses: qdrant.recover\n  target: vectors\n  needs: [kept]\n  with: { from: backups, snapshot: \"{{ steps.kept.outputs.json }}\" }\n",
            ..described("artifact.read", "Gives what a small artifact says, as JSON or as text.")
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &ReadInputs) -> Vec<Touch> {
        let path = inputs.path.value().map_or("?".to_owned(), |one| format!("path {}", one.path));
        vec![Touch { target: target.map(str::to_owned), resource: path, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &ReadInputs, _facts: &Facts) -> Vec<Action> {
        let text = format!("read {}", inputs.path.or_after(|one| one.path.clone()));
        vec![Action::reads(ActionKind::Artifact, target, text)]
    }

    /// Whether the store answers, and the artifact is there and as small as it has to be.
    async fn preflight(&self, ctx: &Ctx, inputs: &ReadInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let mut ahead = Ahead::default();
        let (Some(store), Some(expected)) = (connection.store(), inputs.path.value()) else {
            return Ok(ahead.told());
        };
        if ahead.reaches(&*connection).await? {
            let sizes = ahead.sources(store, std::slice::from_ref(expected)).await?;
            if let Some(Some(size)) = sizes.first().filter(|size| size.is_some_and(|size| size > MOST as u64))
            {
                let message = format!("{} has {size} bytes, and {MOST} are the most", expected.path);
                ahead.meets(StepError::new("artifact.large", message))?;
            }
        }
        Ok(ahead.told())
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &ReadInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let store = connection
            .store()
            .ok_or_else(|| StepError::internal("the target of artifact.read is no artifact store"))?;
        ctx.or_cancelled(read(store, inputs.path.known()?, *inputs.form.known()?)).await
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &ReadInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

async fn read(store: &dyn ArtifactStore, expected: &Expected, form: Form) -> Result<Ended, StepError> {
    let path = &expected.path;
    let bytes = bytes_of(store.open(path, 0).await?, MOST)
        .await
        .map_err(|error| StepError { message: format!("{path}: {}", error.message), ..error })?;
    let found = Stored { path: path.clone(), size: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)) };
    if let Some(wrong) = expected.compared(&found) {
        return Err(StepError::new("artifact.damaged", wrong));
    }
    let refused =
        |what: &str, why: String| StepError::new("artifact.form", format!("{path} is no {what}: {why}"));
    let said = match form {
        Form::Json => {
            let value: Value =
                serde_json::from_slice(&bytes).map_err(|error| refused("JSON", error.to_string()))?;
            ("json", value)
        }
        Form::Text => {
            let text = String::from_utf8(bytes).map_err(|error| refused("UTF-8", error.to_string()))?;
            ("text", Value::String(text))
        }
    };
    let mut outputs = json!({ "path": found.path, "size": found.size, "sha256": found.sha256 });
    outputs[said.0] = said.1;
    Ok(Ended::Outputs(outputs))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::artifact::stream_of;
    use drydock_step::test_host::{TestHost, actions, execute};
    use drydock_step::{Settings, TargetKind};

    use super::*;
    use crate::artifact::target::ArtifactsTarget;

    /// What the kind makes of these inputs over a store with `a.json` and `b`, which is no text.
    async fn outcome(with: Value) -> Result<Value, StepError> {
        let dir = tempfile::tempdir().unwrap();
        let values = json!({ "url": "." }).as_object().unwrap().clone();
        let settings = Settings { values, folder: dir.path().into(), attempt: "r1/s/1".into() };
        let connection = ArtifactsTarget.connect(settings).await.unwrap();
        let store = connection.store().unwrap();
        store.put("a.json", stream_of(r#"{"n": 1}"#)).await.unwrap();
        store.put("b", stream_of(vec![0xff_u8, 0x00])).await.unwrap();
        store.put("c", stream_of(vec![b' '; MOST + 1])).await.unwrap();
        let host = Arc::new(TestHost::new(dir.path()).target("t", connection));
        match execute(&Read, &host.ctx(Some("t")), with).await? {
            Ended::Outputs(outputs) => Ok(outputs),
            Ended::Waits(message) => panic!("{message}"),
        }
    }

    #[tokio::test]
    async fn what_it_says_is_given() {
        let sha256 = hex(&Sha256::digest(r#"{"n": 1}"#));
        let named = json!({ "path": "a.json", "sha256": sha256 });
        let found = outcome(json!({ "path": named })).await.unwrap();
        assert_eq!(found, json!({ "path": "a.json", "size": 8, "sha256": sha256, "json": { "n": 1 } }));
        let found = outcome(json!({ "path": "a.json", "as": "text" })).await.unwrap();
        assert_eq!((&found["text"], found.get("json")), (&json!(r#"{"n": 1}"#), None));
    }

    #[tokio::test]
    async fn what_it_is_not_is_told() {
        let check = async |with: Value, code: &str, words: &str| {
            let error = outcome(with).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(words), "{error}");
        };
        check(json!({ "path": "none" }), "artifact.absent", "no artifact none").await;
        check(json!({ "path": "b" }), "artifact.form", "b is no JSON: expected value").await;
        check(json!({ "path": "b", "as": "text" }), "artifact.form", "b is no UTF-8: invalid utf-8").await;
        check(json!({ "path": "c" }), "artifact.large", "c: it is longer than 524288 bytes").await;
        let other = json!({ "path": "a.json", "sha256": "00" });
        check(json!({ "path": other }), "artifact.damaged", "a.json has sha256").await;
    }

    #[test]
    fn a_dry_run_shows_what_is_read() {
        let text = |path: Value| actions(&Read, json!({ "path": path })).unwrap()[0].text.clone();
        assert_eq!(text(json!("a.json")), "read a.json");
        assert_eq!(text(json!({ "$after": ["kept"] })), "read (known after kept)");
    }
}
