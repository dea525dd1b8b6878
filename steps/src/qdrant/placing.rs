//! Putting snapshot files under a collection's name, node by node: [`Placing`], with the [`Placed`] that outlives a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use drydock_recovery::manifest::{Artifact, Band};
use drydock_step::{ArtifactStore, Ctx, StepError};
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answers::Count;
use super::entry::{CollectionEntry, SnapshotEntry};
use super::members::Member;
use super::requests;
use crate::rehash::hex;

/// How often a file is sent, when the connection is lost on the way.
const TRIES: u32 = 3;

/// Between two looks at a server that still works.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A file and the node that it goes to.
pub(super) struct Sent<'a> {
    pub(super) artifact: &'a Artifact,
    pub(super) member: &'a Member,
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
        if let Some(name) = note.get("cleared").and_then(Value::as_str) {
            self.0.remove(name);
        }
    }

    /// The collections that something was sent to.
    pub(super) fn collections(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether anything was sent to a collection.
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

/// The files of a collection, each with its node.
///
/// Nodes are found again by their addresses, else by their peer ids, else in their order: a new cluster has neither.
///
/// # Errors
/// `input` when a file was not fetched, `qdrant.topology` when there are more files than nodes.
pub(super) fn sent_to<'a>(
    entry: &'a CollectionEntry,
    members: &'a [Member],
) -> Result<Vec<Sent<'a>>, StepError> {
    let parts = parts(entry);
    if parts.is_empty() {
        return Err(StepError::new("input", format!("collection {} has no snapshot", entry.collection)));
    }
    let by_url = |at: usize| {
        members.iter().find(|member| parts.get(at).is_some_and(|one| one.node == member.node.url))
    };
    let by_peer = |at: usize| {
        let peer = parts.get(at).and_then(|one| one.peer_id)?;
        members.iter().find(|member| member.peer == Some(peer))
    };
    let all =
        |find: &dyn Fn(usize) -> Option<&'a Member>| (0..parts.len()).map(find).collect::<Option<Vec<_>>>();
    let nodes =
        all(&by_url).or_else(|| all(&by_peer)).or_else(|| all(&|at| members.get(at))).ok_or_else(|| {
            let message = format!(
                "the shards of collection {} lie in the files of {} nodes, and the target has {}",
                entry.collection,
                parts.len(),
                members.len()
            );
            StepError::new("qdrant.topology", message)
                .help("recover into a cluster of at least as many nodes")
        })?;
    let pairs = parts.into_iter().zip(nodes).map(|(one, member)| match &one.artifact {
        Some(artifact) => Ok(Sent { artifact, member }),
        None => Err(StepError::new(
            "input",
            format!("snapshot {} was not fetched: it has no `artifact`", one.name),
        )),
    });
    pairs.collect()
}

/// Puts files under one name.
pub(super) struct Placing<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) store: &'a dyn ArtifactStore,
    /// The collection.
    pub(super) name: &'a str,
    pub(super) files: &'a [Sent<'a>],
    pub(super) placed: &'a Placed,
    /// The number of points that tells the new data from the old: those before, where there were any, and those of the snapshot.
    pub(super) old: Option<u64>,
    pub(super) band: Band,
    /// Whether there was no such collection before the first file.
    pub(super) fresh: bool,
}

impl Placing<'_> {
    /// Sends the files, one node after another; what an earlier attempt has sent is not sent again.
    ///
    /// # Errors
    /// What the server says of a file, `unknown` where an answer stayed away and the server does not show what it did.
    pub(super) async fn run(&self) -> Result<(), StepError> {
        for (at, file) in self.files.iter().enumerate() {
            match self.placed.state(self.name, at) {
                Some(true) => continue,
                Some(false) if self.took_effect(at, file).await? => self.note("placed", at).await?,
                _ => self.send(at, file).await?,
            }
        }
        Ok(())
    }

    async fn send(&self, at: usize, file: &Sent<'_>) -> Result<(), StepError> {
        self.note("placing", at).await?;
        let ask = requests::upload(self.name, &file.artifact.sha256);
        let mut tries = 1;
        loop {
            let of = self.files.len() as u64;
            self.ctx.progress(
                at as u64,
                Some(of),
                "files",
                format!("{} to {}", self.name, file.member.node.url),
            );
            match file.member.node.upload(&ask, self.form(at, file).await?).await {
                Ok(()) => break,
                // The server goes on with a file that it has whole. One that it has in part is forgotten; a key that may not send
                // files is told so when the file is removed, and not always when it is sent.
                Err(error) if error.unknown || error.code == "qdrant.connect" => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    if self.took_effect(at, file).await? {
                        break;
                    }
                    file.member.node.delete_snapshot(self.name, &self.file_name(at)).await?;
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

    async fn form(&self, at: usize, file: &Sent<'_>) -> Result<Form, StepError> {
        let body = Body::wrap_stream(self.store.open(&file.artifact.path, 0).await?);
        let part = Part::stream_with_length(body, file.artifact.size).file_name(self.file_name(at));
        Ok(Form::new().part("snapshot", part))
    }

    /// The name that the server keeps a file under: nobody else's, and the same for every attempt of the step.
    fn file_name(&self, at: usize) -> String {
        let hash = hex(&Sha256::digest(format!("{}/{}", self.ctx.run, self.ctx.step)));
        format!("drydock-{}-{at}.snapshot", hash.get(..16).unwrap_or_default())
    }

    /// Whether a file that was sent, and not answered, has replaced what the node had. Returns once the server is done with it.
    async fn took_effect(&self, at: usize, file: &Sent<'_>) -> Result<bool, StepError> {
        let node = &file.member.node;
        while node.activity(self.name).await?.recovers() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let name = self.file_name(at);
        let arrived = node.snapshots(self.name).await?.iter().any(|listed| listed.name == name);
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
            let (node, name) = (&file.member.node, self.file_name(at));
            let removed = async {
                let listed = node.snapshots(self.name).await?;
                if listed.iter().any(|one| one.name == name) {
                    node.delete_snapshot(self.name, &name).await
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
        let found: Vec<_> =
            sent.iter().map(|one| (one.artifact.path.as_str(), one.member.node.url.as_str())).collect();
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
        check(
            &[a, b],
            &[("http://y", Some(2)), ("http://x", Some(1))],
            &[("http://a", "http://x"), ("http://b", "http://y")],
        );
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
    fn too_few_nodes_and_files_that_were_not_fetched_are_refused() {
        let (a, b) = (("http://a", Some(1), &[0][..]), ("http://b", Some(2), &[1][..]));
        let (mut found, one) = (entry(&[a, b]), members(&[("http://a", None)]));
        let error = sent_to(&found, &one).err().unwrap();
        let words = "the shards of collection c lie in the files of 2 nodes, and the target has 1";
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
