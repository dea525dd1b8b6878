//! Putting snapshot files under a collection's name, node by node or shard by shard: [`Placing`], with the [`Placed`] that outlives a
//! crash.

use std::collections::BTreeMap;
use std::time::Duration;

use drydock_recovery::manifest::{Artifact, Band};
use drydock_step::{ArtifactStore, Ctx, StepError};
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::Count;
use super::entry::{CollectionEntry, SnapshotEntry};
use super::frame::Frame;
use super::members::Member;
use super::requests::{self, Ask, Whose};
use super::serving::Serving;
use super::target::QdrantConnection;
use crate::own_name::tag;

/// How often a file is sent, when the connection is lost on the way.
const TRIES: u32 = 3;

/// Between two looks at a server that still works.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How the servers come by the files.
pub(super) enum Way {
    /// They are sent to them.
    Upload,
    /// They fetch them from a server of ours.
    Serve(Serving),
    /// They fetch them from the store itself.
    Store,
}

/// A file and where it goes.
pub(super) struct Sent<'a> {
    pub(super) artifact: &'a Artifact,
    pub(super) goes: Goes<'a>,
}

/// Where a file goes.
pub(super) enum Goes<'a> {
    /// To a node, with all the shards in it.
    Node(&'a Member),
    /// Into one shard, on a node that has it.
    Shard {
        /// Its id in the backup.
        id: u32,
        /// Its key, where it has one.
        key: Option<&'a Value>,
    },
}

/// How far each file has come, by collection and in the order of the files: `true` once the server has answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Placed(BTreeMap<String, BTreeMap<usize, bool>>);

impl Placed {
    /// Takes in a note; others are passed over.
    pub(super) fn hear(&mut self, note: &Value) {
        let file = |key: &str| {
            let file = note.get(key)?;
            let at = usize::try_from(file.get("file")?.as_u64()?).ok()?;
            Some((file.get("collection")?.as_str()?.to_owned(), at))
        };
        if let Some((name, at)) = file("placing") {
            self.0.entry(name).or_default().insert(at, false);
        }
        if let Some((name, at)) = file("placed") {
            self.0.entry(name).or_default().insert(at, true);
        }
        if let Some(name) = note.get("making").and_then(Value::as_str) {
            self.0.entry(name.to_owned()).or_default();
        }
        if let Some(name) = note.get("cleared").and_then(Value::as_str) {
            self.0.remove(name);
        }
    }

    /// The collections that something was sent to, or that were made for it.
    pub(super) fn collections(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether anything was sent to a collection, or it was made for that.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the server has answered for this many files.
    pub(super) fn is_whole(&self, name: &str, files: usize) -> bool {
        (0..files).all(|at| self.state(name, at) == Some(true))
    }

    fn state(&self, name: &str, at: usize) -> Option<bool> {
        self.0.get(name)?.get(&at).copied()
    }
}

/// The snapshots that are sent. Those of nodes without a shard hold nothing and are left out.
pub(super) fn parts(entry: &CollectionEntry) -> Vec<&SnapshotEntry> {
    let with_shards: Vec<_> = entry.snapshots.iter().filter(|one| !one.shards.is_empty()).collect();
    if with_shards.is_empty() { entry.snapshots.iter().collect() } else { with_shards }
}

/// The files of a collection, each with where it goes.
///
/// Nodes are found again by their peer ids and by their addresses; a new cluster has neither, and gets the files in turn.
///
/// # Errors
/// `input` when a file was not fetched, `qdrant.topology` when these nodes cannot take them.
pub(super) fn sent_to<'a>(
    entry: &'a CollectionEntry,
    members: &'a [Member],
) -> Result<Vec<Sent<'a>>, StepError> {
    let parts = parts(entry);
    if parts.is_empty() {
        return Err(StepError::new("input", format!("collection {} has no snapshot", entry.collection)));
    }
    let goes: Vec<Goes<'a>> = if entry.is_by_shard() {
        let shard = |one: &&'a SnapshotEntry| {
            let id = one.shard.ok_or_else(|| {
                let message = format!("collection {} has snapshots of nodes and of shards", entry.collection);
                StepError::new("input", message)
            })?;
            Ok(Goes::Shard { id, key: one.shard_key.as_ref() })
        };
        parts.iter().map(shard).collect::<Result<_, StepError>>()?
    } else {
        nodes_for(entry, &parts, members)?.into_iter().map(Goes::Node).collect()
    };
    let pairs = parts.into_iter().zip(goes).map(|(one, goes)| match &one.artifact {
        Some(artifact) => Ok(Sent { artifact, goes }),
        None => Err(StepError::new(
            "input",
            format!("snapshot {} was not fetched: it has no `artifact`", one.name),
        )),
    });
    pairs.collect()
}

/// A node for each snapshot.
fn nodes_for<'a>(
    entry: &CollectionEntry,
    parts: &[&SnapshotEntry],
    members: &'a [Member],
) -> Result<Vec<&'a Member>, StepError> {
    if let ([only], [_, _, ..]) = (members, parts)
        && only.peer.is_none()
    {
        let message = format!(
            "the shards of collection {} lie in the files of {} nodes, and {} is no cluster, which takes only a file with all shards",
            entry.collection,
            parts.len(),
            only.node.url
        );
        return Err(StepError::new("qdrant.topology", message)
            .help("recover into a cluster, of any size; a node that is started with clustering enabled is one of size 1"));
    }
    let by_peer = |one: &SnapshotEntry| {
        members.iter().position(|member| member.peer.is_some() && member.peer == one.peer_id)
    };
    let by_url = |one: &SnapshotEntry| members.iter().position(|member| member.node.url == one.node);
    let peers: Vec<Option<usize>> = parts.iter().map(|one| by_peer(one)).collect();
    // Where one peer is known the cluster is the same one, and an address may be another node's by now.
    let known =
        if peers.iter().any(Option::is_some) { peers } else { parts.iter().map(|one| by_url(one)).collect() };
    let mut taken = vec![0_usize; members.len()];
    for at in known.iter().flatten() {
        if let Some(count) = taken.get_mut(*at) {
            *count += 1;
        }
    }
    let mut nodes = Vec::new();
    for known in known {
        let at = match known {
            Some(at) => at,
            None => {
                let least = (0..taken.len()).min_by_key(|at| taken.get(*at).copied()).unwrap_or(0);
                if let Some(count) = taken.get_mut(least) {
                    *count += 1;
                }
                least
            }
        };
        nodes.push(members.get(at).ok_or_else(|| StepError::internal("a Qdrant without nodes"))?);
    }
    Ok(nodes)
}

/// Puts files under one name.
pub(super) struct Placing<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) qdrant: &'a QdrantConnection,
    pub(super) members: &'a [Member],
    pub(super) store: &'a dyn ArtifactStore,
    pub(super) entry: &'a CollectionEntry,
    /// The collection.
    pub(super) name: &'a str,
    pub(super) files: &'a [Sent<'a>],
    pub(super) way: &'a Way,
    pub(super) placed: &'a Placed,
    /// The number of points that tells the new data from the old: those before, where there were any, and those of the snapshot.
    pub(super) old: Option<u64>,
    pub(super) band: Band,
    /// Whether there was no such collection before the first file.
    pub(super) fresh: bool,
}

impl<'a> Placing<'a> {
    /// Sends the files, one after another; what an earlier attempt has sent is not sent again.
    ///
    /// # Errors
    /// What the server says of a file, `unknown` where an answer stayed away and the server does not show what it did.
    pub(super) async fn run(&self) -> Result<(), StepError> {
        if self.placed.is_whole(self.name, self.files.len()) {
            return Ok(());
        }
        let places = self.places().await?;
        for (at, (file, (member, whose))) in self.files.iter().zip(places).enumerate() {
            match self.placed.state(self.name, at) {
                Some(true) => continue,
                Some(false) if self.took_effect(at, member, whose).await? => self.note("placed", at).await?,
                _ => self.send(at, file.artifact, member, whose).await?,
            }
        }
        Ok(())
    }

    /// The node of each file, and what it is put into there. The collection that shards go into is made.
    async fn places(&self) -> Result<Vec<(&'a Member, Whose<'a>)>, StepError> {
        let by_shard = self.files.iter().any(|file| matches!(file.goes, Goes::Shard { .. }));
        let frame = Frame {
            ctx: self.ctx,
            qdrant: self.qdrant,
            members: self.members,
            name: self.name,
            entry: self.entry,
        };
        let standing = if by_shard { Some(frame.made().await?) } else { None };
        let place = |file: &Sent<'a>| match (&file.goes, &standing) {
            (Goes::Shard { id, key }, Some(standing)) => {
                let (member, id) = frame.place(standing, *id, *key)?;
                Ok((member, Whose { collection: self.name, shard: Some(id) }))
            }
            (Goes::Node(member), _) => Ok((*member, Whose::collection(self.name))),
            (Goes::Shard { .. }, None) => Err(StepError::internal("a shard without its collection")),
        };
        self.files.iter().map(place).collect()
    }

    async fn send(
        &self,
        at: usize,
        artifact: &Artifact,
        member: &Member,
        whose: Whose<'_>,
    ) -> Result<(), StepError> {
        self.note("placing", at).await?;
        let mut tries = 1;
        loop {
            let of = self.files.len() as u64;
            self.ctx.progress(at as u64, Some(of), "files", format!("{} to {}", self.name, member.node.url));
            match self.sent(at, artifact, member, whose).await {
                Ok(()) => break,
                // The server goes on with a file that it has whole. One that it has in part is forgotten; a key that may not send
                // files is told so when the file is removed, and not always when it is sent.
                Err(error) if error.unknown || error.code == "qdrant.connect" => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    if self.took_effect(at, member, whose).await? {
                        break;
                    }
                    if self.is_kept(whose) {
                        member.node.delete_snapshot(whose, &self.file_name(at)).await?;
                    }
                    if tries >= TRIES {
                        return Err(error);
                    }
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
        self.note("placed", at).await
    }

    async fn sent(
        &self,
        at: usize,
        artifact: &Artifact,
        member: &Member,
        whose: Whose<'_>,
    ) -> Result<(), StepError> {
        let fetch = |location: String| requests::recover(whose, &location, &artifact.sha256);
        match self.way {
            Way::Upload => {
                let ask = requests::upload(whose, &artifact.sha256);
                member.node.upload(&ask, self.form(at, artifact).await?).await
            }
            Way::Serve(serving) => fetched(member, &fetch(serving.url(at))).await,
            Way::Store => fetched(member, &fetch(location(self.store, artifact)?)).await,
        }
    }

    async fn form(&self, at: usize, artifact: &Artifact) -> Result<Form, StepError> {
        let body = Body::wrap_stream(self.store.open(&artifact.path, 0).await?);
        let part = Part::stream_with_length(body, artifact.size).file_name(self.file_name(at));
        Ok(Form::new().part("snapshot", part))
    }

    /// The name that the server keeps a file under: nobody else's, and the same for every attempt of the step.
    fn file_name(&self, at: usize) -> String {
        format!("drydock-{}-{at}.snapshot", tag(self.ctx, 16))
    }

    /// Whether the server keeps a file that it is sent: what it fetches, and a single shard, it does not.
    fn is_kept(&self, whose: Whose<'_>) -> bool {
        matches!(self.way, Way::Upload) && whose.shard.is_none()
    }

    /// Whether a file that was sent, and not answered, has replaced what the node had. Returns once the server is done with it.
    async fn took_effect(&self, at: usize, member: &Member, whose: Whose<'_>) -> Result<bool, StepError> {
        let node = &member.node;
        while node.activity(self.name).await?.recovers() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let name = self.file_name(at);
        // What is not kept does not show that it came. It is sent again, which gives the same.
        let arrived =
            self.is_kept(whose) && node.snapshots(whose).await?.iter().any(|listed| listed.name == name);
        if !arrived || self.fresh {
            return Ok(arrived);
        }
        // The file came, but the server may have failed before it touched the old data. Only a count that changed shows the new; in
        // doubt the file is sent again, which gives the same.
        let told_apart = self.files.len() == 1 && self.old.is_some_and(|old| !holds(self.band, old));
        match node.ask::<Count>(&requests::count(self.name, true, None)).await {
            Ok(count) => Ok(told_apart && holds(self.band, count.count)),
            Err(error) if error.transient => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Removes the files that the server keeps for ever; those that it still has, in words.
    pub(super) async fn sweep(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (at, file) in self.files.iter().enumerate() {
            let Goes::Node(member) = file.goes else { continue };
            let (node, name, whose) = (&member.node, self.file_name(at), Whose::collection(self.name));
            if !self.is_kept(whose) {
                continue;
            }
            let removed = async {
                let listed = node.snapshots(whose).await?;
                if listed.iter().any(|one| one.name == name) {
                    node.delete_snapshot(whose, &name).await
                } else {
                    Ok(())
                }
            };
            if let Err(error) = removed.await {
                left.push(format!("{name} is still on {}: {error}", node.url));
            }
        }
        left
    }

    async fn note(&self, what: &str, at: usize) -> Result<(), StepError> {
        self.ctx.note(json!({ what: { "collection": self.name, "file": at } })).await
    }
}

async fn fetched(member: &Member, ask: &Ask) -> Result<(), StepError> {
    // `true`, or of a shard `null` on some versions.
    member.node.ask::<Option<bool>>(ask).await.map(drop)
}

/// Where a server can fetch an artifact from.
///
/// # Errors
/// `input` when the store has no such address.
pub(super) fn location(store: &dyn ArtifactStore, artifact: &Artifact) -> Result<String, StepError> {
    store.url(&artifact.path).ok_or_else(|| {
        StepError::new("input", "`by: store` needs a store that the Qdrant nodes can fetch from, and this one has no address for them")
            .help("give the artifact store's target `served_at: https://…`, or use `by: serve` or `by: upload`")
    })
}

/// Whether a count lies in a band.
pub(super) fn holds(band: Band, count: u64) -> bool {
    (band.low..=band.high).contains(&count)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::node::Node;
    use super::*;

    fn members(nodes: &[(&str, Option<u64>)]) -> Vec<Member> {
        let node = |url: &str| Node::new(url, reqwest::Client::new(), Duration::from_secs(1));
        nodes.iter().map(|(url, peer)| Member { node: node(url), peer: *peer }).collect()
    }

    /// A collection with a fetched file of each of these nodes: address, peer, shards.
    fn entry(files: &[(&str, Option<u64>, &[u32])]) -> CollectionEntry {
        let at = "2026-11-22T06:46:22Z";
        let snapshots: Vec<Value> = files
            .iter()
            .map(|(node, peer, shards)| {
                json!({
                    "node": node, "peer_id": peer, "shards": shards, "name": format!("s of {node}"),
                    "started_at": at, "answered_at": at,
                    "artifact": { "path": node, "size": 1, "sha256": "00" },
                })
            })
            .collect();
        let entry = json!({ "collection": "c", "points": [1, 1], "params": {}, "snapshots": snapshots });
        serde_json::from_value(entry).unwrap()
    }

    /// Which file goes to which node.
    fn check(
        files: &[(&str, Option<u64>, &[u32])],
        nodes: &[(&str, Option<u64>)],
        expected: &[(&str, &str)],
    ) {
        let (entry, members) = (entry(files), members(nodes));
        let sent = sent_to(&entry, &members).unwrap();
        let node = |goes: &Goes<'_>| match goes {
            Goes::Node(member) => member.node.url.clone(),
            Goes::Shard { id, .. } => format!("shard {id}"),
        };
        let found: Vec<_> = sent.iter().map(|one| (one.artifact.path.clone(), node(&one.goes))).collect();
        let expected: Vec<_> =
            expected.iter().map(|(file, node)| ((*file).to_owned(), (*node).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_file_goes_to_its_node_again() {
        let (a, b) = (("http://a", Some(1), &[0][..]), ("http://b", Some(2), &[1][..]));
        check(
            &[a, b],
            &[("http://b", Some(8)), ("http://a", Some(9))],
            &[("http://a", "http://a"), ("http://b", "http://b")],
        );
        let swapped = [("http://a", Some(2)), ("http://b", Some(1))];
        check(&[a, b], &swapped, &[("http://a", "http://b"), ("http://b", "http://a")]);
        let one_is_new = [("http://x", Some(9)), ("http://y", Some(1))];
        check(&[a, b], &one_is_new, &[("http://a", "http://y"), ("http://b", "http://x")]);
        check(&[a, b], &[("http://x", Some(9))], &[("http://a", "http://x"), ("http://b", "http://x")]);
        check(
            &[a, b],
            &[("http://x", Some(8)), ("http://y", Some(9))],
            &[("http://a", "http://x"), ("http://b", "http://y")],
        );
        check(&[("http://a", None, &[0])], &[("http://new", None)], &[("http://a", "http://new")]);
        let empty = ("http://b", Some(2), &[][..]);
        check(&[empty, a], &[("http://a", Some(1)), ("http://b", Some(2))], &[("http://a", "http://a")]);
    }

    #[test]
    fn shards_go_wherever_they_are() {
        let mut entry = entry(&[("http://a", Some(1), &[0]), ("http://b", Some(2), &[1])]);
        for (id, snapshot) in (0..).zip(&mut entry.snapshots) {
            snapshot.shard = Some(id);
        }
        let members = members(&[("http://new", None)]);
        let sent = sent_to(&entry, &members).unwrap();
        let ids: Vec<_> = sent
            .iter()
            .filter_map(|one| match one.goes {
                Goes::Shard { id, .. } => Some(id),
                Goes::Node(_) => None,
            })
            .collect();
        assert_eq!(ids, [0, 1]);
        entry.snapshots[1].shard = None;
        assert_eq!(sent_to(&entry, &members).err().unwrap().code, "input");
    }

    #[test]
    fn a_node_that_is_no_cluster_and_files_that_were_not_fetched_are_refused() {
        let (a, b) = (("http://a", Some(1), &[0][..]), ("http://b", Some(2), &[1][..]));
        let (mut found, one) = (entry(&[a, b]), members(&[("http://a", None)]));
        let error = sent_to(&found, &one).err().unwrap();
        let words = "the shards of collection c lie in the files of 2 nodes, and http://a is no cluster, which takes only a file with all shards";
        assert_eq!((error.code.as_str(), error.message.as_str()), ("qdrant.topology", words));
        found.snapshots.truncate(1);
        found.snapshots[0].artifact = None;
        let error = sent_to(&found, &one).err().unwrap();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("input", "snapshot s of http://a was not fetched: it has no `artifact`")
        );
    }

    #[test]
    fn notes_are_progress() {
        let mut placed = Placed::default();
        let file = |what: &str, at: usize| json!({ what: { "collection": "c", "file": at } });
        for note in [file("placing", 0), file("placed", 0), file("placing", 1), json!({ "else": 1 })] {
            placed.hear(&note);
        }
        assert_eq!([0, 1, 2].map(|at| placed.state("c", at)), [Some(true), Some(false), None]);
        placed.hear(&json!({ "cleared": "c" }));
        assert_eq!((placed.state("c", 0), placed.collections().count()), (None, 0));
    }
}
