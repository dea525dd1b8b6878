//! What the endpoints of snapshots have in common: work that nobody has to wait for, and files that are
//! uploaded. Main types: [`WaitQuery`], [`Upload`].

use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::extract::Done;
use super::node::Node;
use super::recover::{Priority, Source, sum};
use super::refusal::{Refusal, accepted};

/// `?wait=`, which snapshots have true by default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    wait: Option<bool>,
}

/// The query of an upload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    wait: Option<bool>,
    pub(super) priority: Option<Priority>,
    pub(super) checksum: Option<String>,
}

/// A file that was sent.
pub(super) struct Upload {
    /// What the client calls it.
    pub(super) label: String,
    pub(super) source: Source,
}

impl UploadQuery {
    /// The part that other requests have as well.
    pub(super) fn wait(&self) -> WaitQuery {
        WaitQuery { wait: self.wait }
    }
}

/// Answers what comes of the work, or at once that it will be done.
pub(super) async fn finish<T: Serialize + Send + 'static>(
    query: WaitQuery,
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<Response, Refusal> {
    if query.wait == Some(false) {
        tokio::spawn(async move {
            // Nobody hears of a failure here but the log: a client has to look at what came of it.
            if let Err(refusal) = work.await {
                tracing::warn!(%refusal, "something failed that nobody waited for");
            }
        });
        return Ok(accepted());
    }
    Ok(Done(work.await?).into_response())
}

/// Compares an uploaded file with what the client said of it.
pub(super) async fn compare(source: &Source, given: Option<String>) -> Result<(), Refusal> {
    let Some(given) = given else { return Ok(()) };
    let found = sum(source.path().to_owned()).await?;
    if found.eq_ignore_ascii_case(&given) { Ok(()) } else { Err(Refusal::UploadChecksum { found, given }) }
}

/// The uploaded file, with the name that the client gave it, or a refusal in plain text.
pub(super) async fn received(node: &Node, request: Request) -> Result<Result<Upload, Response>, Refusal> {
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
        // The source is made before the file, so that what was sent is removed when the rest does not come.
        let source = Source::borrowed(node.scratch("upload"));
        let mut out = tokio::fs::File::create(source.path()).await.map_err(|error| Refusal::io(&error))?;
        loop {
            match field.chunk().await {
                Ok(Some(bytes)) => out.write_all(&bytes).await.map_err(|error| Refusal::io(&error))?,
                Ok(None) => break,
                Err(error) => return refused(error.body_text()),
            }
        }
        out.flush().await.map_err(|error| Refusal::io(&error))?;
        let unnamed = || node.seed.uuid(&source.path().to_string_lossy()).to_string();
        let label = label.unwrap_or_else(unnamed);
        return Ok(Ok(Upload { label, source }));
    }
}
