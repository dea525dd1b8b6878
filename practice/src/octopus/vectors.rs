//! The vector side of Octopus: a collection for each agent. Main type: [`Vectors`].

use reqwest::{Client, Method, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::seed::Seed;

use super::addresses::QdrantAddress;
use super::embedding::{DIMENSIONS, embed};
use super::error::OctopusError;

/// Points a request.
const BATCH: usize = 500;

/// A piece of a document with its vector, as it is stored.
#[derive(Debug, Serialize)]
struct Point {
    id: Uuid,
    vector: Vec<f32>,
    payload: Chunk,
}

/// What is known of a vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) agent_id: String,
    pub(super) document_id: Uuid,
    pub(super) chunk: usize,
    pub(super) version: i32,
    pub(super) text: String,
}

/// A piece that was found, and how near it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) score: f32,
    #[serde(rename(deserialize = "payload"))]
    pub(super) chunk: Chunk,
}

/// Octopus' side of Qdrant.
pub(super) struct Vectors {
    address: QdrantAddress,
    http: Client,
}

/// The collection of an agent.
pub(super) fn collection(agent: &str) -> String {
    format!("agent_{agent}")
}

impl Vectors {
    /// Nothing is asked yet.
    pub(super) fn new(address: QdrantAddress) -> Result<Self, OctopusError> {
        Ok(Self { address, http: Client::builder().no_proxy().build()? })
    }

    /// Creates the collection of an agent.
    pub(super) async fn create(&self, agent: &str) -> Result<(), OctopusError> {
        let path = format!("/collections/{}", collection(agent));
        let config = json!({ "vectors": { "size": DIMENSIONS, "distance": "Cosine" } });
        self.ask(Method::PUT, &path, Some(&config)).await.map(drop)
    }

    /// Deletes a collection by its own name.
    pub(super) async fn delete(&self, collection: &str) -> Result<(), OctopusError> {
        self.ask(Method::DELETE, &format!("/collections/{collection}"), None::<&Value>).await.map(drop)
    }

    /// The names of all collections.
    pub(super) async fn collections(&self) -> Result<Vec<String>, OctopusError> {
        let listed = self.ask(Method::GET, "/collections", None::<&Value>).await?;
        let listed = listed["collections"].as_array().into_iter().flatten();
        Ok(listed.filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect())
    }

    /// Stores chunks of one agent, embedded.
    pub(super) async fn upsert(&self, agent: &str, chunks: Vec<Chunk>) -> Result<(), OctopusError> {
        let path = format!("/collections/{}/points?wait=true", collection(agent));
        let mut points = chunks.into_iter().map(point).peekable();
        while points.peek().is_some() {
            let batch: Vec<Point> = points.by_ref().take(BATCH).collect();
            #[derive(Serialize)]
            struct Body {
                points: Vec<Point>,
            }
            self.ask(Method::PUT, &path, Some(&Body { points: batch })).await?;
        }
        Ok(())
    }

    /// Deletes all chunks of a document.
    pub(super) async fn forget(&self, agent: &str, document: Uuid) -> Result<(), OctopusError> {
        let path = format!("/collections/{}/points/delete?wait=true", collection(agent));
        let matching = json!({ "key": "document_id", "match": { "value": document } });
        self.ask(Method::POST, &path, Some(&json!({ "filter": { "must": [matching] } }))).await.map(drop)
    }

    /// The chunks nearest to a text, best first.
    pub(super) async fn search(
        &self,
        agent: &str,
        text: &str,
        limit: usize,
    ) -> Result<Vec<Found>, OctopusError> {
        let path = format!("/collections/{}/points/query", collection(agent));
        let query = json!({ "query": embed(text), "limit": limit, "with_payload": true });
        let mut found = self.ask(Method::POST, &path, Some(&query)).await?;
        let points = found["points"].take();
        serde_json::from_value(points.clone()).map_err(|error| OctopusError::Vectors {
            request: format!("POST {path}"),
            status: 200,
            text: format!("{error} in {points}"),
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Value, OctopusError> {
        let node = self.address.nodes.first().map(String::as_str).unwrap_or_default();
        let mut request: RequestBuilder = self.http.request(method.clone(), format!("{node}{path}"));
        request = request.header("api-key", &self.address.api_key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        let answered: Option<Value> = serde_json::from_str(&text).ok();
        match answered {
            Some(mut answered) if status.is_success() => Ok(answered["result"].take()),
            _ => Err(OctopusError::Vectors {
                request: format!("{method} {path}"),
                status: status.as_u16(),
                text,
            }),
        }
    }
}

fn point(chunk: Chunk) -> Point {
    // The id says which piece of which document it is, so that a new version replaces the old in place.
    let id = Seed(0).uuid(&format!("{} {}", chunk.document_id, chunk.chunk));
    Point { id, vector: embed(&chunk.text), payload: chunk }
}
