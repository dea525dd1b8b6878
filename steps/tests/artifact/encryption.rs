//! Encryption at rest: whoever has the identity reads, whoever has not proves what lies there.

use bytes::Bytes;
use drydock_step::artifact::{bytes_of, conformance, stream_of};
use drydock_steps::rehash::rehashed;
use serde_json::{Map, Value, json};

use crate::world::{connected, with};

pub(crate) const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
/// Of somebody else.
fn other() -> String {
    use age::secrecy::ExposeSecret;
    age::x25519::Identity::generate().to_string().expose_secret().to_owned()
}

fn folder(dir: &std::path::Path, more: Value) -> Map<String, Value> {
    with(json!({ "url": dir.join("store") }).as_object().unwrap().clone(), more)
}

#[tokio::test]
async fn an_encrypted_store_conforms() {
    let keys = json!({ "encrypt_to": [RECIPIENT], "decrypt_with": format!("# mine\n{IDENTITY}\n") });
    let dir = tempfile::tempdir().unwrap();
    let connection = connected(folder(dir.path(), keys)).await.unwrap();
    conformance::passes(connection.store().unwrap()).await.unwrap();
    let bare = connected(folder(dir.path(), json!({}))).await.unwrap();
    assert_eq!(bare.store().unwrap().list("").await.unwrap(), Vec::new());
}

#[tokio::test]
async fn a_runner_without_identity_proves_what_lies_there() {
    let dir = tempfile::tempdir().unwrap();
    let writer = connected(folder(dir.path(), json!({ "encrypt_to": [RECIPIENT] }))).await.unwrap();
    let store = writer.store().unwrap();
    let stored = store.put("a/dump", stream_of(vec![7; 200_000])).await.unwrap();
    assert_eq!((stored.path.as_str(), stored.size), ("a/dump", 200_000));
    assert_eq!(rehashed(store, "a/dump", |_| {}).await.unwrap(), stored);
    assert_eq!(store.list("").await.unwrap()[0].size, 200_000);
    let error = store.open("a/dump", 0).await.err().unwrap();
    assert_eq!(error.code, "artifact.encrypted");
    assert_eq!(error.message, "a/dump is encrypted, and no identity is at hand");

    let reader = connected(folder(dir.path(), json!({ "decrypt_with": IDENTITY }))).await.unwrap();
    assert_eq!(rehashed(reader.store().unwrap(), "a/dump", |_| {}).await.unwrap(), stored);
    let other = connected(folder(dir.path(), json!({ "decrypt_with": other() }))).await.unwrap();
    let error = rehashed(other.store().unwrap(), "a/dump", |_| {}).await.unwrap_err();
    assert_eq!(error.code, "artifact.encrypted");
    assert_eq!(error.message, "a/dump is encrypted to others than the identity of `decrypt_with`");
}

/// The file that lies there.
fn file_of(dir: &std::path::Path, name: &str) -> std::path::PathBuf {
    let all = std::fs::read_dir(dir.join("store")).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &std::path::PathBuf| {
        let found = path.file_name().unwrap().to_str().unwrap();
        found.starts_with(&format!("{name}.")) && found.ends_with(".age")
    };
    let found: Vec<_> = all.filter(is_it).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[tokio::test]
async fn what_was_changed_there_is_found_with_and_without_identity() {
    let dir = tempfile::tempdir().unwrap();
    let writer = connected(folder(dir.path(), json!({ "encrypt_to": [RECIPIENT] }))).await.unwrap();
    let reader = connected(folder(dir.path(), json!({ "decrypt_with": IDENTITY }))).await.unwrap();
    writer.store().unwrap().put("a", stream_of(vec![7; 200_000])).await.unwrap();
    let file = file_of(dir.path(), "a");
    let whole = std::fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[100_000] ^= 1;
    for bytes in [changed, whole[..150_000].to_vec()] {
        std::fs::write(&file, bytes).unwrap();
        for connection in [&writer, &reader] {
            let error = rehashed(connection.store().unwrap(), "a", |_| {}).await.unwrap_err();
            assert_eq!(error.code, "artifact.damaged", "{error}");
        }
    }
}

#[tokio::test]
async fn what_was_stored_before_is_read_as_it_is_and_replaced_by_what_is_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let bare = connected(folder(dir.path(), json!({}))).await.unwrap();
    bare.store().unwrap().put("old", stream_of("plain")).await.unwrap();
    let keys = json!({ "encrypt_to": [RECIPIENT], "decrypt_with": IDENTITY });
    let connection = connected(folder(dir.path(), keys)).await.unwrap();
    let store = connection.store().unwrap();
    assert_eq!(bytes_of(store.open("old", 1).await.unwrap(), 9).await.unwrap(), b"lain");
    assert_eq!(store.put_new("old", Bytes::from("x")).await.unwrap_err().code, "artifact.exists");
    store.put("old", stream_of("secret")).await.unwrap();
    store.put("old", stream_of("secrets")).await.unwrap();
    assert_eq!(bytes_of(store.open("old", 0).await.unwrap(), 9).await.unwrap(), b"secrets");
    let names: Vec<String> =
        bare.store().unwrap().list("").await.unwrap().into_iter().map(|one| one.path).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(store.list("").await.unwrap().len(), 1);
    assert!(store.delete("old").await.unwrap());
    assert_eq!(bare.store().unwrap().list("").await.unwrap(), Vec::new());
}

#[tokio::test]
async fn what_a_kill_left_is_found_and_what_is_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let writer = connected(folder(dir.path(), json!({ "encrypt_to": [RECIPIENT] }))).await.unwrap();
    let store = writer.store().unwrap();
    store.put("a", stream_of("hello")).await.unwrap();
    store.put("b", stream_of("hello")).await.unwrap();
    assert_eq!(store.leftovers().await.unwrap(), []);
    // A put of `b` that was killed before its sum, and one of `c`, which had none before.
    let (used, lies) = (file_of(dir.path(), "b"), dir.path().join("store"));
    let name = used.file_name().unwrap().to_str().unwrap();
    let other = format!("{}0123456789abcdef.age", &name[..name.len() - 20]);
    std::fs::copy(&used, lies.join(&other)).unwrap();
    std::fs::copy(&used, lies.join(other.replacen('b', "c", 1))).unwrap();
    let found = store.leftovers().await.unwrap();
    let names: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(names, [other.as_str(), other.replacen('b', "c", 1).as_str()]);
    assert!(found.iter().all(|one| one.written_ms.is_some()), "a put under way looks the same: {found:?}");
    assert_eq!(store.list("").await.unwrap().len(), 2, "no listing shows them");

    let in_use = drydock_step::artifact::Leftover { path: name.to_owned(), size: 0, written_ms: None };
    assert_eq!(store.clear(&in_use).await, Ok(false));
    for one in &found {
        assert_eq!(store.clear(one).await, Ok(true));
    }
    assert_eq!(store.leftovers().await.unwrap(), []);
    assert_eq!(rehashed(store, "b", |_| {}).await.unwrap().size, 5);
}

#[tokio::test]
async fn what_lies_there_is_an_age_file_as_any_age_program_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let writer = connected(folder(dir.path(), json!({ "encrypt_to": [RECIPIENT] }))).await.unwrap();
    writer.store().unwrap().put("a", stream_of("hello")).await.unwrap();
    let lies = std::fs::read(file_of(dir.path(), "a")).unwrap();
    let identity: age::x25519::Identity = IDENTITY.parse().unwrap();
    assert_eq!(age::decrypt(&identity, &lies).unwrap(), b"hello");
}
