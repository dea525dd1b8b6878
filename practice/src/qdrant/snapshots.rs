//! The endpoints of snapshots: created, listed, downloaded in ranges, deleted, recovered, uploaded.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::download::node_file;
use super::extract::{Answer, Body, Done, Lie, Query, query_of};
use super::node::Node;
use super::receive::{Upload, UploadQuery, WaitQuery, compare, finish, received};
use super::recover::{Recovery, blocking, check_checksum};
use super::refusal::Refusal;
use super::snapshot::{Description, delete, existing, list};

/// `POST /collections/{name}/snapshots`.
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    lie: Lie,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    finish(query, blocking(move || node.create_snapshot(&name, lie))).await
}

/// `POST /snapshots`.
pub(super) async fn create_full(
    State(node): State<Arc<Node>>,
    lie: Lie,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    finish(query, blocking(move || node.create_full_snapshot(lie))).await
}

/// `GET /collections/{name}/snapshots`.
pub(super) async fn of_collection(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    lie: Lie,
) -> Answer<Vec<Description>> {
    list(&node.folder_of(&name)?, lie).map(Done)
}

/// `GET /snapshots`.
pub(super) async fn full(State(node): State<Arc<Node>>, lie: Lie) -> Answer<Vec<Description>> {
    list(&node.kept(), lie).map(Done)
}

/// `GET /collections/{name}/snapshots/{file}`: the file, or its checksum as `{file}.checksum`.
pub(super) async fn download(
    State(node): State<Arc<Node>>,
    Path((name, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match node.folder_of(&name).and_then(|folder| existing(&folder, &file)) {
        Ok(path) => node_file(&node, path, &headers).await,
        Err(refusal) => refusal.text(),
    }
}

/// `GET /snapshots/{file}`.
pub(super) async fn download_full(
    State(node): State<Arc<Node>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    match existing(&node.kept(), &file) {
        Ok(path) => node_file(&node, path, &headers).await,
        Err(refusal) => refusal.text(),
    }
}

/// `DELETE /collections/{name}/snapshots/{file}`.
pub(super) async fn delete_one(
    State(node): State<Arc<Node>>,
    Path((name, file)): Path<(String, String)>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    let work = async move { delete(&node.folder_of(&name)?, &file).map(|()| true) };
    finish(query, work).await
}

/// `DELETE /snapshots/{file}`.
pub(super) async fn delete_full(
    State(node): State<Arc<Node>>,
    Path(file): Path<String>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    finish(query, async move { delete(&node.kept(), &file).map(|()| true) }).await
}

/// `PUT /collections/{name}/snapshots/recover`; a `PUT` on any other snapshot does not exist.
pub(super) async fn recover(
    State(node): State<Arc<Node>>,
    Path((name, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    if file != "recover" {
        return Ok(crate::http::empty(StatusCode::NOT_FOUND));
    }
    let query = query_of(request.uri())?;
    let Body(asked): Body<Recovery> = Body::from_request(request, &()).await?;
    asked.check()?;
    finish(query, async move { asked.run(node, name).await.map(|()| true) }).await
}

/// `POST /collections/{name}/snapshots/upload`; a `POST` on any other snapshot does not exist.
pub(super) async fn upload(
    State(node): State<Arc<Node>>,
    Path((name, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    if file != "upload" {
        return Ok(crate::http::empty(StatusCode::NOT_FOUND));
    }
    // The query is judged before a byte of the body is read: a client that is refused sees a broken pipe.
    let query: UploadQuery = query_of(request.uri())?;
    if let Some(checksum) = &query.checksum {
        check_checksum(checksum, "query parameters")?;
    }
    let Upload { label, source } = match received(&node, request).await? {
        Ok(upload) => upload,
        Err(refused) => return Ok(refused),
    };
    let (wait, priority) = (query.wait(), query.priority.unwrap_or_default());
    let work = async move {
        compare(&source, query.checksum).await?;
        let kept = keep(&node, &name, &label, source.path())?;
        blocking(move || node.recover(&name, &kept, priority)).await.map(|()| true)
    };
    finish(wait, work).await
}

/// Puts an uploaded file among the snapshots of its collection, where it stays, also when it does not load.
fn keep(node: &Node, name: &str, label: &str, unfinished: &std::path::Path) -> Result<PathBuf, Refusal> {
    let own = node.store.read().resolve(name).to_owned();
    let folder = node.snapshots_of(&own);
    let base = std::path::Path::new(label).file_name();
    let base = base.ok_or_else(|| Refusal::BadInput("the uploaded file has no name".into()))?;
    let target = folder.join(base);
    let moved = std::fs::create_dir_all(&folder).and_then(|()| std::fs::rename(unfinished, &target));
    moved.map_err(|error| Refusal::io(&error))?;
    Ok(target)
}
