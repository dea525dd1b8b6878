//! How the practice Qdrant says no: status and words of a real server. Main type: [`Refusal`].

use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is not done. The texts before the details are those of the real server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// 400: the request makes no sense here.
    #[error("Wrong input: {0}")]
    BadInput(String),
    /// 400: the server is not in a state, or not set up, to do it.
    #[error("Bad request: {0}")]
    BadRequest(String),
    /// 400: the body is not what the endpoint reads.
    #[error("Format error in JSON body: {0}")]
    Body(String),
    /// 400: the query is not what the endpoint reads.
    #[error("Deserialize error in query parameters: {0}")]
    Query(String),
    /// 400, on upload. The real server gives the two sums in this order: the file's own comes first.
    #[error("Checksum mismatch: expected {found}, actual {given}")]
    UploadChecksum {
        /// SHA-256 of the file that was sent.
        found: String,
        /// What the client said it was.
        given: String,
    },
    /// 403: the key does not allow it, or the place is not allowed.
    #[error("Forbidden: {0}")]
    Forbidden(String),
    /// 404.
    #[error("Not found: {0}")]
    NotFound(String),
    /// 409.
    #[error("Wrong input: {0}")]
    Exists(String),
    /// 422: a value out of bounds.
    #[error("Validation error in {0}")]
    Invalid(String),
    /// 500.
    #[error("Service internal error: {0}")]
    Service(String),
    /// 501, which a real server never answers: it does this, and the stand-in does not.
    #[error("The practice Qdrant does not do this: {0}")]
    NotDone(String),
}

impl Refusal {
    /// 404 for a collection.
    pub(super) fn no_collection(name: &str) -> Self {
        Self::NotFound(format!("Collection `{name}` doesn't exist!"))
    }

    /// 500 for a failed read or write of a file.
    pub(super) fn io(error: &std::io::Error) -> Self {
        Self::Service(format!("File IO error: {error}"))
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::BadInput(_)
            | Self::BadRequest(_)
            | Self::Body(_)
            | Self::Query(_)
            | Self::UploadChecksum { .. } => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Exists(_) => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Service(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotDone(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The refusal as plain text, which downloads answer.
    pub(super) fn text(&self) -> Response {
        (self.status(), [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.to_string())
            .into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        worded(self.status(), &self.to_string())
    }
}

/// What a full disk makes of a request: a snapshot that nobody waits for is promised all the same.
pub(super) fn disk_full(uri: &Uri) -> Response {
    let unheard = uri.path().contains("/snapshots")
        && uri.query().is_some_and(|query| query.split('&').any(|part| part == "wait=false"));
    if unheard {
        return accepted();
    }
    Refusal::Service("File IO error: No space left on device (os error 28)".into()).into_response()
}

/// 202 for work that goes on after the answer, which has no result.
pub(super) fn accepted() -> Response {
    (StatusCode::ACCEPTED, axum::Json(json!({ "status": "accepted", "time": 0.0 }))).into_response()
}

/// An error in the envelope of the real server.
pub(super) fn worded(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "status": { "error": message }, "time": 0.0 }))).into_response()
}
