//! What the clients of all HTTP servers share: the header that names the attempt, certificates to trust, errors in words.

use std::path::Path;

use drydock_step::StepError;
use percent_encoding::{CONTROLS, utf8_percent_encode};
use reqwest::Certificate;
use reqwest::header::{HeaderName, HeaderValue};

/// The header that bears the attempt's id, so that a server's log shows which attempt a request belongs to.
pub const ATTEMPT_HEADER: &str = "x-drydock-attempt";

/// The header for this attempt, `run/step[key]/n`.
///
/// # Errors
/// `internal`, when the id cannot stand in a header.
pub fn attempt_header(attempt: &str) -> Result<(HeaderName, HeaderValue), StepError> {
    let value = HeaderValue::from_str(&utf8_percent_encode(attempt, CONTROLS).to_string())
        .map_err(|_| StepError::internal("an attempt's id is no header"))?;
    Ok((HeaderName::from_static(ATTEMPT_HEADER), value))
}

/// The certificates of a PEM file.
///
/// # Errors
/// `target.settings`, with the file and what is wrong with it.
pub fn certificates(path: &Path) -> Result<Vec<Certificate>, StepError> {
    let failed = |why: String| refused_settings(&format!("its `ca`, {}, {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let found = Certificate::from_pem_bundle(&pem)
        .map_err(|error| failed(format!("is no PEM file: {}", causes(&error))))?;
    if found.is_empty() { Err(failed("has no certificate in it".into())) } else { Ok(found) }
}

/// `target.settings`, for settings that no client can be made of.
pub fn refused_settings(why: &str) -> StepError {
    StepError::new("target.settings", format!("the target's settings do not fit: {why}"))
}

/// The causes of an error, innermost last. The URL is left out: the message names it, without its password.
pub fn causes(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut words = Vec::new();
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    words.dedup();
    if words.is_empty() { "for no known reason".into() } else { words.join(": ") }
}
