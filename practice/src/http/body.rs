//! The SHA-256 of a request's body, taken while the handler reads it. Main type: [`BodyDigest`].

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use crate::seed::hex;

/// What has been read of one body so far.
#[derive(Clone, Default)]
pub(super) struct BodyDigest(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    hash: Sha256,
    bytes: u64,
    announced: Option<u64>,
    ended: bool,
}

impl BodyDigest {
    /// The same request, its body watched.
    pub(super) fn watch(self, request: Request) -> Request {
        let (parts, body) = request.into_parts();
        let announced = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        self.with(|seen| seen.announced = announced);
        let ending = self.clone();
        let read = body.into_data_stream().inspect(move |chunk| {
            if let Ok(bytes) = chunk {
                self.with(|seen| seen.take(bytes));
            }
        });
        let ended = futures_util::stream::once(async move {
            ending.with(|seen| seen.ended = true);
            Ok(Bytes::new())
        });
        Request::from_parts(parts, Body::from_stream(read.chain(ended)))
    }

    /// The digest in hex; `None` without a body, or when the handler did not read it all.
    pub(super) fn hex(&self) -> Option<String> {
        self.with(|seen| {
            // A multipart reader stops at its last boundary, so the announced length is an end as well.
            let whole = seen.ended || seen.announced == Some(seen.bytes);
            (whole && seen.bytes > 0).then(|| hex(&seen.hash.clone().finalize()))
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    fn take(&mut self, bytes: &Bytes) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}
