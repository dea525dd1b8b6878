//! The endpoints of the snapshots of single shards, which are a node's own: what it does not hold it refuses.

use std::sync::Arc;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::download::{node_file, streamed};
use super::extract::{Answer, Body, Done, Lie, Query, query_of};
use super::node::Node;
use super::receive::{Upload, UploadQuery, WaitQuery, compare, finish, received};
use super::recover::{ShardRecovery, blocking};
use super::refusal::Refusal;
use super::snapshot::{Description, delete, existing, list};

/// `POST /collections/{name}/shards/{shard}/snapshots`.
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Path((name, shard)): Path<(String, u32)>,
    lie: Lie,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    finish(query, blocking(move || node.create_shard_snapshot(&name, shard, lie))).await
}

/// `GET /collections/{name}/shards/{shard}/snapshots`.
pub(super) async fn list_all(
    State(node): State<Arc<Node>>,
    Path((name, shard)): Path<(String, u32)>,
    lie: Lie,
) -> Answer<Vec<Description>> {
    node.check_local(&name, shard, "local")?;
    list(&node.shard_snapshots(&node.own_name(&name), shard), lie).map(Done)
}

/// `GET /collections/{name}/shards/{shard}/snapshots/{file}`: the file, or its checksum as `{file}.checksum`.
pub(super) async fn download(
    State(node): State<Arc<Node>>,
    Path((name, shard, file)): Path<(String, u32, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = node.check_local(&name, shard, "local or queue proxy") {
        return refusal.text();
    }
    match existing(&node.shard_snapshots(&node.own_name(&name), shard), &file) {
        Ok(path) => node_file(&node, path, &headers).await,
        Err(refusal) => refusal.text(),
    }
}

/// `GET /collections/{name}/shards/{shard}/snapshot`: made and sent, without a length, and not kept.
pub(super) async fn stream(
    State(node): State<Arc<Node>>,
    Path((name, shard)): Path<(String, u32)>,
) -> Response {
    match blocking(move || node.streamed_shard_snapshot(&name, shard)).await {
        Ok((file, bytes)) => streamed(bytes.into(), Some(&file)),
        Err(refusal) => refusal.text(),
    }
}

/// `DELETE /collections/{name}/shards/{shard}/snapshots/{file}`.
pub(super) async fn delete_one(
    State(node): State<Arc<Node>>,
    Path((name, shard, file)): Path<(String, u32, String)>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    let work = async move {
        node.check_local(&name, shard, "local or queue proxy")?;
        delete(&node.shard_snapshots(&node.own_name(&name), shard), &file).map(|()| true)
    };
    finish(query, work).await
}

/// `PUT /collections/{name}/shards/{shard}/snapshots/recover`; a `PUT` on any other snapshot does not exist.
pub(super) async fn recover(
    State(node): State<Arc<Node>>,
    Path((name, shard, file)): Path<(String, u32, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    if file != "recover" {
        return Ok(crate::http::empty(StatusCode::NOT_FOUND));
    }
    let query = query_of(request.uri())?;
    let Body(asked): Body<ShardRecovery> = Body::from_request(request, &()).await?;
    finish(query, async move { asked.run(node, name, shard).await.map(|()| true) }).await
}

/// `POST /collections/{name}/shards/{shard}/snapshots/upload`; a `POST` on any other snapshot does not exist. The
/// file is not kept, and the answer has nothing in it.
pub(super) async fn upload(
    State(node): State<Arc<Node>>,
    Path((name, shard, file)): Path<(String, u32, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    if file != "upload" {
        return Ok(crate::http::empty(StatusCode::NOT_FOUND));
    }
    let query: UploadQuery = query_of(request.uri())?;
    let Upload { source, .. } = match received(&node, request).await? {
        Ok(upload) => upload,
        Err(refused) => return Ok(refused),
    };
    let (wait, priority) = (query.wait(), query.priority.unwrap_or_default());
    let work = async move {
        compare(&source, query.checksum).await?;
        node.check_shard(&name, shard)?;
        blocking(move || node.recover_shard(&name, shard, source.path(), priority)).await
    };
    finish(wait, work).await
}
