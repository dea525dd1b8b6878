//! A Qdrant with an artifact store for one test, and what drives kinds on them. Main type: [`World`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use drydock_practice::clock::Clock;
use drydock_practice::faults::Faults;
use drydock_practice::ledger::Ledger;
use drydock_practice::qdrant::{Deployment, Qdrant, QdrantOptions};
use drydock_practice::seed::Seed;
use drydock_step::test_host::{TestHost, given};
use drydock_step::{Connection, Ended, Kind, Reconciled, Registry, Settings, StepError};
use serde_json::{Value, json};

pub(crate) const KEY: &str = "practice-key";
pub(crate) const READ_ONLY_KEY: &str = "practice-reader";

/// 2026-11-22T06:46:22Z.
const START_MICROS: i64 = 1_795_329_982_000_000;

pub(crate) struct World {
    pub(crate) urls: Vec<String>,
    pub(crate) key: String,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) qdrant: Option<Qdrant>,
    ledger: Ledger,
    time: Arc<AtomicI64>,
    http: reqwest::Client,
}

/// The outputs of a kind.
pub(crate) type Outputs = Result<Value, StepError>;

impl World {
    /// A real server with so many nodes where one is named, else the practice server; nothing where the real one has other nodes.
    pub(crate) async fn start(nodes: usize) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is how a test is pointed at a real server")]
        let variable = |name: &str| std::env::var(name).ok();
        let Some(urls) = variable("DRYDOCK_TEST_QDRANT") else {
            return Some(Self::with_faults(nodes, "[]").await);
        };
        let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
        if urls.len() != nodes {
            eprintln!(
                "skipped: DRYDOCK_TEST_QDRANT has {} nodes, and this test is about {nodes}",
                urls.len()
            );
            return None;
        }
        let key = variable("DRYDOCK_TEST_QDRANT_KEY").unwrap_or_default();
        let ledger = Ledger::in_memory(Clock::new(Arc::new(|| chrono::DateTime::UNIX_EPOCH)));
        Some(Self::of(urls, key, ledger, None, tempfile::tempdir().unwrap(), Arc::default()))
    }

    /// A practice server with these faults. The world's own requests bear no attempt, so that rules with one do not meet them.
    pub(crate) async fn with_faults(nodes: usize, faults: &str) -> Self {
        Self::deployed(nodes, faults, Deployment::default()).await
    }

    /// The same, set up in this way.
    pub(crate) async fn deployed(nodes: usize, faults: &str, deployment: Deployment) -> Self {
        let time = Arc::new(AtomicI64::new(START_MICROS));
        let source = Arc::clone(&time);
        // Every look at the clock takes a millisecond, so that a test decides when a second is over.
        let clock = Clock::new(Arc::new(move || {
            chrono::DateTime::from_timestamp_micros(source.fetch_add(1000, Ordering::Relaxed)).unwrap()
        }));
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_memory(clock.clone());
        let options = QdrantOptions {
            dir: dir.path().join("qdrant"),
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
        Self::of(qdrant.urls(), KEY.into(), ledger, Some(qdrant), dir, time)
    }

    fn of(
        urls: Vec<String>,
        key: String,
        ledger: Ledger,
        qdrant: Option<Qdrant>,
        dir: tempfile::TempDir,
        time: Arc<AtomicI64>,
    ) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { urls, key, dir, qdrant, ledger, time, http }
    }

    /// Whether the ledger tells anything.
    pub(crate) fn is_practice(&self) -> bool {
        self.qdrant.is_some()
    }

    /// Lets a second pass on the practice server, so that the next snapshot has another name.
    pub(crate) fn pass_second(&self) {
        self.time.fetch_add(1_000_000, Ordering::Relaxed);
    }

    /// The answer of the first node, which must be a success.
    pub(crate) async fn done(&self, request: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(0, request, body).await;
        assert_eq!(status, 200, "{request}: {answer}");
        answer["result"].clone()
    }

    /// The status and answer of a node.
    pub(crate) async fn ask(&self, node: usize, request: &str, body: Option<Value>) -> (u16, Value) {
        let (method, path) = request.split_once(' ').unwrap();
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.urls[node]));
        request = request.header("api-key", &self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A new collection with this many points: ids from 1, payload `{n}`.
    pub(crate) async fn fill(&self, collection: &str, points: u64, shards: u64) {
        self.done(&format!("DELETE /collections/{collection}"), None).await;
        let config = json!({ "vectors": { "size": 2, "distance": "Dot" }, "shard_number": shards });
        self.done(&format!("PUT /collections/{collection}"), Some(config)).await;
        self.upsert(collection, 1..=points).await;
    }

    pub(crate) async fn upsert(&self, collection: &str, ids: impl Iterator<Item = u64>) {
        let points: Vec<_> =
            ids.map(|id| json!({ "id": id, "vector": [id, 1], "payload": { "n": id } })).collect();
        if !points.is_empty() {
            let request = format!("PUT /collections/{collection}/points?wait=true");
            self.done(&request, Some(json!({ "points": points }))).await;
        }
    }

    pub(crate) async fn count(&self, collection: &str) -> Value {
        let request = format!("POST /collections/{collection}/points/count");
        self.done(&request, Some(json!({ "exact": true }))).await["count"].clone()
    }

    /// The names of all collections.
    pub(crate) async fn names(&self) -> Vec<String> {
        let listed = self.done("GET /collections", None).await;
        let mut names: Vec<String> = listed["collections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().into())
            .collect();
        names.sort();
        names
    }

    /// The names of a collection's snapshots on a node.
    pub(crate) async fn snapshots(&self, node: usize, collection: &str) -> Vec<String> {
        let (_, listed) = self.ask(node, &format!("GET /collections/{collection}/snapshots"), None).await;
        listed["result"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().into()).collect()
    }

    /// What attempts have changed on the servers: `node op` of each request that wrote.
    pub(crate) fn written(&self) -> Vec<String> {
        let lines = self.ledger.lines().into_iter().filter(|line| line.writes && line.attempt.is_some());
        lines.map(|line| format!("{} {}", line.server, line.op)).collect()
    }

    /// What attempts have asked, with this in it.
    pub(crate) fn asked(&self, part: &str) -> usize {
        let lines = self.ledger.lines().into_iter().filter(|line| line.attempt.is_some());
        lines.filter(|line| line.op.contains(part)).count()
    }

    /// Whether an answer to an attempt is being held back.
    pub(crate) fn holds_back(&self) -> bool {
        self.ledger.lines().iter().any(|line| line.held)
    }

    /// A connection to the nodes at these addresses.
    pub(crate) async fn connected(&self, urls: &[String], key: &str) -> Arc<dyn Connection> {
        let mut settings = json!({ "nodes": urls, "timeout": "20s" });
        if !key.is_empty() {
            settings["api_key"] = json!(key);
        }
        connection("qdrant", settings, self).await
    }

    /// A host whose target `t` is the Qdrant and whose `backups` is a store in the world's folder.
    pub(crate) async fn host(&self) -> Arc<TestHost> {
        self.host_at(&self.urls, &self.key).await
    }

    /// The same with other addresses or another key.
    pub(crate) async fn host_at(&self, urls: &[String], key: &str) -> Arc<TestHost> {
        let store = connection("artifacts", json!({ "url": "store" }), self).await;
        let host = TestHost::new(self.dir.path());
        Arc::new(host.target("t", self.connected(urls, key).await).target("backups", store))
    }

    /// A file of the store.
    pub(crate) fn stored(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("store").join(path)
    }
}

pub(crate) async fn connection(kind: &str, settings: Value, world: &World) -> Arc<dyn Connection> {
    let mut registry = Registry::new();
    drydock_steps::register(&mut registry);
    let values = settings.as_object().unwrap().clone();
    let settings = Settings { values, folder: world.dir.path().into(), attempt: "r1/step/1".into() };
    registry.target_named(kind).unwrap().connect(settings).await.unwrap()
}

/// What a kind gives on the target `t`.
pub(crate) async fn run(kind: &dyn Kind, host: &Arc<TestHost>, with: &Value) -> Outputs {
    run_from(kind, host, with, None).await
}

/// The same, going on from what a reconcile said.
pub(crate) async fn run_from(
    kind: &dyn Kind,
    host: &Arc<TestHost>,
    with: &Value,
    from: Option<&Value>,
) -> Outputs {
    match kind.execute(&host.ctx(Some("t")), given(with.clone()), from).await? {
        Ended::Outputs(outputs) => Ok(outputs),
        Ended::Waits(message) => panic!("{message}"),
    }
}

/// What a kind says of a lost attempt.
pub(crate) async fn asked(kind: &dyn Kind, host: &Arc<TestHost>, with: &Value) -> Reconciled {
    kind.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap()
}

/// An attempt that dies while the server holds an answer back that it has done the work for.
pub(crate) async fn die_at_a_held_answer(world: &World, kind: &dyn Kind, host: &Arc<TestHost>, with: &Value) {
    let mut attempt = Box::pin(run(kind, host, with));
    while !world.holds_back() {
        let ended = tokio::time::timeout(Duration::from_millis(5), &mut attempt).await;
        assert!(ended.is_err(), "it ended without meeting the held answer: {ended:?}");
    }
}

/// Checks the code and the words of an error.
#[track_caller]
pub(crate) fn refused(outputs: Outputs, code: &str, words: &str) -> StepError {
    let error = outputs.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(words), "{error:?} does not say {words:?}");
    error
}
