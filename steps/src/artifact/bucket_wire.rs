//! The requests to a bucket as they go over the wire: [`Wire`] makes our own client of them, and [`Locking`] puts the headers of object
//! lock into those that begin an object.
//!
//! The client takes no proxy and no certificate from the runner's environment. It has no limit for a whole request, since a part may be
//! large and a line slow; one that stands still ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime};
use drydock_step::{LockAsked, LockMode, Locked};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpService,
};
use object_store::{ClientOptions, Error};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client};

const MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// How long a line may stand still.
const STILL: Duration = Duration::from_secs(300);

/// Makes the clients of a bucket.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) certificates: Vec<Certificate>,
    pub(super) headers: HeaderMap,
    /// For S3: what reads locks, and asks for them.
    pub(super) locking: Option<Locking>,
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        let may_be_plain =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|allowed| allowed == "true");
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!may_be_plain)
            .default_headers(self.headers.clone())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(STILL)
            .pool_idle_timeout(Duration::from_secs(20))
            .tcp_keepalive(Duration::from_secs(30));
        let client = if may_be_plain {
            // Without TLS the system's certificates need not be read.
            client.tls_certs_only([])
        } else {
            client.tls_certs_merge(self.certificates.clone())
        };
        let client =
            client.build().map_err(|error| Error::Generic { store: "client", source: Box::new(error) })?;
        Ok(match &self.locking {
            Some(locking) => HttpClient::new(LockingClient { client, locking: locking.clone() }),
            None => HttpClient::new(client),
        })
    }
}

/// What it takes to lock objects in S3.
#[derive(Debug, Clone)]
pub(super) struct Locking {
    pub(super) asked: Option<LockAsked>,
    pub(super) region: String,
    /// Known once the store is made, which makes them.
    pub(super) credentials: Arc<OnceLock<AwsCredentialProvider>>,
}

/// The lock of an object, as the answer to a question for it said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) lock: Locked,
    /// When that was, by the store's own clock.
    pub(super) answered_ms: Option<i64>,
}

impl Seen {
    /// Whether the lock holds still. One whose answer bears no time counts as one that does.
    pub(super) fn holds(self) -> bool {
        self.answered_ms.is_none_or(|now| now < self.lock.until_ms)
    }
}

#[derive(Debug)]
struct LockingClient {
    client: Client,
    locking: Locking,
}

#[async_trait]
impl HttpService for LockingClient {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(asked) = self.locking.asked
            && begins_an_object(&request)
        {
            self.locking.lock(&mut request, asked).await?;
        }
        let mut response = self.client.call(request).await?;
        if let Some(lock) = locked(response.headers()) {
            let answered_ms = answered_ms(response.headers());
            response.extensions_mut().insert(Seen { lock, answered_ms });
        }
        Ok(response)
    }
}

/// Whether a signed request puts an object or begins to put one in parts: the parts themselves take no lock.
fn begins_an_object(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    let begins = match request.method().as_str() {
        "PUT" => !has("partNumber"),
        "POST" => has("uploads"),
        _ => false,
    };
    begins && request.headers().contains_key(DATE)
}

impl Locking {
    /// Adds the lock and signs anew: each header of S3's own must be signed. The time is the request's.
    async fn lock(&self, request: &mut HttpRequest, asked: LockAsked) -> Result<(), HttpError> {
        let failed = |error: Error| HttpError::new(HttpErrorKind::Unknown, error);
        let headers = request.headers();
        let text =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let digest = unhexed(text(CONTENT));
        let until = NaiveDateTime::parse_from_str(text(DATE), "%Y%m%dT%H%M%SZ")
            .ok()
            .and_then(|now| now.checked_add_days(chrono::Days::new(asked.days.into())))
            .and_then(|until| HeaderValue::from_str(&until.format("%Y-%m-%dT%H:%M:%SZ").to_string()).ok());
        let (Some(until), Some(credentials)) = (until, self.credentials.get()) else {
            let why = "the request bears no time to reckon the lock from".to_owned();
            return Err(failed(Error::NotSupported { source: why.into() }));
        };
        let mode = match asked.mode {
            LockMode::Governance => "GOVERNANCE",
            LockMode::Compliance => "COMPLIANCE",
        };
        request.headers_mut().insert(MODE, HeaderValue::from_static(mode));
        request.headers_mut().insert(UNTIL, until);
        let credential = credentials.get_credential().await.map_err(failed)?;
        let signer = AwsAuthorizer::new(&credential, "s3", &self.region);
        signer.try_authorize(request, digest.as_deref()).map_err(failed)
    }
}

/// The lock that the headers of an answer tell.
fn locked(headers: &HeaderMap) -> Option<Locked> {
    let mode = match headers.get(MODE)?.as_bytes() {
        b"GOVERNANCE" => LockMode::Governance,
        b"COMPLIANCE" => LockMode::Compliance,
        _ => return None,
    };
    let until = DateTime::parse_from_rfc3339(headers.get(UNTIL)?.to_str().ok()?).ok()?;
    Some(Locked { mode, until_ms: until.timestamp_millis() })
}

/// When an answer was given, as it says.
fn answered_ms(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(reqwest::header::DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|at| at.timestamp_millis())
}

/// The bytes of hexadecimal digits; nothing where the payload is told in another way.
fn unhexed(digits: &str) -> Option<Vec<u8>> {
    if digits.len() != 64 {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}
