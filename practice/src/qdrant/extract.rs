//! What a handler reads and answers: strict bodies and queries, the envelope. Main types: [`Body`],
//! [`Query`], [`Done`].

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::faults::Fault;

use super::refusal::Refusal;

/// A JSON body; a key that is not known is refused, which a real server would overlook.
pub(super) struct Body<T>(pub(super) T);

/// The query; a parameter that is not known is refused.
pub(super) struct Query<T>(pub(super) T);

/// A result in the envelope of the real server. The time in it is always zero: how long a stand-in took
/// says nothing, and answers stay the same from run to run.
pub(super) struct Done<T>(pub(super) T);

/// Whether another SHA-256 than the file's is to be said of a snapshot: see [`Fault::Checksum`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Lie(pub(super) bool);

/// What a handler answers.
pub(super) type Answer<T> = Result<Done<T>, Refusal>;

/// The query of a request that changes something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteQuery {
    pub(super) wait: Option<bool>,
    #[serde(rename = "ordering")]
    _ordering: Option<String>,
    #[serde(rename = "timeout")]
    _timeout: Option<u64>,
}

/// The query of a request that reads points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadQuery {
    #[serde(rename = "consistency")]
    _consistency: Option<String>,
    #[serde(rename = "timeout")]
    _timeout: Option<u64>,
}

/// The query of a request's address.
pub(super) fn query_of<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    let read = axum::extract::Query::try_from_uri(uri);
    read.map(|query| query.0).map_err(|rejection| Refusal::Query(rejection.body_text()))
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| Refusal::Body(rejection.body_text()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Refusal::Body(error.to_string()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        query_of(&parts.uri).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Lie {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get() == Some(&Fault::Checksum)))
    }
}

impl<T: Serialize> IntoResponse for Done<T> {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Envelope<T> {
            result: T,
            status: &'static str,
            time: f64,
        }
        axum::Json(Envelope { result: self.0, status: "ok", time: 0.0 }).into_response()
    }
}
