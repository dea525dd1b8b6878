//! A practice Qdrant for one test, and a client that asks it. Main type: [`Server`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use drydock_practice::clock::Clock;
use drydock_practice::faults::Faults;
use drydock_practice::ledger::Ledger;
use drydock_practice::qdrant::{Deployment, Qdrant, QdrantOptions};
use drydock_practice::seed::Seed;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

pub(crate) const KEY: &str = "practice-key";
pub(crate) const READ_ONLY_KEY: &str = "practice-reader";

/// 2026-11-22T06:46:22Z, when the recordings were made.
const START_MICROS: i64 = 1_795_329_982_000_000;

pub(crate) struct Server {
    pub(crate) qdrant: Qdrant,
    pub(crate) ledger: Ledger,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) http: Client,
    time: Arc<AtomicI64>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Server {
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::with_faults(nodes, "[]").await
    }

    pub(crate) async fn with_faults(nodes: usize, faults: &str) -> Self {
        Self::start_as(nodes, faults, Deployment::default()).await
    }

    pub(crate) async fn start_as(nodes: usize, faults: &str, deployment: Deployment) -> Self {
        let time = Arc::new(AtomicI64::new(START_MICROS));
        let source = Arc::clone(&time);
        // Every look at the clock takes a millisecond, so that a whole test lies within few seconds.
        let clock = Clock::new(Arc::new(move || {
            DateTime::from_timestamp_micros(source.fetch_add(1000, Ordering::Relaxed)).unwrap()
        }));
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_memory(clock.clone());
        let options = QdrantOptions {
            dir: dir.path().to_owned(),
            nodes,
            port: 0,
            api_key: Some(KEY.into()),
            read_only_key: Some(READ_ONLY_KEY.into()),
            seed: Seed(7),
            clock,
            ledger: ledger.clone(),
            faults: Faults::parse(faults).unwrap(),
        };
        let qdrant = Qdrant::start_as(options, deployment).await.unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        Self { qdrant, ledger, dir, http, time }
    }

    /// Lets a second pass, so that the next snapshot has another name.
    pub(crate) fn pass_second(&self) {
        self.time.fetch_add(1_000_000, Ordering::Relaxed);
    }

    pub(crate) async fn send(&self, node: usize, request: &str, body: Option<Value>) -> Response {
        let (method, path) = request.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let url = format!("{}{path}", self.qdrant.urls()[node]);
        let mut request = self.http.request(method, url).header("api-key", KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    /// Asks the first node with this key; none where it is empty.
    pub(crate) async fn ask_as(&self, key: &str, request: &str, body: Option<Value>) -> Answered {
        let (method, path) = request.split_once(' ').unwrap();
        let url = format!("{}{path}", self.qdrant.urls()[0]);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        let response = request.json(&body.unwrap_or_else(|| json!({}))).send().await.unwrap();
        Answered { status: response.status().as_u16(), text: response.text().await.unwrap() }
    }

    /// Sends a file to an endpoint that takes one.
    pub(crate) async fn upload(&self, node: usize, path: &str, name: &str, file: Vec<u8>) -> Answered {
        let url = format!("{}{path}", self.qdrant.urls()[node]);
        let form = Form::new().part("snapshot", Part::bytes(file).file_name(name.to_owned()));
        let response = self.http.post(url).header("api-key", KEY).multipart(form).send().await.unwrap();
        Answered { status: response.status().as_u16(), text: response.text().await.unwrap() }
    }

    /// Creates a collection of vectors with two dimensions, with these settings besides.
    pub(crate) async fn create(&self, collection: &str, settings: Value) {
        let mut config = json!({"vectors": {"size": 2, "distance": "Dot"}});
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.done(&format!("PUT /collections/{collection}"), Some(config)).await;
    }

    /// Writes points `[id, 1]` with the payload `{n: id}`.
    pub(crate) async fn upsert(&self, collection: &str, ids: impl Iterator<Item = u64>) {
        let points: Vec<_> =
            ids.map(|id| json!({"id": id, "vector": [id, 1], "payload": {"n": id}})).collect();
        let request = format!("PUT /collections/{collection}/points?wait=true");
        self.done(&request, Some(json!({"points": points}))).await;
    }

    /// How many points a node says there are.
    pub(crate) async fn counted(&self, node: usize, collection: &str) -> Value {
        let request = format!("POST /collections/{collection}/points/count");
        let answered = self.ask_node(node, &request, Some(json!({}))).await;
        assert_eq!(answered.status, 200, "{}", answered.text);
        answered.json()["result"]["count"].clone()
    }

    /// Asks the first node.
    pub(crate) async fn ask(&self, request: &str, body: Option<Value>) -> Answered {
        self.ask_node(0, request, body).await
    }

    pub(crate) async fn ask_node(&self, node: usize, request: &str, body: Option<Value>) -> Answered {
        let response = self.send(node, request, body).await;
        Answered { status: response.status().as_u16(), text: response.text().await.unwrap() }
    }

    /// The result of a request that must succeed.
    #[track_caller]
    pub(crate) fn done(&self, request: &str, body: Option<Value>) -> impl Future<Output = Value> {
        let (place, request) = (std::panic::Location::caller(), request.to_owned());
        async move {
            let answered = self.ask(&request, body).await;
            assert_eq!(answered.status, 200, "{request} at {place}: {}", answered.text);
            answered.json()["result"].clone()
        }
    }
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// Checks status and error text of a refusal.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.text.contains(words), "{:?} does not say {words:?}", self.text);
    }
}
