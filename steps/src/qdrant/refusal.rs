//! What a failed request means: [`refused`] for an answer that is an error, [`unanswered`] for none.

use drydock_step::{PreflightFinding, StepError};
use reqwest::StatusCode;
use serde_json::Value;

use super::requests::Twice;
use crate::http_client::causes;

/// What an error answer means. `request` is what was asked, for the message; the body is JSON in the server's envelope, or plain text
/// (401, downloads, uploads, a proxy in front).
pub(super) fn refused(request: &str, status: StatusCode, body: &[u8], twice: Twice) -> StepError {
    let words = server_words(body);
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    let message = format!("{request} answered {status}{said}");
    let error = |code: &str| StepError::new(code, message.clone());
    match status.as_u16() {
        401 => error("qdrant.key").help("give the target the server's `api_key`"),
        403 => error("qdrant.key").help(match words.as_str() {
            "ExpiredSignature" => "the target's `api_key` is a token that has ended: give it a new one",
            "InvalidSignature" => {
                "the target's `api_key` is a token that another server's key signed, or one that was changed"
            }
            _ => "this key may not do that: a key with manage access is needed",
        }),
        404 => error("qdrant.absent"),
        // What was begun to be read has another version now, or ends before.
        412 | 416 => error("qdrant.changed"),
        // The server, or a gateway before it, gave up waiting; what was begun may go on.
        408 | 502 | 504 if twice == Twice::More => StepError { unknown: true, ..error("qdrant.busy") },
        408 | 429 | 502 | 503 | 504 => StepError { transient: true, ..error("qdrant.busy") },
        _ if words.contains("restore local replica") => error("qdrant.broken").help(
            "a recovery over this collection failed and its data are gone; recover it from a good snapshot",
        ),
        500..=599 => StepError { transient: twice == Twice::Reads, ..error("qdrant.server") },
        _ => error("qdrant.refused"),
    }
}

/// What it means that no whole answer came.
pub(super) fn unanswered(request: &str, error: &reqwest::Error, twice: Twice) -> StepError {
    if error.is_connect() {
        let message = format!("{request} could not connect: {}", causes(error));
        return StepError::transient("qdrant.connect", message);
    }
    let why = if error.is_timeout() {
        "took longer than the target's `timeout` to answer".to_owned()
    } else {
        format!("got no whole answer: {}", causes(error))
    };
    lost(request, &why, twice)
}

/// What it means that an answer did not come to its end.
pub(super) fn lost(request: &str, why: &str, twice: Twice) -> StepError {
    let message = format!("{request} {why}");
    match twice {
        Twice::Reads | Twice::Same => StepError::transient("qdrant.lost", message),
        Twice::More => StepError::unknown("qdrant.lost", message),
    }
}

/// What a preflight found, of an error that a run would meet. What may pass by itself is no reason not to begin.
pub(super) fn finding(error: StepError) -> PreflightFinding {
    let StepError { code, message, help, transient, .. } = error;
    PreflightFinding { code, fatal: !transient, message, help }
}

/// The server's own words: `status.error` of its envelope, or the text, in one line.
fn server_words(body: &[u8]) -> String {
    let text = || String::from_utf8_lossy(body).split_whitespace().collect::<Vec<_>>().join(" ");
    let words = match serde_json::from_slice::<Value>(body) {
        Ok(value) => match &value["status"] {
            Value::String(word) => word.clone(),
            Value::Object(status) => match status.get("error") {
                Some(Value::String(words)) => words.clone(),
                _ => value["status"].to_string(),
            },
            _ => text(),
        },
        Err(_) => text(),
    };
    words.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an answer: its code, whether it may pass, whether nobody knows, and its message.
    fn check(twice: Twice, status: u16, body: &str, expected: (&str, bool, bool), words: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let error = refused("POST http://h/x", status, body.as_bytes(), twice);
        assert_eq!((error.code.as_str(), error.transient, error.unknown), expected, "{status} {body}");
        assert!(error.message.ends_with(words), "{error}");
    }

    #[test]
    fn answers_are_told_in_the_servers_words() {
        let absent = r#"{"status":{"error":"Not found: Collection `x` doesn't exist!"},"time":0.1}"#;
        check(Twice::Reads, 404, absent, ("qdrant.absent", false, false), "Collection `x` doesn't exist!");
        let key = "Must provide an API key or an Authorization bearer token";
        check(Twice::More, 401, key, ("qdrant.key", false, false), key);
        check(Twice::Reads, 404, "", ("qdrant.absent", false, false), "answered 404 Not Found");
        check(
            Twice::More,
            503,
            r#"{"status":"already_in_progress"}"#,
            ("qdrant.busy", true, false),
            ": already_in_progress",
        );
        let broken = r#"{"status":{"error":"Service internal error: Failed to restore local replica"}}"#;
        check(Twice::Reads, 500, broken, ("qdrant.broken", false, false), "Failed to restore local replica");
    }

    #[test]
    fn only_what_is_safe_may_pass() {
        check(Twice::Reads, 500, "x", ("qdrant.server", true, false), ": x");
        check(Twice::More, 500, "x", ("qdrant.server", false, false), ": x");
        check(Twice::Same, 408, "x", ("qdrant.busy", true, false), ": x");
        check(Twice::More, 408, "x", ("qdrant.busy", false, true), ": x");
        check(Twice::More, 504, "x", ("qdrant.busy", false, true), ": x");
        check(Twice::More, 429, "x", ("qdrant.busy", true, false), ": x");
        check(Twice::More, 422, "x", ("qdrant.refused", false, false), ": x");
        let error = lost("POST http://h/x", "got no whole answer", Twice::More);
        assert_eq!((error.code.as_str(), error.unknown), ("qdrant.lost", true));
    }
}
