//! A short-lived HTTP server that Qdrant fetches files from: [`Serving`].

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use drydock_recovery::manifest::Artifact;
use drydock_step::{Connection, Field, Shape, StepError};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

/// Where to listen, and where a Qdrant finds that.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeAt {
    /// An address and a port of the runner; port 0 is any that is free.
    bind: String,
    /// The address that the servers reach it by, where that is another.
    url: Option<String>,
}

/// The shape of a [`ServeAt`].
pub(super) const SERVE_AT: Shape = Shape::Record(&[
    Field::required(
        "bind",
        Shape::Text,
        "Address and port of the runner to listen on; port 0 is any that is free.",
    ),
    Field::optional(
        "url",
        Shape::Url,
        "What the servers reach it by, where that is not `http://` and `bind`.",
    ),
]);

/// A server for these files alone, each under an address that nobody can guess; it ends with this value.
pub(super) struct Serving {
    base: String,
    serving: JoinHandle<()>,
}

/// What is served.
struct Shelf {
    token: String,
    store: Arc<dyn Connection>,
    files: Vec<Artifact>,
}

impl Serving {
    /// Listens. The files are those of the store, asked for by their places in `files`.
    ///
    /// # Errors
    /// `qdrant.serve` when the address cannot be listened on, or no server could reach it.
    pub(super) async fn start(
        at: &ServeAt,
        store: Arc<dyn Connection>,
        files: Vec<Artifact>,
    ) -> Result<Self, StepError> {
        let failed = |why: String| {
            StepError::new("qdrant.serve", format!("files cannot be served at {}: {why}", at.bind))
                .help("`serve: { bind: ADDRESS:PORT }` names an address of the runner that the Qdrant nodes reach, and `url` what they reach it by")
        };
        let listener = TcpListener::bind(&at.bind).await.map_err(|error| failed(error.to_string()))?;
        let own: SocketAddr = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let base = match &at.url {
            Some(url) => match Url::parse(url) {
                Ok(read) if matches!(read.scheme(), "http" | "https") => url.trim_end_matches('/').to_owned(),
                _ => return Err(failed(format!("{url} is no http or https URL"))),
            },
            None if own.ip().is_unspecified() => {
                return Err(failed(format!(
                    "{} is no address that a server could fetch from; give `url`",
                    own.ip()
                )));
            }
            None => format!("http://{own}"),
        };
        #[expect(clippy::disallowed_methods, reason = "nobody may guess it, and no journal has it")]
        let token = Uuid::new_v4().simple().to_string();
        let base = format!("{base}/{token}");
        let shelf = Arc::new(Shelf { token, store, files });
        let router = Router::new().route("/{token}/{file}", get(file)).with_state(shelf);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "files are not served any more");
            }
        });
        Ok(Self { base, serving })
    }

    /// The address of a file.
    pub(super) fn url(&self, at: usize) -> String {
        format!("{}/{at}", self.base)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn file(State(shelf): State<Arc<Shelf>>, Path((token, at)): Path<(String, usize)>) -> Response {
    let found = shelf.files.get(at).filter(|_| token == shelf.token).zip(shelf.store.store());
    let Some((artifact, store)) = found else { return StatusCode::NOT_FOUND.into_response() };
    match store.open(&artifact.path, 0).await {
        Ok(body) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::CONTENT_LENGTH, artifact.size.to_string()),
            ];
            (headers, Body::from_stream(body)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.message).into_response(),
    }
}
