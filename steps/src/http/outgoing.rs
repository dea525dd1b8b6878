//! A request before it is sent: [`Outgoing`], which a dry run shows and a connection sends.

use drydock_step::StepError;
use drydock_step::requests::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::said_effect::SaidEffect;
use crate::word::Word;

/// What a request carries.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Body {
    /// Nothing.
    #[default]
    None,
    /// A JSON value.
    Json(Value),
    /// Text.
    Text(String),
}

impl Body {
    /// The body of a step that may give one in two ways.
    ///
    /// # Errors
    /// `input`, when it gives both.
    pub(super) fn of(json: Option<Value>, text: Option<String>) -> Result<Self, StepError> {
        match (json, text) {
            (Some(_), Some(_)) => {
                Err(StepError::new("input", "a request has either `json` or `body`, not both"))
            }
            (Some(json), None) => Ok(Self::Json(json)),
            (None, Some(text)) => Ok(Self::Text(text)),
            (None, None) => Ok(Self::None),
        }
    }

    /// As it stands on the wire.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Json(value) => Some(value.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    /// Its content type, when the step gives none.
    pub(super) fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Json(_) => Some("application/json"),
            Self::Text(_) => Some("text/plain; charset=utf-8"),
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Outgoing {
    /// Its method.
    pub(super) method: Method,
    /// Below the target's URL; a query may follow a `?`.
    pub(super) path: String,
    /// Added to the query.
    pub(super) query: Vec<(String, String)>,
    /// Added to the target's headers.
    pub(super) headers: Vec<(String, String)>,
    /// What it carries.
    pub(super) body: Body,
    /// What the plan says about it; its method says it else.
    pub(super) effect: Option<SaidEffect>,
}

impl Outgoing {
    /// Whether it only reads.
    pub(super) fn reads(&self) -> bool {
        self.effect.map_or(self.method.reads(), |effect| effect == SaidEffect::Reads)
    }

    /// Whether sending it twice is as good as once.
    pub(super) fn repeats(&self) -> bool {
        self.reads() || self.method.repeats()
    }

    /// The URL on a server. The path `/` is the server's own URL, so that a webhook keeps its exact address.
    pub(super) fn url_on(&self, base: &Url) -> Url {
        let mut url = base.clone();
        url.set_fragment(None);
        let (path, query) =
            self.path.split_once('?').map_or((self.path.as_str(), None), |(path, query)| (path, Some(query)));
        let root = base.path().trim_end_matches('/');
        let path = path.trim_start_matches('/');
        if !path.is_empty() {
            url.set_path(&format!("{root}/{path}"));
        }
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            let both = base.query().map_or_else(|| query.to_owned(), |first| format!("{first}&{query}"));
            url.set_query(Some(&both));
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    /// Its own headers.
    ///
    /// # Errors
    /// `input`, with the header's name, when one cannot stand on the wire.
    pub(super) fn header_map(&self) -> Result<HeaderMap, StepError> {
        header_map(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// Headers, checked. Values never print.
///
/// # Errors
/// `input`, with the header's name.
pub(super) fn header_map<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<HeaderMap, StepError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let refused =
            |what: &str| StepError::new("input", format!("the {what} of the header `{name}` cannot be sent"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("name"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| refused("value"))?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

/// The pairs of a mapping in the plan.
pub(super) fn pairs(map: &indexmap::IndexMap<String, Word>) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
}

/// The URL as people may see it: without a password.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // A URL that has a password can be given another.
        let _ = url.set_password(Some("***"));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_the_targets_url() {
        let check = |base: &str, path: &str, expected: &str| {
            let outgoing = Outgoing { path: path.into(), ..Outgoing::default() };
            assert_eq!(outgoing.url_on(&Url::parse(base).unwrap()).as_str(), expected);
        };
        check("http://h", "/", "http://h/");
        check("http://h", "/health", "http://h/health");
        check("http://h", "health", "http://h/health");
        check("http://h/v1/", "/health", "http://h/v1/health");
        check("https://h/services/T0/B0", "/", "https://h/services/T0/B0");
        check("https://h/hook?k=1", "/", "https://h/hook?k=1");
        check("https://h/hook?k=1", "/a?b=2", "https://h/hook/a?k=1&b=2");
        check("http://h", "//evil/x", "http://h/evil/x");
        check("http://h", "/a b#c", "http://h/a%20b%23c");
        check("http://h", "/a%2Fb", "http://h/a%2Fb");
    }

    #[test]
    fn the_query_is_encoded() {
        let query = vec![("q".to_owned(), "a b&c".to_owned())];
        let outgoing = Outgoing { path: "/s?x=1".into(), query, ..Outgoing::default() };
        assert_eq!(outgoing.url_on(&Url::parse("http://h").unwrap()).as_str(), "http://h/s?x=1&q=a+b%26c");
    }

    #[test]
    fn what_cannot_be_sent_is_named_and_never_shown() {
        let error = header_map([("x-token", "s3cret\n")]).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("input", "the value of the header `x-token` cannot be sent")
        );
        let error = header_map([("a b", "x")]).unwrap_err();
        assert_eq!(error.message, "the name of the header `a b` cannot be sent");
        let error = Body::of(Some(Value::Null), Some(String::new())).unwrap_err();
        assert_eq!(error.code, "input");
        assert_eq!(shown(&Url::parse("http://u:p4ss@h/x").unwrap()), "http://u:***@h/x");
    }
}
