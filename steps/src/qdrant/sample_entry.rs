//! [`SampleEntry`], by which a sample of a collection is handed on.

use drydock_recovery::manifest::Artifact;
use drydock_step::{Field, Shape};
use serde::{Deserialize, Serialize};

use crate::artifact_shape::ARTIFACT;
use crate::sample_file::SampleFile;

/// A sample in an artifact store, as `qdrant.sample` gives it and `qdrant.recall` takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleEntry {
    /// The collection that was sampled.
    #[serde(default)]
    pub collection: String,
    /// How many points it had.
    #[serde(default)]
    pub points: u64,
    /// The vector's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<String>,
    /// How many points were searched around.
    pub sampled: u64,
    /// How many others were looked for around each.
    pub k: u64,
    /// The share of them that the index found then; 1 where there was nothing to find.
    pub recall: f64,
    /// Where it lies.
    pub artifact: Artifact,
}

/// The shape of a [`SampleEntry`].
pub(super) const SAMPLE: Shape = Shape::Record(&[
    Field::optional("collection", Shape::Text, "The collection that was sampled."),
    Field::optional("points", Shape::Integer, "How many points it had."),
    Field::optional("using", Shape::Text, "The name of the vector that was searched by, where it has one."),
    Field::required(
        "sampled",
        Shape::Integer,
        "How many points were searched around; fewer than were wanted where there are no more.",
    ),
    Field::required("k", Shape::Integer, "How many others were looked for around each."),
    Field::required(
        "recall",
        Shape::Number,
        "The share of the true neighbours that the index found then, 0 to 1; 1 where there was nothing to find.",
    ),
    Field::required("artifact", ARTIFACT, "Where the sample lies in the artifact store."),
]);

impl SampleEntry {
    /// What a file is handed on by.
    pub(super) fn of(file: &SampleFile, artifact: Artifact) -> Self {
        let (sampled, recall) = file.found();
        Self {
            collection: file.head.collection.clone(),
            points: file.head.points,
            using: file.head.using.clone(),
            sampled,
            k: file.head.k,
            recall,
            artifact,
        }
    }
}
