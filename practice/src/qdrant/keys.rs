//! Who may do what: API keys. Main type: [`Keys`].

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;

/// The keys of a server; without `full`, nobody is asked for one.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) full: Option<String>,
    /// A second one, for the time in which the first is changed.
    pub(super) alternative: Option<String>,
    pub(super) read_only: Option<String>,
}

/// Lets a request through to its route, or refuses it: 401 as text, 403 as JSON.
pub(super) async fn authorize(State(keys): State<Keys>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let Some(full) = &keys.full else { return next.run(request).await };
    if open_to_all(&path) {
        return next.run(request).await;
    }
    let Some(given) = key_of(request.headers()) else {
        return unauthorized("Must provide an API key or an Authorization bearer token");
    };
    if given == full || keys.alternative.as_deref() == Some(given) {
        return next.run(request).await;
    }
    if keys.read_only.as_deref() != Some(given) {
        return unauthorized("Invalid API key or JWT");
    }
    // A shard that is streamed is made for it, which the real server counts as writing.
    if changes(&method, &path) || path.ends_with("/snapshot") {
        return Refusal::Forbidden("Global manage access is required".into()).into_response();
    }
    next.run(request).await
}

/// Whether a request with this method and path can change something.
pub(super) fn changes(method: &Method, path: &str) -> bool {
    let reads_by_post = ["/points", "/points/count", "/points/scroll", "/points/query", "/points/search"];
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => false,
        Method::POST => !reads_by_post.iter().any(|end| path.ends_with(end)),
        _ => true,
    }
}

fn open_to_all(path: &str) -> bool {
    matches!(path, "/" | "/healthz") || path.starts_with("/readyz") || path.starts_with("/livez")
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    headers.get("api-key").and_then(|value| value.to_str().ok()).or_else(bearer)
}

fn unauthorized(text: &'static str) -> Response {
    let mut response = (StatusCode::UNAUTHORIZED, text).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}
