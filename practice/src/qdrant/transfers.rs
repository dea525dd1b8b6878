//! How transfers of a collection's shards begin, get on and end, and how dead replicas are filled again. Main call:
//! [`Collection::looked_at`].

use super::refusal::Refusal;
use super::replica::ReplicaState;
use super::store::Collection;
use super::transfer::{Method, Transfer, Way};

impl Collection {
    /// Notes that the state of the collection was looked at on `node`: transfers go on, dead replicas begin to
    /// be filled again. A stage ends with the `patience`th look at one node.
    pub(super) fn looked_at(&mut self, node: usize, patience: u32) {
        let mut finished = Vec::new();
        for transfer in &mut self.transfers {
            match transfer.looked_at(node, patience) {
                (_, true) => finished.push(transfer.way),
                (true, false) => {
                    if let Some(shard) = self.shards.get_mut(&transfer.way.shard) {
                        shard.set_state(transfer.way.to, transfer.state());
                    }
                }
                (false, false) => {}
            }
        }
        for way in finished {
            self.finish_transfer(way);
        }
        self.refill_dead();
    }

    /// Begins a transfer.
    ///
    /// # Errors
    /// When the shard is not active where it should come from, or one of the two is busy with it already.
    pub(super) fn begin_transfer(&mut self, way: Way, sync: bool, method: Method) -> Result<(), Refusal> {
        let Way { shard: id, from, to } = way;
        let busy = |transfer: &&Transfer| transfer.touches(id, from) || transfer.touches(id, to);
        if let Some(Transfer { way: other, .. }) = self.transfers.iter().find(busy) {
            return Err(Refusal::BadRequest(format!(
                "Shard {id} is already involved in transfer {} -> {}",
                self.peer(other.from),
                self.peer(other.to)
            )));
        }
        let not_active = Refusal::BadRequest(format!("Shard {id} is not active on peer {}", self.peer(from)));
        let Some(shard) = self.shards.get_mut(&id) else {
            return Err(Refusal::Service(format!("Shard {id} does not exist")));
        };
        if !shard.replicas.get(&from).is_some_and(|source| source.state == ReplicaState::Active) {
            return Err(not_active);
        }
        let transfer = Transfer::new(way, sync, method);
        shard.set_state(to, transfer.state());
        self.transfers.push(transfer);
        Ok(())
    }

    /// Ends a transfer before it is done: a replica that was to stay beside its source is dead, one that was to
    /// replace it is removed. `false` where there is no such transfer.
    pub(super) fn abort_transfer(&mut self, way: Way) -> bool {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.way == way) else { return false };
        let transfer = self.transfers.remove(at);
        if let Some(shard) = self.shards.get_mut(&way.shard) {
            if transfer.sync {
                shard.set_state(way.to, ReplicaState::Dead);
            } else {
                shard.replicas.remove(&way.to);
            }
        }
        true
    }

    /// Gives a replica a state, as far as the last active one allows it.
    pub(super) fn set_state(&mut self, id: u32, node: usize, state: ReplicaState) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.set_state(node, state);
        }
    }

    /// Marks a replica as dead, with what is being transferred from or to it.
    pub(super) fn kill_replica(&mut self, id: u32, node: usize) {
        let shard = self.shards.get_mut(&id);
        if shard.is_some_and(|shard| shard.set_state(node, ReplicaState::Dead)) {
            self.abort_transfers_of(id, node);
        }
    }

    /// Removes a replica.
    ///
    /// # Errors
    /// When there is none, or it is the last that has the data.
    pub(super) fn drop_replica(&mut self, id: u32, node: usize) -> Result<(), Refusal> {
        let peer = self.peer(node);
        let no_shard = || Refusal::BadRequest(format!("Shard {id} of the collection does not exist"));
        let shard = self.shards.get(&id).ok_or_else(no_shard)?;
        if !shard.replicas.contains_key(&node) {
            return Err(Refusal::BadRequest(format!("Peer {peer} has no replica of shard {id}")));
        }
        if shard.active_beside(node).is_empty() {
            return Err(Refusal::BadRequest(format!(
                "Shard {id} must have at least one active replica after removing {peer}"
            )));
        }
        self.abort_transfers_of(id, node);
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.replicas.remove(&node);
        }
        Ok(())
    }

    fn abort_transfers_of(&mut self, id: u32, node: usize) {
        let related: Vec<Way> = self
            .transfers
            .iter()
            .filter(|transfer| transfer.touches(id, node))
            .map(|transfer| transfer.way)
            .collect();
        for way in related {
            self.abort_transfer(way);
        }
    }

    fn finish_transfer(&mut self, way: Way) {
        self.settle();
        let Some(at) = self.transfers.iter().position(|transfer| transfer.way == way) else { return };
        let transfer = self.transfers.remove(at);
        let Some(shard) = self.shards.get_mut(&way.shard) else { return };
        let Some(source) = shard.replicas.get(&way.from).cloned() else { return };
        shard.replicas.insert(way.to, source);
        if !transfer.sync {
            shard.replicas.remove(&way.from);
        }
    }

    /// Begins to fill dead replicas from active ones, as far as a node may take part: one transfer in and one
    /// out at a time.
    fn refill_dead(&mut self) {
        let mut ways = Vec::new();
        for (id, shard) in &self.shards {
            for (to, _) in shard.replicas.iter().filter(|(_, replica)| replica.state == ReplicaState::Dead) {
                if let Some(from) = shard.active_beside(*to).first() {
                    ways.push(Way { shard: *id, from: *from, to: *to });
                }
            }
        }
        for way in ways {
            let busy = |node: usize| {
                self.transfers.iter().any(|other| other.way.from == node || other.way.to == node)
            };
            if !busy(way.from) && !busy(way.to) {
                // What was looked up a moment ago is not refused.
                let _ = self.begin_transfer(way, true, Method::WalDelta);
            }
        }
    }
}
