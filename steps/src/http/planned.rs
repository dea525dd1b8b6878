//! A request of a requests file on its way: [`Planned`], which is filled with what is known when its turn comes.

use std::time::Duration;

use drydock_step::Effect;
use drydock_step::requests::{Claim, Request, Requests};
use serde_json::Value;

use super::blanks::Known;
use super::outgoing::{Body, Outgoing};
use crate::said_effect::SaidEffect;

/// One request: what to send, with blanks, and what must come back.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// `request 2 of 5 (open a conversation)`, for messages.
    pub(super) title: String,
    /// As the file has it.
    pub(super) request: Request,
}

impl Planned {
    /// The requests of a file, in order.
    pub(super) fn all(file: Requests) -> Vec<Self> {
        let of = file.requests.len();
        let planned = |(index, request): (usize, Request)| Self {
            title: title(index + 1, of, request.name.as_deref()),
            request,
        };
        file.requests.into_iter().enumerate().map(planned).collect()
    }

    fn effect(&self) -> Option<SaidEffect> {
        self.request.effect.map(|effect| match effect {
            Effect::Reads => SaidEffect::Reads,
            Effect::Writes | Effect::ByInput(_) => SaidEffect::Writes,
        })
    }

    /// Whether it only reads.
    pub(super) fn reads(&self) -> bool {
        Outgoing { method: self.request.method, effect: self.effect(), ..Outgoing::default() }.reads()
    }

    /// The longest that it may take, where it says so.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.request.timeout.map(|timeout| Duration::from_millis(timeout.0))
    }

    /// What to send.
    ///
    /// # Errors
    /// In words, when a blank cannot be filled.
    pub(super) fn outgoing(&self, known: &Known) -> Result<Outgoing, String> {
        let request = &self.request;
        let filled = |words: &[(String, String)]| {
            let filled =
                words.iter().map(|(name, value)| Ok((known.fill_text(name)?, known.fill_text(value)?)));
            filled.collect::<Result<Vec<_>, String>>()
        };
        let json = request.json.as_ref().map(|json| known.fill(json)).transpose()?;
        let text = request.body.as_ref().map(|body| known.fill_text(body)).transpose()?;
        Ok(Outgoing {
            method: request.method,
            path: known.fill_text(&request.path)?,
            query: filled(&request.query)?,
            headers: filled(&request.headers)?,
            body: Body::of(json, text).map_err(|error| error.message)?,
            effect: self.effect(),
        })
    }

    /// What of the answer is not as expected.
    ///
    /// # Errors
    /// In words, when a blank cannot be filled.
    pub(super) fn denied(&self, answer: Option<&Value>, known: &Known) -> Result<Vec<String>, String> {
        let mut denied = Vec::new();
        for claim in &self.request.claims {
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
        for (name, path) in &self.request.captures {
            let found = answer.and_then(|answer| path.find(answer));
            let found = found.ok_or_else(|| format!("`{path}`, captured as `{name}`, is not there"))?;
            known.0.insert(name.clone(), found.clone());
        }
        Ok(())
    }

    /// The names that it captures.
    pub(super) fn captured_names(&self) -> impl Iterator<Item = &str> {
        self.request.captures.iter().map(|(name, _)| name.as_str())
    }

    /// The request in one line, with its blanks.
    pub(super) fn line(&self) -> String {
        let Request { method, path, query, .. } = &self.request;
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{} {path}{query}", method.as_str())
    }
}

fn title(number: usize, of: usize, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("request {number} of {of} ({name})"),
        None => format!("request {number} of {of}"),
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::requests::{JsonPath, Method, StatusSet};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_filled_judged_and_captured() {
        let request = Request {
            name: None,
            method: Method::Get,
            path: "/a/{{ id }}".into(),
            query: vec![("n".into(), "5".into())],
            headers: vec![("x".into(), "{{ id }}".into())],
            json: None,
            body: None,
            effect: None,
            status: StatusSet::success(),
            claims: vec![json!({"path": "id", "equals": "{{ id }}"}).as_object().unwrap().clone()],
            captures: vec![("next".into(), JsonPath::parse("items[0]").unwrap())],
            timeout: None,
        };
        let planned = &Planned::all(Requests { vars: Vec::new(), requests: vec![request] })[0];
        assert_eq!(planned.title, "request 1 of 1");
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
}
