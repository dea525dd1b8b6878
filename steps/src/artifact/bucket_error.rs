//! What an object store says, in our words: [`told`].

use std::error::Error as _;

use drydock_step::StepError;
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

/// What is behind codes of S3, Azure and GCS that name a cause which a plan's people can mend.
const CAUSES: &[(&str, &str)] = &[
    ("InvalidAccessKeyId", "the `access_key` is not known there"),
    (
        "SignatureDoesNotMatch",
        "the secret key does not belong to the access key, or something between rewrites requests",
    ),
    ("ExpiredToken", "the `session_token` has expired; get new credentials, then resume"),
    ("InvalidToken", "the `session_token` does not belong to the access key"),
    (
        "RequestTimeTooSkewed",
        "the clocks of this machine and of the store differ by more than the store allows",
    ),
    ("AuthorizationHeaderMalformed", "is the `region` the bucket's?"),
    ("PermanentRedirect", "is the `region` the bucket's?"),
    ("incorrectly configured region", "is the `region` the bucket's?"),
    ("NoSuchBucket", "make the bucket, or mend the `url`; a bucket is not made on the way"),
    ("ContainerNotFound", "make the container, or mend the `url`; a container is not made on the way"),
    ("AuthenticationFailed", "is the `account_key` or the `sas` right, and not expired?"),
    ("InvalidAuthenticationInfo", "is the `account_key` or the `sas` right, and not expired?"),
    (
        "AuthorizationPermissionMismatch",
        "the identity lacks a role for this, such as that of a contributor to blob data",
    ),
    ("invalid_grant", "is the `service_account` still valid?"),
];

/// Whether the error says that the whole bucket is not there.
fn is_no_bucket(words: &str) -> bool {
    words.contains("NoSuchBucket") || words.contains("ContainerNotFound")
}

/// Whether there is nothing of that name, in a bucket that is there.
pub(super) fn is_absence(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !is_no_bucket(&words(error))
}

/// An error of an object store. `doing` says what to what: `storing a/b in s3://bucket`.
pub(super) fn told(doing: &str, error: &Error) -> StepError {
    let words = words(error);
    let is_denied = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
        // What a listing was answered comes without its kind.
        || words.starts_with("it answered 401") || words.starts_with("it answered 403");
    let mut told = match error {
        _ if is_denied => StepError::new("artifact.denied", format!("{doing}: {words}")),
        _ if is_transient(error, &words) => StepError::transient("artifact.io", format!("{doing}: {words}")),
        _ => StepError::new("artifact.io", format!("{doing}: {words}")),
    };
    let cause = CAUSES.iter().find(|(code, _)| words.contains(code)).map(|(_, help)| *help);
    let denied = is_denied.then_some(
        "the identity lacks a right there, or is not who it says; `drydock kinds` names what each kind needs",
    );
    told.help = cause.or(denied).map(str::to_owned);
    told
}

/// The innermost cause, without the library's own frame around it. Bodies of answers are XML: their code and message are picked out.
fn words(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let all = match error.source() {
        // The answer's status and body stand in the error around the transport's own.
        Some(source) if !is_of_transport(error) => source.to_string(),
        _ => innermost.to_string(),
    };
    let answer = match (element(&all, "Code"), element(&all, "Message")) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (Some(code), None) => Some(code.to_owned()),
        _ => None,
    };
    let text = match all.split_once("non-2xx status code: ") {
        Some((_, status)) => {
            let status = status.lines().next().unwrap_or_default();
            let status = status.split(": ").next().unwrap_or(status);
            format!("it answered {status}{}", answer.map(|answer| format!(", {answer}")).unwrap_or_default())
        }
        None => answer.unwrap_or(all),
    };
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.trim_end_matches([':', '.']).chars().take(600).collect()
}

fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    inner.lines().next()
}

fn transport(error: &Error) -> Option<&HttpError> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(http);
        }
        cause = error.source();
    }
    None
}

fn is_of_transport(error: &Error) -> bool {
    transport(error).is_some()
}

fn is_transient(error: &Error, words: &str) -> bool {
    if let Some(http) = transport(error) {
        return !matches!(http.kind(), HttpErrorKind::Decode);
    }
    let answered = words.strip_prefix("it answered ").unwrap_or_default();
    answered.starts_with('5')
        || answered.starts_with("429")
        || answered.starts_with("408")
        || words.contains("SlowDown")
        || words.contains("InternalError")
        || words.contains("OperationAborted")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn answers_are_told_by_their_code_and_what_may_pass_is_transient() {
        let check = |text: &str, code: &str, message: &str, transient: bool| {
            let told = told("storing a", &generic(text));
            assert_eq!(
                (told.code.as_str(), told.message.as_str(), told.transient),
                (code, message, transient)
            );
        };
        let frame = "Error performing PUT http://h/b/a in 1ms - Server returned non-2xx status code: ";
        check(
            &format!(
                "{frame}503 Service Unavailable: <Error><Code>SlowDown</Code><Message>Reduce it.</Message></Error>"
            ),
            "artifact.io",
            "storing a: it answered 503 Service Unavailable, SlowDown: Reduce it",
            true,
        );
        check(
            &format!("{frame}400 Bad Request: "),
            "artifact.io",
            "storing a: it answered 400 Bad Request",
            false,
        );
    }

    #[test]
    fn what_is_denied_has_a_code_of_its_own_and_a_remedy() {
        let source =
            "x - Server returned non-2xx status code: 403 Forbidden: <Code>InvalidAccessKeyId</Code>";
        let denied = Error::PermissionDenied { path: "a".into(), source: source.into() };
        let told = told("storing a", &denied);
        assert_eq!((told.code.as_str(), told.transient), ("artifact.denied", false));
        assert_eq!(told.help.as_deref(), Some("the `access_key` is not known there"));
    }

    #[test]
    fn a_bucket_that_is_not_there_is_no_absent_artifact() {
        let not_found = |source: &str| Error::NotFound { path: "a".into(), source: source.to_owned().into() };
        assert!(is_absence(&not_found("<Code>NoSuchKey</Code>")));
        assert!(!is_absence(&not_found("<Code>NoSuchBucket</Code>")));
    }
}
