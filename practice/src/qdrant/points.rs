//! The endpoints of points.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::collections::updated;
use super::extract::{Answer, Body, Done, Query, ReadQuery, WriteQuery};
use super::filter::Filter;
use super::node::Node;
use super::point::PointId;
use super::refusal::Refusal;
use super::replica::ShardKeySelector;
use super::select::{Record, Scored, Shown, Wanted, WithPayload, by_ids, count, nearest, page, unranked};
use super::store::{Change, NewPoint, Selector, Update, View};

/// How long an update that nobody waits for stays in the queue.
const QUEUED: Duration = Duration::from_millis(20);

/// How many points an answer has where no limit is given.
const LIMIT: usize = 10;

/// The body of `PUT .../points`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upsert {
    points: Vec<NewPoint>,
    shard_key: Option<ShardKeySelector>,
}

/// Points by id or by filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    points: Option<Vec<PointId>>,
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
}

/// The body of `POST .../points/payload`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetPayload {
    payload: Map<String, Value>,
    points: Option<Vec<PointId>>,
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
}

/// The body of `POST .../points`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retrieve {
    ids: Vec<PointId>,
    shard_key: Option<ShardKeySelector>,
    with_payload: Option<WithPayload>,
    #[serde(default)]
    with_vector: bool,
}

/// The body of `POST .../points/count`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
    /// All counts here are exact.
    #[serde(rename = "exact")]
    _exact: Option<bool>,
}

/// The body of `POST .../points/scroll`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scroll {
    offset: Option<PointId>,
    limit: Option<usize>,
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
    with_payload: Option<WithPayload>,
    #[serde(default)]
    with_vector: bool,
}

/// The body of `POST .../points/query`, and of `.../points/search` with `vector` in place of `query`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nearest {
    #[serde(alias = "vector")]
    query: Option<Sought>,
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
    limit: Option<usize>,
    offset: Option<usize>,
    with_payload: Option<WithPayload>,
    #[serde(default)]
    with_vector: bool,
    score_threshold: Option<f32>,
    /// How to search, which changes nothing where every point is compared.
    #[serde(rename = "params")]
    _params: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Sought {
    Vector(Vec<f32>),
    Point(PointId),
    Nearest { nearest: Vec<f32> },
}

/// `PUT /collections/{name}/points`.
pub(super) async fn upsert(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(query): Query<WriteQuery>,
    Body(asked): Body<Upsert>,
) -> Answer<Value> {
    update(&node, &name, query.wait, asked.shard_key, Change::Upsert(asked.points))
}

/// `POST /collections/{name}/points/delete`.
pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(query): Query<WriteQuery>,
    Body(Chosen { points, filter, shard_key }): Body<Chosen>,
) -> Answer<Value> {
    update(&node, &name, query.wait, shard_key, Change::Delete(selector(points, filter)?))
}

/// `POST /collections/{name}/points/payload`: sets these keys, leaves the others.
pub(super) async fn set_payload(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(query): Query<WriteQuery>,
    Body(SetPayload { payload, points, filter, shard_key }): Body<SetPayload>,
) -> Answer<Value> {
    update(&node, &name, query.wait, shard_key, Change::SetPayload(selector(points, filter)?, payload))
}

fn selector(points: Option<Vec<PointId>>, filter: Option<Filter>) -> Result<Selector, Refusal> {
    match (points, filter) {
        (Some(ids), None) => Ok(Selector::Ids(ids)),
        (None, Some(filter)) => Ok(Selector::Filter(filter)),
        _ => Err(Refusal::Body("exactly one of `points` and `filter` is needed".into())),
    }
}

fn update(
    node: &Arc<Node>,
    name: &str,
    wait: Option<bool>,
    keys: Option<ShardKeySelector>,
    change: Change,
) -> Answer<Value> {
    let update = Update { keys: keys.map(|keys| keys.keys().to_vec()), change };
    let mut state = node.store.write();
    let collection = state.collection_mut(name)?;
    collection.check(&update, node.index)?;
    if wait == Some(true) {
        return Ok(Done(updated(collection.apply(&update), wait)));
    }
    let operation = collection.enqueue(update);
    let (node, name) = (Arc::clone(node), name.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(QUEUED).await;
        if let Ok(collection) = node.store.write().collection_mut(&name) {
            collection.settle();
        }
    });
    Ok(Done(updated(operation, wait)))
}

/// `POST /collections/{name}/points`.
pub(super) async fn retrieve(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<ReadQuery>,
    Body(asked): Body<Retrieve>,
) -> Answer<Vec<Record>> {
    let shown = shown(asked.with_payload, true, asked.with_vector);
    read(&node, &name, asked.shard_key.as_ref(), |view| Ok(by_ids(view, &asked.ids, &shown)))
}

/// `GET /collections/{name}/points/{id}`.
pub(super) async fn one(
    State(node): State<Arc<Node>>,
    Path((name, id)): Path<(String, String)>,
    Query(_): Query<ReadQuery>,
) -> Answer<Record> {
    let id = PointId::parse(&id)
        .ok_or_else(|| Refusal::BadInput(format!("Can not recognize \"{id}\" as point id")))?;
    read(&node, &name, None, |view| {
        let found = by_ids(view, std::slice::from_ref(&id), &shown(None, true, true)).pop();
        found.ok_or_else(|| Refusal::NotFound(format!("Point with id {id} does not exists!")))
    })
}

/// `POST /collections/{name}/points/count`.
pub(super) async fn count_points(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<ReadQuery>,
    Body(asked): Body<Count>,
) -> Answer<Value> {
    let keys = asked.shard_key.as_ref();
    read(&node, &name, keys, |view| Ok(json!({ "count": count(view, asked.filter.as_ref()) })))
}

/// `POST /collections/{name}/points/scroll`.
pub(super) async fn scroll(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<ReadQuery>,
    Body(asked): Body<Scroll>,
) -> Answer<Value> {
    let shown = shown(asked.with_payload, true, asked.with_vector);
    let limit = asked.limit.unwrap_or(LIMIT);
    if limit == 0 {
        return Err(Refusal::Invalid("JSON body: [limit: value 0 invalid, must be 1 or larger]".into()));
    }
    read(&node, &name, asked.shard_key.as_ref(), |view| {
        let (points, next) = page(view, asked.filter.as_ref(), asked.offset.as_ref(), limit, &shown);
        Ok(json!({ "points": points, "next_page_offset": next }))
    })
}

/// `POST /collections/{name}/points/query`.
pub(super) async fn query(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<ReadQuery>,
    Body(asked): Body<Nearest>,
) -> Answer<Value> {
    let keys = asked.shard_key.clone();
    read(&node, &name, keys.as_ref(), |view| Ok(json!({ "points": found(view, asked)? })))
}

/// `POST /collections/{name}/points/search`.
pub(super) async fn search(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<ReadQuery>,
    Body(asked): Body<Nearest>,
) -> Answer<Vec<Scored>> {
    let keys = asked.shard_key.clone();
    read(&node, &name, keys.as_ref(), |view| found(view, asked))
}

fn found(view: &View<'_>, asked: Nearest) -> Result<Vec<Scored>, Refusal> {
    let shown = shown(asked.with_payload, false, asked.with_vector);
    let vector = match asked.query {
        None => None,
        Some(Sought::Vector(vector) | Sought::Nearest { nearest: vector }) => Some(vector),
        Some(Sought::Point(id)) => {
            let point = view.point(&id);
            Some(
                point
                    .map(|point| point.vector.clone())
                    .ok_or_else(|| Refusal::NotFound(format!("No point with id {id} found")))?,
            )
        }
    };
    let size = view.collection.config.params.vectors.size;
    if let Some(vector) = &vector
        && vector.len() != size
    {
        return Err(Refusal::BadInput(format!(
            "Vector dimension error: expected dim: {size}, got {}",
            vector.len()
        )));
    }
    let ranked = vector.is_some();
    let wanted = Wanted {
        vector: vector.unwrap_or_default(),
        filter: asked.filter,
        limit: asked.limit.unwrap_or(LIMIT),
        offset: asked.offset.unwrap_or(0),
        score_threshold: asked.score_threshold,
    };
    Ok(if ranked { nearest(view, wanted, &shown) } else { unranked(view, &wanted, &shown) })
}

fn shown(payload: Option<WithPayload>, by_default: bool, vector: bool) -> Shown {
    Shown { payload: payload.unwrap_or(WithPayload::All(by_default)), vector }
}

fn read<T>(
    node: &Node,
    name: &str,
    keys: Option<&ShardKeySelector>,
    act: impl FnOnce(&View<'_>) -> Result<T, Refusal>,
) -> Answer<T> {
    let state = node.store.read();
    let view = state.collection(name)?.view(node.index, keys.map(ShardKeySelector::keys))?;
    act(&view).map(Done)
}
