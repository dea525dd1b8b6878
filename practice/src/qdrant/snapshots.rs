//! The endpoints of snapshots: created, listed, downloaded in ranges, deleted, recovered, uploaded.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use super::download::file_response;
use super::extract::{Answer, Body, Done, Query, accepted, query_of};
use super::node::Node;
use super::recover::{Priority, Recovery, blocking, check_checksum, sum};
use super::refusal::Refusal;
use super::snapshot::{Description, delete, existing, list, no_shard};

/// `?wait=`, which snapshots have true by default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    wait: Option<bool>,
}

/// The query of an upload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadQuery {
    wait: Option<bool>,
    #[serde(rename = "priority")]
    _priority: Option<Priority>,
    checksum: Option<String>,
}

/// `POST /collections/{name}/snapshots`.
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    node.folder_of(&name)?;
    make(query, move || node.create_snapshot(&name)).await
}

/// `POST /collections/{name}/shards/{shard}/snapshots`.
pub(super) async fn create_of_shard(
    State(node): State<Arc<Node>>,
    Path((name, shard)): Path<(String, u32)>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    node.folder_of(&name)?;
    make(query, move || node.create_shard_snapshot(&name, shard)).await
}

/// `POST /snapshots`.
pub(super) async fn create_full(
    State(node): State<Arc<Node>>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Refusal> {
    make(query, move || node.create_full_snapshot()).await
}

async fn make(
    query: WaitQuery,
    work: impl FnOnce() -> Result<Description, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    if query.wait == Some(false) {
        tokio::spawn(async move {
            // Nobody hears of a failure here but the log: a client has to look at the list.
            if let Err(refusal) = blocking(work).await {
                tracing::warn!(%refusal, "a snapshot failed that nobody waited for");
            }
        });
        return Ok(accepted());
    }
    Ok(Done(blocking(work).await?).into_response())
}

/// `GET /collections/{name}/snapshots`.
pub(super) async fn of_collection(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
) -> Answer<Vec<Description>> {
    list(&node.folder_of(&name)?).map(Done)
}

/// `GET /collections/{name}/shards/{shard}/snapshots`.
pub(super) async fn of_shard(
    State(node): State<Arc<Node>>,
    Path((name, shard)): Path<(String, u32)>,
) -> Answer<Vec<Description>> {
    let state = node.store.read();
    if state.collection(&name)?.shards.len() <= shard as usize {
        return Err(no_shard(shard));
    }
    list(&node.shard_snapshots(state.resolve(&name), shard)).map(Done)
}

/// `GET /snapshots`.
pub(super) async fn full(State(node): State<Arc<Node>>) -> Answer<Vec<Description>> {
    list(&node.snapshots()).map(Done)
}

/// `GET /collections/{name}/snapshots/{file}`: the file, or its checksum as `{file}.checksum`.
pub(super) async fn download(
    State(node): State<Arc<Node>>,
    Path((name, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match node.folder_of(&name).and_then(|folder| existing(&folder, &file)) {
        Ok(path) => file_response(path, &headers).await,
        Err(refusal) => refusal.text(),
    }
}

/// `GET /snapshots/{file}`.
pub(super) async fn download_full(
    State(node): State<Arc<Node>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    match existing(&node.snapshots(), &file) {
        Ok(path) => file_response(path, &headers).await,
        Err(refusal) => refusal.text(),
    }
}

/// `DELETE /collections/{name}/snapshots/{file}`.
pub(super) async fn delete_one(
    State(node): State<Arc<Node>>,
    Path((name, file)): Path<(String, String)>,
    Query(_): Query<WaitQuery>,
) -> Answer<bool> {
    delete(&node.folder_of(&name)?, &file)?;
    Ok(Done(true))
}

/// `DELETE /snapshots/{file}`.
pub(super) async fn delete_full(
    State(node): State<Arc<Node>>,
    Path(file): Path<String>,
    Query(_): Query<WaitQuery>,
) -> Answer<bool> {
    delete(&node.snapshots(), &file)?;
    Ok(Done(true))
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
    finish(query, asked.run(node, name)).await
}

async fn finish(
    query: WaitQuery,
    work: impl Future<Output = Result<(), Refusal>> + Send + 'static,
) -> Result<Response, Refusal> {
    if query.wait == Some(false) {
        tokio::spawn(async move {
            if let Err(refusal) = work.await {
                tracing::warn!(%refusal, "a recovery failed that nobody waited for");
            }
        });
        return Ok(accepted());
    }
    work.await?;
    Ok(Done(true).into_response())
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
    let (label, unfinished) = match received(&node, request).await? {
        Ok(received) => received,
        Err(refused) => return Ok(refused),
    };
    if let Some(given) = query.checksum {
        let found = sum(unfinished.clone()).await?;
        if !found.eq_ignore_ascii_case(&given) {
            tokio::fs::remove_file(&unfinished).await.map_err(|error| Refusal::io(&error))?;
            return Err(Refusal::UploadChecksum { found, given });
        }
    }
    let kept = keep(&node, &name, &label, &unfinished)?;
    let work = blocking(move || node.recover(&name, &kept));
    finish(WaitQuery { wait: query.wait }, work).await
}

/// The uploaded file, with the name that the client gave it, or a refusal in plain text.
async fn received(node: &Node, request: Request) -> Result<Result<(String, PathBuf), Response>, Refusal> {
    let refused = |text: String| Ok(Err((StatusCode::BAD_REQUEST, text).into_response()));
    let mut form = match Multipart::from_request(request, &()).await {
        Ok(form) => form,
        Err(rejection) => return refused(rejection.body_text()),
    };
    loop {
        let mut field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => return refused("Required field is missing: snapshot".into()),
            Err(error) => return refused(error.body_text()),
        };
        if field.name() != Some("snapshot") {
            continue;
        }
        let label = field.file_name().map(str::to_owned);
        let path = node.scratch("upload");
        let mut out = tokio::fs::File::create(&path).await.map_err(|error| Refusal::io(&error))?;
        loop {
            match field.chunk().await {
                Ok(Some(bytes)) => out.write_all(&bytes).await.map_err(|error| Refusal::io(&error))?,
                Ok(None) => break,
                Err(error) => return refused(error.body_text()),
            }
        }
        out.flush().await.map_err(|error| Refusal::io(&error))?;
        let unnamed = || format!("{}.snapshot", node.seed.uuid(&path.to_string_lossy()));
        return Ok(Ok((label.unwrap_or_else(unnamed), path)));
    }
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
