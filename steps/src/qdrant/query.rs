//! `qdrant.query`: [`Query`] searches a collection.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError, StepKind,
    TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::answers::Hits;
use super::requests::{self, Ask};
use super::target::QdrantConnection;
use crate::described::described;

/// What a plan may write for the id of a point.
const POINT: Shape = Shape::Either(&Shape::Integer, &Shape::Text);

inputs! {
    /// Inputs of `qdrant.query`: exactly one of `vector` and `point`.
    pub struct QueryInputs {
        /// The collection, or an alias.
        collection: String = known(Shape::Text),
        /// Find the points nearest to this vector.
        vector: Option<Vec<f64>> = maybe(Shape::List(&Shape::Number)),
        /// Find the points nearest to the point with this id: a number or a UUID.
        point: Option<Value> = maybe(POINT),
        /// How many at most.
        limit: u64 = maybe(Shape::Integer).or("10"),
        /// Find only what fits: a filter as Qdrant takes it.
        filter: Option<Value> = maybe(Shape::Map(&Shape::Any)),
    }
}

const OUTPUTS: Shape = Shape::Record(&[Field::required(
    "hits",
    Shape::List(&Shape::Record(&[
        Field::required("id", POINT, "The point's id."),
        Field::required("score", Shape::Number, "How near it is, in the collection's distance."),
        Field::optional("payload", Shape::Map(&Shape::Any), "Its payload."),
    ])),
    "The points found, best first.",
)]);

impl QueryInputs {
    fn ask(&self) -> Result<Ask, StepError> {
        let near = match (self.vector.known()?, self.point.known()?) {
            (Some(vector), None) => json!(vector),
            (None, Some(point)) => point.clone(),
            _ => return Err(StepError::new("input", "exactly one of `vector` and `point` is needed")),
        };
        Ok(requests::query(
            self.collection.known()?,
            &near,
            *self.limit.known()?,
            self.filter.known()?.as_ref(),
        ))
    }
}

/// Searches.
pub struct Query;

#[async_trait]
impl StepKind for Query {
    type Inputs = QueryInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            outputs: OUTPUTS,
            permissions: &["qdrant: a read-only key"],
            example: "found:\n  uses: qdrant.query\n  target: vectors\n  with: { collection: agent_7f3a, point: 17, limit: 3 }\n  validate:\n    - { name: something is near, assert: outputs.hits | length == 3 }\n",
            ..described(
                "qdrant.query",
                "Finds the points of a collection that are nearest to a vector or a point, with their payloads.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &QueryInputs) -> Vec<Touch> {
        let resource = inputs.collection.value().map_or("?".into(), |name| format!("collection {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &QueryInputs, _facts: &Facts) -> Vec<Action> {
        let line = inputs.ask().map(|ask| ask.line());
        let line = line.unwrap_or_else(|_| format!("search in {}", inputs.collection));
        vec![Action::reads(ActionKind::Http, target, line)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &QueryInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let ask = inputs.ask()?;
        let connection = ctx.connection().await?;
        let found = QdrantConnection::of(&*connection)?.ask::<Hits>(&ask);
        let Hits { points } = ctx.or_cancelled(found).await?;
        Ok(Ended::Outputs(json!({ "hits": points })))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &QueryInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}
