//! Reading points: by id, page by page, counted, nearest to a vector. Main functions: [`nearest`], [`page`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::filter::Filter;
use super::point::{Point, PointId};
use super::store::View;

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
    vector: Option<Vec<f32>>,
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
    vector: Option<Vec<f32>>,
}

/// What is wanted of each point.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) payload: WithPayload,
    pub(super) vector: bool,
}

/// A search.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) vector: Vec<f32>,
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
        let vector = self.vector.then(|| point.vector.clone());
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

/// The points nearest to a vector, best first; equal scores in the order of their ids.
pub(super) fn nearest(view: &View<'_>, wanted: Wanted, shown: &Shown) -> Vec<Scored> {
    let distance = view.collection.config.params.vectors.distance;
    let query = distance.stored(wanted.vector);
    let mut found: Vec<_> = view
        .points()
        .filter(|(id, point)| passes(wanted.filter.as_ref(), id, point))
        .map(|(id, point)| (distance.score(&query, &point.vector), id, point))
        .filter(|(score, ..)| wanted.score_threshold.is_none_or(|limit| !distance.better(limit, *score)))
        .collect();
    found.sort_unstable_by(|(a, a_id, _), (b, b_id, _)| {
        let by_score = if distance.better(1.0, 0.0) { b.total_cmp(a) } else { a.total_cmp(b) };
        by_score.then_with(|| a_id.cmp(b_id))
    });
    let best = found.into_iter().skip(wanted.offset).take(wanted.limit);
    best.map(|(score, id, point)| scored(score, id, point, shown)).collect()
}

/// Up to `limit` points in the order of their ids, without a score to speak of: a query without a vector.
pub(super) fn unranked(view: &View<'_>, wanted: &Wanted, shown: &Shown) -> Vec<Scored> {
    let mut found: Vec<_> =
        view.points().filter(|(id, point)| passes(wanted.filter.as_ref(), id, point)).collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    let some = found.into_iter().skip(wanted.offset).take(wanted.limit);
    some.map(|(id, point)| scored(0.0, id, point, shown)).collect()
}

fn scored(score: f32, id: &PointId, point: &Arc<Point>, shown: &Shown) -> Scored {
    let Record { id, payload, vector } = shown.record(id, point);
    Scored { id, version: point.version, score, payload, vector }
}

fn passes(filter: Option<&Filter>, id: &PointId, point: &Point) -> bool {
    filter.is_none_or(|filter| filter.passes(id, &point.payload))
}
