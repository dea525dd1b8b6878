//! Snapshots of single shards: who has them, what they hold, where they can be put.

use reqwest::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, ETAG, IF_MATCH, RANGE, TRANSFER_ENCODING};
use serde_json::{Value, json};

use super::server::{Answered, KEY, Server};

const SHARD: &str = "/collections/c/shards/0/snapshots";

/// A server whose collection `c` has two shards and a hundred points.
async fn sharded(nodes: usize) -> Server {
    let server = Server::start(nodes).await;
    server.create("c", json!({"shard_number": 2})).await;
    server.upsert("c", 1..=100).await;
    server
}

/// A snapshot of the first shard: what was said of it, and its bytes.
async fn snapshot(server: &Server) -> (Value, Vec<u8>) {
    let made = server.done(&format!("POST {SHARD}"), None).await;
    let file = server.send(0, &format!("GET {SHARD}/{}", made["name"].as_str().unwrap()), None).await;
    (made, file.bytes().await.unwrap().to_vec())
}

async fn points(server: &Server) -> Vec<u64> {
    let state = server.done("GET /collections/c/cluster", None).await;
    let shards = state["local_shards"].as_array().unwrap().clone();
    shards.iter().map(|shard| shard["points_count"].as_u64().unwrap()).collect()
}

async fn recover(server: &Server, location: &str, more: Value) -> Answered {
    let mut body = json!({"location": location});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.ask(&format!("PUT {SHARD}/recover"), Some(body)).await
}

fn names(file: &[u8]) -> Vec<String> {
    let mut tar = tar::Archive::new(file);
    tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[tokio::test]
async fn made_listed_downloaded_deleted() {
    let server = sharded(1).await;
    let (made, file) = snapshot(&server).await;
    let name = made["name"].as_str().unwrap();
    assert!(name.starts_with("c-shard-0-2026-11-22-06-46-2") && name.ends_with(".snapshot"), "{name}");
    assert_eq!(made["checksum"], super::replay::compare::sha256(&file));
    assert_eq!(server.done(&format!("GET {SHARD}"), None).await, json!([made]));
    assert_eq!(server.done("GET /collections/c/snapshots", None).await, json!([]), "not the collection's");
    assert_eq!(server.done("GET /collections/c/shards/1/snapshots", None).await, json!([]));
    let sum = server.ask(&format!("GET {SHARD}/{name}.checksum"), None).await;
    assert_eq!(sum.text, made["checksum"].as_str().unwrap());

    let names = names(&file);
    assert_eq!(
        names.iter().filter(|name| name.starts_with("segments/") && name.ends_with(".tar")).count(),
        2
    );
    assert!(names.contains(&"wal/open-1".to_owned()) && names.contains(&"replica_state.json".to_owned()));
    assert!(!names.iter().any(|name| name == "config.json" || name.starts_with("0/")), "{names:?}");

    let get = || server.http.get(format!("{}{SHARD}/{name}", server.qdrant.urls()[0])).header("api-key", KEY);
    let etag = get().send().await.unwrap().headers()[ETAG].clone();
    let part = get().header(RANGE, "bytes=500-").header(IF_MATCH, &etag).send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().to_vec()), (206, file[500..].to_vec()));

    server.done(&format!("DELETE {SHARD}/{name}"), None).await;
    server.ask(&format!("DELETE {SHARD}/{name}"), None).await.refused(404, "not found");
    server.ask(&format!("GET {SHARD}/{name}"), None).await.refused(404, "Not found: Snapshot c-shard-0");
    assert_eq!(server.done(&format!("GET {SHARD}"), None).await, json!([]));
}

#[tokio::test]
async fn a_streamed_one_has_no_length_and_is_not_kept() {
    let server = sharded(1).await;
    let before = points(&server).await;
    let streamed = server.send(0, "GET /collections/c/shards/0/snapshot", None).await;
    assert_eq!(streamed.status(), 200);
    assert_eq!(streamed.headers().get(CONTENT_LENGTH), None);
    assert_eq!(streamed.headers()[TRANSFER_ENCODING], "chunked");
    assert!(streamed.headers()[CONTENT_DISPOSITION].to_str().unwrap().contains("c-shard-0-2026"));
    let file = streamed.bytes().await.unwrap().to_vec();
    assert!(names(&file).iter().any(|name| name.starts_with("segments/") && name.contains("/files/")));
    assert_eq!(server.done(&format!("GET {SHARD}"), None).await, json!([]));

    server.upsert("c", 101..=200).await;
    let answered = server.upload(0, &format!("{SHARD}/upload?priority=no_sync"), "x.snapshot", file).await;
    assert_eq!((answered.status, &answered.json()["result"]), (200, &Value::Null), "{}", answered.text);
    let after = points(&server).await;
    assert_eq!(after[0], before[0], "as it was");
    assert!(after[1] > before[1], "the other shard is untouched");
    assert_eq!(server.done(&format!("GET {SHARD}"), None).await, json!([]), "an upload is not kept");
}

#[tokio::test]
async fn recovered_from_its_name_or_an_address() {
    let server = sharded(1).await;
    let before = points(&server).await;
    let (made, _) = snapshot(&server).await;
    let name = made["name"].as_str().unwrap();
    let gone: Vec<u64> = (1..=100).collect();
    let address = format!("{}{SHARD}/{name}", server.qdrant.urls()[0]);
    for (location, more) in [
        (name, json!({"checksum": made["checksum"], "priority": "replica"})),
        (address.as_str(), json!({"api_key": KEY})),
    ] {
        server.done("POST /collections/c/points/delete?wait=true", Some(json!({"points": gone}))).await;
        let answered = recover(&server, location, more).await;
        assert_eq!((answered.status, &answered.json()["result"]), (200, &json!(true)), "{}", answered.text);
        assert_eq!(points(&server).await, [before[0], 0], "this shard alone");
    }
}

#[tokio::test]
async fn refusals() {
    let server = sharded(1).await;
    let (made, file) = snapshot(&server).await;
    let name = made["name"].as_str().unwrap();
    for (location, more, status, words) in [
        (
            "file:///etc/passwd",
            json!({}),
            400,
            "Invalid snapshot URL file:///etc/passwd: URLs with file scheme",
        ),
        ("nope.snapshot", json!({}), 404, "not found"),
        ("../shards/0/x", json!({}), 404, "Snapshot ../shards/0/x not found"),
        (name, json!({"checksum": "abc"}), 400, "Snapshot checksum mismatch: expected abc, got "),
        (name, json!({"wait": true}), 400, "unknown field `wait`"),
    ] {
        recover(&server, location, more).await.refused(status, words);
    }
    for (request, status, words) in [
        ("POST /collections/c/shards/7/snapshots", 404, "Not found: shard 7 not found"),
        ("GET /collections/c/shards/7/snapshots", 404, "shard 7 not found"),
        ("GET /collections/c/shards/7/snapshot", 404, "shard 7 not found"),
        ("POST /collections/d/shards/0/snapshots", 404, "Collection `d` doesn't exist!"),
        ("GET /collections/d/shards/0/snapshot", 404, "Collection `d` doesn't exist!"),
        ("POST /collections/c/shards/0/snapshots/recover", 404, ""),
    ] {
        server.ask(request, None).await.refused(status, words);
    }
    let wrong = format!("{SHARD}/upload?checksum={}", "0".repeat(64));
    server.upload(0, &wrong, "x.snapshot", file.clone()).await.refused(400, "Checksum mismatch: expected ");
    server
        .upload(0, "/collections/c/shards/7/snapshots/upload", "x.snapshot", file.clone())
        .await
        .refused(404, "shard 7 not found");
    server
        .upload(0, "/collections/d/shards/0/snapshots/upload", "x.snapshot", file)
        .await
        .refused(404, "Collection `d` doesn't exist!");
}

#[tokio::test]
async fn what_is_on_another_node_is_refused() {
    let server = sharded(2).await;
    for (request, words) in [
        (format!("POST {SHARD}"), "Shard 0 is not a local or queue proxy shard"),
        (format!("GET {SHARD}"), "Shard 0 is not a local shard"),
        ("GET /collections/c/shards/0/snapshot".to_owned(), "not a local or queue proxy shard"),
        (format!("GET {SHARD}/x.snapshot"), "not a local or queue proxy shard"),
        (format!("DELETE {SHARD}/x.snapshot"), "not a local or queue proxy shard"),
    ] {
        server.ask_node(1, &request, None).await.refused(400, words);
    }
    let body = json!({"location": "x.snapshot"});
    let by_name = server.ask_node(1, &format!("PUT {SHARD}/recover"), Some(body)).await;
    by_name.refused(400, "not a local or queue proxy shard");
}

#[tokio::test]
async fn the_wrong_kind_of_file() {
    let server = sharded(1).await;
    let made = server.done("POST /collections/c/snapshots", None).await;
    let path = format!("GET /collections/c/snapshots/{}", made["name"].as_str().unwrap());
    let whole = server.send(0, &path, None).await.bytes().await.unwrap().to_vec();
    let (_, shard) = snapshot(&server).await;
    let upload = format!("{SHARD}/upload");
    let refused = server.upload(0, &upload, "x.snapshot", whole.clone()).await;
    refused.refused(500, "Can't restore snapshot in local mode with missing data at shard: ");
    let refused = server.upload(0, "/collections/c/snapshots/upload", "y.snapshot", shard.clone()).await;
    refused.refused(500, "config.json: No such file");
    assert_eq!(points(&server).await.iter().sum::<u64>(), 100, "neither did harm");

    let cluster = sharded(2).await;
    cluster.upload(0, &upload, "x.snapshot", whole).await.refused(400, "Bad request: Invalid snapshot");

    let mut broken = shard.clone();
    let at = broken.windows(17).position(|window| window == b"{\"initial_version").unwrap();
    broken[at] = b'X';
    server.upload(0, &upload, "x.snapshot", broken).await.refused(500, "Failed to read segment state");
    let request = "POST /collections/c/points/count";
    server.ask(request, Some(json!({}))).await.refused(500, "Failed to restore local replica");
    assert_eq!(server.upload(0, &upload, "x.snapshot", shard).await.status, 200, "a good one repairs it");
    assert_eq!(points(&server).await.iter().sum::<u64>(), 100);
}
