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

    /// Puts a body of one's own.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<(), OctopusError> {
        self.ask(Method::PUT, path, Some(body)).await.map(drop)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::clock::Clock;
    use crate::faults::Faults;
    use crate::ledger::Ledger;
    use crate::qdrant::{Qdrant, QdrantOptions};

    fn chunk(document: u128, chunk: usize, text: &str) -> Chunk {
        Chunk {
            agent_id: "a1".into(),
            document_id: Uuid::from_u128(document),
            chunk,
            version: 1,
            text: text.into(),
        }
    }

    #[tokio::test]
    async fn documents_are_found_by_their_words_until_they_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new(Arc::new(|| DateTime::UNIX_EPOCH));
        let options = QdrantOptions {
            dir: dir.path().into(),
            nodes: 2,
            port: 0,
            api_key: Some("key".into()),
            read_only_key: None,
            seed: Seed(7),
            ledger: Ledger::in_memory(clock.clone()),
            clock,
            faults: Faults::default(),
        };
        let qdrant = Qdrant::start(options).await.unwrap();
        let vectors = Vectors::new(QdrantAddress { nodes: qdrant.urls(), api_key: "key".into() }).unwrap();
        vectors.create("a1").await.unwrap();
        assert_eq!(vectors.collections().await.unwrap(), ["agent_a1"]);
        let error = vectors.create("a1").await.unwrap_err().to_string();
        assert!(error.contains("409 to PUT /collections/agent_a1"), "{error}");

        let tides = chunk(1, 0, "Spring tides in Ghent follow the moon.");
        let many = (0..700).map(|at| chunk(2, at, &format!("Invoice {at} was paid late.")));
        vectors.upsert("a1", many.chain([tides.clone()]).collect()).await.unwrap();
        let found = vectors.search("a1", "the moon and the tides", 1).await.unwrap();
        assert_eq!(found.first().map(|found| &found.chunk), Some(&tides));
        vectors.forget("a1", tides.document_id).await.unwrap();
        let found = vectors.search("a1", "the moon and the tides", 1).await.unwrap();
        assert_eq!(found.first().map(|found| found.chunk.document_id), Some(Uuid::from_u128(2)));
    }
}
