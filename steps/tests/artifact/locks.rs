//! Object lock: each put asks for it, and the store tells it.

use bytes::Bytes;
use drydock_step::LockMode;
use drydock_step::artifact::stream_of;
use serde_json::json;

use crate::server::ObjectServer;
use crate::world::{connected, with};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[allow(clippy::disallowed_methods, reason = "the store reckons by the machine's own clock")]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn each_put_bears_the_lock_that_was_asked_for() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("locked", true).await;
    let plain = connected(server.s3_settings("s3://locked", "drydock")).await.unwrap();
    let lock = json!({ "lock": { "mode": "compliance", "days": 3 } });
    let connection =
        connected(with(server.s3_settings("s3://locked", "drydock"), lock.clone())).await.unwrap();
    let store = connection.store().unwrap();
    let asked = store.lock_asked().unwrap();
    assert_eq!((asked.mode, asked.days), (LockMode::Compliance, 3));
    assert_eq!(plain.store().unwrap().lock_asked(), None);

    plain.store().unwrap().put("free", stream_of("x")).await.unwrap();
    store.put("small", stream_of("x")).await.unwrap();
    store.put("large", stream_of(vec![1; 11 * 1024 * 1024])).await.unwrap();
    store.put_new("new", Bytes::from("x")).await.unwrap();
    let begun = plain.store().unwrap();
    assert_eq!(begun.locked("free").await.unwrap(), None);
    let mut until = Vec::new();
    for path in ["small", "large", "new"] {
        let locked = begun.locked(path).await.unwrap().unwrap();
        assert_eq!(locked.mode, LockMode::Compliance, "{path}");
        until.push(locked.until_ms);
    }
    // They were put less than a day ago, each for three.
    let now = now_ms();
    for until in until {
        assert!((now + 2 * DAY_MS..=now + 3 * DAY_MS).contains(&until), "{until}, now is {now}");
    }
    assert_eq!(begun.locked("none").await.unwrap_err().code, "artifact.absent");

    let encrypted =
        with(lock.as_object().unwrap().clone(), json!({ "encrypt_to": [crate::encryption::RECIPIENT] }));
    let encrypted =
        connected(with(server.s3_settings("s3://locked/e", "drydock"), encrypted.into())).await.unwrap();
    encrypted.store().unwrap().put("a", stream_of("x")).await.unwrap();
    assert_eq!(encrypted.store().unwrap().locked("a").await.unwrap().unwrap().mode, LockMode::Compliance);
}

#[tokio::test]
async fn a_bucket_without_lock_refuses_it() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("plain", false).await;
    let lock = json!({ "lock": { "mode": "governance", "days": 1 } });
    let connection = connected(with(server.s3_settings("s3://plain", "drydock"), lock)).await.unwrap();
    let error = connection.store().unwrap().put("a", stream_of("x")).await.unwrap_err();
    assert_eq!(error.code, "artifact.io", "{error}");
    assert_eq!(
        error.help.as_deref(),
        Some("the `lock` needs a bucket that was made with object lock"),
        "{error}"
    );
}
