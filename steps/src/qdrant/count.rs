//! `qdrant.count`: [`Count`] counts the points of a collection.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError, StepKind,
    TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::answers;
use super::requests::{self, Ask};
use super::target::QdrantConnection;
use crate::described::described;

inputs! {
    /// Inputs of `qdrant.count`.
    pub struct CountInputs {
        /// The collection, or an alias.
        collection: String = known(Shape::Text),
        /// Count every point; else the server estimates.
        exact: bool = maybe(Shape::Boolean).or("true"),
        /// Count only what fits: a filter as Qdrant takes it.
        filter: Option<Value> = maybe(Shape::Map(&Shape::Any)),
    }
}

impl CountInputs {
    fn ask(&self) -> Result<Ask, StepError> {
        Ok(requests::count(self.collection.known()?, *self.exact.known()?, self.filter.known()?.as_ref()))
    }
}

const OUTPUTS: Shape = Shape::Record(&[Field::required("points", Shape::Integer, "How many.")]);

/// Counts points.
pub struct Count;

#[async_trait]
impl StepKind for Count {
    type Inputs = CountInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            outputs: OUTPUTS,
            permissions: &["qdrant: a read-only key"],
            example: "counted:\n  uses: qdrant.count\n  target: vectors\n  with: { collection: agent_7f3a }\n",
            ..described("qdrant.count", "Counts the points of a collection, over all nodes.")
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &CountInputs) -> Vec<Touch> {
        let resource = inputs.collection.value().map_or("?".into(), |name| format!("collection {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &CountInputs, _facts: &Facts) -> Vec<Action> {
        let line = inputs.ask().map(|ask| ask.line());
        let line = line.unwrap_or_else(|_| format!("count the points of {}", inputs.collection));
        vec![Action::reads(ActionKind::Http, target, line)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &CountInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let ask = inputs.ask()?;
        let connection = ctx.connection().await?;
        let counted = QdrantConnection::of(&*connection)?.ask::<answers::Count>(&ask);
        let answers::Count { count } = ctx.or_cancelled(counted).await?;
        Ok(Ended::Outputs(json!({ "points": count })))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &CountInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}
