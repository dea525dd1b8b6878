//! How truth and vectors agree: [`Agreement`], all collections held against all agents, and how it is told.

use std::collections::{BTreeMap, BTreeSet};

use drydock_step::target::{AgentNames, Collections};
use drydock_step::{Ctx, Field, Shape, StepError};
use serde::Serialize;
use serde_json::{Value, json};

use super::erasures::Erasures;
use super::mend::{Erased, Taken};
use super::scan::{By, NAMED, Scan};
use super::truth::{Truth, folded};

/// The most entries that a list of the outputs has; the counts are of all.
const LISTED: usize = 200;

/// The outputs of `point.reconcile`.
pub(super) const OUTPUTS: Shape = Shape::Record(&[
    Field::required("agents", Shape::Integer, "How many agents the truth has."),
    Field::required("collections", Shape::Integer, "How many collections of agents there were."),
    Field::required("documents", Shape::Integer, "How many documents the agents have."),
    Field::required("points", Shape::Integer, "How many points the collections had."),
    Field::required(
        "orphans",
        Shape::List(&Shape::Record(&[
            Field::required("collection", Shape::Text, "The collection."),
            Field::required("agent", Shape::Text, "The agent that its name names."),
            Field::required(
                "whole",
                Shape::Boolean,
                "Whether there is no such agent, and all of it is orphaned.",
            ),
            Field::required("points", Shape::Integer, "How many points."),
            Field::required(
                "ids",
                Shape::List(&Shape::Text),
                "The first 20 documents that they say they are of; none where there is no such agent.",
            ),
            Field::required(
                "artifacts",
                Shape::List(&Shape::Text),
                "Where they are kept, when they were quarantined.",
            ),
        ])),
        "Vectors whose document or agent does not exist, the first 200 collections.",
    ),
    Field::required(
        "missing",
        Shape::List(&Shape::Record(&[
            Field::required("collection", Shape::Text, "The collection."),
            Field::required("agent", Shape::Text, "The agent."),
            Field::required("whole", Shape::Boolean, "Whether there is no such collection."),
            Field::required("documents", Shape::Integer, "How many documents have no vectors."),
            Field::required("ids", Shape::List(&Shape::Text), "The first 20 of them."),
        ])),
        "Documents without vectors, the first 200 agents.",
    ),
    Field::required(
        "stale",
        Shape::List(&Shape::Record(&[
            Field::required("collection", Shape::Text, "The collection."),
            Field::required("agent", Shape::Text, "The agent."),
            Field::required(
                "documents",
                Shape::Integer,
                "How many documents have vectors of another version.",
            ),
            Field::required(
                "ids",
                Shape::List(&Shape::Map(&Shape::Any)),
                "The first 20: id, version of the vectors, of the truth.",
            ),
            Field::required(
                "artifacts",
                Shape::List(&Shape::Text),
                "Where their vectors are kept, when they were quarantined.",
            ),
        ])),
        "Documents whose vectors are of another version, the first 200 collections.",
    ),
    Field::required(
        "counts",
        Shape::Record(&[
            Field::required("orphans", Shape::Integer, "Points that are orphaned."),
            Field::required("missing", Shape::Integer, "Documents without vectors."),
            Field::required("missing_collections", Shape::Integer, "Agents without a collection."),
            Field::required("stale", Shape::Integer, "Documents whose vectors are of another version."),
        ]),
        "Of all, also of what is not listed.",
    ),
    Field::required("deleted", Shape::Integer, "How many points were removed."),
    Field::required(
        "erased",
        Shape::Record(&[
            Field::required("agents", Shape::List(&Shape::Text), "Agents, by id."),
            Field::required("documents", Shape::List(&Shape::Text), "Documents, by id."),
            Field::required("points", Shape::Integer, "Points of theirs."),
        ]),
        "What had come back, and must not: it was erased again.",
    ),
]);

/// The orphans of a collection.
#[derive(Serialize)]
struct OrphanEntry {
    collection: String,
    agent: String,
    whole: bool,
    points: u64,
    ids: Vec<String>,
    artifacts: Vec<String>,
    #[serde(skip)]
    taken: bool,
}

/// The stale documents of a collection.
#[derive(Serialize)]
struct StaleEntry {
    collection: String,
    agent: String,
    documents: usize,
    ids: Vec<Value>,
    artifacts: Vec<String>,
    /// How many points were taken out.
    #[serde(skip)]
    taken: u64,
}

impl StaleEntry {
    fn new(collection: &str, agent: &str, documents: usize, ids: Vec<Value>) -> Self {
        let (collection, agent) = (collection.to_owned(), agent.to_owned());
        Self { collection, agent, documents, ids, artifacts: Vec::new(), taken: 0 }
    }
}

impl OrphanEntry {
    fn new(collection: &str, agent: &str, whole: bool, points: u64, ids: Vec<String>) -> Self {
        let (collection, agent) = (collection.to_owned(), agent.to_owned());
        Self { collection, agent, whole, points, ids, artifacts: Vec::new(), taken: false }
    }
}

/// What was found, nothing changed yet.
pub(super) struct Agreement {
    pub(super) truth: Truth,
    pub(super) scans: Vec<Scan>,
    /// Agents without a collection, with how the collection would be called.
    pub(super) without: Vec<(String, String)>,
}

impl Agreement {
    /// Holds every collection of an agent against the truth.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(
        ctx: &Ctx,
        truth: Truth,
        server: &dyn Collections,
        named: &AgentNames,
        by: &By<'_>,
    ) -> Result<Self, StepError> {
        let names = server.collection_names().await?;
        let of_agents = names.into_iter().filter_map(|name| Some((folded(named.agent(&name)?), name)));
        let of_agents: Vec<(String, String)> =
            of_agents.filter(|(agent, _)| by.is_asked_for(agent)).collect();
        let mut scans = Vec::with_capacity(of_agents.len());
        for (done, (agent, collection)) in of_agents.iter().enumerate() {
            ctx.progress(
                done as u64,
                Some(of_agents.len() as u64),
                "collections",
                format!("compare {collection}"),
            );
            scans.push(Scan::of(server, collection, agent, truth.agents.get(agent), by).await?);
        }
        let there: BTreeSet<&String> = of_agents.iter().map(|(agent, _)| agent).collect();
        let asked_for = truth.agents.keys().filter(|agent| by.is_asked_for(agent));
        let missing = asked_for.filter(|agent| !there.contains(agent));
        let without = missing.map(|agent| (agent.clone(), named.of(agent))).collect();
        Ok(Self { truth, scans, without })
    }

    /// How many documents have no vectors.
    pub(super) fn missing(&self) -> u64 {
        let there: usize = self.scans.iter().map(|scan| scan.missing.len()).sum();
        let without: usize = self.without.iter().map(|(agent, _)| self.documents_of(agent).len()).sum();
        (there + without) as u64
    }

    fn documents_of(&self, agent: &str) -> Vec<&String> {
        let mut ids: Vec<&String> =
            self.truth.agents.get(agent).into_iter().flat_map(|documents| documents.keys()).collect();
        ids.sort();
        ids
    }

    /// What is orphaned, in words: `2 points of agent_a, agent_b (no such agent)`.
    pub(super) fn orphans_in_words(&self) -> String {
        in_words(self.scans.iter().filter(|scan| scan.has_orphans()).map(|scan| {
            let why = if scan.whole { " (there is no such agent)" } else { "" };
            format!("{} of {}{why}", counted(scan.orphan_points(), "point"), scan.collection)
        }))
    }

    /// What has vectors of another version, in words.
    pub(super) fn stale_in_words(&self) -> String {
        in_words(
            self.scans.iter().filter(|scan| !scan.stale.is_empty()).map(|scan| {
                format!("{} in {}", counted(scan.stale.len() as u64, "document"), scan.collection)
            }),
        )
    }

    /// What has no vectors, in words.
    pub(super) fn missing_in_words(&self) -> String {
        let inside = self.scans.iter().filter(|scan| !scan.missing.is_empty());
        let inside = inside
            .map(|scan| format!("{} in {}", counted(scan.missing.len() as u64, "document"), scan.collection));
        let without = self.without.iter().map(|(_, collection)| format!("the collection {collection}"));
        in_words(without.chain(inside))
    }

    /// The outputs. What was taken out, by this attempt or one before it, is told as it was found then.
    pub(super) fn outputs(&self, taken: &[Taken], erased: &[Erased], erasures: &Erasures) -> Value {
        let orphans = self.orphan_entries(taken);
        let of_orphans: u64 = orphans.iter().filter(|entry| entry.taken).map(|entry| entry.points).sum();
        let stale = self.stale_entries(taken);
        let of_stale: u64 = stale.iter().map(|entry| entry.taken).sum();
        let deleted = of_orphans + of_stale;
        let all: u64 = orphans.iter().map(|entry| entry.points).sum();
        let here = |entry: &&OrphanEntry| self.scans.iter().any(|scan| scan.collection == entry.collection);
        let gone = orphans.iter().filter(|entry| entry.whole && !here(entry)).count();
        let erased_of = |scan: &Scan| if scan.erased_whole { scan.points } else { scan.erased.len() as u64 };
        let left = |scan: &Scan| scan.points - scan.orphan_points() - erased_of(scan);
        let points: u64 = self.scans.iter().map(left).sum();
        json!({
            "agents": self.truth.agents.len(),
            "collections": self.scans.len() + gone,
            "documents": self.truth.documents,
            "points": points + all,
            "orphans": orphans.iter().take(LISTED).collect::<Vec<_>>(),
            "missing": self.missing_entries(),
            "stale": stale.iter().take(LISTED).collect::<Vec<_>>(),
            "counts": {
                "orphans": all,
                "missing": self.missing(),
                "missing_collections": self.without.len(),
                "stale": stale.iter().map(|entry| entry.documents).sum::<usize>(),
            },
            "deleted": deleted,
            "erased": {
                "agents": erasures.agents,
                "documents": erasures.documents,
                "points": erased.iter().map(|one| one.points).sum::<u64>(),
            },
        })
    }

    fn orphan_entries(&self, taken: &[Taken]) -> Vec<OrphanEntry> {
        let mut entries: BTreeMap<&str, OrphanEntry> = BTreeMap::new();
        for scan in self.scans.iter().filter(|scan| scan.has_orphans()) {
            let (points, ids) = (scan.orphan_points(), scan.orphaned_named());
            let entry = OrphanEntry::new(&scan.collection, &scan.agent, scan.whole, points, ids);
            entries.insert(&scan.collection, entry);
        }
        for taken in taken.iter().filter(|one| !one.stale) {
            let entry = entries.entry(&taken.collection).or_insert_with(|| {
                let ids = taken.documents.clone();
                OrphanEntry::new(&taken.collection, &taken.agent, taken.whole, taken.points, ids)
            });
            // A later attempt finds what an earlier one had left over.
            entry.points = entry.points.max(taken.points);
            if entry.ids.len() < taken.documents.len() {
                entry.ids.clone_from(&taken.documents);
            }
            for kept in [&taken.artifact, &taken.snapshot].into_iter().flatten() {
                if !entry.artifacts.contains(kept) {
                    entry.artifacts.push(kept.clone());
                }
            }
            entry.taken = true;
        }
        entries.into_values().collect()
    }

    fn missing_entries(&self) -> Vec<Value> {
        let entry = |collection: &str, agent: &str, whole: bool, ids: Vec<&String>| {
            let named: Vec<&String> = ids.iter().take(NAMED).copied().collect();
            json!({ "collection": collection, "agent": agent, "whole": whole, "documents": ids.len(), "ids": named })
        };
        let without =
            self.without.iter().map(|(agent, name)| entry(name, agent, true, self.documents_of(agent)));
        let inside = self.scans.iter().filter(|scan| !scan.missing.is_empty());
        let inside =
            inside.map(|scan| entry(&scan.collection, &scan.agent, false, scan.missing.iter().collect()));
        without.chain(inside).take(LISTED).collect()
    }

    fn stale_entries(&self, taken: &[Taken]) -> Vec<StaleEntry> {
        let mut entries: BTreeMap<&str, StaleEntry> = BTreeMap::new();
        for scan in self.scans.iter().filter(|scan| !scan.stale.is_empty()) {
            let named = scan.stale.iter().take(NAMED);
            let ids = named
                .map(|(id, stale)| json!({ "id": id, "vectors": stale.vectors, "truth": stale.truth }))
                .collect();
            let entry = StaleEntry::new(&scan.collection, &scan.agent, scan.stale.len(), ids);
            entries.insert(&scan.collection, entry);
        }
        for taken in taken.iter().filter(|one| one.stale) {
            // What an attempt before this one has taken out has no documents here any more.
            let entry = entries
                .entry(&taken.collection)
                .or_insert_with(|| StaleEntry::new(&taken.collection, &taken.agent, 0, Vec::new()));
            entry.taken = entry.taken.max(taken.points);
            entry.artifacts.extend(
                taken
                    .artifact
                    .iter()
                    .filter(|one| !entry.artifacts.contains(one))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        }
        entries.into_values().collect()
    }
}

/// The first five, and how many more there are.
fn in_words(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    let more = parts.len().saturating_sub(5);
    let mut text = parts.into_iter().take(5).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
