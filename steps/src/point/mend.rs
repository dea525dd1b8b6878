//! Taking orphans out of a collection: [`Mend`]. They are kept in the store first, where that is wanted, and are noted before they go.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use drydock_step::target::{Collections, PointPayload};
use drydock_step::{ArtifactStore, ByteStream, Connection, Ctx, StepError};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::layout;
use super::scan::{PAGE, Scan};

/// What was taken out of a collection; the note of it has these fields under `taken`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    pub(super) collection: String,
    pub(super) agent: String,
    /// Whether the whole collection went.
    pub(super) whole: bool,
    pub(super) points: u64,
    /// Where the points are kept.
    pub(super) artifact: Option<String>,
    /// Where the whole collection is kept, as what `qdrant.recover` takes for its `snapshot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<String>,
}

/// What takes out.
pub(super) struct Mend<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) store: &'a dyn ArtifactStore,
    pub(super) derived: Arc<dyn Connection>,
    /// The payload's fields that are kept in the store; `None` where nothing is kept.
    pub(super) keep: Option<Vec<String>>,
    /// Whether an attempt before this one was lost: what it has kept is not kept again.
    pub(super) goes_on: bool,
}

/// The collections of a target.
///
/// # Errors
/// `point.derived`, when it has none.
pub(super) fn collections_of(server: &dyn Connection) -> Result<&dyn Collections, StepError> {
    server
        .collections()
        .ok_or_else(|| StepError::new("point.derived", "the target of `derived` has no collections"))
}

/// What this attempt and those before it took out, from their notes.
pub(super) fn noted(ctx: &Ctx) -> Vec<Taken> {
    let taken = ctx.notes.iter().filter_map(|note| note.get("taken"));
    taken.filter_map(|taken| serde_json::from_value(taken.clone()).ok()).collect()
}

/// Where attempts have kept orphans of a collection, or were about to, from their notes.
fn kept_before(ctx: &Ctx, collection: &str) -> Vec<String> {
    let kept = ctx.notes.iter().filter_map(|note| Keeping::deserialize(note.get("keeping")?).ok());
    kept.filter(|kept| kept.collection == collection).map(|kept| kept.artifact).collect()
}

/// What is noted, under `keeping`, before orphans are kept.
#[derive(Serialize, Deserialize)]
struct Keeping {
    collection: String,
    artifact: String,
}

impl Mend<'_> {
    /// Takes the orphans of a collection out. After a crash anywhere the same can be done again: what is left and was not kept is kept
    /// under another name, and nothing that was kept is replaced.
    ///
    /// # Errors
    /// What the store or the server says.
    pub(super) async fn take_out(&self, scan: &Scan) -> Result<Taken, StepError> {
        let artifact = match &self.keep {
            Some(fields) => Some(self.kept(scan, fields).await?),
            None => None,
        };
        let snapshot = match &self.keep {
            Some(_) if scan.whole => Some(self.kept_whole(&scan.collection).await?),
            _ => None,
        };
        let taken = Taken {
            collection: scan.collection.clone(),
            agent: scan.agent.clone(),
            whole: scan.whole,
            points: scan.orphan_points(),
            artifact,
            snapshot,
        };
        self.ctx.note(json!({ "taken": taken })).await?;
        let server = collections_of(&*self.derived)?;
        if scan.whole {
            server.delete_collection(&scan.collection).await?;
        }
        for ids in scan.orphans.chunks(PAGE) {
            server.delete_points(&scan.collection, ids).await?;
        }
        Ok(taken)
    }

    /// Keeps a whole collection, vectors and all; where.
    async fn kept_whole(&self, collection: &str) -> Result<String, StepError> {
        let mut before =
            self.ctx.notes.iter().filter_map(|note| Keeping::deserialize(note.get("kept_whole")?).ok());
        if self.goes_on
            && let Some(kept) = before.rfind(|kept| kept.collection == collection)
            && self.store.size(&kept.artifact).await?.is_some()
        {
            return Ok(kept.artifact);
        }
        let prefix = layout::quarantine_of_whole(&self.ctx.run, collection);
        let server = collections_of(&*self.derived)?;
        let attempt = Arc::new(self.ctx.clone());
        let artifact = server.keep_collection(attempt, collection, self.store, &prefix).await?;
        let kept = Keeping { collection: collection.to_owned(), artifact };
        self.ctx.note(json!({ "kept_whole": kept })).await?;
        Ok(kept.artifact)
    }

    /// Keeps the orphans in the store, a JSON line each; where.
    async fn kept(&self, scan: &Scan, fields: &[String]) -> Result<String, StepError> {
        if self.goes_on {
            for path in kept_before(self.ctx, &scan.collection) {
                if self.store.size(&path).await?.is_some() && self.holds(&path, scan).await? {
                    return Ok(path);
                }
            }
        }
        let mut n = 1;
        let path = loop {
            let path = layout::quarantine(&self.ctx.run, &scan.collection, n);
            if self.store.size(&path).await?.is_none() {
                break path;
            }
            n += 1;
        };
        let wanted = scan.orphans.iter().map(Value::to_string).collect();
        let export = Export {
            derived: self.derived.clone(),
            collection: scan.collection.clone(),
            fields: fields.to_vec(),
            wanted: if scan.whole { None } else { Some(wanted) },
            after: None,
            ended: false,
        };
        let keeping = Keeping { collection: scan.collection.clone(), artifact: path.clone() };
        self.ctx.note(json!({ "keeping": keeping })).await?;
        Ok(self.store.put(&path, export.lines()).await?.path)
    }

    /// Whether an artifact has every orphan of a collection.
    async fn holds(&self, path: &str, scan: &Scan) -> Result<bool, StepError> {
        let mut missing: HashSet<String> = scan.orphans.iter().map(Value::to_string).collect();
        let (mut bytes, mut rest, mut points) = (self.store.open(path, 0).await?, Vec::new(), 0);
        while let Some(piece) = bytes.next().await {
            rest.extend_from_slice(&piece?);
            // What follows the last end of a line is no whole one yet.
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = rest.drain(..whole).collect();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let Ok(line) = serde_json::from_slice::<KeptLine>(line) else { return Ok(false) };
                missing.remove(&line.id.to_string());
                points += 1;
            }
        }
        // Of a collection that goes as a whole the single points are not told apart; it was kept as a whole as well.
        Ok(if scan.whole { points == scan.points } else { missing.is_empty() })
    }
}

/// A line of an artifact, as far as it is read back.
#[derive(Deserialize)]
struct KeptLine {
    id: Value,
}

/// The points of a collection on their way into the store.
struct Export {
    derived: Arc<dyn Connection>,
    collection: String,
    fields: Vec<String>,
    /// The ids that are wanted, as JSON; all where there is nothing.
    wanted: Option<HashSet<String>>,
    after: Option<Value>,
    ended: bool,
}

/// A line of a quarantine's artifact.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a Value,
    payload: &'a Map<String, Value>,
}

impl Export {
    fn lines(self) -> ByteStream {
        Box::pin(stream::try_unfold(self, Self::next_page))
    }

    async fn next_page(mut self) -> Result<Option<(Bytes, Self)>, StepError> {
        if self.ended {
            return Ok(None);
        }
        let server = collections_of(&*self.derived)?;
        let (page, next) =
            server.points_page(&self.collection, &self.fields, self.after.as_ref(), PAGE).await?;
        let lines = self.written(&page)?;
        self.ended = next.is_none() || page.is_empty();
        self.after = next;
        Ok(Some((lines, self)))
    }

    fn written(&self, page: &[PointPayload]) -> Result<Bytes, StepError> {
        let mut lines = Vec::new();
        let is_wanted = |point: &&PointPayload| {
            self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&point.id.to_string()))
        };
        for point in page.iter().filter(is_wanted) {
            let line = Line { id: &point.id, payload: &point.payload };
            serde_json::to_writer(&mut lines, &line)
                .map_err(|error| StepError::internal(error.to_string()))?;
            lines.push(b'\n');
        }
        Ok(Bytes::from(lines))
    }
}
