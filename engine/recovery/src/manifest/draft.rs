//! [`Opened`] and [`Marked`]: a recovery point before it is sealed.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::manifest::format::{FormatError, OPENED, head, read};
use crate::manifest::id::{MarkName, PointId};
use crate::manifest::sqlserver::MarkPlace;

/// The plan that made a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRef {
    /// Its name.
    pub name: String,
    /// Digest over the plan, the environment and every file that they name.
    pub digest: String,
}

/// Who made a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The plan.
    pub plan: PlanRef,
    /// The environment's name.
    pub environment: String,
    /// The run's id.
    pub run: String,
    /// Who ran it and where, `user@host`; empty in what was written before this was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// A point that has begun: its bases are done, its mark is not yet set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The point's id.
    pub id: PointId,
    /// The name that its mark will have.
    pub mark: MarkName,
    /// Who makes it.
    pub origin: Origin,
    /// When it was opened, by the runner's clock.
    pub opened_at: Time,
}

/// A point whose mark is set: what belongs to it is decided, and remains to be fetched and proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// The point as it was opened.
    pub opened: Opened,
    /// When the mark was sent, by the runner's clock.
    pub sent_at: Time,
    /// When it was answered, by the runner's clock.
    pub answered_at: Time,
    /// Where it stands in each database, by the name that the plan gives the database.
    pub places: IndexMap<String, MarkPlace>,
}

/// A point that has begun, as it lies in the store: format `drydock.opened`, version 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenedFile<'o> {
    format: String,
    version: u32,
    #[serde(flatten)]
    opened: &'o Opened,
}

impl Opened {
    /// What is written of it.
    pub fn file(&self) -> OpenedFile<'_> {
        let (format, version) = head(OPENED);
        OpenedFile { format, version, opened: self }
    }

    /// The point that a JSON text tells of.
    ///
    /// # Errors
    /// When it is no such file, or one of a version that only a newer Drydock understands.
    pub fn parse(text: &str) -> Result<Opened, FormatError> {
        read(text, OPENED)
    }

    /// Opens a point; its mark is named for it.
    pub fn new(id: PointId, origin: Origin, opened_at: Time) -> Opened {
        Opened { mark: id.mark(), id, origin, opened_at }
    }

    /// The point once its mark is set.
    pub fn marked(self, sent_at: Time, answered_at: Time, places: IndexMap<String, MarkPlace>) -> Marked {
        Marked { opened: self, sent_at, answered_at, places }
    }
}
