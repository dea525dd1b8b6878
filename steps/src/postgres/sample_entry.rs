//! [`TableSample`], by which a sample of a table is handed on.

use drydock_recovery::manifest::{Artifact, TableSamplePart};
use drydock_step::{Field, Shape};

use super::sql::Identifier;
use crate::artifact_shape::ARTIFACT;
use crate::sample_file::SampleFile;

/// A sample in an artifact store, as `postgres.sample` gives it and `postgres.recall` takes it.
pub type TableSample = TableSamplePart;

/// The shape of a [`TableSample`].
pub(super) const TABLE_SAMPLE: Shape = Shape::Record(&[
    Field::required("database", Shape::Text, "The database."),
    Field::required("table", Shape::Text, "The table that was sampled, with its schema."),
    Field::required("column", Shape::Text, "The column of vectors that was searched by."),
    Field::required(
        "sampled",
        Shape::Integer,
        "How many rows were searched around; fewer than were wanted where there are no more.",
    ),
    Field::required("k", Shape::Integer, "How many others were looked for around each."),
    Field::required(
        "recall",
        Shape::Number,
        "The share of the true neighbours that the index found then, 0 to 1; 1 where there was nothing to find.",
    ),
    Field::required("artifact", ARTIFACT, "Where the sample lies in the artifact store."),
]);

/// What a file is handed on by.
pub(super) fn entry(
    file: &SampleFile,
    database: &Identifier,
    table: &str,
    artifact: Artifact,
) -> TableSample {
    let (sampled, recall) = file.found();
    TableSample {
        database: database.as_str().to_owned(),
        table: table.to_owned(),
        column: file.head.using.clone().unwrap_or_default(),
        sampled,
        k: file.head.k,
        recall,
        artifact,
    }
}
