//! Snapshots beyond the recordings: what replaces what, what is destroyed when, what a node alone has.

use drydock_practice::qdrant::Deployment;
use reqwest::header::{CONTENT_RANGE, ETAG, IF_MATCH, RANGE};
use serde_json::{Value, json};

use super::server::{Answered, KEY, Server};

async fn filled(server: &Server, collection: &str, points: u64) {
    let config = json!({"vectors": {"size": 2, "distance": "Dot"}});
    server.done(&format!("PUT /collections/{collection}"), Some(config)).await;
    upsert(server, collection, 1..=points).await;
}

async fn upsert(server: &Server, collection: &str, ids: impl Iterator<Item = u64>) {
    let points: Vec<_> = ids.map(|id| json!({"id": id, "vector": [id, 1], "payload": {"n": id}})).collect();
    let request = format!("PUT /collections/{collection}/points?wait=true");
    server.done(&request, Some(json!({"points": points}))).await;
}

async fn count(server: &Server, collection: &str) -> Answered {
    server.ask(&format!("POST /collections/{collection}/points/count"), Some(json!({}))).await
}

#[track_caller]
fn counted(answered: &Answered, expected: u64) {
    assert_eq!(answered.json()["result"]["count"], expected, "{}", answered.text);
}

async fn upload(server: &Server, node: usize, collection: &str, name: &str, file: Vec<u8>) -> Answered {
    server.upload(node, &format!("/collections/{collection}/snapshots/upload"), name, file).await
}

/// Makes a snapshot and returns what was said of it with its bytes.
async fn snapshot(server: &Server, node: usize, collection: &str) -> (Value, Vec<u8>) {
    let path = format!("/collections/{collection}/snapshots");
    let made = server.ask_node(node, &format!("POST {path}"), None).await.json()["result"].clone();
    let file = server.send(node, &format!("GET {path}/{}", made["name"].as_str().unwrap()), None).await;
    (made, file.bytes().await.unwrap().to_vec())
}

fn damaged(mut file: Vec<u8>) -> Vec<u8> {
    let at = file.windows(17).position(|window| window == b"{\"initial_version").unwrap();
    file[at] = b'X';
    file
}

#[tokio::test]
async fn a_second_snapshot_of_the_same_second_replaces_the_first() {
    let server = Server::start(1).await;
    filled(&server, "c", 3).await;
    let (first, _) = snapshot(&server, 0, "c").await;
    let (second, _) = snapshot(&server, 0, "c").await;
    assert_eq!(first["name"], second["name"]);
    assert_ne!(first["checksum"], second["checksum"]);
    assert_eq!(server.done("GET /collections/c/snapshots", None).await, json!([second]));
    server.pass_second();
    let (third, _) = snapshot(&server, 0, "c").await;
    assert_eq!(server.done("GET /collections/c/snapshots", None).await, json!([second, third]));
    let name = second["name"].as_str().unwrap();
    let sum = server.ask(&format!("GET /collections/c/snapshots/{name}.checksum"), None).await;
    assert_eq!(sum.text, second["checksum"].as_str().unwrap());
}

#[tokio::test]
async fn the_same_story_gives_the_same_file() {
    let mut files = Vec::new();
    for _ in 0..2 {
        let server = Server::start(1).await;
        filled(&server, "c", 30).await;
        files.push(snapshot(&server, 0, "c").await);
    }
    assert_eq!(files[0], files[1]);
}

#[tokio::test]
async fn a_download_resumes_and_notices_another_file() {
    let server = Server::start(1).await;
    filled(&server, "c", 3).await;
    let (made, whole) = snapshot(&server, 0, "c").await;
    let path = format!("/collections/c/snapshots/{}", made["name"].as_str().unwrap());
    let url = format!("{}{path}", server.qdrant.urls()[0]);
    let get = || server.http.get(&url).header("api-key", KEY);
    let etag = get().send().await.unwrap().headers()[ETAG].clone();

    let part = get().header(RANGE, "bytes=1000-").header(IF_MATCH, &etag).send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 1000-{}/{}", whole.len() - 1, whole.len()));
    assert_eq!(part.bytes().await.unwrap(), whole[1000..]);
    let past = get().header(RANGE, format!("bytes={}-", whole.len())).send().await.unwrap();
    assert_eq!(
        (past.status().as_u16(), past.headers()[CONTENT_RANGE].to_str().unwrap().starts_with("bytes */")),
        (416, true)
    );

    upsert(&server, "c", 4..=9).await;
    snapshot(&server, 0, "c").await;
    let other = get().header(RANGE, "bytes=1000-").header(IF_MATCH, &etag).send().await.unwrap();
    assert_eq!(other.status(), 412, "the file of this name is another one now");
}

#[tokio::test]
async fn a_damaged_recovery_over_a_collection_destroys_it_and_a_good_one_repairs_it() {
    let server = Server::start(1).await;
    filled(&server, "c", 3).await;
    let (_, good) = snapshot(&server, 0, "c").await;
    let failed = upload(&server, 0, "c", "bad.snapshot", damaged(good.clone())).await;
    failed.refused(500, "Failed to read segment state");
    for request in ["POST /collections/c/points/count", "PUT /collections/c/points?wait=true"] {
        let body = json!({"points": []});
        let body = if request.starts_with("PUT") { body } else { json!({}) };
        server.ask(request, Some(body)).await.refused(500, "Failed to restore local replica");
    }
    server.ask("POST /snapshots", None).await.refused(500, "Failed to get_snapshot_creator");
    let cluster = server.done("GET /collections/c/cluster", None).await;
    let shard = json!({"shard_id": 0, "points_count": 0, "state": "Active"});
    assert_eq!(cluster["local_shards"], json!([shard]), "the points are gone and the state does not tell");
    assert_eq!(upload(&server, 0, "c", "good.snapshot", good).await.status, 200);
    counted(&count(&server, "c").await, 3);
}

#[tokio::test]
async fn what_is_refused_before_anything_is_destroyed() {
    let server = Server::start(1).await;
    filled(&server, "c", 3).await;
    let (made, good) = snapshot(&server, 0, "c").await;
    let other = json!({"vectors": {"size": 3, "distance": "Dot"}});
    server.done("PUT /collections/other", Some(other)).await;
    let real = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/qdrant/qdrant-collection.snapshot");
    let cases = [
        ("c", good[..2000].to_vec(), 500, "failed to unpack"),
        ("c", b"nothing".to_vec(), 500, "Malformed tar archive"),
        ("other", good.clone(), 400, "Snapshot is not compatible with existing collection: vectors"),
        ("c", std::fs::read(real).unwrap(), 501, "the segments of a real server"),
    ];
    for (collection, file, status, words) in cases {
        upload(&server, 0, collection, "x.snapshot", file).await.refused(status, words);
    }
    let recover = |location: String, checksum: Value| json!({"location": location, "checksum": checksum});
    let inside = server.dir.path().join("qdrant-0/snapshots/c").join(made["name"].as_str().unwrap());
    let inside = format!("file://{}", inside.display());
    let cases = [
        (recover(inside.clone(), json!("abc")), 422, "Invalid SHA256 hash format"),
        (recover(inside.clone(), json!("0".repeat(64))), 400, "Snapshot checksum mismatch: expected 0000"),
        (recover("file:///no/such".into(), Value::Null), 400, "does not exist"),
        (
            recover("s3://bucket/x".into(), Value::Null),
            400,
            "URL s3://bucket/x with scheme s3 is not supported",
        ),
        (recover("/etc/passwd".into(), Value::Null), 400, "relative URL without a base"),
        (json!({"location": inside, "wait": true}), 400, "unknown field `wait`"),
    ];
    for (body, status, words) in cases {
        server.ask("PUT /collections/c/snapshots/recover", Some(body)).await.refused(status, words);
    }
    counted(&count(&server, "c").await, 3);
    let right = recover(inside, made["checksum"].clone());
    server.done("PUT /collections/copy/snapshots/recover", Some(right)).await;
    counted(&count(&server, "copy").await, 3);
}

#[tokio::test]
async fn an_upload_stays_without_a_checksum_or_with_a_wrong_one() {
    let server = Server::start(1).await;
    filled(&server, "c", 3).await;
    let (made, good) = snapshot(&server, 0, "c").await;
    upload(&server, 0, "c", "mine.snapshot", good.clone()).await;
    let list = server.done("GET /collections/c/snapshots", None).await;
    let mine = &list.as_array().unwrap().iter().find(|one| one["name"] == "mine.snapshot").unwrap();
    assert!(mine.get("checksum").is_none() && mine["size"] == good.len(), "{list}");

    upsert(&server, "c", 4..=400).await;
    server.pass_second();
    let (_, newer) = snapshot(&server, 0, "c").await;
    upload(&server, 0, "c", made["name"].as_str().unwrap(), newer.clone()).await;
    let list = server.done("GET /collections/c/snapshots", None).await;
    let overwritten = list.as_array().unwrap().iter().find(|one| one["name"] == made["name"]).unwrap();
    assert_eq!(overwritten["checksum"], made["checksum"], "the old one");
    assert_ne!(overwritten["size"], made["size"]);

    server.done("DELETE /collections/c", None).await;
    server.ask("GET /collections/c/snapshots", None).await.refused(404, "Collection `c` doesn't exist!");
    filled(&server, "c", 0).await;
    let list = server.done("GET /collections/c/snapshots", None).await;
    assert_eq!(list.as_array().unwrap().len(), 3, "they were there all the time");
}

#[tokio::test]
async fn an_alias_is_overwritten_as_its_collection() {
    let server = Server::start(1).await;
    filled(&server, "c", 3).await;
    let (_, three) = snapshot(&server, 0, "c").await;
    upsert(&server, "c", 4..=6).await;
    let alias = json!({"actions": [{"create_alias": {"collection_name": "c", "alias_name": "now"}}]});
    server.done("POST /collections/aliases", Some(alias)).await;
    upload(&server, 0, "now", "three.snapshot", three).await;
    counted(&count(&server, "c").await, 3);
    let (made, _) = snapshot(&server, 0, "now").await;
    assert!(made["name"].as_str().unwrap().starts_with("c-"), "{made}");
}

#[tokio::test]
async fn a_node_has_its_own_shards_alone() {
    let server = Server::start(2).await;
    let config = json!({"vectors": {"size": 2, "distance": "Dot"}, "shard_number": 2});
    server.done("PUT /collections/c", Some(config)).await;
    upsert(&server, "c", 1..=100).await;
    let (_, first) = snapshot(&server, 0, "c").await;
    let (_, second) = snapshot(&server, 1, "c").await;
    server.done("DELETE /collections/c", None).await;

    assert_eq!(upload(&server, 0, "c", "a.snapshot", first.clone()).await.status, 200);
    let half = count(&server, "c").await.json()["result"]["count"].as_u64().unwrap();
    assert!(0 < half && half < 100, "{half} points: success, and not all of them");
    assert_eq!(upload(&server, 1, "c", "b.snapshot", second).await.status, 200);
    counted(&count(&server, "c").await, 100);
    let elsewhere = server.ask_node(1, "POST /collections/c/shards/0/snapshots", None).await;
    elsewhere.refused(400, "Shard 0 is not a local or queue proxy shard");
    server
        .ask("POST /collections/c/shards/2/snapshots", None)
        .await
        .refused(404, "Not found: shard 2 not found");

    let single = Server::start(1).await;
    let refused = upload(&single, 0, "c", "a.snapshot", first).await;
    refused.refused(500, "Can't restore snapshot in local mode with missing data at shard");
}

#[tokio::test]
async fn a_full_snapshot_holds_every_collection_and_the_aliases() {
    let server = Server::start(1).await;
    filled(&server, "c", 3).await;
    filled(&server, "d", 1).await;
    let alias = json!({"actions": [{"create_alias": {"collection_name": "c", "alias_name": "now"}}]});
    server.done("POST /collections/aliases", Some(alias)).await;
    let made = server.done("POST /snapshots", None).await;
    let name = made["name"].as_str().unwrap();
    assert!(name.starts_with("full-snapshot-2026-11-22-06-46-2"), "{name}");
    let file = server.send(0, &format!("GET /snapshots/{name}"), None).await.bytes().await.unwrap();
    let mut tar = tar::Archive::new(&file[..]);
    let entries: Vec<String> =
        tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert!(entries[0].starts_with("c-") && entries[1].starts_with("d-"), "{entries:?}");
    assert_eq!(entries[2], "config.json");
    server.done(&format!("DELETE /snapshots/{name}"), None).await;
    server.ask(&format!("GET /snapshots/{name}"), None).await.refused(404, "Not found: Snapshot full");
    assert_eq!(server.done("GET /collections/c/snapshots", None).await, json!([]));
}

#[tokio::test]
async fn snapshots_in_s3_have_no_checksum_and_come_whole() {
    let deployment = Deployment { s3: true, ..Deployment::default() };
    let server = Server::start_as(1, "[]", deployment).await;
    filled(&server, "c", 3).await;
    for (path, prefix) in
        [("/collections/c/snapshots", "c-"), ("/collections/c/shards/0/snapshots", "c-shard-0-")]
    {
        let made = server.done(&format!("POST {path}"), None).await;
        let name = made["name"].as_str().unwrap();
        assert!(name.starts_with(prefix) && made.get("checksum").is_none(), "{made}");
        assert_eq!(server.done(&format!("GET {path}"), None).await, json!([made]));
        let url = format!("{}{path}/{name}", server.qdrant.urls()[0]);
        let whole =
            server.http.get(url).header("api-key", KEY).header(RANGE, "bytes=100-").send().await.unwrap();
        assert_eq!((whole.status().as_u16(), whole.headers().get("content-length")), (200, None));
        assert_eq!(whole.headers().get("accept-ranges"), None);
        assert_eq!(whole.bytes().await.unwrap().len(), made["size"], "all of it");
        server.ask(&format!("GET {path}/{name}.checksum"), None).await.refused(404, "not found");
        server.done(&format!("DELETE {path}/{name}"), None).await;
        assert_eq!(server.done(&format!("GET {path}"), None).await, json!([]));
    }
}
