//! The target kind `http`: [`HttpTarget`], and what it connects to, [`HttpConnection`].

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drydock_step::requests::Method;
use drydock_step::{
    Connection, Field, Identity, Millis, PlanPath, Settings, Shape, StepError, TargetKind, TargetKindShape,
};
use indexmap::IndexMap;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::net::TcpStream;
use url::Url;

use super::answer::{Answer, Unread, too_large};
use super::outgoing::{Outgoing, header_map, shown};
use crate::http_client::{attempt_header, causes, certificates, refused_settings};
use crate::word::{WORD, Word};

/// The target kind `http`.
pub struct HttpTarget;

/// How long a connection is waited for where only that is asked.
const LISTENS: Duration = Duration::from_secs(10);

const FIELDS: &[Field] = &[
    Field::required("url", Shape::Url, "Where the server is; paths of requests lie below it.").with_secrets(),
    Field::optional("headers", Shape::Map(&WORD), "Headers that every request bears.").with_secrets(),
    Field::optional("auth", Shape::Record(AUTH_FIELDS), "How every request says who sends it."),
    Field::optional("ca", Shape::Path, "A PEM file with certificates to trust, besides those of the system."),
    Field::optional("timeout", Shape::Duration, "The longest that one request may take.").or("\"30s\""),
];

const AUTH_FIELDS: &[Field] = &[Field::required("bearer", Shape::Text, "A bearer token.").with_secrets()];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSettings {
    url: String,
    #[serde(default)]
    headers: IndexMap<String, Word>,
    auth: Option<Auth>,
    ca: Option<PlanPath>,
    timeout: Option<Millis>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    bearer: String,
}

#[async_trait]
impl TargetKind for HttpTarget {
    fn shape(&self) -> TargetKindShape {
        TargetKindShape {
            name: "http",
            docs: "A server that speaks HTTP. No proxy is used and no redirect is followed.",
            fields: FIELDS,
        }
    }

    async fn connect(&self, settings: Settings) -> Result<Arc<dyn Connection>, StepError> {
        let read: HttpSettings = settings.read()?;
        let base = base_url(&read.url)?;
        let mut client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        if base.scheme() == "http" {
            // No redirect is followed, so that nothing of TLS is needed: the system's certificates need not be read.
            client = client.tls_certs_only([]);
        } else if let Some(ca) = &read.ca {
            client = client.tls_certs_merge(certificates(&ca.resolved(&settings.folder))?);
        }
        let timeout = Duration::from_millis(read.timeout.unwrap_or(Millis(30_000)).0);
        let client = client.timeout(timeout).build();
        let client = client
            .map_err(|error| refused_settings(&format!("no client can be made: {}", causes(&error))))?;
        let mut headers =
            header_map(read.headers.iter().map(|(name, value)| (name.as_str(), value.0.as_str())))?;
        if let Some(auth) = read.auth {
            let bearer = format!("Bearer {}", auth.bearer);
            headers.extend(header_map([(AUTHORIZATION.as_str(), bearer.as_str())])?);
        }
        let (name, value) = attempt_header(&settings.attempt)?;
        headers.insert(name, value);
        Ok(Arc::new(HttpConnection { base, client, headers }))
    }
}

/// The URL itself is not in the message: it may have a password in it.
fn base_url(text: &str) -> Result<Url, StepError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(refused_settings("its `url` must begin with http:// or https:// and name a host")),
        Err(error) => Err(refused_settings(&format!("its `url` is no URL: {error}"))),
    }
}

/// A server that speaks HTTP.
pub struct HttpConnection {
    base: Url,
    client: Client,
    headers: HeaderMap,
}

impl HttpConnection {
    /// The connection behind the trait.
    ///
    /// # Errors
    /// `internal`, when it is of another kind: the check let a plan pass that it should not have.
    pub(super) fn of(connection: &dyn Connection) -> Result<&Self, StepError> {
        let found = connection.as_any().downcast_ref();
        found.ok_or_else(|| StepError::internal("the target of an HTTP step is no HTTP server"))
    }

    /// Its URL, without a password.
    pub(super) fn shown_url(&self) -> String {
        shown(&self.base)
    }

    /// Whether anybody takes a connection there. Nothing is sent.
    ///
    /// # Errors
    /// `http.connect` (transient).
    pub(super) async fn listens(&self) -> Result<(), StepError> {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.base.port_or_known_default().unwrap_or_default();
        let why = match tokio::time::timeout(LISTENS, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} s", LISTENS.as_secs()),
        };
        let message = format!("{} takes no connection: {why}", self.shown_url());
        Err(StepError::transient("http.connect", message)
            .help("start it, or see that the target's `url` is right"))
    }

    /// Sends a request and reads the answer, within `limit` where that is shorter than the target's own timeout.
    ///
    /// # Errors
    /// `http.connect` (transient) where nothing was sent; `http.lost` where the connection was lost or the answer took too long:
    /// transient for a request that reads, unknown for one that writes; `http.large` for an answer that is too long; `input`.
    pub(super) async fn send(
        &self,
        outgoing: &Outgoing,
        limit: Option<Duration>,
    ) -> Result<Answer, StepError> {
        let url = outgoing.url_on(&self.base);
        let (method, reads) = (outgoing.method, outgoing.reads());
        let name = format!("{} {}", method.as_str(), shown(&url));
        let mut headers = self.headers.clone();
        for (key, value) in &outgoing.header_map()? {
            headers.insert(key.clone(), value.clone());
        }
        if let Some(kind) = outgoing.body.content_type() {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
        }
        let mut request = self.client.request(wire_method(method), url).headers(headers);
        if let Some(body) = outgoing.body.text() {
            request = request.body(body);
        }
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        let response = request.send().await.map_err(|error| unsent_or_lost(&name, reads, &error))?;
        let status = response.status().as_u16();
        Answer::read(name.clone(), outgoing.repeats(), response).await.map_err(|unread| match unread {
            Unread::Lost(error) => lost(&name, reads, &error),
            Unread::TooLarge => too_large(&name, status),
        })
    }
}

fn wire_method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
        Method::Options => reqwest::Method::OPTIONS,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn unsent_or_lost(name: &str, reads: bool, error: &reqwest::Error) -> StepError {
    if error.is_connect() {
        StepError::transient("http.connect", format!("{name} could not connect: {}", causes(error)))
    } else if error.is_builder() {
        StepError::new("http.request", format!("{name} cannot be sent: {}", causes(error)))
    } else {
        lost(name, reads, error)
    }
}

fn lost(name: &str, reads: bool, error: &reqwest::Error) -> StepError {
    let why = if error.is_timeout() {
        "took too long to answer".to_owned()
    } else {
        format!("got no whole answer: {}", causes(error))
    };
    if reads {
        StepError::transient("http.lost", format!("{name} {why}"))
    } else {
        StepError::unknown("http.lost", format!("{name} {why}; whether the server acted is not known"))
    }
}

#[async_trait]
impl Connection for HttpConnection {
    /// Any answer is a sign of life.
    async fn ping(&self) -> Result<(), StepError> {
        let outgoing = Outgoing { path: "/".into(), ..Outgoing::default() };
        match self.send(&outgoing, None).await {
            Err(error) if error.code == "http.large" => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        let host = self.base.host_str().unwrap_or_default().to_owned();
        let port = self.base.port_or_known_default().map_or(String::new(), |port| format!(":{port}"));
        Ok(Identity {
            text: format!("http {}://{host}{port}", self.base.scheme()),
            name: host,
            version: String::new(),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
