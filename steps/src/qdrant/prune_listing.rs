//! The snapshots that lie on the servers: [`Listed`], found by [`listing`].

use chrono::NaiveDateTime;
use drydock_recovery::Time;
use drydock_step::StepError;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::answers::DatedDescription;
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

/// The snapshots of one collection on one node.
#[derive(Debug, Clone)]
pub(super) struct Shelf<'a> {
    pub(super) collection: String,
    pub(super) member: &'a Member,
    pub(super) snapshots: Vec<Listed>,
    /// Whether the collection is being recovered there, as far as the key may know; asked only where a recovery may have left files.
    pub(super) recovers: bool,
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
    let ask = requests::snapshots(Whose::collection(&collection));
    let answers = members.iter().map(|member| async {
        let found = match member.node.ask::<Vec<DatedDescription>>(&ask).await {
            Err(error) if error.code == "qdrant.absent" => Vec::new(),
            answer => answer?,
        };
        let left = found.iter().any(|one| is_leftover(&collection, &one.description.name));
        let recovers = left && member.node.activity(&collection).await?.recovers();
        Ok::<_, StepError>((found, recovers))
    });
    let answers = try_join_all(answers).await?;
    let shelf = |(member, (found, recovers)): (_, (Vec<DatedDescription>, bool))| {
        let mut snapshots: Vec<Listed> = found.into_iter().map(listed).collect();
        snapshots.sort_by(|a, b| a.name.cmp(&b.name));
        Shelf { collection: collection.clone(), member, snapshots, recovers }
    };
    Ok(members.iter().zip(answers).map(shelf).collect())
}

/// Whether a file was sent by one of our recoveries: it bears their name, and not that of a snapshot of the collection.
pub(super) fn is_leftover(collection: &str, name: &str) -> bool {
    name.starts_with("drydock-") && !name.starts_with(&format!("{collection}-"))
}

fn listed(found: DatedDescription) -> Listed {
    let DatedDescription { description, creation_time } = found;
    let told = creation_time.and_then(|text| time_of(&text, "%Y-%m-%dT%H:%M:%S%.f"));
    Listed {
        created: told.or_else(|| named(&description.name)),
        name: description.name,
        size: description.size,
        sha256: description.checksum,
    }
}

/// The time that a snapshot has in its name, `agent_a-1234-2026-11-22-06-46-22.snapshot`.
fn named(name: &str) -> Option<Time> {
    let stem = name.strip_suffix(".snapshot")?;
    let stamp = stem.get(stem.len().checked_sub(19)?..)?;
    time_of(stamp, "%Y-%m-%d-%H-%M-%S")
}

fn time_of(text: &str, format: &str) -> Option<Time> {
    NaiveDateTime::parse_from_str(text, format).ok().map(|time| time.and_utc())
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
