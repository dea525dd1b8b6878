//! Both recordings of a real server, asked again exchange by exchange.
//!
//! With `DRYDOCK_TEST_QDRANT` (addresses with commas between, the first is enough for the one-node
//! recording, three are needed for the cluster's) and `DRYDOCK_TEST_QDRANT_KEY` a real, empty server is
//! asked instead of ours.

pub(crate) mod compare;

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method};
use serde::Serialize;
use serde_json::Value;

use super::server::{KEY, Server};
use compare::Learned;

/// The address that the one-node recording was made at.
const RECORDED_URL: &str = "http://127.0.0.1:6333";

struct Replay {
    urls: Vec<String>,
    key: String,
    http: Client,
    learned: Learned,
    /// What was downloaded: node and collection to the file.
    files: BTreeMap<(usize, String), Vec<u8>>,
    /// Shards as listed by the nodes, recorded and found: collection and shard to points.
    shards: [BTreeMap<(String, u64), u64>; 2],
}

struct Found {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

#[tokio::test]
async fn the_recording_of_one_node() {
    replay("exchanges.json", 1).await;
}

#[tokio::test]
async fn the_recording_of_a_cluster() {
    let replay = replay("cluster-exchanges.json", 3).await;
    let Some([recorded, found]) = replay.map(|replay| replay.shards) else { return };
    assert_eq!(recorded.values().sum::<u64>(), 120, "the recording lists both collections");
    assert_eq!(recorded, found, "the points lie in the shards they lay in");
}

#[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Replays a recording; nothing comes back where a real server was asked for that has too few nodes.
async fn replay(recording: &str, nodes: usize) -> Option<Replay> {
    let own;
    let (urls, key) = match variable("DRYDOCK_TEST_QDRANT") {
        Some(urls) => {
            let urls: Vec<_> = urls.split(',').map(|url| url.trim_end_matches('/').to_owned()).collect();
            (urls, variable("DRYDOCK_TEST_QDRANT_KEY").unwrap_or_default())
        }
        None => {
            own = Server::start(nodes).await;
            (own.qdrant.urls(), KEY.to_owned())
        }
    };
    if urls.len() < nodes {
        eprintln!("{recording}: skipped, DRYDOCK_TEST_QDRANT names fewer than {nodes} nodes");
        return None;
    }
    let path = format!("{}/../tests/fixtures/qdrant/{recording}", env!("CARGO_MANIFEST_DIR"));
    let exchanges: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut learned = Learned::default();
    learned.learn(RECORDED_URL, &urls[0]);
    learned.learn(KEY, &key);
    let http = Client::builder().no_proxy().build().unwrap();
    let mut replay = Replay { urls, key, http, learned, files: BTreeMap::new(), shards: Default::default() };
    for exchange in exchanges.iter().filter(|exchange| exchange.get("request").is_some()) {
        replay.exchange(exchange).await;
    }
    Some(replay)
}

impl Replay {
    async fn exchange(&mut self, exchange: &Value) {
        let name = exchange["name"].as_str().unwrap();
        let node = exchange["node"].as_u64().map_or(0, |node| node as usize - 1);
        let path = self.learned.translate(exchange["request"]["path"].as_str().unwrap());
        let place = format!("{name:?} on node {}: {} {path}", node + 1, exchange["request"]["method"]);
        let found = self.ask(name, node, &path, &exchange["request"]).await;
        let recorded = &exchange["response"];
        let text = String::from_utf8_lossy(&found.body).into_owned();
        assert_eq!(recorded["status"], found.status, "{place}: {text}");
        if let Some(headers) = recorded["headers"].as_object() {
            compare::headers(headers, &found.headers, found.body.len(), &place);
        }
        if recorded["json"].is_null() {
            self.text(recorded["text"].as_str().unwrap(), &found.body, &path, node, &place);
        } else {
            let found = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{place}: not JSON: {text}"));
            self.note_shards(&path, &recorded["json"], &found);
            self.learned.compare(&recorded["json"], &found, &place);
        }
        if found.status == 202 {
            self.until_another_snapshot(&path).await;
        }
    }

    async fn ask(&self, name: &str, node: usize, path: &str, request: &Value) -> Found {
        let method: Method = request["method"].as_str().unwrap().parse().unwrap();
        let mut asked = self.http.request(method, format!("{}{path}", self.urls[node]));
        asked = match name {
            "healthz without key" => asked,
            // An absent key is refused in other words than the recorded ones; those answer an empty key.
            "no api key" => asked.header("api-key", ""),
            "wrong api key" => asked.header("api-key", "wrong"),
            _ => asked.header("api-key", &self.key),
        };
        if name == "download range" {
            asked = asked.header("range", "bytes=0-99");
        }
        if path.contains("/snapshots/upload") {
            let part = Part::bytes(self.upload(name, node)).file_name(format!("{node}.snapshot"));
            asked = asked.multipart(Form::new().part("snapshot", part));
        } else if !request["body"].is_null() {
            let body = spaced(&self.learned.translate_all(&request["body"]));
            asked = asked.header("content-type", "application/json").body(body);
        }
        let response = asked.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Found { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    /// The file that an exchange uploads: what was downloaded from this node, whole or spoilt.
    fn upload(&self, name: &str, node: usize) -> Vec<u8> {
        let of_node = |(at, collection): &&(usize, String)| *at == node && collection != "agent_b2";
        let mut file = self.files[self.files.keys().find(of_node).unwrap()].clone();
        match name {
            "upload damaged, no checksum" => {
                let at = file.windows(17).position(|window| window == b"{\"initial_version").unwrap();
                file[at] = b'X';
                file
            }
            "upload truncated" => {
                file.truncate(file.len() / 3);
                file
            }
            "upload garbage" => b"garbage".to_vec(),
            _ => file,
        }
    }

    fn text(&mut self, recorded: &str, found: &[u8], path: &str, node: usize, place: &str) {
        let collection = path.split('/').nth(2).unwrap_or_default().to_owned();
        if recorded.starts_with('<') {
            if let Some((_, sum)) = recorded.trim_end_matches('>').split_once("sha256 ") {
                assert_eq!(compare::sha256(found), self.learned.translate(sum), "{place}: sha256 as listed");
            }
            self.files.insert((node, collection), found.to_vec());
        } else if recorded.contains('\0') {
            assert_eq!(found, &self.files[&(node, collection)][..100], "{place}: the first 100 bytes");
            let segments = recorded.split_inclusive("segments/").next().unwrap();
            assert!(found.starts_with(segments.as_bytes()), "{place}: the first entry is a segment");
        } else {
            let found = String::from_utf8_lossy(found);
            assert_eq!(self.learned.translate(recorded), found, "{place}");
        }
    }

    fn note_shards(&mut self, path: &str, recorded: &Value, found: &Value) {
        for (at, answer) in [recorded, found].into_iter().enumerate() {
            let collection = path.split('/').nth(2).unwrap_or_default().to_owned();
            for shard in answer["result"]["local_shards"].as_array().into_iter().flatten() {
                let id = shard["shard_id"].as_u64().unwrap();
                self.shards[at].insert((collection.clone(), id), shard["points_count"].as_u64().unwrap());
            }
        }
    }

    /// A snapshot that nobody waits for is there once the list shows another checksum, or one more file.
    async fn until_another_snapshot(&self, path: &str) {
        let path = path.split('?').next().unwrap();
        let first = self.learned.checksums_found();
        for _ in 0..500 {
            let asked = self.http.get(format!("{}{path}", self.urls[0])).header("api-key", &self.key);
            let listed: Value = asked.send().await.unwrap().json().await.unwrap();
            let listed = listed["result"].as_array().unwrap();
            if listed.len() > 1 || listed.iter().any(|one| !first.contains(&one["checksum"])) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("no second snapshot was made");
    }
}

/// JSON with spaces as the recording's client wrote it: the columns in error texts count them.
fn spaced(value: &Value) -> String {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
            out.write_all(b": ")
        }
    }
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)).unwrap();
    String::from_utf8(bytes).unwrap()
}
