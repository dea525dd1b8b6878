//! Qdrant as [`Collections`]: what kinds of other folders see of it.

use async_trait::async_trait;
use drydock_step::artifact::stream_of;
use drydock_step::target::{Collections, PointPayload};
use drydock_step::{ArtifactStore, Ctx, StepError};
use serde_json::{Value, json};

use super::answers::{Listing, Page};
use super::belongings::aliases_of;
use super::fetch::Fetching;
use super::making::{Making, Progress};
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

    /// What describes it is what `qdrant.recover` takes as its `snapshot`. The servers keep none of the snapshots: once their collection
    /// is gone, nobody can reach them.
    async fn keep_collection(
        &self,
        ctx: &Ctx,
        collection: &str,
        store: &dyn ArtifactStore,
        prefix: &str,
    ) -> Result<String, StepError> {
        let members = self.members().await?;
        let making = Making { ctx, members: &members, progress: Progress::of(&ctx.notes) };
        let entry = making.collection(collection, aliases_of(&self.aliases().await?, collection)).await?;
        let fetched = Fetching { ctx, entry: &entry, members, store, prefix, keep: false }.all().await?;
        if let Some(left) = fetched.snapshots.iter().find_map(|one| one.left_on_server.as_ref()) {
            return Err(StepError::transient("qdrant.lost", left.clone()));
        }
        let text =
            serde_json::to_vec_pretty(&fetched).map_err(|error| StepError::internal(error.to_string()))?;
        let path = store.put(&format!("{prefix}/collection.json"), stream_of(text)).await?.path;
        // What was begun is over: a later one of this step begins anew.
        ctx.note(json!({ "void": collection })).await?;
        Ok(path)
    }
}
