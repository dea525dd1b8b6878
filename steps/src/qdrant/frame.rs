//! The collection that snapshots of single shards are put into: [`Frame`] makes it and knows where its shards are.

use std::collections::BTreeMap;
use std::time::Duration;

use drydock_step::target::Collections;
use drydock_step::{Ctx, StepError};
use serde_json::{Value, json};

use super::belongings::make_indexes;
use super::entry::CollectionEntry;
use super::members::Member;
use super::requests;
use super::standing::Standing;
use super::target::QdrantConnection;

/// Between two looks at a collection that is being made.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A collection by the name that it gets, as `entry` describes it.
pub(super) struct Frame<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) qdrant: &'a QdrantConnection,
    pub(super) members: &'a [Member],
    pub(super) name: &'a str,
    pub(super) entry: &'a CollectionEntry,
}

impl<'a> Frame<'a> {
    /// The collection, with its payload indexes, its keys and an active replica of every shard; what is there of it is left.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn made(&self) -> Result<Standing, StepError> {
        if !self.is_there().await? {
            self.ctx.note(json!({ "making": self.name })).await?;
            let params = json!({ "params": self.entry.params });
            let config = if self.entry.config.is_null() { &params } else { &self.entry.config };
            let made = self.qdrant.ask::<bool>(&requests::create_collection(self.name, config)).await;
            // Whether a lost request made it, the list tells.
            if let Err(error) = made
                && !(error.unknown && self.is_there().await?)
            {
                return Err(error);
            }
            // Before the data: the server drops indexes of segments that it does not know of.
            make_indexes(self.qdrant, self.name, &self.entry.payload_indexes, &serde_json::Map::new())
                .await?;
        }
        let has = Standing::of(self.members, self.name).await?;
        for (key, shards) in keys(self.entry) {
            if !has.keys.values().any(|known| *known == key) {
                let made =
                    self.qdrant.ask::<bool>(&requests::create_shard_key(self.name, &key, shards)).await;
                made.or_else(|error| if error.unknown { Ok(true) } else { Err(error) })?;
            }
        }
        loop {
            let standing = Standing::of(self.members, self.name).await?;
            if standing.uncovered().is_empty() {
                return Ok(standing);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn is_there(&self) -> Result<bool, StepError> {
        Ok(self.qdrant.collection_names().await?.iter().any(|known| known == self.name))
    }

    /// Where a shard of the backup goes: a node that has it, and its id there.
    ///
    /// # Errors
    /// `qdrant.sharding` when there is no such shard.
    pub(super) fn place(
        &self,
        standing: &Standing,
        id: u32,
        key: Option<&Value>,
    ) -> Result<(&'a Member, u32), StepError> {
        let id = match key {
            Some(key) => self.of_key(standing, id, key)?,
            None => id,
        };
        let active = self.members.iter().zip(&standing.held).find(|(_, held)| held.shards.contains_key(&id));
        match active {
            Some((member, _)) => Ok((member, id)),
            None => Err(self.refused(format!("collection {} has no shard {id}", self.name))),
        }
    }

    /// The shard of a key that stands for one of the backup. A key's only shard may have another id; several are told apart by their
    /// ids alone, by which the server finds a point again.
    fn of_key(&self, standing: &Standing, id: u32, key: &Value) -> Result<u32, StepError> {
        let here: Vec<u32> =
            standing.keys.iter().filter(|(_, known)| *known == key).map(|(id, _)| *id).collect();
        let there: Vec<u32> = self
            .entry
            .snapshots
            .iter()
            .filter(|one| one.shard_key.as_ref() == Some(key))
            .filter_map(|one| one.shard)
            .collect();
        match here.as_slice() {
            [only] if there.len() == 1 => Ok(*only),
            several if several.contains(&id) && several.len() == there.len() => Ok(id),
            _ => Err(self.refused(format!(
                "the shards of key {key} have the ids {there:?} in the backup and {here:?} in collection {}",
                self.name
            ))),
        }
    }

    fn refused(&self, message: String) -> StepError {
        StepError::new("qdrant.sharding", message)
            .help("create the collection with the same parameters and its shard keys in their old order, or remove it so that it is made anew")
    }
}

/// The keys of a backup with how many shards each has, in the order of their ids: the server counts up.
fn keys(entry: &CollectionEntry) -> Vec<(Value, usize)> {
    let mut shards: BTreeMap<u32, &Value> = BTreeMap::new();
    shards.extend(entry.snapshots.iter().filter_map(|one| Some((one.shard?, one.shard_key.as_ref()?))));
    let mut keys: Vec<(Value, usize)> = Vec::new();
    for key in shards.into_values() {
        match keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, count)) => *count += 1,
            None => keys.push((key.clone(), 1)),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_in_the_order_of_their_shards() {
        let at = "2026-11-22T06:46:22Z";
        let snapshot = |shard: u32, key: Value| json!({ "node": "n", "shards": [shard], "shard": shard, "shard_key": key, "name": "s", "started_at": at, "answered_at": at });
        let entry = json!({
            "collection": "c", "points": [1, 1], "params": {},
            "snapshots": [snapshot(3, json!("b")), snapshot(1, json!(7)), snapshot(2, json!("b"))],
        });
        let entry: CollectionEntry = serde_json::from_value(entry).unwrap();
        assert_eq!(keys(&entry), [(json!(7), 1), (json!("b"), 2)]);
    }
}
