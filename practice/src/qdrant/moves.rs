//! Shards between the nodes: `POST /collections/{name}/cluster`.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Deserialize;

use super::extract::{Answer, Body, Done, Query, WriteQuery};
use super::node::Node;
use super::refusal::Refusal;
use super::transfer::{Method, Way};

/// The body: one change, named by its key.
#[derive(Debug, Deserialize)]
pub(super) enum ClusterChange {
    /// The shard goes from one node to the other.
    #[serde(rename = "move_shard")]
    Move(Moved),
    /// The shard gets a replica on another node.
    #[serde(rename = "replicate_shard")]
    Replicate(Moved),
    /// What is going on ends.
    #[serde(rename = "abort_transfer")]
    Abort(Aborted),
    /// A node's replica is removed.
    #[serde(rename = "drop_replica")]
    Drop(Dropped),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moved {
    shard_id: u32,
    from_peer_id: u64,
    to_peer_id: u64,
    method: Option<Method>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aborted {
    shard_id: u32,
    from_peer_id: u64,
    to_peer_id: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dropped {
    shard_id: u32,
    peer_id: u64,
}

/// `POST /collections/{name}/cluster`: begins, and does not wait for the end.
pub(super) async fn change(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<WriteQuery>,
    Body(asked): Body<ClusterChange>,
) -> Answer<bool> {
    if !node.store.clustered() {
        return Err(Refusal::BadRequest("Distributed mode disabled".into()));
    }
    let peer = |peer: u64| {
        let unknown = || Refusal::BadRequest(format!("Peer {peer} does not exist"));
        node.store.node_of(peer).ok_or_else(unknown)
    };
    let mut state = node.store.write();
    let collection = state.collection_mut(&name)?;
    let absent = |shard: u32| Refusal::BadRequest(format!("Shard {shard} of {name} does not exist"));
    match asked {
        ClusterChange::Move(ref moved) | ClusterChange::Replicate(ref moved) => {
            let Moved { shard_id: shard, from_peer_id: from, to_peer_id: to, method } = *moved;
            if from == to {
                return Err(Refusal::Invalid(format!(
                    "JSON body: [to_peer_id: cannot transfer shard to itself, \"to_peer_id\" must be different than \"from_peer_id\" {from}]"
                )));
            }
            if !collection.shards.contains_key(&shard) {
                return Err(absent(shard));
            }
            let way = Way { shard, to: peer(to)?, from: peer(from)? };
            let sync = matches!(asked, ClusterChange::Replicate(_));
            collection.begin_transfer(way, sync, method.unwrap_or(Method::StreamRecords))?;
        }
        ClusterChange::Abort(Aborted { shard_id: shard, from_peer_id: from, to_peer_id: to }) => {
            let absent = || {
                Refusal::NotFound(format!(
                    "Shard transfer {from} -> {to} for collection {name}:{shard} does not exist"
                ))
            };
            let nodes = node.store.node_of(from).zip(node.store.node_of(to));
            let (from, to) = nodes.ok_or_else(absent)?;
            if !collection.abort_transfer(Way { shard, from, to }) {
                return Err(absent());
            }
        }
        ClusterChange::Drop(Dropped { shard_id: shard, peer_id }) => {
            if !collection.shards.contains_key(&shard) {
                return Err(absent(shard));
            }
            collection.drop_replica(shard, peer(peer_id)?)?;
        }
    }
    Ok(Done(true))
}
