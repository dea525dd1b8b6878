//! Where a file lies in an artifact store, as outputs tell it: [`ARTIFACT`].

use drydock_step::{Field, Shape};

/// A path in the store, with what its bytes are.
pub const ARTIFACT: Shape = Shape::Record(&[
    Field::required("path", Shape::Text, "Its path in the store."),
    Field::required("size", Shape::Integer, "Its length in bytes."),
    Field::required("sha256", Shape::Text, "The SHA-256 of its bytes."),
]);
