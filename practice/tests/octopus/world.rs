//! Practice servers for one test, filled or not, and clients that ask them. Main type: [`World`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use drydock_practice::clock::{Clock, Offsets};
use drydock_practice::octopus::{DATABASE, fill};
use drydock_practice::seed::Seed;
use drydock_practice::server::{Options, Practice, start};
use reqwest::{Client, Method};
use serde_json::Value;
use tiberius::{AuthMethod, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

pub(crate) const SEED: u64 = 7;

pub(crate) struct World {
    pub(crate) practice: Practice,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) http: Client,
    seconds: Arc<AtomicI64>,
}

#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// Options for servers under `dir`, and the seconds that their clock shows.
pub(crate) fn options(dir: &tempfile::TempDir) -> (Options, Arc<AtomicI64>) {
    let seconds = Arc::new(AtomicI64::new(1_795_329_982));
    let source = Arc::clone(&seconds);
    let clock =
        Clock::new(Arc::new(move || DateTime::from_timestamp(source.load(Ordering::Relaxed), 0).unwrap()));
    let dir = dir.path().join("practice");
    let options = Options {
        first_port: 0,
        seed: SEED,
        dir,
        clock,
        offsets: Offsets::default(),
        ledger: None,
        faults: None,
        qdrant_nodes: 1,
    };
    (options, seconds)
}

impl World {
    pub(crate) async fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (options, seconds) = options(&dir);
        let practice = start(options).await.unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        Self { practice, dir, http, seconds }
    }

    pub(crate) async fn filled() -> Self {
        let world = Self::empty().await;
        fill(&world.practice.ports().addresses(), Seed(SEED)).await.unwrap();
        world
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Asks the API.
    pub(crate) async fn api(&self, request: &str, body: Option<Value>) -> Answered {
        let url = self.practice.ports().api.url.clone();
        self.ask(&url, request, body).await
    }

    /// Asks Qdrant.
    pub(crate) async fn vectors(&self, request: &str, body: Option<Value>) -> Value {
        let url = self.practice.ports().qdrant.nodes[0].clone();
        let answered = self.ask(&url, request, body).await;
        assert_eq!(answered.status, 200, "{request}: {}", answered.text);
        answered.json()["result"].clone()
    }

    async fn ask(&self, url: &str, request: &str, body: Option<Value>) -> Answered {
        let (method, path) = request.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let mut asked = self.http.request(method, format!("{url}{path}"));
        asked = asked.header("api-key", &self.practice.ports().qdrant.api_key);
        if let Some(body) = body {
            asked = asked.json(&body);
        }
        let response = asked.send().await.unwrap();
        Answered { status: response.status().as_u16(), text: response.text().await.unwrap() }
    }

    /// The first column of a query's rows, as text.
    pub(crate) async fn sql(&self, query: &str) -> Vec<String> {
        let rows = self
            .session(DATABASE)
            .await
            .simple_query(query)
            .await
            .unwrap()
            .into_first_result()
            .await
            .unwrap();
        rows.iter().map(|row| row.try_get::<&str, _>(0).unwrap().unwrap_or("NULL").to_owned()).collect()
    }

    /// Runs a batch outside the database.
    pub(crate) async fn master(&self, batch: &str) {
        self.session("master").await.simple_query(batch).await.unwrap().into_results().await.unwrap();
    }

    async fn session(&self, database: &str) -> tiberius::Client<Compat<TcpStream>> {
        let address = &self.practice.ports().sqlserver;
        let mut config = Config::new();
        config.host(&address.host);
        config.port(address.port);
        config.authentication(AuthMethod::sql_server(&address.user, &address.password));
        config.encryption(EncryptionLevel::Required);
        config.trust_cert_ca(address.ca.display());
        config.database(database);
        let stream = TcpStream::connect(config.get_addr()).await.unwrap();
        tiberius::Client::connect(config, stream.compat_write()).await.unwrap()
    }

    /// One number from the database.
    pub(crate) async fn number(&self, expression: &str) -> u64 {
        self.sql(&format!("SELECT CAST({expression} AS nvarchar(20))")).await[0].parse().unwrap()
    }

    /// The first agent by id.
    pub(crate) async fn some_agent(&self) -> String {
        self.sql("SELECT [Id] FROM [Octopus_Agents] WHERE [Name] = N'Incident scribe'").await.remove(0)
    }
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// The answer of a request that must end with this status.
    #[track_caller]
    pub(crate) fn done(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Checks status and words of a refusal.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.text.contains(words), "{:?} does not say {words:?}", self.text);
    }
}
