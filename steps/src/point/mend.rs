//! Taking points out of a collection: [`Mend`]. They are kept in the store first, where that is wanted, and are noted before they go.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use drydock_step::target::{AgentNames, Collections, PointPayload, VectorTable};
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
    /// Whether they were of another version than the truth; orphans where not.
    #[serde(default)]
    pub(super) stale: bool,
    /// The first documents that orphans said they were of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) documents: Vec<String>,
    /// Where the points are kept.
    pub(super) artifact: Option<String>,
    /// Where the whole collection is kept, as what `qdrant.recover` takes for its `snapshot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<String>,
}

/// What was erased of a collection; the note of it has these fields under `erased`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Erased {
    pub(super) collection: String,
    pub(super) points: u64,
}

/// What takes out.
pub(super) struct Mend<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) store: &'a dyn ArtifactStore,
    pub(super) derived: Arc<Derived>,
    /// The payload's fields that are kept in the store; `None` where nothing is kept.
    pub(super) keep: Option<Vec<String>>,
    /// Whether an attempt before this one was lost: what it has kept is not kept again.
    pub(super) goes_on: bool,
}

/// Where the vectors are.
pub(super) enum Derived {
    /// In collections of a server.
    Server(Arc<dyn Connection>),
    /// In a table, whose rows are whole as they are read.
    Table(Box<dyn Collections>),
}

impl Derived {
    /// The vectors of a target: in its collections, or in a table of it.
    ///
    /// # Errors
    /// `point.derived`, when it has none.
    pub(super) fn of(
        server: Arc<dyn Connection>,
        table: Option<&VectorTable>,
        names: &AgentNames,
    ) -> Result<Self, StepError> {
        let Some(table) = table else {
            return match server.collections() {
                Some(_) => Ok(Self::Server(server)),
                None => Err(StepError::new("point.derived", "the target of `derived` has no collections")
                    .help("of a PostgreSQL, name the table of the vectors with `table`")),
            };
        };
        server.vector_table(table.clone(), names.clone()).map(Self::Table).ok_or_else(|| {
            StepError::new("point.derived", "the target of `derived` has no tables of vectors")
        })
    }

    /// Its collections.
    ///
    /// # Errors
    /// `internal`.
    pub(super) fn collections(&self) -> Result<&dyn Collections, StepError> {
        match self {
            Self::Server(server) => {
                server.collections().ok_or_else(|| StepError::internal("the collections have gone"))
            }
            Self::Table(table) => Ok(&**table),
        }
    }
}

/// What is taken out of a collection.
pub(super) struct Taking<'a> {
    pub(super) scan: &'a Scan,
    /// The points; none where it is the whole collection.
    pub(super) ids: Vec<Value>,
    pub(super) stale: bool,
}

impl<'a> Taking<'a> {
    /// The orphans of a collection.
    pub(super) fn orphans(scan: &'a Scan) -> Self {
        Self { scan, ids: scan.orphans.clone(), stale: false }
    }

    /// Its points of another version than the truth.
    pub(super) fn stale(scan: &'a Scan) -> Self {
        let ids = scan.stale.values().flat_map(|one| one.points.iter().cloned()).collect();
        Self { scan, ids, stale: true }
    }

    fn is_whole(&self) -> bool {
        self.scan.whole && !self.stale
    }

    fn points(&self) -> u64 {
        if self.is_whole() { self.scan.points } else { self.ids.len() as u64 }
    }
}

/// What this attempt and those before it took out, from their notes.
pub(super) fn noted(ctx: &Ctx) -> Vec<Taken> {
    let taken = ctx.notes.iter().filter_map(|note| note.get("taken"));
    taken.filter_map(|taken| serde_json::from_value(taken.clone()).ok()).collect()
}

/// What this attempt and those before it erased of the vectors, from their notes.
pub(super) fn erased_before(ctx: &Ctx) -> Vec<Erased> {
    ctx.notes.iter().filter_map(|note| Erased::deserialize(note.get("erased")?).ok()).collect()
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
    /// Takes points of a collection out. After a crash anywhere the same can be done again: what is left and was not kept is kept under
    /// another name, and nothing that was kept is replaced.
    ///
    /// # Errors
    /// What the store or the server says.
    pub(super) async fn take_out(&self, taking: &Taking<'_>) -> Result<Taken, StepError> {
        let (scan, whole) = (taking.scan, taking.is_whole());
        let is_table = matches!(&*self.derived, Derived::Table(_));
        let artifact = match &self.keep {
            // The rows of a table are kept as a whole below, with every column.
            Some(_) if whole && is_table => None,
            Some(fields) => Some(self.kept(taking, fields).await?),
            None => None,
        };
        let snapshot = match &self.keep {
            Some(_) if whole => Some(self.kept_whole(&scan.collection).await?),
            _ => None,
        };
        let taken = Taken {
            collection: scan.collection.clone(),
            agent: scan.agent.clone(),
            whole,
            points: taking.points(),
            stale: taking.stale,
            documents: if taking.stale { Vec::new() } else { scan.orphaned_named() },
            artifact,
            snapshot,
        };
        self.ctx.note(json!({ "taken": taken })).await?;
        let server = self.derived.collections()?;
        if whole {
            server.delete_collection(&scan.collection).await?;
        }
        for ids in taking.ids.chunks(PAGE) {
            server.delete_points(&scan.collection, ids).await?;
        }
        Ok(taken)
    }

    /// Removes what must not come back; nothing of it is kept.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn erase(&self, scan: &Scan) -> Result<Erased, StepError> {
        let points = if scan.erased_whole { scan.points } else { scan.erased.len() as u64 };
        let erased = Erased { collection: scan.collection.clone(), points };
        self.ctx.note(json!({ "erased": erased })).await?;
        let server = self.derived.collections()?;
        if scan.erased_whole {
            server.delete_collection(&scan.collection).await?;
            return Ok(erased);
        }
        for ids in scan.erased.chunks(PAGE) {
            server.delete_points(&scan.collection, ids).await?;
        }
        Ok(erased)
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
        let server = self.derived.collections()?;
        let attempt = Arc::new(self.ctx.clone());
        let artifact = server.keep_collection(attempt, collection, self.store, &prefix).await?;
        let kept = Keeping { collection: collection.to_owned(), artifact };
        self.ctx.note(json!({ "kept_whole": kept })).await?;
        Ok(kept.artifact)
    }

    /// Keeps points in the store, a JSON line each; where.
    async fn kept(&self, taking: &Taking<'_>, fields: &[String]) -> Result<String, StepError> {
        let scan = taking.scan;
        if self.goes_on {
            for path in kept_before(self.ctx, &scan.collection) {
                if self.store.size(&path).await?.is_some() && self.holds(&path, taking).await? {
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
        let wanted = taking.ids.iter().map(Value::to_string).collect();
        let export = Export {
            derived: self.derived.clone(),
            collection: scan.collection.clone(),
            fields: fields.to_vec(),
            wanted: if taking.is_whole() { None } else { Some(wanted) },
            after: None,
            ended: false,
        };
        let keeping = Keeping { collection: scan.collection.clone(), artifact: path.clone() };
        self.ctx.note(json!({ "keeping": keeping })).await?;
        Ok(self.store.put(&path, export.lines()).await?.path)
    }

    /// Whether an artifact has every one of these points.
    async fn holds(&self, path: &str, taking: &Taking<'_>) -> Result<bool, StepError> {
        let mut missing: HashSet<String> = taking.ids.iter().map(Value::to_string).collect();
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
        Ok(if taking.is_whole() { points == taking.scan.points } else { missing.is_empty() })
    }
}

/// A line of an artifact, as far as it is read back.
#[derive(Deserialize)]
struct KeptLine {
    id: Value,
}

/// The points of a collection on their way into the store.
struct Export {
    derived: Arc<Derived>,
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
        let server = self.derived.collections()?;
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
