//! Reading points: by id, page by page, counted, nearest to a vector. Main functions: [`search`], [`page`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::seed::Draw;

use super::filter::Filter;
use super::point::{Point, PointId};
use super::refusal::Refusal;
use super::store::View;
use super::vector::{Vector, Vectors, WithVector};

/// Which part of the payload is wanted.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum WithPayload {
    All(bool),
    Fields(Vec<String>),
}

/// A point as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    id: PointId,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vectors>,
}

/// A point that was found, with its score.
#[derive(Debug, Serialize)]
pub(super) struct Scored {
    id: PointId,
    version: u64,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vectors>,
}

/// What is wanted of each point.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) payload: WithPayload,
    pub(super) vector: WithVector,
}

/// What a search goes by.
#[derive(Debug)]
pub(super) enum Sought {
    /// What is nearest to a vector, among the vectors of this name. It has been checked.
    Nearest(String, Vector),
    /// Any points, as the seed draws them.
    Random(Draw),
    /// The order of the ids.
    Nothing,
}

/// A search.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) sought: Sought,
    /// The point that is searched around, which is not found itself.
    pub(super) around: Option<PointId>,
    pub(super) filter: Option<Filter>,
    pub(super) limit: usize,
    pub(super) offset: usize,
    pub(super) score_threshold: Option<f32>,
}

impl Shown {
    fn payload(&self, point: &Point) -> Option<Map<String, Value>> {
        match &self.payload {
            WithPayload::All(all) => all.then(|| point.payload.clone()),
            WithPayload::Fields(fields) => {
                let chosen = point.payload.iter().filter(|(field, _)| fields.contains(field));
                Some(chosen.map(|(field, value)| (field.clone(), value.clone())).collect())
            }
        }
    }

    fn record(&self, id: &PointId, point: &Point) -> Record {
        let vector = point.vectors.shown(&self.vector);
        Record { id: id.clone(), payload: self.payload(point), vector }
    }
}

/// The points with these ids, in this order; absent ones are left out.
pub(super) fn by_ids(view: &View<'_>, ids: &[PointId], shown: &Shown) -> Vec<Record> {
    ids.iter().filter_map(|id| Some(shown.record(id, view.point(id)?))).collect()
}

/// How many points pass.
pub(super) fn count(view: &View<'_>, filter: Option<&Filter>) -> usize {
    view.points().filter(|(id, point)| passes(filter, id, point)).count()
}

/// Up to `limit` points in the order of their ids, from `offset` on, and the id that the next page begins with.
pub(super) fn page(
    view: &View<'_>,
    filter: Option<&Filter>,
    offset: Option<&PointId>,
    limit: usize,
    shown: &Shown,
) -> (Vec<Record>, Option<PointId>) {
    let mut found: Vec<_> = view
        .points()
        .filter(|(id, point)| offset.is_none_or(|offset| *id >= offset) && passes(filter, id, point))
        .collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    let next = found.get(limit).map(|(id, _)| (*id).clone());
    (found.into_iter().take(limit).map(|(id, point)| shown.record(id, point)).collect(), next)
}

/// The points that are sought, best first. Without a vector they have no score to speak of.
///
/// # Errors
/// For a vector that the collection has not.
pub(super) fn search(view: &View<'_>, wanted: Wanted, shown: &Shown) -> Result<Vec<Scored>, Refusal> {
    let Wanted { sought, around, filter, limit, offset, score_threshold } = wanted;
    let found = |id: &PointId| around.as_ref() != Some(id);
    let mut passing: Vec<_> =
        view.points().filter(|(id, point)| found(id) && passes(filter.as_ref(), id, point)).collect();
    let found = match sought {
        Sought::Nearest(name, vector) => nearest(view, passing, &name, vector, score_threshold)?,
        Sought::Random(mut draw) => {
            passing.sort_unstable_by_key(|(id, _)| *id);
            let mut drawn: Vec<_> =
                passing.into_iter().map(|(id, point)| (draw.number(), id, point)).collect();
            drawn.sort_unstable_by_key(|(number, ..)| *number);
            drawn.into_iter().map(|(_, id, point)| (0.0, id, point)).collect()
        }
        Sought::Nothing => {
            passing.sort_unstable_by_key(|(id, _)| *id);
            passing.into_iter().map(|(id, point)| (0.0, id, point)).collect()
        }
    };
    let chosen = found.into_iter().skip(offset).take(limit);
    Ok(chosen.map(|(score, id, point)| scored(score, id, point, shown)).collect())
}

/// A point with its score.
type Ranked<'a> = (f32, &'a PointId, &'a Arc<Point>);

/// The points nearest to a vector, best first; equal scores in the order of their ids. A point without such a
/// vector is not found.
fn nearest<'a>(
    view: &View<'_>,
    points: Vec<(&'a PointId, &'a Arc<Point>)>,
    name: &str,
    vector: Vector,
    threshold: Option<f32>,
) -> Result<Vec<Ranked<'a>>, Refusal> {
    let distance = view.collection.config.params.distance(name)?;
    let query = vector.stored(distance);
    let scores = points
        .into_iter()
        .filter_map(|(id, point)| Some((query.score(point.vectors.get(name)?, distance)?, id, point)));
    let mut found: Vec<Ranked<'a>> =
        scores.filter(|(score, ..)| threshold.is_none_or(|limit| !distance.better(limit, *score))).collect();
    found.sort_unstable_by(|(a, a_id, _), (b, b_id, _)| {
        let by_score = if distance.better(1.0, 0.0) { b.total_cmp(a) } else { a.total_cmp(b) };
        by_score.then_with(|| a_id.cmp(b_id))
    });
    Ok(found)
}

fn scored(score: f32, id: &PointId, point: &Arc<Point>, shown: &Shown) -> Scored {
    let Record { id, payload, vector } = shown.record(id, point);
    Scored { id, version: point.version, score, payload, vector }
}

fn passes(filter: Option<&Filter>, id: &PointId, point: &Point) -> bool {
    filter.is_none_or(|filter| filter.passes(id, point))
}
