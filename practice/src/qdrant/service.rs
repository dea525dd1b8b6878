//! What a node says of itself and of its cluster: version, health, peers, metrics.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::access::Access;
use super::deployment::Consensus;
use super::extract::{Answer, Done};
use super::node::Node;
use super::store::Collection;
use super::transfer::Way;

/// The version that is imitated.
const VERSION: &str = "1.17.1";

/// Its commit, as the recorded server said it.
const COMMIT: &str = "eabee371fda447974a94d29fbaa675a6a596cc7b";

pub(super) async fn about() -> Response {
    axum::Json(json!({ "title": "qdrant - vector search engine", "version": VERSION, "commit": COMMIT }))
        .into_response()
}

pub(super) async fn healthy() -> &'static str {
    "healthz check passed"
}

pub(super) async fn ready() -> &'static str {
    "all shards are ready"
}

pub(super) async fn issues() -> Answer<Value> {
    Ok(Done(json!({ "issues": [] })))
}

pub(super) async fn clear_issues() -> Answer<bool> {
    Ok(Done(true))
}

/// `GET /cluster`.
pub(super) async fn cluster(State(node): State<Arc<Node>>) -> Answer<Value> {
    if !node.store.clustered() {
        return Ok(Done(json!({ "status": "disabled" })));
    }
    // A peer's address is the one that nodes would speak over among themselves; nothing listens there.
    let peers: Map<String, Value> = node
        .store
        .peers
        .iter()
        .enumerate()
        .map(|(index, peer)| {
            (peer.to_string(), json!({ "uri": format!("http://127.0.0.1:{}/", 6335 + 1000 * (index + 1)) }))
        })
        .collect();
    let role = if node.index == 0 { "Leader" } else { "Follower" };
    let (leader, role) = match node.consensus {
        Some(Consensus::NoLeader) => (None, "Candidate"),
        _ => (node.store.peers.first(), role),
    };
    let thread = match &node.consensus {
        Some(Consensus::Stopped) => json!({ "consensus_thread_status": "stopped" }),
        Some(Consensus::Failed(error)) => {
            json!({ "consensus_thread_status": "stopped_with_err", "err": error })
        }
        Some(Consensus::NoLeader) | None => json!({
            "consensus_thread_status": "working",
            "last_update": node.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
        }),
    };
    Ok(Done(json!({
        "status": "enabled",
        "peer_id": node.peer(),
        "peers": peers,
        "raft_info": {
            "term": 1,
            "commit": 1,
            "pending_operations": 0,
            "leader": leader,
            "role": role,
            "is_voter": true,
        },
        "consensus_thread_status": thread,
        "message_send_failures": {},
    })))
}

/// `GET /collections/{collection}/cluster`.
pub(super) async fn collection_cluster(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
) -> Answer<Value> {
    let mut state = node.store.write();
    let collection = state.collection_mut(&name)?;
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    for (id, shard) in &collection.shards {
        for (at, replica) in &shard.replicas {
            let (peer_id, points) = (collection.peer(*at), replica.points.len());
            let mut shown = Map::from_iter([("shard_id".to_owned(), json!(id))]);
            shown.extend(shard.key.as_ref().map(|key| ("shard_key".to_owned(), json!(key))));
            // The last replica still calls itself active when it could not be restored, as the real one does.
            let is_local = *at == node.index;
            shown.extend([if is_local {
                ("points_count".to_owned(), json!(points))
            } else {
                ("peer_id".to_owned(), json!(peer_id))
            }]);
            shown.insert("state".to_owned(), json!(replica.state));
            if is_local { local.push(shown) } else { remote.push(shown) }
        }
    }
    let answer = json!({
        "peer_id": node.peer(),
        "shard_count": collection.shards.len(),
        "local_shards": local,
        "remote_shards": remote,
        "shard_transfers": shown_transfers(collection, node.index),
    });
    collection.looked_at(node.index, node.patience);
    Ok(Done(answer))
}

/// What is being transferred; how far it is says only the node that has the shard.
fn shown_transfers(collection: &Collection, node: usize) -> Vec<Value> {
    let shown = collection.transfers.iter().map(|transfer| {
        let Way { shard, from, to } = transfer.way;
        let mut shown = json!({
            "shard_id": shard,
            "from": collection.peer(from),
            "to": collection.peer(to),
            "sync": transfer.sync,
            "method": transfer.method,
        });
        if let Some(shown) = shown.as_object_mut().filter(|_| from == node) {
            shown.insert("comment".to_owned(), json!(transfer.comment()));
        }
        shown
    });
    let mut shown: Vec<Value> = shown.collect();
    shown.sort_by_key(|transfer| transfer.get("shard_id").and_then(Value::as_u64));
    shown
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) async fn metrics(State(node): State<Arc<Node>>) -> Result<String, super::refusal::Refusal> {
    let mut text = String::new();
    let mut gauge = |name: &str, kind: &str, lines: Vec<(String, usize)>| {
        writeln!(text, "# TYPE {name} {kind}")?;
        lines.iter().try_for_each(|(labels, value)| writeln!(text, "{name}{labels} {value}"))
    };
    let activity = node.activity();
    let of = |read: fn(&super::node::Activity) -> usize| {
        activity.iter().map(|(id, now)| (format!("{{id=\"{id}\"}}"), read(now))).collect()
    };
    let app = format!("{{name=\"qdrant\",version=\"{VERSION}\"}}");
    let written = gauge("app_info", "gauge", vec![(app, 1)])
        .and_then(|()| {
            let collections = node.store.read().collections.len();
            gauge("collections_total", "gauge", vec![(String::new(), collections)])
        })
        .and_then(|()| gauge("snapshot_creation_running", "gauge", of(|now| now.snapshots_running)))
        .and_then(|()| gauge("snapshot_recovery_running", "gauge", of(|now| now.recoveries_running)))
        .and_then(|()| gauge("snapshot_created_total", "counter", of(|now| now.snapshots_created)));
    written.map_err(|error| super::refusal::Refusal::Service(error.to_string()))?;
    Ok(text)
}

/// `GET /telemetry`: the part about collections and snapshots.
pub(super) async fn telemetry(State(node): State<Arc<Node>>, access: Access) -> Answer<Value> {
    let snapshots: Vec<Value> = node
        .activity()
        .iter()
        .filter(|(id, _)| access.sees(id))
        .map(|(id, now)| {
            json!({
                "id": id,
                "running_snapshots": now.snapshots_running,
                "running_snapshot_recovery": now.recoveries_running,
                "total_snapshot_creations": now.snapshots_created,
            })
        })
        .collect();
    Ok(Done(json!({
        "id": node.seed.uuid(&format!("telemetry {}", node.index)),
        "app": { "name": "qdrant", "version": VERSION },
        "collections": {
            "number_of_collections": node.store.read().collections.keys().filter(|name| access.sees(name)).count(),
            "snapshots": snapshots,
        },
    })))
}
