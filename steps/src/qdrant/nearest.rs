//! What lies nearest to a vector in a collection, truly and by the index: [`Nearest`].

use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::{Connection, StepError};
use serde_json::Value;

use super::answers::{Hits, Record};
use super::requests::{self, Search};
use super::target::QdrantConnection;
use crate::sample_file::Neighbour;
use crate::searches::Searches;

/// Asks what is nearest in one collection.
pub(super) struct Nearest {
    pub(super) connection: Arc<dyn Connection>,
    pub(super) collection: String,
    pub(super) using: Option<String>,
    pub(super) k: u64,
}

impl Nearest {
    fn qdrant(&self) -> Result<&QdrantConnection, StepError> {
        QdrantConnection::of(&*self.connection)
    }
}

#[async_trait]
impl Searches for Nearest {
    fn of(&self) -> &str {
        &self.collection
    }

    fn k(&self) -> u64 {
        self.k
    }

    async fn to(&self, vector: &Value, exact: bool) -> Result<Vec<Neighbour>, StepError> {
        let search = Search {
            near: vector,
            limit: self.k + 1,
            filter: None,
            using: self.using.as_deref(),
            exact,
            with_payload: false,
        };
        let Hits { points } = self.qdrant()?.ask(&requests::search(&self.collection, &search)).await?;
        Ok(points.into_iter().map(|hit| Neighbour { id: hit.id, score: hit.score }).collect())
    }

    async fn vector_of(&self, point: &Value) -> Result<Option<Value>, StepError> {
        let ask =
            requests::points(&self.collection, std::slice::from_ref(point), Some(self.using.as_deref()));
        let found: Vec<Record> = self.qdrant()?.ask(&ask).await?;
        Ok(found
            .into_iter()
            .next()
            .and_then(|record| record.vector)
            .and_then(|vector| named(vector, self.using.as_deref())))
    }

    async fn there(&self, points: &[Value]) -> Result<u64, StepError> {
        let found: Vec<Record> =
            self.qdrant()?.ask(&requests::points(&self.collection, points, None)).await?;
        Ok(found.len() as u64)
    }
}

/// The vector of this name, or the one without a name, out of a point's.
fn named(vector: Value, using: Option<&str>) -> Option<Value> {
    let found = match vector {
        Value::Object(mut by_name) => by_name.shift_remove(using.unwrap_or_default())?,
        one => one,
    };
    let is_empty = found.as_array().is_some_and(Vec::is_empty);
    (!found.is_null() && !is_empty).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_point_has_one_vector_or_several() {
        assert_eq!(named(json!([1.0]), None), Some(json!([1.0])));
        assert_eq!(named(json!({ "a": [1.0], "b": [2.0] }), Some("b")), Some(json!([2.0])));
        assert_eq!(named(json!({ "a": [1.0] }), Some("b")), None);
        assert_eq!(named(json!({}), None), None);
    }
}
