//! Qdrant as [`Collections`]: what kinds of other folders see of it.

use async_trait::async_trait;
use drydock_step::StepError;
use drydock_step::target::{Collections, PointPayload};
use serde_json::Value;

use super::answers::{Listing, Page};
use super::requests;
use super::target::QdrantConnection;

/// Points that are removed by one request.
const BATCH: usize = 10_000;

#[async_trait]
impl Collections for QdrantConnection {
    async fn collection_names(&self) -> Result<Vec<String>, StepError> {
        let listing: Listing = self.ask(&requests::collections()).await?;
        let mut names: Vec<String> = listing.collections.into_iter().map(|named| named.name).collect();
        names.sort();
        Ok(names)
    }

    /// `after` is what the page before it gave.
    async fn points_page(
        &self,
        collection: &str,
        fields: &[String],
        after: Option<&Value>,
        limit: usize,
    ) -> Result<(Vec<PointPayload>, Option<Value>), StepError> {
        let page: Page = self.ask(&requests::scroll(collection, fields, after, limit)).await?;
        let points = page
            .points
            .into_iter()
            .map(|one| PointPayload { id: one.id, payload: one.payload.unwrap_or_default() });
        Ok((points.collect(), page.next_page_offset))
    }

    async fn delete_points(&self, collection: &str, ids: &[Value]) -> Result<(), StepError> {
        for batch in ids.chunks(BATCH) {
            let _: Value = self.ask(&requests::delete_points(collection, batch)).await?;
        }
        Ok(())
    }

    async fn delete_collection(&self, collection: &str) -> Result<bool, StepError> {
        self.ask(&requests::delete_collection(collection)).await
    }
}
