//! One collection held against the truth, page by page: [`Scan`].

use std::collections::{BTreeMap, HashSet};

use drydock_step::StepError;
use drydock_step::target::{Collections, PointPayload};
use serde_json::Value;

use super::truth::{Documents, folded, id_text};

/// How many points are asked for at once.
pub(super) const PAGE: usize = 1000;

/// The payload's fields that say whose a point is.
const DOCUMENT: &str = "document_id";
const VERSION: &str = "version";

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
    /// Documents with vectors of another version: that of the vectors, by id.
    pub(super) stale: BTreeMap<String, Stale>,
    /// Documents without vectors.
    pub(super) missing: Vec<String>,
}

/// The versions of a document that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stale {
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
    ) -> Result<Self, StepError> {
        let mut scan = Self {
            collection: collection.to_owned(),
            agent: agent.to_owned(),
            whole: documents.is_none(),
            ..Self::default()
        };
        let fields = [DOCUMENT.to_owned(), VERSION.to_owned()];
        let mut seen = HashSet::new();
        let mut after = None;
        loop {
            let (page, next) = server.points_page(collection, &fields, after.as_ref(), PAGE).await?;
            for point in &page {
                scan.points += 1;
                if let Some(documents) = documents {
                    scan.point(point, documents, &mut seen);
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

    fn point(&mut self, point: &PointPayload, documents: &Documents, seen: &mut HashSet<String>) {
        let document = point.payload.get(DOCUMENT).and_then(id_text);
        let known = document.and_then(|id| documents.get_key_value(&id));
        let Some((id, version)) = known else {
            self.orphans.push(point.id.clone());
            return;
        };
        let vectors = point.payload.get(VERSION).and_then(id_text);
        if let Some(truth) = version
            && vectors.as_ref() != Some(truth)
        {
            self.stale.entry(id.clone()).or_insert_with(|| Stale { vectors, truth: truth.clone() });
        }
        seen.insert(id.clone());
    }

    /// How many of its points belong to nothing in the truth.
    pub(super) fn orphan_points(&self) -> u64 {
        if self.whole { self.points } else { self.orphans.len() as u64 }
    }

    /// Whether there is something in it that the truth does not have.
    pub(super) fn has_orphans(&self) -> bool {
        self.whole || !self.orphans.is_empty()
    }
}

/// The agent that a collection's name names; `None` for collections of others.
pub(super) fn agent_of(collection: &str, prefix: &str) -> Option<String> {
    collection.strip_prefix(prefix).filter(|agent| !agent.is_empty()).map(folded)
}
