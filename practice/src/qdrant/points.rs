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
use super::select::{self, Record, Scored, Shown, Sought, Wanted, WithPayload, by_ids, count, page};
use super::store::{Change, NewPoint, Selector, Update, View};
use super::vector::{UNNAMED, Vector, WithVector};

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
    #[serde(default, alias = "with_vectors")]
    with_vector: WithVector,
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
    #[serde(default, alias = "with_vectors")]
    with_vector: WithVector,
}

/// The body of `POST .../points/query`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    query: Option<QueryInterface>,
    /// The name of the vector that is searched by.
    using: Option<String>,
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
    limit: Option<usize>,
    offset: Option<usize>,
    with_payload: Option<WithPayload>,
    #[serde(default, alias = "with_vectors")]
    with_vector: WithVector,
    score_threshold: Option<f32>,
    /// How to search, which changes nothing where every point is compared.
    #[serde(rename = "params")]
    _params: Option<Value>,
}

/// What a query goes by. Named for the error text of the real server, as those below.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum QueryInterface {
    Nearest(VectorInput),
    Query(NamedQuery),
}

/// A vector, or the point that has it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum VectorInput {
    Vector(Vector),
    Point(PointId),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NamedQuery {
    Nearest(VectorInput),
    Sample(Sample),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sample {
    Random,
}

/// The body of `POST .../points/search`, the older of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    vector: NamedVectorStruct,
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
    limit: usize,
    offset: Option<usize>,
    with_payload: Option<WithPayload>,
    #[serde(default, alias = "with_vectors")]
    with_vector: WithVector,
    score_threshold: Option<f32>,
    #[serde(rename = "params")]
    _params: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NamedVectorStruct {
    Default(Vec<f32>),
    Named { name: String, vector: Vector },
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
    read(&node, &name, asked.shard_key.as_ref(), |view| {
        view.collection.config.params.check_shown(&shown.vector)?;
        Ok(by_ids(view, &asked.ids, &shown))
    })
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
        let found = by_ids(view, std::slice::from_ref(&id), &shown(None, true, WithVector::All(true))).pop();
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
        view.collection.config.params.check_shown(&shown.vector)?;
        let (points, next) = page(view, asked.filter.as_ref(), asked.offset.as_ref(), limit, &shown);
        Ok(json!({ "points": points, "next_page_offset": next }))
    })
}

/// `POST /collections/{name}/points/query`.
pub(super) async fn query(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<ReadQuery>,
    Body(asked): Body<Asked>,
) -> Answer<Value> {
    let keys = asked.shard_key.clone();
    read(&node, &name, keys.as_ref(), |view| Ok(json!({ "points": found(&node, view, asked)? })))
}

/// `POST /collections/{name}/points/search`.
pub(super) async fn search(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<ReadQuery>,
    Body(asked): Body<Search>,
) -> Answer<Vec<Scored>> {
    let (vector, using) = match asked.vector {
        NamedVectorStruct::Default(vector) => (Vector::Dense(vector), None),
        NamedVectorStruct::Named { name, vector } => (vector, Some(name)),
    };
    let Search {
        filter, shard_key, limit, offset, with_payload, with_vector, score_threshold, _params, ..
    } = asked;
    let keys = shard_key.clone();
    let asked = Asked {
        query: Some(QueryInterface::Nearest(VectorInput::Vector(vector))),
        limit: Some(limit),
        using,
        filter,
        shard_key,
        offset,
        with_payload,
        with_vector,
        score_threshold,
        _params,
    };
    read(&node, &name, keys.as_ref(), |view| found(&node, view, asked))
}

fn found(node: &Node, view: &View<'_>, asked: Asked) -> Result<Vec<Scored>, Refusal> {
    let params = &view.collection.config.params;
    let shown = shown(asked.with_payload, false, asked.with_vector);
    params.check_shown(&shown.vector)?;
    let name = asked.using.unwrap_or_else(|| UNNAMED.to_owned());
    let mut around = None;
    let sought = match asked.query {
        None => Sought::Nothing,
        Some(QueryInterface::Query(NamedQuery::Sample(Sample::Random))) => Sought::Random(node.draw()),
        Some(QueryInterface::Nearest(input) | QueryInterface::Query(NamedQuery::Nearest(input))) => {
            let vector = match input {
                VectorInput::Vector(vector) => vector,
                VectorInput::Point(id) => {
                    let vector = vector_of(view, &id, &name)?;
                    around = Some(id);
                    vector
                }
            };
            params.check(&name, &vector)?;
            Sought::Nearest(name, vector)
        }
    };
    let wanted = Wanted {
        sought,
        around,
        filter: asked.filter,
        limit: asked.limit.unwrap_or(LIMIT),
        offset: asked.offset.unwrap_or(0),
        score_threshold: asked.score_threshold,
    };
    select::search(view, wanted, &shown)
}

/// The vector of a point that is searched around.
fn vector_of(view: &View<'_>, id: &PointId, name: &str) -> Result<Vector, Refusal> {
    let absent = || Refusal::NotFound(format!("No point with id {id} found"));
    view.collection.config.params.distance(name)?;
    let own = view.point(id).ok_or_else(absent)?.vectors.get(name).cloned();
    own.ok_or_else(|| Refusal::NotFound(format!("Vector with name {name:?} for point")))
}

fn shown(payload: Option<WithPayload>, by_default: bool, vector: WithVector) -> Shown {
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
