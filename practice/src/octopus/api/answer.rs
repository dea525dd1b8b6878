//! What the API answers when it cannot do what was asked. Main type: [`ApiError`].

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::super::error::OctopusError;

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// 400.
    #[error("the body is not what this endpoint reads: {0}")]
    Body(String),
    /// 404.
    #[error("there is no agent `{0}`")]
    NoAgent(String),
    /// 503 while the fence is up.
    #[error("Octopus is in maintenance: nothing is written")]
    Maintenance,
    /// 503: a store does not do its part.
    #[error(transparent)]
    Store(#[from] OctopusError),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::NoAgent(_) => StatusCode::NOT_FOUND,
            Self::Maintenance | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        worded(status, &self.to_string())
    }
}

/// An error as this API words it.
pub(super) fn worded(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "error": message }))).into_response()
}

/// A JSON body; unknown keys are refused.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| ApiError::Body(rejection.body_text()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| ApiError::Body(error.to_string()))
    }
}
