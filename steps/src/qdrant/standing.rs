//! How a collection stands on all nodes: [`Standing`].

use std::collections::{BTreeMap, BTreeSet};

use drydock_step::StepError;
use futures_util::future::try_join_all;
use serde_json::{Map, Value};

use super::answers::{Info, Placement};
use super::entry::is_custom_sharded;
use super::members::Member;
use super::requests;

/// What one node has of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Held {
    /// Its active shards, each with about so many points.
    pub(super) shards: BTreeMap<u32, u64>,
    /// Shards that are not active, with their state.
    pub(super) unready: BTreeMap<u32, String>,
}

/// A collection, as its nodes tell it.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// `config`.
    pub(super) config: Value,
    /// `payload_schema`.
    pub(super) payload_schema: Map<String, Value>,
    /// The worst that a node says: `green`, `grey`, `yellow`, `red`.
    pub(super) status: String,
    /// Why an optimizer has failed, if one has: then the collection is red for that alone.
    pub(super) optimizer: Option<String>,
    /// Updates that are accepted and not applied, on all nodes.
    pub(super) waiting: u64,
    /// Ids of all its shards.
    pub(super) shards: Vec<u32>,
    /// The keys of those that have one.
    pub(super) keys: BTreeMap<u32, Value>,
    /// How many shards are being moved.
    pub(super) transfers: u32,
    /// By node, in the order of the members.
    pub(super) held: Vec<Held>,
}

impl Standing {
    /// How a collection stands now.
    ///
    /// # Errors
    /// `qdrant.absent` when there is none, `qdrant.nodes` when another node answers than before, and those of the requests.
    pub(super) async fn of(members: &[Member], name: &str) -> Result<Self, StepError> {
        let (info, placement) = (requests::collection(name), requests::placement(name));
        let infos = try_join_all(members.iter().map(|member| member.node.ask::<Info>(&info)));
        let placements = try_join_all(members.iter().map(|member| member.node.ask::<Placement>(&placement)));
        let (infos, placements) = futures_util::future::try_join(infos, placements).await?;
        for (member, found) in members.iter().zip(&placements) {
            if let Some(peer) = member.peer.filter(|peer| *peer != found.peer_id) {
                let message =
                    format!("{} answered as peer {peer} and then as peer {}", member.node.url, found.peer_id);
                return Err(StepError::new("qdrant.nodes", message).help(
                    "a load balancer seems to stand in front of the nodes; name each node's own address",
                ));
            }
        }
        Self::told(infos, &placements)
            .ok_or_else(|| StepError::internal("a collection was asked about without nodes"))
    }

    fn told(infos: Vec<Info>, placements: &[Placement]) -> Option<Self> {
        let held: Vec<Held> = placements.iter().map(held).collect();
        let local = placements.iter().flat_map(|one| &one.local_shards);
        let remote = placements.iter().flat_map(|one| &one.remote_shards);
        let told = local.map(|shard| (shard.shard_id, &shard.shard_key));
        let told: Vec<_> = told.chain(remote.map(|shard| (shard.shard_id, &shard.shard_key))).collect();
        let mut shards: BTreeSet<u32> = told.iter().map(|(id, _)| *id).collect();
        let keys = told.into_iter().filter_map(|(id, key)| Some((id, key.clone()?))).collect();
        // A shard that no node knows has no id to name; the count says that there is one.
        let count = placements.iter().map(|one| one.shard_count).max().unwrap_or(0);
        let mut spare = 0..;
        while shards.len() < count {
            shards.extend(spare.next());
        }
        let transfers = placements.iter().map(|one| one.shard_transfers.len()).max().unwrap_or(0);
        let rank =
            |status: &str| ["green", "grey", "yellow"].iter().position(|one| *one == status).unwrap_or(3);
        let status = infos.iter().map(|info| info.status.clone()).max_by_key(|status| rank(status))?;
        let waiting = infos.iter().map(|info| info.update_queue.length).sum();
        let optimizer = infos.iter().find_map(Info::optimizer_error).map(str::to_owned);
        let first = infos.into_iter().next()?;
        Some(Self {
            config: first.config,
            payload_schema: first.payload_schema,
            status,
            optimizer,
            waiting,
            shards: shards.into_iter().collect(),
            keys,
            transfers: u32::try_from(transfers).unwrap_or(u32::MAX),
            held,
        })
    }

    /// `config.params`.
    pub(super) fn params(&self) -> &Value {
        &self.config["params"]
    }

    /// Whether snapshots are made shard by shard, of one replica each: where a shard has several, those of a node would hold some
    /// twice; and a snapshot of a node does not make the keys that a collection is sharded by.
    pub(super) fn is_by_shard(&self) -> bool {
        let replicas = self.held.iter().map(|held| held.shards.len() + held.unready.len()).sum::<usize>();
        replicas > self.shards.len() || is_custom_sharded(self.params())
    }

    /// Shards that are active on no node, with what is known of them.
    pub(super) fn uncovered(&self) -> Vec<String> {
        let active: BTreeSet<u32> = self.held.iter().flat_map(|held| held.shards.keys().copied()).collect();
        let state = |id: &u32| {
            let found = self.held.iter().find_map(|held| held.unready.get(id));
            found.map_or_else(|| format!("shard {id} (on no node)"), |state| format!("shard {id} ({state})"))
        };
        self.shards.iter().filter(|id| !active.contains(id)).map(state).collect()
    }

    /// Whether nothing goes on in it: no update waits, nothing is optimised, every copy of every shard is active and none is being
    /// moved.
    pub(super) fn rests(&self) -> bool {
        self.is_settled() && self.waiting == 0 && matches!(self.status.as_str(), "green" | "grey")
    }

    /// Whether every copy of every shard is active and none is being moved.
    fn is_settled(&self) -> bool {
        self.transfers == 0
            && self.uncovered().is_empty()
            && self.held.iter().all(|held| held.unready.is_empty())
    }

    /// Nothing, when a snapshot of every node would hold the whole collection.
    ///
    /// # Errors
    /// `qdrant.moving` (transient) while shards are moved, `qdrant.incomplete` when a shard is active nowhere, `qdrant.broken`.
    pub(super) fn whole(&self, name: &str) -> Result<(), StepError> {
        // One whose optimizer has failed has its points all the same.
        if self.status == "red" && self.optimizer.is_none() {
            return Err(StepError::new(
                "qdrant.broken",
                format!("collection {name} is red: an operation on it failed"),
            )
            .help("its own log says which; a snapshot of it could not be trusted"));
        }
        if self.transfers > 0 {
            let shards = if self.transfers == 1 { "a shard is" } else { "shards are" };
            let message = format!("{shards} being moved, of collection {name}");
            return Err(
                StepError::transient("qdrant.moving", message).help("try again once the transfer is over")
            );
        }
        match self.uncovered().as_slice() {
            [] => Ok(()),
            uncovered => {
                let message = format!("of collection {name} no node has an active {}", uncovered.join(", "));
                Err(StepError::new("qdrant.incomplete", message)
                    .help("bring the node back that has it, or recover the shard"))
            }
        }
    }
}

fn held(placement: &Placement) -> Held {
    let (active, others): (Vec<_>, Vec<_>) =
        placement.local_shards.iter().partition(|shard| shard.state == "Active");
    Held {
        shards: active.iter().map(|shard| (shard.shard_id, shard.points_count)).collect(),
        unready: others.iter().map(|shard| (shard.shard_id, shard.state.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info(status: &str) -> Info {
        serde_json::from_value(json!({ "status": status, "config": { "params": {} } })).unwrap()
    }

    /// A node with these shards of three, each with its state.
    fn node(local: &[(u32, &str)], moving: usize) -> Placement {
        let remote = (0..3u32).filter(|id| !local.iter().any(|(own, _)| own == id));
        serde_json::from_value(json!({
            "peer_id": 1,
            "shard_count": 3,
            "local_shards": local.iter().map(|(id, state)| json!({ "shard_id": id, "points_count": 5, "state": state })).collect::<Vec<_>>(),
            "remote_shards": remote.map(|id| json!({ "shard_id": id })).collect::<Vec<_>>(),
            "shard_transfers": vec![json!({}); moving],
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(status: &str, nodes: &[Placement], expected: Result<(), (&str, &str)>) {
        let standing = Standing::told(vec![info("green"), info(status)], nodes).unwrap();
        let found = standing.whole("c");
        let found = found.as_ref().map_err(|error| (error.code.as_str(), error.message.as_str()));
        assert_eq!(found.copied(), expected);
    }

    #[test]
    fn a_collection_is_whole_or_what_is_missing_is_told() {
        let all = [node(&[(0, "Active"), (2, "Active")], 0), node(&[(1, "Active")], 0)];
        check("green", &all, Ok(()));
        check("yellow", &all, Ok(()));
        check("red", &all, Err(("qdrant.broken", "collection c is red: an operation on it failed")));
        let moving = [node(&[(0, "Active"), (2, "Active")], 1), node(&[(1, "Active")], 1)];
        check("green", &moving, Err(("qdrant.moving", "a shard is being moved, of collection c")));
        let some = [node(&[(0, "Active")], 0), node(&[(1, "Dead")], 0)];
        let words = "of collection c no node has an active shard 1 (Dead), shard 2 (on no node)";
        check("green", &some, Err(("qdrant.incomplete", words)));
    }

    #[test]
    fn a_collection_rests_when_nothing_goes_on_in_it() {
        let all = [node(&[(0, "Active"), (1, "Active"), (2, "Active")], 0)];
        let rests = |status: &str, waiting: u64, nodes: &[Placement]| {
            let queue = json!({ "status": status, "config": { "params": {} }, "update_queue": { "length": waiting } });
            Standing::told(vec![serde_json::from_value(queue).unwrap()], nodes).unwrap().rests()
        };
        assert!(rests("green", 0, &all) && rests("grey", 0, &all));
        assert!(!rests("yellow", 0, &all) && !rests("green", 1, &all) && !rests("red", 0, &all));
        assert!(!rests("green", 0, &[node(&[(0, "Active"), (1, "Active"), (2, "Recovery")], 0)]));
        assert!(!rests("green", 0, &[node(&[(0, "Active"), (1, "Active"), (2, "Active")], 1)]));
    }

    #[test]
    fn a_failed_optimizer_is_no_failed_operation() {
        let failed = json!({ "status": "red", "config": {}, "optimizer_status": { "error": "no space" } });
        let all = [node(&[(0, "Active"), (1, "Active"), (2, "Active")], 0)];
        let standing = Standing::told(vec![serde_json::from_value(failed).unwrap()], &all).unwrap();
        assert_eq!(standing.optimizer.as_deref(), Some("no space"));
        assert!(standing.whole("c").is_ok() && !standing.rests());
    }

    #[test]
    fn several_replicas_and_keys_want_snapshots_of_single_shards() {
        let told = |params: Value, nodes: &[Placement]| {
            let info = serde_json::from_value(json!({ "status": "green", "config": { "params": params } }));
            Standing::told(vec![info.unwrap()], nodes).unwrap().is_by_shard()
        };
        let single = [node(&[(0, "Active"), (2, "Active")], 0), node(&[(1, "Active")], 0)];
        assert!(
            !told(json!({ "replication_factor": 2 }), &single),
            "what there is counts, not what was asked for"
        );
        assert!(told(json!({ "sharding_method": "custom" }), &single));
        let double = [node(&[(0, "Active"), (1, "Dead")], 0), node(&[(1, "Active"), (2, "Active")], 0)];
        assert!(told(json!({}), &double));
    }

    #[test]
    fn what_each_node_holds_is_what_is_active_there() {
        let nodes = [node(&[(2, "Active"), (0, "Active"), (1, "Partial")], 0), node(&[(1, "Active")], 0)];
        let standing = Standing::told(vec![info("grey"), info("yellow")], &nodes).unwrap();
        assert_eq!(standing.held[0].shards, BTreeMap::from([(0, 5), (2, 5)]));
        assert_eq!((standing.status.as_str(), standing.is_settled()), ("yellow", false));
        assert!(standing.whole("c").is_ok(), "the other copy is active");
    }
}
