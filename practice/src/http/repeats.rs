//! Requests that come again: one with an `Idempotency-Key` that was answered before is answered as it was then, and changes nothing.
//! Main type: [`Repeats`].

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::response::Parts;
use axum::response::{IntoResponse, Response};

/// The header.
const KEY_HEADER: &str = "idempotency-key";

/// The longest answer that is kept.
const LONGEST: usize = 1024 * 1024;

/// An answer that was given; nothing while the first request with its key is at work, or when that failed.
type Given = Arc<tokio::sync::Mutex<Option<(Parts, Bytes)>>>;

/// The answers to requests with a key; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Repeats(Arc<Mutex<HashMap<String, Given>>>);

impl Repeats {
    /// The answer to a request, and whether it is one that was given before.
    pub(super) async fn answer<F: Future<Output = Response>>(
        &self,
        request: Request,
        work: impl FnOnce(Request) -> F,
    ) -> (Response, bool) {
        let key = request.headers().get(KEY_HEADER).and_then(|key| key.to_str().ok());
        let Some(key) = key.map(|key| format!("{key} {} {}", request.method(), request.uri())) else {
            return (work(request).await, false);
        };
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        // Whoever asks again while the first is at work waits for its end.
        let mut given = given.lock().await;
        if let Some((parts, body)) = &*given {
            return (Response::from_parts(parts.clone(), Body::from(body.clone())), true);
        }
        let (parts, body) = work(request).await.into_parts();
        let Ok(body) = to_bytes(body, LONGEST).await else {
            return (StatusCode::INTERNAL_SERVER_ERROR.into_response(), false);
        };
        // What failed at the server may be tried again.
        if !parts.status.is_server_error() {
            *given = Some((parts.clone(), body.clone()));
        }
        (Response::from_parts(parts, Body::from(body)), false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Sends requests, a key and a path each, to a server that counts; what it answers, and whether that was given before.
    async fn answers(requests: &[(Option<&str>, &str)]) -> Vec<(String, bool)> {
        let (repeats, count) = (Repeats::default(), AtomicU32::new(0));
        let mut answers = Vec::new();
        for (key, path) in requests {
            let mut request = Request::builder().method("POST").uri(*path);
            if let Some(key) = key {
                request = request.header(KEY_HEADER, *key);
            }
            let work = |request: Request| {
                let n = count.fetch_add(1, Ordering::Relaxed) + 1;
                let fails = request.uri().path() == "/busy" && n == 1;
                let status = if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                async move { (status, n.to_string()).into_response() }
            };
            let (response, before) = repeats.answer(request.body(Body::empty()).unwrap(), work).await;
            let body = to_bytes(response.into_body(), LONGEST).await.unwrap();
            answers.push((String::from_utf8(body.to_vec()).unwrap(), before));
        }
        answers
    }

    #[tokio::test]
    async fn a_request_with_a_known_key_changes_nothing() {
        let found = answers(&[
            (Some("a"), "/x"),
            (Some("a"), "/x"),
            (Some("b"), "/x"),
            (Some("a"), "/y"),
            (None, "/x"),
            (None, "/x"),
        ]);
        let expected = [("1", false), ("1", true), ("2", false), ("3", false), ("4", false), ("5", false)];
        assert_eq!(found.await, expected.map(|(body, before)| (body.to_owned(), before)));
        let busy = answers(&[(Some("a"), "/busy"), (Some("a"), "/busy"), (Some("a"), "/busy")]).await;
        assert_eq!(
            busy,
            [("1", false), ("2", false), ("2", true)].map(|(body, before)| (body.to_owned(), before))
        );
    }
}
