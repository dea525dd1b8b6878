//! Qdrant as [`Collections`]: what kinds of other folders see of it.

use std::sync::Arc;

use async_trait::async_trait;
use drydock_recovery::manifest::Band;
use drydock_step::artifact::stream_of;
use drydock_step::target::{Collections, PointPayload};
use drydock_step::{ArtifactStore, AtWork, Millis, StepError};
use serde_json::{Value, json};

use super::answers::{Listing, Page};
use super::belongings::aliases_of;
use super::fetch::Fetching;
use super::making::{Making, Progress, time};
use super::requests;
use super::target::QdrantConnection;

/// Points that are removed by one request.
const BATCH: usize = 10_000;

/// How old a snapshot may be that an attempt before this one made of a collection that is taken out.
const STILL_GOOD: Millis = Millis(3_600_000);

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

    /// What describes it is what `qdrant.recover` takes as its `snapshot`. The servers keep none of the snapshots: once their collection
    /// is gone, nobody can reach them.
    async fn keep_collection(
        &self,
        attempt: Arc<dyn AtWork>,
        collection: &str,
        store: &dyn ArtifactStore,
        prefix: &str,
    ) -> Result<String, StepError> {
        let members = self.members().await?;
        let (progress, old) = Progress::of(attempt.notes()).parted(STILL_GOOD, time(&*attempt));
        let making = Making { attempt: &*attempt, members: &members, progress };
        making.discard_all(&old).await;
        let entry = making.collection(collection, aliases_of(&self.aliases().await?, collection)).await?;
        let Band { low, high } = entry.points;
        if low != high {
            let message =
                format!("collection {collection} had between {low} and {high} points while it was kept");
            attempt.note(json!({ "void": collection })).await?;
            making.discard(collection, &entry.snapshots).await;
            return Err(StepError::transient("qdrant.written", message)
                .help("nothing was removed; keep everybody from writing while vectors are held against the truth, and try again"));
        }
        let fetching =
            Fetching { attempt: attempt.clone(), entry: &entry, members, store, prefix, keep: false };
        let fetched = fetching.all().await?;
        let text =
            serde_json::to_vec_pretty(&fetched).map_err(|error| StepError::internal(error.to_string()))?;
        let path = store.put(&format!("{prefix}/collection.json"), stream_of(text)).await?.path;
        // What was begun is over: a later one of this step begins anew.
        attempt.note(json!({ "void": collection })).await?;
        Ok(path)
    }
}
