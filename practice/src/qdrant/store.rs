//! The collections of a cluster, held once for all its nodes: shards with their replicas, aliases, updates
//! that wait to be applied. Main types: [`Store`], [`Collection`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::Config;
use super::filter::Filter;
use super::point::{Point, PointId};
use super::refusal::Refusal;
use super::replica::{Replica, Shard, ShardKey};
use super::ring::Ring;
use super::transfer::Transfer;
use super::vector::Vectors;

/// What the nodes of one cluster share.
#[derive(Debug)]
pub(super) struct Store {
    /// The peer id of each node, by its index.
    pub(super) peers: Arc<[u64]>,
    clustered: bool,
    state: RwLock<State>,
}

/// All collections and aliases.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) collections: BTreeMap<String, Collection>,
    /// Alias to collection.
    pub(super) aliases: BTreeMap<String, String>,
}

/// One collection.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) config: Config,
    /// By their ids: from 0 without gaps, or from 1 on where shards have keys.
    pub(super) shards: BTreeMap<u32, Shard>,
    /// What is being moved between the nodes.
    pub(super) transfers: Vec<Transfer>,
    /// Payload indexes: field to schema.
    pub(super) indexes: IndexMap<String, Value>,
    /// Snapshots made so far, which tells two of the same data apart.
    pub(super) snapshots: u64,
    /// The peer id of each node.
    peers: Arc<[u64]>,
    /// Of each key; of none where shards have no keys.
    rings: BTreeMap<Option<ShardKey>, Ring>,
    queue: VecDeque<Update>,
}

/// What a node reads of a collection: a sound replica of each shard.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) collection: &'a Collection,
    replicas: BTreeMap<u32, &'a Replica>,
}

/// A point as it is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPoint {
    pub(super) id: PointId,
    pub(super) vector: Vectors,
    pub(super) payload: Option<Map<String, Value>>,
}

/// Which points an update is for.
#[derive(Debug, Clone)]
pub(super) enum Selector {
    Ids(Vec<PointId>),
    Filter(Filter),
}

/// A change of points, in the parts of the collection with these keys.
#[derive(Debug, Clone)]
pub(super) struct Update {
    pub(super) keys: Option<Vec<ShardKey>>,
    pub(super) change: Change,
}

/// What is done to points.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Upsert(Vec<NewPoint>),
    Delete(Selector),
    SetPayload(Selector, Map<String, Value>),
}

impl Store {
    /// No collections yet, on nodes with these peer ids. One node alone may be a cluster as well.
    pub(super) fn new(peers: Vec<u64>, clustered: bool) -> Self {
        Self { clustered: clustered || peers.len() > 1, peers: peers.into(), state: RwLock::default() }
    }

    /// The state, to read. A panic of another holder cannot leave it half-changed in a way that matters to
    /// a stand-in, so poison is ignored.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to change.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the nodes are a cluster.
    pub(super) fn clustered(&self) -> bool {
        self.clustered
    }

    /// The index of the node with this peer id.
    pub(super) fn node_of(&self, peer: u64) -> Option<usize> {
        self.peers.iter().position(|known| *known == peer)
    }
}

impl State {
    /// The collection's own name, for a name that may be an alias.
    pub(super) fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// The collection of this name or alias.
    pub(super) fn collection(&self, name: &str) -> Result<&Collection, Refusal> {
        self.collections.get(self.resolve(name)).ok_or_else(|| Refusal::no_collection(name))
    }

    /// The collection of this name or alias, to change.
    pub(super) fn collection_mut(&mut self, name: &str) -> Result<&mut Collection, Refusal> {
        let own = self.resolve(name).to_owned();
        self.collections.get_mut(&own).ok_or_else(|| Refusal::no_collection(name))
    }

    /// Creates a collection. Its shards lie on the nodes in turn, beginning with the one that has the fewest; a
    /// real cluster begins anywhere. Where shards have keys, none is made yet.
    pub(super) fn create(&mut self, name: &str, config: Config, peers: &Arc<[u64]>) -> Result<(), Refusal> {
        if self.collections.contains_key(name) || self.aliases.contains_key(name) {
            return Err(Refusal::Exists(format!("Collection `{name}` already exists!")));
        }
        let number = if config.params.custom_sharding() { 0 } else { config.params.shard_number };
        let pool = self.emptiest(peers.len());
        let shards = in_turn(&pool, config.params.replication_factor, number);
        let shards = (0..).zip(shards.into_iter().map(|nodes| Shard::on(nodes, None))).collect();
        let mut collection = Collection {
            config,
            shards,
            transfers: Vec::new(),
            indexes: IndexMap::new(),
            snapshots: 0,
            peers: Arc::clone(peers),
            rings: BTreeMap::new(),
            queue: VecDeque::new(),
        };
        collection.lay_rings();
        self.collections.insert(name.to_owned(), collection);
        Ok(())
    }

    /// The nodes, those with the fewest replicas first.
    pub(super) fn emptiest(&self, nodes: usize) -> Vec<usize> {
        let shards = || self.collections.values().flat_map(|collection| collection.shards.values());
        let load = |node: &usize| shards().filter(|shard| shard.replicas.contains_key(node)).count();
        let mut pool: Vec<usize> = (0..nodes.max(1)).collect();
        pool.sort_by_key(load);
        pool
    }

    /// Deletes a collection with its aliases; false when there is none.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        let own = self.resolve(name).to_owned();
        self.aliases.retain(|_, collection| *collection != own);
        self.collections.remove(&own).is_some()
    }
}

/// The nodes of each of `number` shards with `factor` replicas: one after another of the pool. No node has two
/// of one shard.
pub(super) fn in_turn(pool: &[usize], factor: u32, number: u32) -> Vec<Vec<usize>> {
    let factor = pool.len().min(factor as usize);
    let mut turn = pool.iter().copied().cycle();
    (0..number).map(|_| turn.by_ref().take(factor).collect()).collect()
}

impl Collection {
    /// What `node` reads of the parts with these keys, of everything without.
    ///
    /// # Errors
    /// For an unknown key, and where a shard has no sound replica: then nothing is answered.
    pub(super) fn view(&self, node: usize, keys: Option<&[ShardKey]>) -> Result<View<'_>, Refusal> {
        let mut ids: Vec<u32> = Vec::new();
        for key in keys.unwrap_or_default() {
            let unknown = || Refusal::BadRequest(format!("Shard key {key} not found"));
            ids.extend(self.rings.get(&Some(key.clone())).ok_or_else(unknown)?.shards());
        }
        let wanted = |id: &u32| keys.is_none() || ids.contains(id);
        let mut replicas = BTreeMap::new();
        for (id, shard) in self.shards.iter().filter(|(id, _)| wanted(id)) {
            let replica = shard.read_by(node).ok_or_else(|| self.unreadable(*id, node))?;
            replicas.insert(*id, replica);
        }
        Ok(View { collection: self, replicas })
    }

    fn unreadable(&self, id: u32, node: usize) -> Refusal {
        let broken =
            self.shards.get(&id).is_some_and(|shard| shard.replicas.values().any(|replica| replica.broken));
        Refusal::Service(if broken {
            "Failed to restore local replica".into()
        } else {
            format!(
                "The replica set for shard {id} on peer {} does not have enough active replicas",
                self.peer(node)
            )
        })
    }

    /// The peer id of a node.
    pub(super) fn peer(&self, node: usize) -> u64 {
        self.peers.get(node).copied().unwrap_or(0)
    }

    /// Whether the data that `node` has can be read: a recovery may have destroyed them.
    pub(super) fn sound_on(&self, node: usize) -> bool {
        !self.shards.values().any(|shard| shard.replicas.get(&node).is_some_and(|replica| replica.broken))
    }

    /// Refuses an update that could not be applied.
    pub(super) fn check(&self, update: &Update, node: usize) -> Result<(), Refusal> {
        for id in self.rings_of(update.keys.as_deref())?.iter().flat_map(|ring| ring.shards()) {
            let written =
                self.shards.get(id).is_some_and(|shard| shard.replicas.values().any(Replica::readable));
            if !written {
                return Err(self.unreadable(*id, node));
            }
        }
        let Change::Upsert(points) = &update.change else { return Ok(()) };
        points.iter().try_for_each(|point| self.config.params.check_all(&point.vector))
    }

    /// Applies a [checked](Self::check) update after all that wait, and returns its operation's number.
    pub(super) fn apply(&mut self, update: &Update) -> u64 {
        self.settle();
        self.apply_now(update)
    }

    /// Puts a [checked](Self::check) update behind those that wait, and returns the number it will have.
    pub(super) fn enqueue(&mut self, update: Update) -> u64 {
        self.queue.push_back(update);
        let replicas = self.shards.values().flat_map(|shard| shard.replicas.values());
        let last = replicas.map(|replica| replica.operations).max().unwrap_or(0);
        last + self.queue.len() as u64
    }

    /// Applies all updates that wait.
    pub(super) fn settle(&mut self) {
        while let Some(update) = self.queue.pop_front() {
            self.apply_now(&update);
        }
    }

    /// How many updates wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Counts an operation that changes no point, such as a new payload index.
    pub(super) fn count_operation(&mut self) -> u64 {
        self.settle();
        let replicas = self.shards.values_mut().flat_map(|shard| shard.replicas.values_mut());
        replicas.filter(|replica| replica.updatable()).map(Replica::next_operation).max().unwrap_or(0)
    }

    /// Lays the rings anew, after shards came or went.
    pub(super) fn lay_rings(&mut self) {
        let mut ids: BTreeMap<Option<ShardKey>, Vec<u32>> = BTreeMap::new();
        for (id, shard) in &self.shards {
            ids.entry(shard.key.clone()).or_default().push(*id);
        }
        self.rings = ids.into_iter().map(|(key, ids)| (key, Ring::new(ids))).collect();
    }

    /// The shards of each key, in the order of the keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&ShardKey, &[u32])> {
        self.rings.iter().filter_map(|(key, ring)| Some((key.as_ref()?, ring.shards())))
    }

    fn rings_of(&self, keys: Option<&[ShardKey]>) -> Result<Vec<&Ring>, Refusal> {
        let Some(keys) = keys else {
            let all = self.rings.get(&None);
            return Ok(vec![all.ok_or_else(|| Refusal::BadInput("Shard key not specified".into()))?]);
        };
        let unknown = |key: &ShardKey| Refusal::BadInput(format!("Shard key {key} not found"));
        keys.iter().map(|key| self.rings.get(&Some(key.clone())).ok_or_else(|| unknown(key))).collect()
    }

    fn apply_now(&mut self, update: &Update) -> u64 {
        let Ok(rings) = self.rings_of(update.keys.as_deref()) else { return 0 };
        let rings: Vec<Ring> = rings.into_iter().cloned().collect();
        let last = rings.iter().map(|ring| match &update.change {
            Change::Upsert(points) => self.upsert(ring, points),
            Change::Delete(selector) => self.change(ring, selector, |replica, id, _| {
                replica.points.remove(id);
            }),
            Change::SetPayload(selector, payload) => self.change(ring, selector, |replica, id, operation| {
                if let Some(point) = replica.points.get_mut(id) {
                    let point = Arc::make_mut(point);
                    point.payload.extend(payload.clone());
                    point.version = operation;
                }
            }),
        });
        last.max().unwrap_or(0)
    }

    fn upsert(&mut self, ring: &Ring, points: &[NewPoint]) -> u64 {
        let mut by_shard: BTreeMap<u32, Vec<(&NewPoint, Vectors)>> = BTreeMap::new();
        for point in points {
            let vectors = self.config.params.stored(&point.vector);
            by_shard.entry(ring.shard_of(&point.id)).or_default().push((point, vectors));
        }
        let mut last = 0;
        for (id, points) in by_shard {
            for replica in self.updated(id) {
                let version = replica.next_operation();
                last = last.max(version);
                for (NewPoint { id, payload, .. }, vectors) in &points {
                    let (vectors, payload) = (vectors.clone(), payload.clone().unwrap_or_default());
                    replica.points.insert(id.clone(), Arc::new(Point { vectors, payload, version }));
                }
            }
        }
        last
    }

    fn change(&mut self, ring: &Ring, selector: &Selector, act: impl Fn(&mut Replica, &PointId, u64)) -> u64 {
        let mut last = 0;
        for at in ring.shards() {
            for replica in self.updated(*at) {
                let chosen: Vec<PointId> = match selector {
                    Selector::Ids(ids) => ids.iter().filter(|id| ring.shard_of(id) == *at).cloned().collect(),
                    Selector::Filter(filter) => replica.passing(filter),
                };
                if chosen.is_empty() && matches!(selector, Selector::Ids(_)) {
                    continue;
                }
                let operation = replica.next_operation();
                last = last.max(operation);
                for id in &chosen {
                    act(replica, id, operation);
                }
            }
        }
        last
    }

    /// The replicas of a shard that an update goes to.
    fn updated(&mut self, id: u32) -> impl Iterator<Item = &mut Replica> {
        let replicas = self.shards.get_mut(&id).into_iter().flat_map(|shard| shard.replicas.values_mut());
        replicas.filter(|replica| replica.updatable())
    }
}

impl<'a> View<'a> {
    /// All points, shard by shard.
    pub(super) fn points(&self) -> impl Iterator<Item = (&'a PointId, &'a Arc<Point>)> {
        self.replicas.values().flat_map(|replica| &replica.points)
    }

    /// The point with this id. Parts with different keys may each have one; the first counts.
    pub(super) fn point(&self, id: &PointId) -> Option<&'a Arc<Point>> {
        self.replicas.values().find_map(|replica| replica.points.get(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_lie_on_the_nodes_in_turn() {
        assert_eq!(in_turn(&[2, 0, 1], 2, 3), [vec![2, 0], vec![1, 2], vec![0, 1]]);
        assert_eq!(in_turn(&[0, 1], 5, 1), [vec![0, 1]], "no node has two of one shard");
    }
}
