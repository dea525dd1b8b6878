//! Keys of shards, in collections with custom sharding: made, listed, dropped. Only a cluster has them.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Answer, Body, Done, Query, WriteQuery};
use super::node::Node;
use super::refusal::Refusal;
use super::replica::{Shard, ShardKey};
use super::store::{Collection, in_turn};

/// The body of `PUT /collections/{name}/shards`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    shard_key: ShardKey,
    #[serde(alias = "shard_number")]
    shards_number: Option<u32>,
    replication_factor: Option<u32>,
    placement: Option<Vec<u64>>,
}

/// The body of `POST /collections/{name}/shards/delete`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DropKey {
    shard_key: ShardKey,
}

/// `GET /collections/{name}/shards`.
pub(super) async fn list(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<Value> {
    let state = node.store.read();
    let keys = state.collection(&name)?.keys().map(|(key, _)| json!({ "key": key }));
    Ok(Done(json!({ "shard_keys": keys.collect::<Vec<_>>() })))
}

/// `PUT /collections/{name}/shards`: its shards get the ids after the highest that there is.
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<WriteQuery>,
    Body(asked): Body<CreateKey>,
) -> Answer<bool> {
    let mut state = node.store.write();
    let emptiest = state.emptiest(node.store.peers.len());
    let collection = custom(&node, state.collection_mut(&name)?)?;
    let key = asked.shard_key;
    if collection.keys().any(|(known, _)| *known == key) {
        return Err(Refusal::BadRequest(format!("Sharding key {key} already exists for collection {name}")));
    }
    let pool = match asked.placement {
        None => emptiest,
        Some(peers) if peers.is_empty() => {
            return Err(Refusal::BadRequest(format!(
                "Sharding key {key} placement cannot be empty. If you want to use random placement, do not specify placement"
            )));
        }
        Some(peers) => peers
            .into_iter()
            .map(|peer| {
                let unknown = || Refusal::BadRequest(format!("Peer {peer} does not exist"));
                node.store.node_of(peer).ok_or_else(unknown)
            })
            .collect::<Result<_, _>>()?,
    };
    let params = &collection.config.params;
    let number = asked.shards_number.unwrap_or(params.shard_number);
    let factor = asked.replication_factor.unwrap_or(params.replication_factor);
    if number == 0 || factor == 0 {
        return Err(Refusal::Body("invalid value: integer `0`, expected a nonzero u32".into()));
    }
    let first = collection.shards.keys().next_back().map_or(1, |last| last + 1);
    let shards = in_turn(&pool, factor, number).into_iter().map(|nodes| Shard::on(nodes, Some(key.clone())));
    collection.shards.extend((first..).zip(shards));
    collection.lay_rings();
    Ok(Done(true))
}

/// `POST /collections/{name}/shards/delete`: the key's shards go with their points.
pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<WriteQuery>,
    Body(DropKey { shard_key: key }): Body<DropKey>,
) -> Answer<bool> {
    let mut state = node.store.write();
    let collection = custom(&node, state.collection_mut(&name)?)?;
    if !collection.keys().any(|(known, _)| *known == key) {
        return Err(Refusal::BadRequest(format!("Sharding key {key} does not exist for collection {name}")));
    }
    collection.settle();
    collection.shards.retain(|_, shard| shard.key.as_ref() != Some(&key));
    let left = &collection.shards;
    collection.transfers.retain(|transfer| left.contains_key(&transfer.way.shard));
    collection.lay_rings();
    Ok(Done(true))
}

/// The collection, if its shards may have keys here.
fn custom<'a>(node: &Node, collection: &'a mut Collection) -> Result<&'a mut Collection, Refusal> {
    if !node.store.clustered() {
        return Err(Refusal::BadRequest("Distributed mode disabled".into()));
    }
    if !collection.config.params.custom_sharding() {
        return Err(Refusal::BadRequest("Shard Key cannot be created with Auto sharding method".into()));
    }
    Ok(collection)
}
