//! One collection held against the truth, page by page: [`Scan`].

use std::collections::{BTreeMap, BTreeSet, HashSet};

use drydock_step::StepError;
use drydock_step::target::{Collections, PointPayload};
use serde::Deserialize;
use serde_json::Value;

use super::erasures::Erasures;
use super::truth::{Documents, id_text};

/// How many points are asked for at once.
pub(super) const PAGE: usize = 1000;

/// The payload's fields that say whose a point is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    pub(super) document: String,
    pub(super) version: String,
}

impl Default for Fields {
    fn default() -> Self {
        Self { document: "document_id".to_owned(), version: "version".to_owned() }
    }
}

/// What a collection is held against the truth by.
pub(super) struct By<'a> {
    pub(super) fields: &'a Fields,
    pub(super) erasures: &'a Erasures,
    /// The agents to look at; all where there is nothing.
    pub(super) only: Option<BTreeSet<String>>,
}

impl By<'_> {
    /// Whether an agent is looked at.
    pub(super) fn is_asked_for(&self, agent: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(agent))
    }
}

/// The most documents that are named of one collection.
pub(super) const NAMED: usize = 20;

/// What was found in one collection.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scan {
    pub(super) collection: String,
    /// The agent that its name names.
    pub(super) agent: String,
    /// Whether there is no such agent: then all its points are orphans.
    pub(super) whole: bool,
    pub(super) points: u64,
    /// Ids of the points whose document is not the agent's; empty where the whole collection is an orphan.
    pub(super) orphans: Vec<Value>,
    /// The documents that those say they are of, as far as they say one.
    pub(super) orphaned: BTreeSet<String>,
    /// Ids of the points whose document must not come back.
    pub(super) erased: Vec<Value>,
    /// Whether its agent must not come back.
    pub(super) erased_whole: bool,
    /// Documents with vectors of another version: that of the vectors, by id.
    pub(super) stale: BTreeMap<String, Stale>,
    /// Documents without vectors.
    pub(super) missing: Vec<String>,
}

/// The versions of a document that differ.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stale {
    /// Ids of its points.
    pub(super) points: Vec<Value>,
    /// Of the vectors; `None` where they do not tell.
    pub(super) vectors: Option<String>,
    /// Of the truth.
    pub(super) truth: String,
}

impl Scan {
    /// Holds a collection against the documents of its agent; `None` where there is no such agent.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(
        server: &dyn Collections,
        collection: &str,
        agent: &str,
        documents: Option<&Documents>,
        by: &By<'_>,
    ) -> Result<Self, StepError> {
        let mut scan = Self {
            collection: collection.to_owned(),
            agent: agent.to_owned(),
            whole: documents.is_none(),
            erased_whole: by.erasures.agents.contains(agent),
            ..Self::default()
        };
        let fields = [by.fields.document.clone(), by.fields.version.clone()];
        let mut seen = HashSet::new();
        let mut after = None;
        loop {
            let (page, next) = server.points_page(collection, &fields, after.as_ref(), PAGE).await?;
            for point in &page {
                scan.points += 1;
                if let Some(documents) = documents {
                    scan.point(point, documents, by, &mut seen);
                }
            }
            match next {
                Some(next) if !page.is_empty() => after = Some(next),
                _ => break,
            }
        }
        let documents = documents.into_iter().flat_map(Documents::keys);
        scan.missing = documents.filter(|id| !seen.contains(*id)).cloned().collect();
        scan.missing.sort();
        Ok(scan)
    }

    fn point(
        &mut self,
        point: &PointPayload,
        documents: &Documents,
        by: &By<'_>,
        seen: &mut HashSet<String>,
    ) {
        let document = point.payload.get(&by.fields.document).and_then(id_text);
        if document.as_ref().is_some_and(|id| by.erasures.documents.contains(id)) {
            self.erased.push(point.id.clone());
            return;
        }
        let known = document.as_ref().and_then(|id| documents.get_key_value(id));
        let Some((id, version)) = known else {
            self.orphans.push(point.id.clone());
            self.orphaned.extend(document);
            return;
        };
        let vectors = point.payload.get(&by.fields.version).and_then(id_text);
        if let Some(truth) = version
            && vectors.as_ref() != Some(truth)
        {
            let new = || Stale { points: Vec::new(), vectors, truth: truth.clone() };
            self.stale.entry(id.clone()).or_insert_with(new).points.push(point.id.clone());
        }
        seen.insert(id.clone());
    }

    /// The first documents that its orphans say they are of.
    pub(super) fn orphaned_named(&self) -> Vec<String> {
        self.orphaned.iter().take(NAMED).cloned().collect()
    }

    /// How many of its points belong to nothing in the truth.
    pub(super) fn orphan_points(&self) -> u64 {
        if self.whole && !self.erased_whole { self.points } else { self.orphans.len() as u64 }
    }

    /// Whether there is something in it that the truth does not have.
    pub(super) fn has_orphans(&self) -> bool {
        (self.whole && !self.erased_whole) || !self.orphans.is_empty()
    }

    /// Whether there is something in it that must not come back.
    pub(super) fn has_erased(&self) -> bool {
        self.erased_whole || !self.erased.is_empty()
    }
}
