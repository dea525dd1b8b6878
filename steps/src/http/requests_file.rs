//! A requests file as `http.scenario` means it: [`RequestsFile`], a list of [`Planned`] requests.

use std::time::Duration;

use drydock_step::{Millis, StepError};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::blanks::Known;
use super::claims::Claim;
use super::json_path::JsonPath;
use super::outgoing::{Body, Method, Outgoing, pairs};
use super::status::StatusSet;
use crate::said_effect::SaidEffect;
use crate::word::Word;

/// The requests, in order.
#[derive(Debug, Clone)]
pub(super) struct RequestsFile(pub(super) Vec<Planned>);

/// One request: what to send, with blanks, and what must come back.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// `request 2 of 5 (open a conversation)`, for messages.
    pub(super) title: String,
    /// What must hold of the status.
    pub(super) status: StatusSet,
    written: Written,
    claims: Vec<Map<String, Value>>,
    captures: Vec<(String, JsonPath)>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[allow(dead_code, reason = "it is in the title, which is made before the rest is known to be good")]
    name: Option<String>,
    #[serde(default)]
    method: Method,
    path: String,
    #[serde(default)]
    query: IndexMap<String, Word>,
    #[serde(default)]
    headers: IndexMap<String, Word>,
    json: Option<Value>,
    body: Option<String>,
    effect: Option<SaidEffect>,
    #[serde(default)]
    expect: Expect,
    #[serde(default)]
    capture: IndexMap<String, String>,
    timeout: Option<Millis>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: Option<StatusSet>,
    #[serde(default)]
    json: Vec<Map<String, Value>>,
}

impl RequestsFile {
    /// The requests of a document whose top key is `requests`.
    ///
    /// # Errors
    /// `http.file`, with the request's number and name.
    pub(super) fn parse(document: &Value) -> Result<Self, StepError> {
        let requests = document.get("requests").and_then(Value::as_array);
        let requests = requests.ok_or_else(|| refused("it has no list `requests`".into()))?;
        let planned = requests.iter().enumerate().map(|(index, request)| {
            let title = title(index + 1, requests.len(), request.get("name").and_then(Value::as_str));
            Planned::parse(title.clone(), request).map_err(|why| refused(format!("{title}: {why}")))
        });
        planned.collect::<Result<Vec<_>, _>>().map(Self)
    }
}

impl Planned {
    fn parse(title: String, request: &Value) -> Result<Self, String> {
        let mut written = Written::deserialize(request).map_err(|error| error.to_string())?;
        if written.json.is_some() && written.body.is_some() {
            return Err("it has both `json` and `body`".into());
        }
        let Expect { status, json: claims } = std::mem::take(&mut written.expect);
        for claim in &claims {
            Claim::parse(claim)?;
        }
        let captures = written.capture.iter().map(|(name, path)| Ok((name.clone(), JsonPath::parse(path)?)));
        let captures = captures.collect::<Result<Vec<_>, String>>()?;
        if let Some((name, _)) = captures.iter().find(|(name, _)| name == "requests") {
            return Err(format!("`{name}` is the number of requests in the outputs and cannot be captured"));
        }
        let status = status.unwrap_or_else(StatusSet::success);
        Ok(Self { title, status, written, claims, captures })
    }

    /// Whether it only reads.
    pub(super) fn reads(&self) -> bool {
        let Written { method, effect, .. } = &self.written;
        Outgoing { method: *method, effect: *effect, ..Outgoing::default() }.reads()
    }

    /// The longest that it may take, where it says so.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.written.timeout.map(|timeout| Duration::from_millis(timeout.0))
    }

    /// What to send.
    ///
    /// # Errors
    /// In words, when a blank cannot be filled.
    pub(super) fn outgoing(&self, known: &Known) -> Result<Outgoing, String> {
        let filled = |words: &IndexMap<String, Word>| {
            let filled = pairs(words).into_iter().map(|(name, value)| Ok((name, known.fill_text(&value)?)));
            filled.collect::<Result<Vec<_>, String>>()
        };
        let json = self.written.json.as_ref().map(|json| known.fill(json)).transpose()?;
        let text = self.written.body.as_ref().map(|body| known.fill_text(body)).transpose()?;
        Ok(Outgoing {
            method: self.written.method,
            path: known.fill_text(&self.written.path)?,
            query: filled(&self.written.query)?,
            headers: filled(&self.written.headers)?,
            body: Body::of(json, text).map_err(|error| error.message)?,
            effect: self.written.effect,
        })
    }

    /// What of the answer is not as expected.
    ///
    /// # Errors
    /// In words, when a blank cannot be filled.
    pub(super) fn denied(&self, answer: Option<&Value>, known: &Known) -> Result<Vec<String>, String> {
        let mut denied = Vec::new();
        for claim in &self.claims {
            let Some(answer) = answer else { return Ok(vec!["the answer is not JSON".into()]) };
            let claims = Claim::parse(&known.fill_map(claim)?)?;
            denied.extend(claims.iter().filter_map(|claim| claim.denied(answer)));
        }
        Ok(denied)
    }

    /// Keeps what is to be captured.
    ///
    /// # Errors
    /// In words, when it is not there.
    pub(super) fn capture(&self, answer: Option<&Value>, known: &mut Known) -> Result<(), String> {
        for (name, path) in &self.captures {
            let found = answer.and_then(|answer| path.find(answer));
            let found = found.ok_or_else(|| format!("`{path}`, captured as `{name}`, is not there"))?;
            known.0.insert(name.clone(), found.clone());
        }
        Ok(())
    }

    /// The names that it captures.
    pub(super) fn captured_names(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|(name, _)| name.as_str())
    }

    /// The request in one line, with its blanks.
    pub(super) fn line(&self) -> String {
        let query: Vec<_> =
            self.written.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{} {}{query}", self.written.method.as_str(), self.written.path)
    }
}

fn title(number: usize, of: usize, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("request {number} of {of} ({name})"),
        None => format!("request {number} of {of}"),
    }
}

fn refused(why: String) -> StepError {
    StepError::new("http.file", format!("the requests file cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_filled_judged_and_captured() {
        let file = RequestsFile::parse(&json!({"drydock": "v1", "requests": [
            {"path": "/a/{{ id }}", "query": {"n": 5}, "headers": {"x": "{{ id }}"}, "expect": {"json": [{"path": "id", "equals": "{{ id }}"}]},
             "capture": {"next": "items[0]"}},
        ]}));
        let planned = &file.unwrap().0[0];
        let mut known = Known(json!({"id": 7}).as_object().unwrap().clone());
        let outgoing = planned.outgoing(&known).unwrap();
        assert_eq!(
            (outgoing.path.as_str(), &outgoing.headers),
            ("/a/7", &vec![("x".to_owned(), "7".to_owned())])
        );
        assert_eq!(planned.line(), "GET /a/{{ id }}?n=5");
        let answer = json!({"id": 8, "items": ["b"]});
        assert_eq!(planned.denied(Some(&answer), &known), Ok(vec!["`id` is 8, expected 7".into()]));
        assert_eq!(planned.denied(None, &known), Ok(vec!["the answer is not JSON".into()]));
        planned.capture(Some(&answer), &mut known).unwrap();
        assert_eq!(known.0["next"], "b");
        assert_eq!(
            planned.capture(None, &mut known).unwrap_err(),
            "`items[0]`, captured as `next`, is not there"
        );
    }

    #[test]
    fn a_bad_file_is_refused_with_the_place() {
        let check = |request: Value, words: &str| {
            let error = RequestsFile::parse(&json!({ "requests": [{"path": "/"}, request] })).unwrap_err();
            assert_eq!(error.code, "http.file");
            let expected = format!("the requests file cannot be used: request 2 of 2{words}");
            assert!(error.message.starts_with(&expected), "{error}");
        };
        check(json!({"name": "ask"}), " (ask): missing field `path`");
        check(json!({"path": "/", "verb": "GET"}), ": unknown field `verb`");
        check(json!({"path": "/", "method": "get"}), ": unknown variant `get`");
        check(json!({"path": "/", "json": 1, "body": "x"}), ": it has both");
        check(json!({"path": "/", "expect": {"status": "fine"}}), ": \"fine\" is no HTTP status");
        check(
            json!({"path": "/", "expect": {"json": [{"path": "a", "is": 1}]}}),
            ": `is` is nothing that can be said",
        );
        check(json!({"path": "/", "capture": {"a": "b["}}), ": `b[` is not a path");
        check(json!({"path": "/", "capture": {"requests": "b"}}), ": `requests` is the number of requests");
        let error = RequestsFile::parse(&json!({"steps": {}})).unwrap_err();
        assert!(error.message.ends_with("it has no list `requests`"), "{error}");
    }
}
