//! One node of Qdrant over HTTP: [`Node`] sends requests, again where that is safe, and reads what comes back.

use std::time::Duration;

use drydock_step::StepError;
use reqwest::header::HeaderMap;
use reqwest::multipart::Form;
use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use super::answers::{About, Activity, Description, Envelope, Telemetry};
use super::refusal::{lost, refused, unanswered};
use super::requests::{self, Ask, Whose};
use crate::http_client::causes;

/// The most of a JSON answer that is read, in bytes.
const LARGEST: usize = 64 * 1024 * 1024;

/// The pauses before a request that is safe to repeat is sent again.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_millis(1500)];

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// As the environment gives it, without a slash at its end.
    pub(super) url: String,
    /// What requests are sent to, where that is another name of the same.
    base: String,
    client: Client,
    /// How long a request may take that is not [`Ask::long`], and how long a download may bring nothing.
    pub(super) timeout: Duration,
}

impl Node {
    pub(super) fn new(url: &str, client: Client, timeout: Duration) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { base: url.clone(), url, client, timeout }
    }

    /// The same node, asked under another name that its client knows the address of.
    #[must_use]
    pub(super) fn asked_as(self, base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), ..self }
    }

    /// The result that a request is answered with.
    ///
    /// # Errors
    /// Those of [`refused`] and [`unanswered`]; `qdrant.answer` for an answer that is none of Qdrant's.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, StepError> {
        let body = self.whole(ask).await?;
        self.read::<Envelope<T>>(ask, &body).map(|envelope| envelope.result)
    }

    /// The server's version.
    pub(super) async fn version(&self) -> Result<String, StepError> {
        let ask = requests::about();
        let body = self.whole(&ask).await?;
        self.read::<About>(&ask, &body).map(|about| about.version)
    }

    /// Removes a snapshot from the node; that it is not there is as good.
    pub(super) async fn delete_snapshot(&self, whose: Whose<'_>, snapshot: &str) -> Result<(), StepError> {
        match self.ask::<bool>(&requests::delete_snapshot(whose, snapshot)).await {
            Err(error) if error.code == "qdrant.absent" => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// The snapshots on this node; none where there is no such collection or shard.
    pub(super) async fn snapshots(&self, whose: Whose<'_>) -> Result<Vec<Description>, StepError> {
        match self.ask(&requests::snapshots(whose)).await {
            Err(error) if error.code == "qdrant.absent" => Ok(Vec::new()),
            answer => answer,
        }
    }

    /// What the collection is busy with on this node. A key that may not ask is told that it is idle.
    pub(super) async fn activity(&self, collection: &str) -> Result<Activity, StepError> {
        let telemetry: Telemetry = match self.ask(&requests::telemetry()).await {
            Err(error) if error.code == "qdrant.key" => return Ok(Activity::default()),
            answer => answer?,
        };
        let all = telemetry.collections.snapshots;
        Ok(all.into_iter().find(|one| one.id == collection).unwrap_or_default())
    }

    /// The answer to a request whose body is streamed, sent once.
    pub(super) async fn upload(&self, ask: &Ask, form: Form) -> Result<(), StepError> {
        let response = self.judged(ask, self.request(ask).multipart(form)).await?;
        let body = self.body(ask, response).await?;
        // `true`, or of a shard `null`.
        self.read::<Envelope<Option<bool>>>(ask, &body).map(drop)
    }

    /// An answer whose body is still to be read.
    pub(super) async fn open(&self, ask: &Ask, headers: HeaderMap) -> Result<Response, StepError> {
        let opened = tokio::time::timeout(self.timeout, self.judged(ask, self.request(ask).headers(headers)));
        opened.await.unwrap_or_else(|_| Err(lost(&self.name(ask), "brought no answer", ask.twice)))
    }

    /// A request's name in messages.
    pub(super) fn name(&self, ask: &Ask) -> String {
        let path = ask.path.split('?').next().unwrap_or_default();
        format!("{} {}{path}", ask.method, self.url)
    }

    /// The body of the answer, asked for again where that is safe and may help.
    async fn whole(&self, ask: &Ask) -> Result<Vec<u8>, StepError> {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.once(ask).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            // A failure is transient only where nothing was begun or the request may be sent twice.
            match pauses.next().filter(|_| error.transient) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(error),
            }
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Vec<u8>, StepError> {
        let mut request = self.request(ask);
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        if !ask.long {
            request = request.timeout(self.timeout);
        }
        let response = self.judged(ask, request).await?;
        self.body(ask, response).await
    }

    fn request(&self, ask: &Ask) -> RequestBuilder {
        self.client.request(ask.method.clone(), format!("{}{}", self.base, ask.path))
    }

    async fn judged(&self, ask: &Ask, request: RequestBuilder) -> Result<Response, StepError> {
        let unanswered = |error: reqwest::Error| unanswered(&self.name(ask), &error, ask.twice);
        let response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // Of an error whose body does not come, the status says enough.
        let body = self.body(ask, response).await.unwrap_or_default();
        Err(refused(&self.name(ask), status, &body, ask.twice))
    }

    async fn body(&self, ask: &Ask, mut response: Response) -> Result<Vec<u8>, StepError> {
        let mut body = Vec::new();
        let cut = |error: reqwest::Error| {
            lost(&self.name(ask), &format!("lost its answer: {}", causes(&error)), ask.twice)
        };
        while let Some(piece) = response.chunk().await.map_err(cut)? {
            if body.len() + piece.len() > LARGEST {
                let message = format!("{} answered with more than {LARGEST} bytes", self.name(ask));
                return Err(StepError::new("qdrant.answer", message));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn read<T: DeserializeOwned>(&self, ask: &Ask, body: &[u8]) -> Result<T, StepError> {
        serde_json::from_slice(body).map_err(|error| {
            let message = format!("{} answered something else than Qdrant does: {error}", self.name(ask));
            StepError::new("qdrant.answer", message).help("does the target's URL lead to Qdrant's REST port?")
        })
    }
}
