//! Bringing one collection back: [`Recovery`], with the [`Progress`] that outlives a crash.

use std::collections::BTreeSet;

use drydock_recovery::manifest::Band;
use drydock_step::target::Collections;
use drydock_step::{ArtifactStore, Ctx, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::Count;
use super::belongings::{aliases_of, make_indexes, point};
use super::entry::CollectionEntry;
use super::members::Member;
use super::placing::{Placed, Placing, Sent, Way, holds};
use super::requests;
use super::selection::scratch;
use super::settle::{Settled, settled};
use super::standing::Standing;
use super::target::QdrantConnection;
use crate::own_name::tag;
use crate::rehash::rehashed;

/// What to do about a collection that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Recover under a scratch name first: a recovery destroys what is there before it knows that the new data load.
    Prove,
    /// Recover over it at once.
    InPlace,
    /// Recover under a new name, and then switch the aliases over to it: no reader is ever without a collection.
    Swap,
}

/// What becomes of a collection that a recovery has broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBroken {
    /// One that was not there before is removed; one whose data the recovery has destroyed is told and left.
    RemoveNew,
    /// Both are removed, so that none stands in the way of snapshots of the others.
    Remove,
    /// Both are told and left, for somebody to look at.
    Keep,
}

/// What was there before the first file was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) existed: bool,
    /// Nothing where it was not there, or broken.
    pub(super) points: Option<u64>,
}

/// What attempts have found and done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    found: Option<Found>,
    #[serde(default)]
    placed: Placed,
    /// The points that the scratch collection had.
    proved: Option<u64>,
    /// The collections that the aliases led to before they were switched.
    #[serde(default)]
    replaced: Option<Vec<String>>,
}

impl Progress {
    /// From the notes of all attempts to recover this collection that are not over.
    pub(super) fn of(notes: &[Value], collection: &str) -> Self {
        let mut progress = Self::default();
        for note in notes {
            if let Some(from) = note.get("from").and_then(|from| Self::deserialize(from).ok()) {
                progress = from;
            }
            progress.placed.hear(note);
            if let Some(found) = note.get("found").and_then(|found| Found::deserialize(found).ok()) {
                progress.found = Some(found);
            }
            progress.proved = note.get("proved").and_then(Value::as_u64).or(progress.proved);
            let replaced = note.get("replaced").and_then(|names| Vec::deserialize(names).ok());
            progress.replaced = replaced.or(progress.replaced);
            // What was cleared is begun anew, and what is there then is looked at again.
            if note.get("cleared").and_then(Value::as_str) == Some(collection) {
                progress.found = None;
            }
        }
        progress
    }

    /// What an earlier attempt said of itself.
    ///
    /// # Errors
    /// `internal`, when it is none of ours.
    pub(super) fn read(value: &Value) -> Result<Self, StepError> {
        Self::deserialize(value).map_err(|error| {
            StepError::internal(format!("the progress of a recovery cannot be read: {error}"))
        })
    }

    /// Whether nothing was sent.
    pub(super) fn is_untouched(&self) -> bool {
        self.placed.collections().next().is_none() && self.proved.is_none()
    }

    /// The collections that something was sent to.
    pub(super) fn collections(&self) -> impl Iterator<Item = &str> {
        self.placed.collections()
    }
}

/// One attempt's work.
pub(super) struct Recovery<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) qdrant: &'a QdrantConnection,
    pub(super) members: &'a [Member],
    pub(super) store: &'a dyn ArtifactStore,
    pub(super) entry: &'a CollectionEntry,
    /// The name to recover under.
    pub(super) name: &'a str,
    pub(super) strategy: Strategy,
    pub(super) on_broken: OnBroken,
    /// Whether the collections go that the aliases led to before.
    pub(super) drop_replaced: bool,
    pub(super) way: &'a Way,
    /// What the exact count must lie in.
    pub(super) band: Band,
    pub(super) files: Vec<Sent<'a>>,
}

impl Recovery<'_> {
    /// The collection recovered, settled, counted, with its indexes and aliases; the kind's outputs.
    ///
    /// # Errors
    /// `artifact.damaged` before anything is sent; those of [`Recovery::found`]; `qdrant.count`, `qdrant.broken` and what the server
    /// says, each with what became of the collection.
    pub(super) async fn run(&self, progress: &Progress) -> Result<Value, StepError> {
        if !progress.placed.is_whole(self.name, self.files.len()) {
            self.intact().await?;
        }
        // What was found counts once something was sent; before that, others may have made or removed the collection.
        let found = match progress.found.filter(|_| progress.placed.holds(self.name)) {
            Some(found) => found,
            None => {
                let found = self.found().await?;
                self.ctx.note(json!({ "found": found })).await?;
                found
            }
        };
        let proves = found.existed && self.strategy == Strategy::Prove;
        if proves {
            self.prove(progress).await?;
        }
        let placing = self.placing(self.name, &progress.placed, &found);
        let settled = match self.recovered(&placing).await {
            Err(error) if is_verdict(&error) => return Err(self.failed(&placing, error).await),
            other => other?,
        };
        let has = Standing::of(self.members, self.name).await?.payload_schema;
        make_indexes(self.qdrant, self.name, &self.entry.payload_indexes, &has).await?;
        let replaced = self.aliases_back(progress).await?;
        let left = placing.sweep().await;
        left.iter().for_each(|line| self.ctx.log(line.clone()));
        let strategy = match (self.strategy, found.existed) {
            (Strategy::Swap, _) => "swap",
            (_, false) => "straight",
            (Strategy::Prove, true) => "prove",
            (Strategy::InPlace, true) => "in_place",
        };
        let Settled { points, status, nodes } = settled;
        Ok(json!({
            "collection": self.name, "points": points, "status": status, "strategy": strategy, "nodes": nodes,
            "replaced": replaced, "left_on_server": left,
        }))
    }

    /// Points the aliases at the collection, where they are its own; the collections that they led to, when they were switched over.
    async fn aliases_back(&self, progress: &Progress) -> Result<Vec<String>, StepError> {
        let swaps = self.strategy == Strategy::Swap;
        if !swaps && self.name != self.entry.collection {
            return Ok(Vec::new());
        }
        let replaced = match &progress.replaced {
            Some(replaced) => replaced.clone(),
            None if swaps => {
                let led_to = self.led_to().await?;
                self.ctx.note(json!({ "replaced": led_to })).await?;
                led_to
            }
            None => Vec::new(),
        };
        point(self.qdrant, self.name, &self.entry.aliases).await?;
        if self.drop_replaced {
            let aliases = self.qdrant.aliases().await?;
            for name in replaced.iter().filter(|name| aliases_of(&aliases, name).is_empty()) {
                self.qdrant.delete_collection(name).await?;
            }
        }
        Ok(replaced)
    }

    /// The other collections that the aliases of this one lead to now.
    pub(super) async fn led_to(&self) -> Result<Vec<String>, StepError> {
        let aliases = self.qdrant.aliases().await?;
        let ours =
            aliases.into_iter().filter(|(alias, to)| self.entry.aliases.contains(alias) && to != self.name);
        let mut names: Vec<String> = ours.map(|(_, to)| to).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// What is there now, when the snapshot can be recovered over it.
    ///
    /// # Errors
    /// `qdrant.alias`, `qdrant.compat` or `qdrant.sharding`, when it cannot.
    pub(super) async fn found(&self) -> Result<Found, StepError> {
        let name = self.name;
        if let Some((_, collection)) = self.qdrant.aliases().await?.iter().find(|(alias, _)| alias == name) {
            let message =
                format!("{name} is an alias of collection {collection}, which a recovery would overwrite");
            return Err(StepError::new("qdrant.alias", message)
                .help("recover under the collection's own name, or remove the alias"));
        }
        let names = self.qdrant.collection_names().await?;
        if self.strategy == Strategy::Swap {
            self.swaps(&names)?;
        }
        let existed = names.iter().any(|known| known == name);
        if self.entry.is_custom_sharded()
            && !self.entry.is_by_shard()
            && (!existed || self.strategy == Strategy::Prove)
        {
            let message =
                format!("collection {name} has shard keys of its own, which a snapshot does not make");
            return Err(StepError::new("qdrant.sharding", message)
                .help("create it with the same parameters and its shard keys in their old order, then use `strategy: in_place`"));
        }
        let mut points = None;
        if existed {
            match self.qdrant.ask::<Count>(&requests::count(name, true, None)).await {
                Ok(count) => points = Some(count.count),
                Err(error) if error.code == "qdrant.broken" => return Ok(Found { existed, points }),
                Err(error) => return Err(error),
            }
            compatible(name, &self.entry.params, Standing::of(self.members, name).await?.params())?;
        }
        Ok(Found { existed, points })
    }

    /// Nothing, when an alias can be switched over to the recovered collection.
    ///
    /// # Errors
    /// `qdrant.swap`.
    fn swaps(&self, names: &[String]) -> Result<(), StepError> {
        let refused = |message: String| {
            Err(StepError::new("qdrant.swap", message).help(
                "`strategy: swap` is for an application that reaches its collection by an alias; `prove` or `in_place` recover under the collection's own name",
            ))
        };
        let collection = &self.entry.collection;
        match self.entry.aliases.iter().find(|alias| names.contains(alias)) {
            Some(taken) => refused(format!(
                "{taken} was an alias of collection {collection}, and is a collection now, whose name no alias can have"
            )),
            None if self.entry.aliases.is_empty() => refused(format!(
                "no alias led to collection {collection} when its snapshot was made, so that there is none to switch"
            )),
            None => Ok(()),
        }
    }

    /// Reads every file back: a damaged one is never sent.
    async fn intact(&self) -> Result<(), StepError> {
        let total: u64 = self.files.iter().map(|file| file.artifact.size).sum();
        let mut read = 0;
        for file in &self.files {
            let found = rehashed(self.store, &file.artifact.path, |more| {
                read += more;
                self.ctx.progress(read, Some(total), "bytes", "reading the files back");
            });
            let found = found.await?;
            if !found.sha256.eq_ignore_ascii_case(&file.artifact.sha256) || found.size != file.artifact.size {
                let message = format!(
                    "{} has sha256 {} and {} bytes, expected {} and {}; it was not sent",
                    found.path, found.sha256, found.size, file.artifact.sha256, file.artifact.size
                );
                return Err(StepError::new("artifact.damaged", message)
                    .help("restore an older point, or the file from a copy"));
            }
        }
        Ok(())
    }

    fn placing<'p>(&'p self, name: &'p str, placed: &'p Placed, found: &Found) -> Placing<'p> {
        Placing {
            ctx: self.ctx,
            qdrant: self.qdrant,
            members: self.members,
            store: self.store,
            entry: self.entry,
            name,
            files: &self.files,
            way: self.way,
            placed,
            old: found.points,
            band: self.band,
            fresh: !found.existed,
        }
    }

    /// The name of the collection that a snapshot is proved in. No glob of a plan means it, and no other step uses it.
    fn scratch(&self) -> String {
        scratch(self.name, &tag(self.ctx, 8))
    }

    /// Recovers under the scratch name, counts, and drops it again.
    async fn prove(&self, progress: &Progress) -> Result<(), StepError> {
        let scratch = self.scratch();
        let placing = self.placing(&scratch, &progress.placed, &Found { existed: false, points: None });
        if progress.proved.is_none() {
            match self.recovered(&placing).await {
                Ok(settled) => self.ctx.note(json!({ "proved": settled.points })).await?,
                Err(error) if !is_verdict(&error) && error.code != "qdrant.count" => return Err(error),
                Err(error) => {
                    let dropped = self.dropped(&placing).await;
                    let rest =
                        dropped.err().map_or(String::new(), |error| format!("; {scratch} is left: {error}"));
                    let message = format!(
                        "the snapshot of {} did not prove good, and the collection was left as it is: {}{rest}",
                        self.entry.collection, error.message
                    );
                    return Err(StepError { message, ..error });
                }
            }
        }
        self.dropped(&placing).await
    }

    async fn recovered(&self, placing: &Placing<'_>) -> Result<Settled, StepError> {
        placing.run().await?;
        let settled = settled(self.ctx, self.members, placing.name).await?;
        if holds(self.band, settled.points) {
            return Ok(settled);
        }
        let (Band { low, high }, name) = (self.band, placing.name);
        let message = format!(
            "collection {name} has {} points, and the snapshot should have {low} to {high}",
            settled.points
        );
        Err(StepError::new("qdrant.count", message)
            .help("is every node's snapshot there? `points: [low, high]` gives another band where writes went on while it was made"))
    }

    /// Removes a collection that was made for this, and the files sent to it, which nobody could reach after it.
    async fn dropped(&self, placing: &Placing<'_>) -> Result<(), StepError> {
        if self.qdrant.collection_names().await?.iter().any(|known| known == placing.name) {
            placing.sweep().await;
            self.qdrant.delete_collection(placing.name).await?;
        }
        self.ctx.note(json!({ "cleared": placing.name })).await
    }

    /// A failure for good, with what became of the collection.
    async fn failed(&self, placing: &Placing<'_>, error: StepError) -> StepError {
        let name = placing.name;
        let counted = self.qdrant.ask::<Count>(&requests::count(name, true, None)).await;
        let removes = match self.on_broken {
            OnBroken::RemoveNew => placing.fresh,
            OnBroken::Remove => placing.fresh || counted.is_err(),
            OnBroken::Keep => false,
        };
        let state = if removes {
            match self.dropped(placing).await {
                Ok(()) => format!("what there was of collection {name} was removed again"),
                Err(left) => format!("collection {name} may be broken and could not be removed: {left}"),
            }
        } else {
            placing.sweep().await;
            // A note that does not become durable ends the run by itself.
            let _ = self.ctx.note(json!({ "cleared": name })).await;
            match counted {
                Ok(count) => format!("collection {name} answers, with {} points", count.count),
                Err(broken) => format!("collection {name} is broken now and was left: {broken}"),
            }
        };
        StepError { message: format!("{}; {state}", error.message), ..error }
    }
}

/// Whether the server has judged the data. After anything else the next attempt goes on; a count that is not as expected shows data that
/// did load, and whoever reads it may want them.
fn is_verdict(error: &StepError) -> bool {
    let judged = ["qdrant.server", "qdrant.refused", "qdrant.broken"].contains(&error.code.as_str());
    judged && !error.unknown && !error.transient
}

/// Nothing, when a snapshot with parameters `ours` can be put over a collection with `theirs`. The server compares the vectors and the
/// number of shards; the names of sparse vectors only when the old data are gone, and not at all where the collection has none.
fn compatible(name: &str, ours: &Value, theirs: &Value) -> Result<(), StepError> {
    let refused = |what: &str, theirs: String, ours: String| {
        let message = format!("collection {name} has {what} {theirs}, and the snapshot has {ours}");
        Err(StepError::new("qdrant.compat", message)
            .help("another collection of this name is there: remove it first, or recover under another name with `collection`"))
    };
    for key in ["vectors", "shard_number"] {
        let (ours, theirs) = (&ours[key], &theirs[key]);
        if !ours.is_null() && ours != theirs {
            return refused(&format!("`{key}`"), theirs.to_string(), ours.to_string());
        }
    }
    let sparse = |params: &Value| -> BTreeSet<String> {
        params["sparse_vectors"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let shown = |names: BTreeSet<String>| {
        if names.is_empty() { "none".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
    };
    let (own, found) = (sparse(ours), sparse(theirs));
    // A snapshot whose parameters were not recorded has no `vectors` either, and tells nothing.
    if !ours["vectors"].is_null() && own != found {
        return refused("the sparse vectors", shown(found), shown(own));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_progress() {
        let found = |existed: bool| json!({ "found": { "existed": existed, "points": null } });
        let placing = |name: &str| json!({ "placing": { "collection": name, "file": 0 } });
        let of = |notes: &[Value]| Progress::of(notes, "c");
        assert!(of(&[found(true)]).is_untouched(), "to look is no touch");
        let begun = of(&[found(false), placing("c")]);
        assert_eq!((begun.found.map(|found| found.existed), begun.is_untouched()), (Some(false), false));
        let proved =
            of(&[found(true), placing("scratch"), json!({ "proved": 7 }), json!({ "cleared": "scratch" })]);
        assert_eq!((proved.proved, proved.found.is_some(), proved.collections().count()), (Some(7), true, 0));
        let resumed = of(&[placing("else"), json!({ "from": proved.clone() }), placing("c")]);
        assert_eq!((resumed.proved, resumed.collections().collect::<Vec<_>>()), (Some(7), vec!["c"]));
        let cleared = of(&[found(false), placing("c"), json!({ "cleared": "c" })]);
        assert_eq!((cleared.found, cleared.is_untouched()), (None, true));
        assert_eq!(Progress::read(&json!(proved)).unwrap(), proved);
        assert_eq!(Progress::read(&json!("x")).unwrap_err().code, "internal");
    }

    #[test]
    fn vectors_and_shards_must_be_equal() {
        let params = |size: u64, shards: u64| json!({ "vectors": { "size": size }, "shard_number": shards, "on_disk_payload": size > 4 });
        assert_eq!(compatible("c", &params(4, 1), &params(4, 1)), Ok(()));
        assert_eq!(compatible("c", &json!({}), &params(4, 1)), Ok(()));
        let check = |theirs: Value, words: &str| {
            let error = compatible("c", &params(4, 1), &theirs).unwrap_err();
            assert_eq!((error.code.as_str(), error.message.as_str()), ("qdrant.compat", words));
        };
        check(params(8, 1), r#"collection c has `vectors` {"size":8}, and the snapshot has {"size":4}"#);
        check(params(4, 2), "collection c has `shard_number` 2, and the snapshot has 1");
        let sparse = |names: &[&str]| {
            let mut params = params(4, 1);
            params["sparse_vectors"] = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
            params
        };
        check(sparse(&["a", "b"]), "collection c has the sparse vectors a, b, and the snapshot has none");
        assert_eq!(compatible("c", &params(4, 1), &sparse(&[])), Ok(()));
        assert_eq!(compatible("c", &json!({}), &sparse(&["a"])), Ok(()));
        let mut tuned = sparse(&["a"]);
        tuned["sparse_vectors"]["a"] = json!({ "index": { "on_disk": true } });
        assert_eq!(compatible("c", &sparse(&["a"]), &tuned), Ok(()), "how they are kept is no difference");
    }
}
