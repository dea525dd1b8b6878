//! `qdrant.query`: [`Query`] searches a collection, and says whether what was to be found was found.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError, StepKind,
    TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::answers::{Hit, Hits, Info};
use super::measure::Measure;
use super::requests::{self, Ask, Search};
use super::target::QdrantConnection;
use crate::described::described;

/// What a plan may write for the id of a point.
const POINT: Shape = Shape::Either(&Shape::Integer, &Shape::Text);

/// How many hits an error names.
const NAMED: usize = 10;

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
        /// The name of the vector that is searched by, where the collection's vectors have names.
        using: Option<String> = maybe(Shape::Text),
        /// Compare every point, past the index: what the data say, not what the index finds.
        exact: bool = maybe(Shape::Boolean).or("false"),
        /// The ids of points that must all be among the hits; else the step fails.
        expect: Vec<Value> = maybe(Shape::List(&POINT)).or("[]"),
        /// How near what is expected must be, and without `expect` the best hit; else the step fails. No less than this, but no more where the collection's distance is Euclid or Manhattan, whose scores are distances.
        min_score: Option<f64> = maybe(Shape::Number),
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
            _ => return Err(neither_or_both()),
        };
        let search = Search {
            near: &near,
            limit: *self.limit.known()?,
            filter: self.filter.known()?.as_ref(),
            using: self.using.known()?.as_deref(),
            exact: *self.exact.known()?,
            with_payload: true,
        };
        Ok(requests::search(self.collection.known()?, &search))
    }

    /// What was to be found and was not, of all that was found.
    fn missed(&self, hits: &[Hit], measure: Option<&Measure>) -> Result<Option<String>, StepError> {
        let expected = self.expect.known()?;
        let wanted = self.min_score.known()?.zip(measure);
        let too_far = |hit: &Hit| wanted.filter(|(score, measure)| !measure.reaches(hit.score, *score));
        let far = |hit: &Hit, (score, measure): (f64, &Measure)| {
            let bound = if measure.less_is_nearer { "at most" } else { "at least" };
            format!("{} has a score of {}, which was to be {bound} {score}", hit.id, hit.score)
        };
        let mut wrong = Vec::new();
        for id in expected {
            match hits.iter().find(|hit| same_id(&hit.id, id)) {
                None => wrong.push(format!("{id} is not among the hits")),
                Some(hit) => wrong.extend(too_far(hit).map(|bound| far(hit, bound))),
            }
        }
        if expected.is_empty() && wanted.is_some() {
            match hits.first() {
                None => wrong.push("nothing was found".to_owned()),
                Some(best) => {
                    wrong.extend(too_far(best).map(|bound| format!("the best, {}", far(best, bound))))
                }
            }
        }
        Ok(Some(wrong.join("; ")).filter(|wrong| !wrong.is_empty()))
    }
}

fn neither_or_both() -> StepError {
    StepError::new("input", "exactly one of `vector` and `point` is needed")
}

/// Whether two ids are the same point's: a UUID may be written in any case, with or without hyphens.
fn same_id(found: &Value, expected: &Value) -> bool {
    let plain = |id: &Value| match id {
        Value::String(text) => text.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect(),
        other => other.to_string(),
    };
    plain(found) == plain(expected)
}

/// The failure of a search that did not find what it was to find.
fn unexpected(collection: &str, wrong: &str, hits: &[Hit], exact: bool) -> StepError {
    let shown: Vec<String> =
        hits.iter().take(NAMED).map(|hit| format!("{} ({})", hit.id, hit.score)).collect();
    let more = hits.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let found = if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") + &more };
    let message =
        format!("the search in {collection} did not find what was expected: {wrong}. It found {found}");
    StepError::new("qdrant.unexpected", message).help(if exact {
        "the search was exact, so that the data are others: see whether the right snapshot was recovered, and whether the vector is of \
         the same embedding model"
    } else {
        "`exact: true` shows whether the data or the index is at fault; a greater `limit` whether the points only rank lower"
    })
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
            example: "found:\n  uses: qdrant.query\n  target: vectors\n  with: { collection: agent_7f3a, point: 17, limit: 3, expect: [4, 29] }\n  validate:\n    - { name: something is near, assert: outputs.hits | length == 3 }\n",
            ..described(
                "qdrant.query",
                "Finds the points of a collection that are nearest to a vector or a point, with their payloads. Where it is said what \
                 must be found, it fails when that is not.",
            )
        }
    }

    fn judge(&self, inputs: &QueryInputs) -> Result<(), StepError> {
        match (inputs.vector.value(), inputs.point.value()) {
            (Some(vector), Some(point)) if vector.is_some() == point.is_some() => Err(neither_or_both()),
            _ => Ok(()),
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &QueryInputs) -> Vec<Touch> {
        let resource = inputs.collection.value().map_or("?".into(), |name| format!("collection {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &QueryInputs, _facts: &Facts) -> Vec<Action> {
        let mut lines = Vec::new();
        if let (Some(collection), Some(Some(_))) = (inputs.collection.value(), inputs.min_score.value()) {
            lines.push(requests::collection(collection).line());
        }
        let line = inputs.ask().map(|ask| ask.line());
        lines.push(line.unwrap_or_else(|_| format!("search in {}", inputs.collection)));
        lines.into_iter().map(|line| Action::reads(ActionKind::Http, target, line)).collect()
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &QueryInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (ask, collection) = (inputs.ask()?, inputs.collection.known()?);
        let connection = ctx.connection().await?;
        let qdrant = QdrantConnection::of(&*connection)?;
        let work = async {
            let measure = match inputs.min_score.known()? {
                Some(_) => {
                    let info: Info = qdrant.ask(&requests::collection(collection)).await?;
                    Some(Measure::of(collection, &info.config["params"], inputs.using.known()?.as_deref())?)
                }
                None => None,
            };
            let Hits { points } = qdrant.ask(&ask).await?;
            match inputs.missed(&points, measure.as_ref())? {
                None => Ok(points),
                Some(wrong) => Err(unexpected(collection, &wrong, &points, *inputs.exact.known()?)),
            }
        };
        let points = ctx.or_cancelled(work).await?;
        Ok(Ended::Outputs(json!({ "hits": points })))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &QueryInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_however_they_are_written() {
        let check = |a: Value, b: Value, same: bool| assert_eq!(same_id(&a, &b), same, "{a} and {b}");
        check(json!(17), json!(17), true);
        check(json!(17), json!(7), false);
        let written = ["5c56c793-69f3-4fbf-87e6-c4bf54c28c26", "5C56C79369F34FBF87E6C4BF54C28C26"];
        check(json!(written[0]), json!(written[1]), true);
        check(json!(written[0]), json!("5c56c793-69f3-4fbf-87e6-c4bf54c28c27"), false);
    }
}
