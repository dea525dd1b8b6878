//! The collections of a cluster, held once for all its nodes: shards with their owners, aliases, updates
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
use super::ring::Ring;

/// What the nodes of one cluster share.
#[derive(Debug)]
pub(super) struct Store {
    /// The peer id of each node, by its index.
    pub(super) peers: Vec<u64>,
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
    pub(super) shards: Vec<Shard>,
    /// Payload indexes: field to schema.
    pub(super) indexes: IndexMap<String, Value>,
    /// Snapshots made so far, which tells two of the same data apart.
    pub(super) snapshots: u64,
    ring: Ring,
    queue: VecDeque<Update>,
}

/// One shard of a collection.
#[derive(Debug, Clone, Default)]
pub(super) struct Shard {
    /// Index of the node that holds it.
    pub(super) owner: usize,
    pub(super) points: BTreeMap<PointId, Arc<Point>>,
    /// The number of the last operation.
    pub(super) operations: u64,
    /// A recovery destroyed the old data and could not load the new.
    pub(super) broken: bool,
}

/// A point as it is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPoint {
    pub(super) id: PointId,
    pub(super) vector: Vec<f32>,
    pub(super) payload: Option<Map<String, Value>>,
}

/// Which points an update is for.
#[derive(Debug, Clone)]
pub(super) enum Selector {
    Ids(Vec<PointId>),
    Filter(Filter),
}

/// A change of points.
#[derive(Debug, Clone)]
pub(super) enum Update {
    Upsert(Vec<NewPoint>),
    Delete(Selector),
    SetPayload(Selector, Map<String, Value>),
}

impl Store {
    /// No collections yet, on nodes with these peer ids.
    pub(super) fn new(peers: Vec<u64>) -> Self {
        Self { peers, state: RwLock::default() }
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

    /// Whether there is more than one node.
    pub(super) fn clustered(&self) -> bool {
        self.peers.len() > 1
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

    /// Creates a collection, its shards spread over `nodes` nodes, the least loaded first.
    pub(super) fn create(&mut self, name: &str, config: Config, nodes: usize) -> Result<(), Refusal> {
        if self.collections.contains_key(name) || self.aliases.contains_key(name) {
            return Err(Refusal::Exists(format!("Collection `{name}` already exists!")));
        }
        let mut load = vec![0usize; nodes.max(1)];
        let held = self.collections.values().flat_map(|collection| &collection.shards);
        for shard in held {
            if let Some(load) = load.get_mut(shard.owner) {
                *load += 1;
            }
        }
        let mut shards = Vec::new();
        for _ in 0..config.params.shard_number {
            let least = load.iter_mut().enumerate().min_by_key(|(_, load)| **load);
            let owner = least.map_or(0, |(owner, load)| {
                *load += 1;
                owner
            });
            shards.push(Shard { owner, ..Shard::default() });
        }
        let ring = Ring::new(config.params.shard_number);
        let collection = Collection {
            config,
            shards,
            indexes: IndexMap::new(),
            snapshots: 0,
            ring,
            queue: VecDeque::new(),
        };
        self.collections.insert(name.to_owned(), collection);
        Ok(())
    }

    /// Deletes a collection with its aliases; false when there is none.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        let own = self.resolve(name).to_owned();
        self.aliases.retain(|_, collection| *collection != own);
        self.collections.remove(&own).is_some()
    }
}

impl Collection {
    /// Refuses when a shard could not be restored: then neither reads nor writes are served.
    pub(super) fn usable(&self) -> Result<&Self, Refusal> {
        if self.shards.iter().any(|shard| shard.broken) {
            return Err(Refusal::Service("Failed to restore local replica".into()));
        }
        Ok(self)
    }

    /// All points, shard by shard.
    pub(super) fn points(&self) -> impl Iterator<Item = (&PointId, &Arc<Point>)> {
        self.shards.iter().flat_map(|shard| &shard.points)
    }

    /// The point with this id.
    pub(super) fn point(&self, id: &PointId) -> Option<&Arc<Point>> {
        self.shards.get(self.home(id))?.points.get(id)
    }

    /// Refuses an update that could not be applied.
    pub(super) fn check(&self, update: &Update) -> Result<(), Refusal> {
        self.usable()?;
        let expected = self.config.params.vectors.size;
        let Update::Upsert(points) = update else { return Ok(()) };
        match points.iter().find(|point| point.vector.len() != expected) {
            Some(point) => Err(Refusal::BadInput(format!(
                "Vector dimension error: expected dim: {expected}, got {}",
                point.vector.len()
            ))),
            None => Ok(()),
        }
    }

    /// Applies a [checked](Self::check) update after all that wait, and returns its operation's number.
    pub(super) fn apply(&mut self, update: Update) -> u64 {
        self.settle();
        self.apply_now(update)
    }

    /// Puts a [checked](Self::check) update behind those that wait, and returns the number it will have.
    pub(super) fn enqueue(&mut self, update: Update) -> u64 {
        self.queue.push_back(update);
        let last = self.shards.iter().map(|shard| shard.operations).max().unwrap_or(0);
        last + self.queue.len() as u64
    }

    /// Applies all updates that wait.
    pub(super) fn settle(&mut self) {
        while let Some(update) = self.queue.pop_front() {
            self.apply_now(update);
        }
    }

    /// How many updates wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Forgets the updates that wait: a recovery replaces what they were for.
    pub(super) fn forget_waiting(&mut self) {
        self.queue.clear();
    }

    /// Counts an operation that changes no point, such as a new payload index.
    pub(super) fn count_operation(&mut self) -> u64 {
        self.settle();
        self.shards.iter_mut().map(Shard::next_operation).max().unwrap_or(0)
    }

    fn apply_now(&mut self, update: Update) -> u64 {
        match update {
            Update::Upsert(points) => self.upsert(points),
            Update::Delete(selector) => self.change(&selector, |shard, id, _| {
                shard.points.remove(id);
            }),
            Update::SetPayload(selector, payload) => self.change(&selector, |shard, id, operation| {
                if let Some(point) = shard.points.get_mut(id) {
                    let point = Arc::make_mut(point);
                    point.payload.extend(payload.clone());
                    point.version = operation;
                }
            }),
        }
    }

    fn upsert(&mut self, points: Vec<NewPoint>) -> u64 {
        let distance = self.config.params.vectors.distance;
        let mut by_shard: BTreeMap<usize, Vec<NewPoint>> = BTreeMap::new();
        for point in points {
            by_shard.entry(self.home(&point.id)).or_default().push(point);
        }
        let mut last = 0;
        for (at, points) in by_shard {
            let Some(shard) = self.shards.get_mut(at) else { continue };
            let version = shard.next_operation();
            last = last.max(version);
            for NewPoint { id, vector, payload } in points {
                let (vector, payload) = (distance.stored(vector), payload.unwrap_or_default());
                shard.points.insert(id, Arc::new(Point { vector, payload, version }));
            }
        }
        last
    }

    fn change(&mut self, selector: &Selector, act: impl Fn(&mut Shard, &PointId, u64)) -> u64 {
        let mut last = 0;
        let ring = &self.ring;
        for (at, shard) in self.shards.iter_mut().enumerate() {
            let chosen: Vec<PointId> = match selector {
                Selector::Ids(ids) => {
                    ids.iter().filter(|id| ring.shard_of(id) as usize == at).cloned().collect()
                }
                Selector::Filter(filter) => shard.passing(filter),
            };
            if chosen.is_empty() && matches!(selector, Selector::Ids(_)) {
                continue;
            }
            let operation = shard.next_operation();
            last = last.max(operation);
            for id in &chosen {
                act(shard, id, operation);
            }
        }
        last
    }

    fn home(&self, id: &PointId) -> usize {
        self.ring.shard_of(id) as usize
    }
}

impl Shard {
    fn next_operation(&mut self) -> u64 {
        self.operations += 1;
        self.operations
    }

    fn passing(&self, filter: &Filter) -> Vec<PointId> {
        let passing = self.points.iter().filter(|(id, point)| filter.passes(id, &point.payload));
        passing.map(|(id, _)| id.clone()).collect()
    }
}
