//! Transfers of shards between nodes. They take no time but looks: one goes on when a node has been asked for
//! the collection's state often enough, so that whoever does not look again is caught. Main type: [`Transfer`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::replica::ReplicaState;

/// How many stages a transfer has.
const STAGES: u32 = 2;

/// How a shard is transferred. The data are the same afterwards; the states on the way differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    StreamRecords,
    Snapshot,
    WalDelta,
}

/// From where to where a shard goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) shard: u32,
    /// Index of the node that has it.
    pub(super) from: usize,
    /// Index of the node that gets it.
    pub(super) to: usize,
}

/// A transfer that is going on.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) way: Way,
    /// Whether the node that has the shard keeps it.
    pub(super) sync: bool,
    pub(super) method: Method,
    stage: u32,
    /// How often each node was looked at in this stage.
    looks: BTreeMap<usize, u32>,
}

impl Transfer {
    /// A transfer that begins.
    pub(super) fn new(way: Way, sync: bool, method: Method) -> Self {
        Self { way, sync, method, stage: 0, looks: BTreeMap::new() }
    }

    /// Notes a look at a node, the `patience`th of which ends the stage: whether it got on, and whether it is done.
    pub(super) fn looked_at(&mut self, node: usize, patience: u32) -> (bool, bool) {
        let looks = self.looks.entry(node).or_default();
        *looks += 1;
        if *looks < patience {
            return (false, false);
        }
        self.stage += 1;
        self.looks.clear();
        (true, self.stage >= STAGES)
    }

    /// The state of the replica that is being filled.
    pub(super) fn state(&self) -> ReplicaState {
        match self.method {
            Method::Snapshot | Method::WalDelta if self.stage == 0 => ReplicaState::Recovery,
            _ => ReplicaState::Partial,
        }
    }

    /// What it is doing, in the real server's words. Time does not pass here.
    pub(super) fn comment(&self) -> &'static str {
        if self.stage == 0 { "transferring (0.00s)" } else { "syncing queued updates (0.00s)" }
    }

    /// Whether it is from or to a node, of this shard.
    pub(super) fn touches(&self, shard: u32, node: usize) -> bool {
        self.way.shard == shard && (self.way.from == node || self.way.to == node)
    }
}
