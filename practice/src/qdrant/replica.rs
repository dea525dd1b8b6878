//! Shards and their replicas: which of them are read, which are written, and which win. Main types: [`Shard`],
//! [`Replica`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::point::{Point, PointId};

/// What a replica is to the others. The real server has more; these are the ones that can come about here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum ReplicaState {
    /// Read and written.
    #[default]
    Active,
    /// Lost its place, and is filled again from an active one.
    Dead,
    /// Written, and being filled by a transfer.
    Partial,
    /// Being filled by a transfer, and not yet written.
    Recovery,
    /// A snapshot is being put into it.
    ManualRecovery,
}

/// The name of a part of a collection with custom sharding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum ShardKey {
    Number(u64),
    Keyword(String),
}

/// Which parts of a collection a request is for: one key, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum ShardKeySelector {
    One(ShardKey),
    Many(Vec<ShardKey>),
}

/// One shard of a collection, with its replicas by the index of the node that has them.
#[derive(Debug, Clone, Default)]
pub(super) struct Shard {
    /// What it is the part of, in a collection with custom sharding.
    pub(super) key: Option<ShardKey>,
    pub(super) replicas: BTreeMap<usize, Replica>,
}

/// The data of a shard on one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    pub(super) state: ReplicaState,
    pub(super) points: BTreeMap<PointId, Arc<Point>>,
    /// The number of the last operation.
    pub(super) operations: u64,
    /// A recovery destroyed the old data and could not load the new.
    pub(super) broken: bool,
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Keyword(text) => f.write_str(text),
        }
    }
}

impl ShardKeySelector {
    /// The keys, as they are given.
    pub(super) fn keys(&self) -> &[ShardKey] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Many(keys) => keys,
        }
    }
}

impl Shard {
    /// A shard with an empty, active replica on each of these nodes.
    pub(super) fn on(nodes: impl IntoIterator<Item = usize>, key: Option<ShardKey>) -> Self {
        Self { key, replicas: nodes.into_iter().map(|node| (node, Replica::default())).collect() }
    }

    /// The replica that `node` reads: its own where that is sound, else another's.
    pub(super) fn read_by(&self, node: usize) -> Option<&Replica> {
        let own = self.replicas.get(&node).filter(|replica| replica.readable());
        own.or_else(|| self.replicas.values().find(|replica| replica.readable()))
    }

    /// The nodes other than `node` whose replica is active.
    pub(super) fn active_beside(&self, node: usize) -> Vec<usize> {
        let others = self.replicas.iter().filter(|(other, _)| **other != node);
        others.filter(|(_, replica)| replica.state == ReplicaState::Active).map(|(other, _)| *other).collect()
    }

    /// Gives the replica on `node` a state; it is made where there is none. The last active one stays active,
    /// which is told by `false`.
    pub(super) fn set_state(&mut self, node: usize, state: ReplicaState) -> bool {
        let is_active = self.replicas.get(&node).is_some_and(|own| own.state == ReplicaState::Active);
        if state != ReplicaState::Active && is_active && self.active_beside(node).is_empty() {
            return false;
        }
        self.replicas.entry(node).or_default().state = state;
        true
    }
}

impl Replica {
    /// Whether reads are answered from it.
    pub(super) fn readable(&self) -> bool {
        self.state == ReplicaState::Active && !self.broken
    }

    /// Whether updates are put into it.
    pub(super) fn updatable(&self) -> bool {
        matches!(self.state, ReplicaState::Active | ReplicaState::Partial) && !self.broken
    }

    /// Counts an operation, and returns its number.
    pub(super) fn next_operation(&mut self) -> u64 {
        self.operations += 1;
        self.operations
    }

    /// The ids of the points that pass.
    pub(super) fn passing(&self, filter: &Filter) -> Vec<PointId> {
        let passing = self.points.iter().filter(|(id, point)| filter.passes(id, point));
        passing.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_active_replica_stays_active() {
        let mut shard = Shard::on([0, 2], None);
        assert!(shard.set_state(2, ReplicaState::Dead));
        assert!(!shard.set_state(0, ReplicaState::ManualRecovery), "nobody else could be read");
        assert_eq!(shard.replicas[&0].state, ReplicaState::Active);
        assert!(shard.set_state(1, ReplicaState::Partial), "a new one");
        assert_eq!((shard.active_beside(2), shard.active_beside(0)), (vec![0], vec![]));
    }

    #[test]
    fn a_node_reads_its_own_replica_where_that_is_sound() {
        let mut shard = Shard::on([0, 1], None);
        shard.replicas.get_mut(&0).unwrap().operations = 7;
        assert_eq!(shard.read_by(1).map(|replica| replica.operations), Some(0));
        assert!(shard.set_state(1, ReplicaState::Partial));
        assert_eq!(shard.read_by(1).map(|replica| replica.operations), Some(7));
        shard.replicas.get_mut(&0).unwrap().broken = true;
        assert!(shard.read_by(2).is_none());
    }
}
