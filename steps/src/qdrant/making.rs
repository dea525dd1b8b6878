//! Making the snapshots of one collection, of every node or of every shard: [`Making`], with the [`Progress`] that outlives a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use drydock_recovery::Time;
use drydock_recovery::manifest::Band;
use drydock_step::{AtWork, Millis, StepError};
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{Count, Description};
use super::entry::{CollectionEntry, SnapshotEntry, dimensions};
use super::members::Member;
use super::requests::{self, Whose};
use super::standing::{Held, Standing};

/// How often a snapshot is asked for on one node, when answers get lost or names are taken.
const TRIES: u32 = 3;

/// Between two looks at a server that still works.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Snapshot names have the time to the second.
const NEXT_SECOND: Duration = Duration::from_millis(1000);

/// What is known of the snapshots of one collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    collection: String,
    /// When the first request was about to be sent.
    at: Time,
    /// How many points it had then.
    points: u64,
    /// By the place that they are made at, the snapshots that were there then: what is new is ours.
    before: BTreeMap<String, Vec<String>>,
    /// By the place, what was made.
    #[serde(default)]
    made: BTreeMap<String, SnapshotEntry>,
}

/// What attempts have begun and made, by collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress(BTreeMap<String, Begun>);

impl Progress {
    /// From the notes of all attempts that are not over.
    pub(super) fn of(notes: &[Value]) -> Self {
        let mut found = BTreeMap::new();
        for note in notes {
            if let Some(Self(from)) = read(note, "from") {
                found = from;
            }
            if let Some(begun) = read::<Begun>(note, "begun") {
                found.insert(begun.collection.clone(), begun);
            }
            let collection = note.get("collection").and_then(Value::as_str).unwrap_or_default();
            if let (Some(made), Some(begun)) =
                (read::<SnapshotEntry>(note, "made"), found.get_mut(collection))
            {
                begun.made.insert(place_of(&made.node, made.shard), made);
            }
            if let Some(void) = note.get("void").and_then(Value::as_str) {
                found.remove(void);
            }
        }
        Self(found)
    }

    /// What an earlier attempt said of itself.
    ///
    /// # Errors
    /// `internal`, when it is none of ours.
    pub(super) fn read(value: &Value) -> Result<Self, StepError> {
        Self::deserialize(value).map_err(|error| {
            StepError::internal(format!("the progress of snapshots cannot be read: {error}"))
        })
    }

    /// What was begun no longer ago than this, and the rest.
    pub(super) fn parted(self, age: Millis, now: Time) -> (Self, Self) {
        let age = i64::try_from(age.0).unwrap_or(i64::MAX);
        let (young, old) =
            self.0.into_iter().partition(|(_, begun)| (now - begun.at).num_milliseconds() <= age);
        (Self(young), Self(old))
    }

    /// Whether nothing was begun.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn read<'n, T: Deserialize<'n>>(note: &'n Value, key: &str) -> Option<T> {
    T::deserialize(note.get(key)?).ok()
}

/// The time of an attempt's clock.
pub(super) fn time(attempt: &dyn AtWork) -> Time {
    Time::from_timestamp_millis(attempt.now_ms()).unwrap_or_default()
}

/// The name of a place that snapshots are made at.
fn place_of(node: &str, shard: Option<u32>) -> String {
    shard.map_or_else(|| node.to_owned(), |id| format!("{node} shard {id}"))
}

/// One snapshot of a collection: of all that a node has, or of the replica of a shard that was chosen.
#[derive(Debug)]
struct Part<'a> {
    member: &'a Member,
    whose: Whose<'a>,
    shard_key: Option<Value>,
    /// The shards that it holds, each with about so many points.
    shards: BTreeMap<u32, u64>,
}

impl Part<'_> {
    fn place(&self) -> String {
        place_of(&self.member.node.url, self.whose.shard)
    }
}

/// The snapshots that a collection's backup consists of. `made` is what there is already: its replicas are chosen again.
fn parts<'a>(
    members: &'a [Member],
    name: &'a str,
    standing: &Standing,
    made: &BTreeMap<String, SnapshotEntry>,
) -> Vec<Part<'a>> {
    let nodes: Vec<_> = members.iter().zip(&standing.held).collect();
    if !standing.is_by_shard() {
        let part = |(member, held): (&'a Member, &Held)| Part {
            member,
            whose: Whose::collection(name),
            shard_key: None,
            shards: held.shards.clone(),
        };
        return nodes.into_iter().map(part).collect();
    }
    // Each node makes about as many as every other.
    let mut chosen = vec![0_usize; nodes.len()];
    let mut parts = Vec::new();
    for id in &standing.shards {
        let have = (0..nodes.len())
            .filter(|at| nodes.get(*at).is_some_and(|(_, held)| held.shards.contains_key(id)));
        let order = |at: &usize| {
            let place = nodes.get(*at).map(|(member, _)| place_of(&member.node.url, Some(*id)));
            (place.is_none_or(|place| !made.contains_key(&place)), chosen.get(*at).copied(), *at)
        };
        let Some(at) = have.min_by_key(order) else { continue };
        if let (Some((member, held)), Some(count)) = (nodes.get(at), chosen.get_mut(at)) {
            *count += 1;
            parts.push(Part {
                member,
                whose: Whose { collection: name, shard: Some(*id) },
                shard_key: standing.keys.get(id).cloned(),
                shards: held
                    .shards
                    .iter()
                    .filter(|(held, _)| *held == id)
                    .map(|(id, points)| (*id, *points))
                    .collect(),
            });
        }
    }
    parts
}

/// The requests that make the snapshots of a collection, as a dry run shows them.
pub(super) fn lines(members: &[Member], name: &str, standing: &Standing) -> Vec<String> {
    let parts = parts(members, name, standing, &BTreeMap::new());
    parts.iter().map(|part| requests::create_snapshot(part.whose).line_on(&part.member.node.url)).collect()
}

/// Makes snapshots on these nodes for an attempt, going on from what earlier ones did.
pub(super) struct Making<'a> {
    pub(super) attempt: &'a dyn AtWork,
    pub(super) members: &'a [Member],
    pub(super) progress: Progress,
}

impl Making<'_> {
    /// The snapshots of a collection, all nodes side by side, and on each node one after the other.
    ///
    /// # Errors
    /// Those of [`Standing::whole`]; `qdrant.moving` when shards moved meanwhile, `qdrant.small` for a snapshot that cannot hold what
    /// its node has.
    pub(super) async fn collection(
        &self,
        name: &str,
        aliases: Vec<String>,
    ) -> Result<CollectionEntry, StepError> {
        let standing = Standing::of(self.members, name).await?;
        standing.whole(name)?;
        let resumed = self.progress.0.get(name);
        let begun = match resumed {
            Some(begun) => begun.clone(),
            None => self.begin(name, &standing).await?,
        };
        let parts = parts(self.members, name, &standing, &begun.made);
        let of =
            |member: &Member| parts.iter().filter(|part| part.member.node.url == member.node.url).collect();
        let nodes: Vec<Vec<&Part<'_>>> = self.members.iter().map(of).collect();
        let each = nodes.into_iter().map(|parts| self.on_node(parts, &begun, resumed.is_some()));
        // All are waited for, also when one has failed: what is under way cannot be called back.
        let made = join_all(each).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut snapshots: Vec<SnapshotEntry> = made.into_iter().flatten().collect();
        snapshots.sort_by_key(|one| one.shard);
        let after = self.count(name).await?;
        let now = Standing::of(self.members, name).await?;
        if let Err(error) = good(name, &standing, &now, &parts, &snapshots) {
            self.attempt.note(json!({ "void": name })).await?;
            self.discard(name, &snapshots).await;
            return Err(error);
        }
        // Of a replica that has been lost since.
        let kept =
            |one: &SnapshotEntry| snapshots.iter().any(|kept| kept.node == one.node && kept.name == one.name);
        let left: Vec<_> = begun.made.into_values().filter(|one| !kept(one)).collect();
        self.discard(name, &left).await;
        Ok(CollectionEntry {
            collection: name.to_owned(),
            points: Band::of(begun.points, after),
            params: standing.params().clone(),
            config: standing.config,
            payload_indexes: Value::Object(standing.payload_schema),
            aliases,
            shards: standing.shards,
            transfers: 0,
            waiting: standing.waiting.max(now.waiting),
            gone: false,
            snapshots,
        })
    }

    /// Removes the snapshots of collections that are not kept.
    pub(super) async fn discard_all(&self, old: &Progress) {
        for begun in old.0.values() {
            let made: Vec<SnapshotEntry> = begun.made.values().cloned().collect();
            self.discard(&begun.collection, &made).await;
        }
    }

    /// Removes snapshots that were made here and are no good; that one is left is only told.
    pub(super) async fn discard(&self, name: &str, made: &[SnapshotEntry]) {
        for one in made {
            let Some(member) = self.members.iter().find(|member| member.node.url == one.node) else {
                continue;
            };
            let whose = Whose { collection: name, shard: one.shard };
            if let Err(error) = member.node.delete_snapshot(whose, &one.name).await {
                self.attempt.log(&format!("{} is still on {}: {error}", one.name, one.node));
            }
        }
    }

    /// Every collection that was begun, with what the server shows of it; `None` while the server still works on one.
    ///
    /// # Errors
    /// Those of the requests.
    pub(super) async fn surveyed(&self) -> Result<Option<Progress>, StepError> {
        let mut progress = self.progress.clone();
        for begun in progress.0.values_mut() {
            for member in self.members {
                if member.node.activity(&begun.collection).await?.makes_snapshot() {
                    return Ok(None);
                }
            }
            let name = begun.collection.clone();
            let standing = match Standing::of(self.members, &name).await {
                Ok(standing) => standing,
                Err(error) if error.transient => return Err(error),
                // The next attempt meets it again, and says so.
                Err(_) => continue,
            };
            for part in parts(self.members, &name, &standing, &begun.made) {
                if begun.made.contains_key(&part.place()) {
                    continue;
                }
                if let Some(found) = newest(&part, begun).await? {
                    let made = entry(&part, found, begun.at, time(self.attempt));
                    begun.made.insert(part.place(), made);
                }
            }
        }
        Ok(Some(progress))
    }

    async fn count(&self, name: &str) -> Result<u64, StepError> {
        let first = self.members.first().ok_or_else(|| StepError::internal("a Qdrant without nodes"))?;
        let count: Count = first.node.ask(&requests::count(name, true, None)).await?;
        Ok(count.count)
    }

    /// Notes what is there before anything is made.
    async fn begin(&self, name: &str, standing: &Standing) -> Result<Begun, StepError> {
        let parts = parts(self.members, name, standing, &BTreeMap::new());
        let lists = try_join_all(parts.iter().map(|part| part.member.node.snapshots(part.whose))).await?;
        let names = |list: Vec<Description>| list.into_iter().map(|one| one.name).collect();
        let places = parts.iter().map(Part::place);
        let begun = Begun {
            collection: name.to_owned(),
            at: time(self.attempt),
            points: self.count(name).await?,
            before: places.zip(lists.into_iter().map(names)).collect(),
            made: BTreeMap::new(),
        };
        self.attempt.note(json!({ "begun": begun })).await?;
        Ok(begun)
    }

    /// A node's snapshots: a server is asked for one of a collection at a time.
    async fn on_node(
        &self,
        parts: Vec<&Part<'_>>,
        begun: &Begun,
        resumed: bool,
    ) -> Result<Vec<SnapshotEntry>, StepError> {
        let mut made = Vec::new();
        for part in parts {
            made.push(self.one(part, begun, resumed).await?);
        }
        Ok(made)
    }

    async fn one(&self, part: &Part<'_>, begun: &Begun, resumed: bool) -> Result<SnapshotEntry, StepError> {
        let (mut started_at, mut found) = (begun.at, None);
        if resumed {
            let listed = part.member.node.snapshots(part.whose).await?;
            let noted = begun.made.get(&part.place());
            match noted.filter(|made| listed.iter().any(|one| one.name == made.name)) {
                Some(made) => return Ok(made.clone()),
                None => found = self.found(part, begun).await?,
            }
        }
        let description = match found {
            Some(found) => found,
            None => {
                started_at = time(self.attempt);
                self.created(part, begun).await?
            }
        };
        let made = entry(part, description, started_at, time(self.attempt));
        self.attempt.note(json!({ "made": made, "collection": begun.collection })).await?;
        Ok(made)
    }

    /// The snapshot that an unanswered request made, once the server has done what it was asked.
    async fn found(&self, part: &Part<'_>, begun: &Begun) -> Result<Option<Description>, StepError> {
        while part.member.node.activity(&begun.collection).await?.makes_snapshot() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        newest(part, begun).await
    }

    /// A new snapshot, of a name that nothing had.
    async fn created(&self, part: &Part<'_>, begun: &Begun) -> Result<Description, StepError> {
        let (member, ask) = (part.member, requests::create_snapshot(part.whose));
        let mut failed = StepError::internal("a snapshot was never asked for");
        for _ in 0..TRIES {
            match member.node.ask::<Description>(&ask).await {
                Ok(made) if was_there(part, begun, &made.name) => {
                    // Both were made within one second: what had the name before is replaced.
                    let line =
                        format!("{} replaced a snapshot of the same second, {}", member.node.url, made.name);
                    self.attempt.log(&line);
                    failed = StepError::transient("qdrant.name", line);
                    tokio::time::sleep(NEXT_SECOND).await;
                }
                // The server does not stop because the answer was lost.
                Err(error) if error.unknown => match self.found(part, begun).await? {
                    Some(found) => return Ok(found),
                    None => failed = error,
                },
                answer => return answer,
            }
        }
        Err(failed)
    }
}

fn was_there(part: &Part<'_>, begun: &Begun, name: &str) -> bool {
    begun.before.get(&part.place()).is_some_and(|names| names.iter().any(|known| known == name))
}

/// The newest snapshot at a place that was not there before; none where nobody looked what was there. Its name ends with its time.
async fn newest(part: &Part<'_>, begun: &Begun) -> Result<Option<Description>, StepError> {
    if !begun.before.contains_key(&part.place()) {
        return Ok(None);
    }
    let listed = part.member.node.snapshots(part.whose).await?;
    let begins = match (part.whose.shard, part.member.peer) {
        (Some(shard), _) => format!("{}-shard-{shard}-", begun.collection),
        (None, Some(peer)) => format!("{}-{peer}-", begun.collection),
        (None, None) => format!("{}-", begun.collection),
    };
    let made_here = |one: &Description| one.name.starts_with(&begins) && !was_there(part, begun, &one.name);
    Ok(listed.into_iter().filter(made_here).max_by(|a, b| a.name.cmp(&b.name)))
}

fn entry(part: &Part<'_>, made: Description, started_at: Time, answered_at: Time) -> SnapshotEntry {
    // What lies in S3 has that store's time, and no checksum.
    let created_at = made.checksum.as_ref().and_then(|_| made.created_at());
    SnapshotEntry {
        node: part.member.node.url.clone(),
        peer_id: part.member.peer,
        shards: part.shards.keys().copied().collect(),
        shard: part.whose.shard,
        shard_key: part.shard_key.clone(),
        name: made.name,
        size: Some(made.size),
        sha256: made.checksum,
        started_at,
        answered_at,
        created_at,
        artifact: None,
        left_on_server: None,
    }
}

/// Nothing, when these snapshots together hold the collection as it stood before they were made.
///
/// # Errors
/// `qdrant.moving` or `qdrant.small`.
fn good(
    name: &str,
    before: &Standing,
    now: &Standing,
    parts: &[Part<'_>],
    made: &[SnapshotEntry],
) -> Result<(), StepError> {
    let ids = |held: &Held| held.shards.keys().copied().collect::<Vec<_>>();
    let shards = |standing: &Standing| standing.held.iter().map(ids).collect::<Vec<_>>();
    if now.transfers > 0 || shards(now) != shards(before) {
        let message = format!("shards of collection {name} moved while its snapshots were made");
        return Err(
            StepError::transient("qdrant.moving", message).help("try again once the transfer is over")
        );
    }
    made.iter().try_for_each(|one| {
        let place = place_of(&one.node, one.shard);
        let part = parts.iter().find(|part| part.place() == place);
        let points = part.map_or(0, |part| part.shards.values().sum());
        large_enough(name, one, points, before.params())
    })
}

/// Nothing, when a snapshot is large enough for what its node holds. A node without a shard makes a small one, which is right; that of
/// a node with shards has at least a byte for each number of half its vectors.
///
/// # Errors
/// `qdrant.small`.
fn large_enough(name: &str, made: &SnapshotEntry, points: u64, params: &Value) -> Result<(), StepError> {
    let least = points.saturating_mul(dimensions(params)) / 2;
    let size = made.size.unwrap_or(u64::MAX);
    if size >= least {
        return Ok(());
    }
    let message = format!(
        "{} holds about {points} points of collection {name}, and its snapshot {} has only {size} bytes",
        made.node, made.name
    );
    Err(StepError::new("qdrant.small", message)
        .help("it cannot hold them; is the node's answer that of another node?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(collection: &str, minute: u32) -> Value {
        let at = format!("2026-11-22T06:{minute:02}:00Z");
        json!({ "begun": { "collection": collection, "at": at, "points": 3, "before": {} } })
    }

    fn made(collection: &str, node: &str) -> Value {
        let at = "2026-11-22T06:00:00Z";
        json!({ "collection": collection, "made": { "node": node, "shards": [0], "name": "s", "started_at": at, "answered_at": at } })
    }

    /// What the notes tell: each collection with the nodes whose snapshot is made.
    fn check(notes: &[Value], expected: &[(&str, &[&str])]) {
        let now = "2026-11-22T06:10:00Z".parse().unwrap();
        let (Progress(found), _) = Progress::of(notes).parted(Millis(600_000), now);
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|(name, begun)| (name.as_str(), begun.made.keys().map(String::as_str).collect()))
            .collect();
        let expected: Vec<(&str, Vec<&str>)> =
            expected.iter().map(|(name, nodes)| (*name, nodes.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn notes_are_progress() {
        check(&[], &[]);
        check(
            &[begun("a", 1), begun("b", 2), made("a", "n1"), made("a", "n2")],
            &[("a", &["n1", "n2"]), ("b", &[])],
        );
        check(&[begun("a", 1), made("a", "n1"), begun("a", 5)], &[("a", &[])]);
        check(&[begun("a", 1), made("a", "n1"), json!({ "void": "a" })], &[]);
        let from = Progress::of(&[begun("a", 1), made("a", "n1")]);
        check(&[begun("b", 1), json!({ "from": from }), made("a", "n2")], &[("a", &["n1", "n2"])]);
        let late = "2026-11-22T07:10:00Z".parse().unwrap();
        let (young, old) = from.clone().parted(Millis(600_000), late);
        assert_eq!((young.is_empty(), old), (true, from));
        let error = Progress::read(&json!([])).unwrap_err();
        assert_eq!(error.code, "internal");
    }

    #[test]
    fn snapshots_of_shards_that_moved_are_refused() {
        let standing = |shards: &[u32], transfers: u32| Standing {
            config: json!({}),
            payload_schema: serde_json::Map::new(),
            status: "green".into(),
            optimizer: None,
            waiting: 0,
            shards: vec![0, 1],
            keys: BTreeMap::new(),
            transfers,
            held: vec![Held { shards: shards.iter().map(|id| (*id, 5)).collect(), ..Held::default() }],
        };
        let before = standing(&[0, 1], 0);
        assert_eq!(good("a", &before, &standing(&[0, 1], 0), &[], &[]), Ok(()));
        for now in [standing(&[0], 0), standing(&[0, 1], 1)] {
            let error = good("a", &before, &now, &[], &[]).unwrap_err();
            let words = "shards of collection a moved while its snapshots were made";
            assert_eq!(
                (error.code.as_str(), error.message.as_str(), error.transient),
                ("qdrant.moving", words, true)
            );
        }
    }

    #[test]
    fn a_snapshot_that_cannot_hold_its_points_is_refused() {
        let mut small: SnapshotEntry = serde_json::from_value(made("a", "http://q")["made"].clone()).unwrap();
        let params = json!({ "vectors": { "size": 128 } });
        small.size = Some(7680);
        assert_eq!(large_enough("a", &small, 0, &params), Ok(()), "of a node without a shard");
        assert_eq!(large_enough("a", &small, 120, &params), Ok(()));
        let error = large_enough("a", &small, 2000, &params).unwrap_err();
        let words =
            "http://q holds about 2000 points of collection a, and its snapshot s has only 7680 bytes";
        assert_eq!((error.code.as_str(), error.message.as_str()), ("qdrant.small", words));
        small.size = None;
        assert_eq!(large_enough("a", &small, 2000, &params), Ok(()), "nobody knows");
    }
}
