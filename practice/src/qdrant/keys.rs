//! Who may do what: API keys, and tokens that they sign. Main type: [`Keys`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::{Access, Global, Needs};
use super::node::Node;
use super::refusal::Refusal;
use super::select::count;
use super::token::{Claims, Untaken, ValueExists};

/// The keys of a server; without `full`, nobody is asked for one.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) full: Option<String>,
    /// A second one, for the time in which the first is changed.
    pub(super) alternative: Option<String>,
    pub(super) read_only: Option<String>,
    /// Whether tokens are taken that one of the first two signed.
    pub(super) tokens: bool,
}

/// What stands before a node's routes.
pub(super) type Door = State<(Keys, Arc<Node>)>;

/// Why a request is not let through.
enum Kept {
    /// In plain text: who it is that asks.
    Who(StatusCode, &'static str),
    /// What it may do.
    What(Refusal),
}

/// Lets a request through to its route, with what its key may do, or refuses it: 401, and 403 for a token that
/// does not hold, as text; 403 for what a key may not do as JSON, or as text for a download.
pub(super) async fn authorize(State((keys, node)): Door, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if keys.full.is_none() || open_to_all(&path) {
        return next.run(request).await;
    }
    let access = match keys.access(request.headers(), &node) {
        Ok(access) => access,
        Err(Kept::Who(status, words)) => return plain(status, words),
        Err(Kept::What(refusal)) => return refusal.into_response(),
    };
    if let Some(refusal) = Needs::of(&method, &path).and_then(|needs| access.meets(&needs).err()) {
        return if downloads(&method, &path) { refusal.text() } else { refusal.into_response() };
    }
    request.extensions_mut().insert(access);
    next.run(request).await
}

impl Keys {
    fn access(&self, headers: &HeaderMap, node: &Node) -> Result<Access, Kept> {
        let refused = |words| Err(Kept::Who(StatusCode::UNAUTHORIZED, words));
        let Some(given) = key_of(headers) else {
            return refused("Must provide an API key or an Authorization bearer token");
        };
        let signing = || [&self.full, &self.alternative].into_iter().flatten();
        if signing().any(|key| key == given) {
            return Ok(Access::default());
        }
        if self.read_only.as_deref() == Some(given) {
            return Ok(Access::Global(Global::Read));
        }
        let now_s = u64::try_from(node.clock.now().timestamp()).unwrap_or(0);
        let tokens = signing().filter(|_| self.tokens).filter_map(|key| Claims::of(given, key, now_s));
        let (taken, untaken): (Vec<_>, Vec<_>) = tokens.partition(Result::is_ok);
        // A token that one of the two keys signed is good, whatever the other key makes of it.
        match taken.into_iter().chain(untaken).next() {
            Some(Ok(claims)) => {
                claims.value_exists.as_ref().map_or(Ok(()), |wanted| exists(wanted, node))?;
                Ok(claims.access)
            }
            Some(Err(Untaken::Unauthorized(words))) => refused(words),
            Some(Err(Untaken::Forbidden(words))) => Err(Kept::Who(StatusCode::FORBIDDEN, words)),
            None => refused("Invalid API key or JWT"),
        }
    }
}

/// Whether there is a point that a token's holding depends on.
fn exists(wanted: &ValueExists, node: &Node) -> Result<(), Kept> {
    let invalid = "Invalid JWT, stateful validation failed";
    let state = node.store.read();
    let Ok(collection) = state.collection(&wanted.collection) else {
        return Err(Kept::Who(StatusCode::FORBIDDEN, invalid));
    };
    let view = collection.view(node.index, None).map_err(Kept::What)?;
    let filter = wanted.filter();
    if filter.is_some_and(|filter| count(&view, Some(&filter)) > 0) {
        return Ok(());
    }
    Err(Kept::Who(StatusCode::UNAUTHORIZED, invalid))
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

/// Whether a request asks for the bytes of a snapshot, whose refusals are plain text.
fn downloads(method: &Method, path: &str) -> bool {
    *method == Method::GET && (path.contains("/snapshots/") || path.ends_with("/snapshot"))
}

fn open_to_all(path: &str) -> bool {
    matches!(path, "/" | "/healthz") || path.starts_with("/readyz") || path.starts_with("/livez")
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    headers.get("api-key").and_then(|value| value.to_str().ok()).or_else(bearer)
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}
