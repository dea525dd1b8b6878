//! The snapshots that lie on the servers: [`Listed`], found by [`listing`].

use chrono::NaiveDateTime;
use drydock_recovery::Time;
use drydock_step::StepError;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::answers::{Description, Placement};
use super::members::Member;
use super::requests::{self, Whose};

/// How many collections are asked about side by side.
const SIDE_BY_SIDE: usize = 8;

/// A snapshot on a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    pub(super) name: String,
    /// Bytes.
    pub(super) size: u64,
    /// As the server says; absent for uploaded files, and on servers that keep snapshots in S3.
    pub(super) sha256: Option<String>,
    /// By the server's clock.
    pub(super) created: Option<Time>,
}

/// The snapshots that one node has of a collection, or of one shard of it.
#[derive(Debug, Clone)]
pub(super) struct Shelf<'a> {
    pub(super) collection: String,
    /// Nothing where they are of all that the node has of the collection.
    pub(super) shard: Option<u32>,
    pub(super) member: &'a Member,
    /// By their names.
    pub(super) snapshots: Vec<Listed>,
    /// Whether the collection is being recovered there, as far as the key may know; asked only where a recovery may have left files.
    pub(super) recovers: bool,
}

impl Shelf<'_> {
    /// What the snapshots are of.
    pub(super) fn whose(&self) -> Whose<'_> {
        Whose { collection: &self.collection, shard: self.shard }
    }
}

/// Every snapshot of these collections on every node, in the order of the collections and the nodes.
///
/// # Errors
/// Those of the requests. A collection that was dropped meanwhile has none.
pub(super) async fn listing<'a>(
    members: &'a [Member],
    collections: &[String],
) -> Result<Vec<Shelf<'a>>, StepError> {
    let all: Vec<_> = collections.iter().map(|name| of_collection(members, name.clone())).collect();
    let shelves: Vec<Vec<Shelf<'a>>> = stream::iter(all).buffered(SIDE_BY_SIDE).try_collect().await?;
    Ok(shelves.into_iter().flatten().collect())
}

async fn of_collection(members: &[Member], collection: String) -> Result<Vec<Shelf<'_>>, StepError> {
    let shelves = try_join_all(members.iter().map(|member| on_node(member, &collection))).await?;
    Ok(shelves.into_iter().flatten().collect())
}

/// First the snapshots of all that the node has, then those of its shards, where there are some.
async fn on_node<'a>(member: &'a Member, collection: &str) -> Result<Vec<Shelf<'a>>, StepError> {
    let placement = requests::placement(collection);
    let shards = match member.node.ask::<Placement>(&placement).await {
        Err(error) if error.code == "qdrant.absent" => return Ok(Vec::new()),
        placement => placement?.local_shards,
    };
    let mut ids: Vec<u32> = shards.into_iter().map(|shard| shard.shard_id).collect();
    ids.sort_unstable();
    let mut shelves = Vec::new();
    for shard in std::iter::once(None).chain(ids.into_iter().map(Some)) {
        let found = match member.node.ask(&requests::snapshots(Whose { collection, shard })).await {
            // The collection went meanwhile, or the shard went to another node.
            Err(error) if matches!(error.code.as_str(), "qdrant.absent" | "qdrant.refused") => Vec::new(),
            answer => answer?,
        };
        let mut snapshots: Vec<Listed> = found.into_iter().map(listed).collect();
        snapshots.sort_by(|a, b| a.name.cmp(&b.name));
        let left = snapshots.iter().any(|one| is_leftover(collection, &one.name));
        let recovers = left && member.node.activity(collection).await?.recovers();
        if shard.is_none() || !snapshots.is_empty() {
            shelves.push(Shelf { collection: collection.to_owned(), shard, member, snapshots, recovers });
        }
    }
    Ok(shelves)
}

/// Whether a file was sent by one of our recoveries: it bears their name, and not that of a snapshot of the collection.
pub(super) fn is_leftover(collection: &str, name: &str) -> bool {
    name.starts_with("drydock-") && !name.starts_with(&format!("{collection}-"))
}

fn listed(found: Description) -> Listed {
    Listed {
        created: found.created_at().or_else(|| named(&found.name)),
        name: found.name,
        size: found.size,
        sha256: found.checksum,
    }
}

/// The time that a snapshot has in its name, `agent_a-1234-2026-11-22-06-46-22.snapshot`.
fn named(name: &str) -> Option<Time> {
    let stem = name.strip_suffix(".snapshot")?;
    let stamp = stem.get(stem.len().checked_sub(19)?..)?;
    NaiveDateTime::parse_from_str(stamp, "%Y-%m-%d-%H-%M-%S").ok().map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_age_is_told_or_named() {
        let check = |name: &str, told: Value, expected: Option<&str>| {
            let found = json!({ "name": name, "size": 1, "creation_time": told });
            let found = listed(serde_json::from_value(found).unwrap());
            assert_eq!(found.created.map(|time| time.to_rfc3339()).as_deref(), expected, "{name}");
        };
        let name = "agent_a-1234-2026-11-22-06-46-22.snapshot";
        check(name, json!("2026-11-22T06:46:31"), Some("2026-11-22T06:46:31+00:00"));
        check(name, Value::Null, Some("2026-11-22T06:46:22+00:00"));
        check("drydock-00ff-0.snapshot", Value::Null, None);
        check("ü.snapshot", Value::Null, None);
        check("a-2026-13-22-06-46-22.snapshot", json!("soon"), None);
    }
}
