//! A server's answer: [`Answer`], read up to a limit, and what it means when it was not expected.

use drydock_step::requests::StatusSet;
use drydock_step::{Field, Shape, StepError};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::size::{LIMIT, fits};

/// The outputs of a kind that gives an answer.
pub(super) const OUTPUTS: &[Field] = &[
    Field::required("status", Shape::Integer, "The status."),
    Field::required("headers", Shape::Map(&Shape::Text), "The headers, by their names in lower case."),
    Field::optional("json", Shape::Any, "The body as a value, where it is JSON."),
    Field::optional(
        "text",
        Shape::Text,
        "The body as text; left out where `json` has it and both would be too large.",
    ),
];

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// The request's method and URL, for messages.
    pub(super) request: String,
    /// Whether sending the request twice is as good as once.
    pub(super) repeats: bool,
    /// The status.
    pub(super) status: u16,
    /// The headers, repeated ones joined by `, `.
    pub(super) headers: Map<String, Value>,
    /// The body as text.
    pub(super) text: String,
    /// The body as a value, where it is JSON.
    pub(super) json: Option<Value>,
}

/// Why no answer could be read.
pub(super) enum Unread {
    /// It is longer than [`LIMIT`].
    TooLarge,
    /// The connection was lost.
    Lost(reqwest::Error),
}

impl Answer {
    /// The answer to a request, read to its end.
    pub(super) async fn read(
        request: String,
        repeats: bool,
        mut response: reqwest::Response,
    ) -> Result<Self, Unread> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Unread::Lost)? {
            if body.len() + chunk.len() > LIMIT {
                return Err(Unread::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("json");
        let json = if kind.contains("json") { serde_json::from_slice(&body).ok() } else { None };
        let mut headers = Map::new();
        for name in response.headers().keys() {
            let values = response.headers().get_all(name).iter();
            let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            headers.insert(name.to_string(), json!(values.join(", ")));
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Self { request, repeats, status: response.status().as_u16(), headers, text, json })
    }

    /// As outputs.
    ///
    /// # Errors
    /// `http.large`, when they are larger than outputs may be.
    pub(super) fn outputs(self) -> Result<Value, StepError> {
        let mut outputs = json!({ "status": self.status, "headers": self.headers });
        let small = self.text.len() < LIMIT / 4;
        if self.json.is_none() || small {
            outputs["text"] = self.text.into();
        }
        if let Some(json) = self.json {
            outputs["json"] = json;
        }
        if fits(&outputs) { Ok(outputs) } else { Err(too_large(&self.request, self.status)) }
    }

    /// Nothing, when the status is one of these.
    ///
    /// # Errors
    /// `http.status`; transient where the same request may do better later and sending it again is safe.
    pub(super) fn judged(&self, expected: &StatusSet) -> Result<(), StepError> {
        if expected.holds(self.status) {
            return Ok(());
        }
        let reason =
            reqwest::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let reason = reason.map_or(String::new(), |reason| format!(" {reason}"));
        let message = format!(
            "{} answered {}{reason}, expected {expected}{}",
            self.request,
            self.status,
            self.beginning()
        );
        let error = StepError::new("http.status", message);
        Err(match self.status {
            // The server says that it has not begun.
            408 | 429 | 503 => StepError { transient: true, ..error },
            // A gateway lost the server behind it, which may have acted.
            502 | 504 if self.repeats => StepError { transient: true, ..error },
            502 | 504 => error.help(
                "the server behind the gateway may have acted; where sending it twice does no harm, `retry: { errors: [http.status] }` \
                 tries again",
            ),
            _ => error,
        })
    }

    /// The beginning of the body, after a colon.
    fn beginning(&self) -> String {
        let words = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let beginning: String = words.chars().take(300).collect();
        if beginning.is_empty() { beginning } else { format!(": {beginning}") }
    }
}

/// An answer that outputs cannot hold.
pub(super) fn too_large(request: &str, status: u16) -> StepError {
    StepError::new(
        "http.large",
        format!("{request} answered {status} with more than 1 MiB, which is not kept"),
    )
    .help("ask for less, or fetch it with `process.run` and `output_to`")
}

#[cfg(test)]
mod tests {
    use drydock_step::requests::Method;

    use super::*;

    fn answer(method: Method, status: u16) -> Answer {
        Answer {
            request: format!("{} http://h/x", method.as_str()),
            repeats: method.repeats(),
            status,
            headers: Map::new(),
            text: "so\n  it is".into(),
            json: None,
        }
    }

    #[test]
    fn only_what_is_safe_is_called_transient() {
        let check = |method: Method, status: u16, transient: bool| {
            let error = answer(method, status).judged(&StatusSet::success()).unwrap_err();
            assert_eq!(
                (error.code.as_str(), error.transient, error.unknown),
                ("http.status", transient, false),
                "{status}"
            );
        };
        for status in [408, 429, 502, 503, 504] {
            check(Method::Get, status, true);
            check(Method::Put, status, true);
        }
        check(Method::Post, 503, true);
        check(Method::Post, 502, false);
        check(Method::Patch, 504, false);
        check(Method::Get, 500, false);
        check(Method::Get, 404, false);
    }

    #[test]
    fn a_status_is_told_with_the_servers_words() {
        let error = answer(Method::Post, 502).judged(&StatusSet::success()).unwrap_err();
        assert_eq!(error.message, "POST http://h/x answered 502 Bad Gateway, expected 2xx: so it is");
        assert!(error.help.unwrap().contains("may have acted"));
        assert_eq!(answer(Method::Get, 204).judged(&StatusSet::success()), Ok(()));
    }
}
