//! `qdrant.drop`: [`Drop`] removes a collection: what `qdrant.recover` has recovered, or one by its name.

use async_trait::async_trait;
use drydock_step::target::Collections;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError,
    StepKind, TargetNeed, Touch, inputs, maybe,
};
use serde_json::{Value, json};

use super::entry::CollectionEntry;
use super::rename::{RENAME, Rename};
use super::requests;
use super::target::QdrantConnection;
use crate::described::described;

inputs! {
    /// Inputs of `qdrant.drop`.
    pub struct DropInputs {
        /// The collection. Left out, it is the one that `snapshot` is of.
        collection: Option<String> = maybe(Shape::Text),
        /// The collection that was recovered, as `qdrant.recover` took it.
        snapshot: Option<CollectionEntry> = maybe(Shape::Map(&Shape::Any)),
        /// How its name was made, as `qdrant.recover` took it.
        rename: Option<Rename> = maybe(RENAME),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required("collection", Shape::Text, "The collection's name."),
    Field::required("dropped", Shape::Boolean, "Whether it was there."),
];

impl DropInputs {
    /// The collection; nothing before all is known that says which.
    ///
    /// # Errors
    /// `input` when nothing names one, or `rename` does not mean it.
    fn name(&self) -> Result<Option<String>, StepError> {
        let (Some(name), Some(entry), Some(rename)) =
            (self.collection.value(), self.snapshot.value(), self.rename.value())
        else {
            return Ok(None);
        };
        match (name, entry, rename) {
            (Some(name), ..) => Ok(Some(name.clone())),
            (None, Some(entry), Some(rename)) => rename.of(&entry.collection).map(Some),
            (None, Some(entry), None) => Ok(Some(entry.collection.clone())),
            (None, None, _) => Err(StepError::new("input", "nothing names the collection")
                .help("give `collection: NAME`, or `snapshot` as `qdrant.recover` took it")),
        }
    }

    fn named(&self) -> Result<String, StepError> {
        self.name()?.ok_or_else(|| StepError::internal("an attempt began before its inputs were known"))
    }
}

/// Removes collections.
pub struct Drop;

/// Whether an attempt of this step found the collection there.
fn was_there(ctx: &Ctx) -> bool {
    ctx.notes.iter().any(|note| note["there"] == json!(true))
}

fn outputs(name: &str, dropped: bool) -> Value {
    json!({ "collection": name, "dropped": dropped })
}

#[async_trait]
impl StepKind for Drop {
    type Inputs = DropInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &["a key with manage access"],
            example: "gone:\n  uses: qdrant.drop\n  target: vectors\n  needs: [compared]\n  with: { collection: drill_agent_7f3a }\n",
            ..described(
                "qdrant.drop",
                "Removes a collection. One that is not there is no failure: a drill's clean-up may come twice.",
            )
        }
    }

    fn judge(&self, inputs: &DropInputs) -> Result<(), StepError> {
        inputs.name().map(drop)
    }

    fn touches(&self, target: Option<&str>, inputs: &DropInputs) -> Vec<Touch> {
        let resource = inputs.name().ok().flatten().map_or("?".into(), |name| format!("collection {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Destroys }]
    }

    fn actions(&self, target: Option<&str>, inputs: &DropInputs, _facts: &Facts) -> Vec<Action> {
        let name = match inputs.name() {
            Ok(Some(name)) => requests::delete_collection(&name).line(),
            _ => "DELETE /collections/{collection}".to_owned(),
        };
        vec![Action::writes(ActionKind::Http, target, name)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &DropInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (name, connection) = (inputs.named()?, ctx.connection().await?);
        let qdrant = QdrantConnection::of(&*connection)?;
        let before = was_there(ctx);
        if !qdrant.collection_names().await?.contains(&name) {
            return Ok(Ended::Outputs(outputs(&name, before)));
        }
        if !before {
            ctx.note(json!({ "there": true })).await?;
        }
        qdrant.delete_collection(&name).await?;
        Ok(Ended::Outputs(outputs(&name, true)))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &DropInputs) -> Result<Reconciled, StepError> {
        let (name, connection) = (inputs.named()?, ctx.connection().await?);
        let there = QdrantConnection::of(&*connection)?.collection_names().await?.contains(&name);
        Ok(if !there && was_there(ctx) {
            Reconciled::Done(outputs(&name, true))
        } else {
            Reconciled::NotDone
        })
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, judge, touches};

    use super::*;

    #[test]
    fn the_collection_is_that_which_was_recovered() {
        let entry = json!({ "collection": "agent_7", "points": [1, 1], "params": {}, "snapshots": [] });
        let line = |with: Value| actions(&Drop, with).unwrap()[0].text.clone();
        assert_eq!(line(json!({ "snapshot": entry })), "DELETE /collections/agent_7");
        assert_eq!(line(json!({ "snapshot": entry, "collection": "new" })), "DELETE /collections/new");
        let renamed = json!({ "snapshot": entry, "rename": { "pattern": "agent_*", "to": "drill_*" } });
        assert_eq!(line(renamed.clone()), "DELETE /collections/drill_7");
        assert_eq!(touches(&Drop, renamed).unwrap()[0].resource, "collection drill_7");
        let error = judge(&Drop, json!({})).unwrap_err();
        assert!(error.message.contains("nothing names the collection"), "{error}");
    }
}
