//! Object lock: each put asks for it, and the store tells it.

use std::sync::Arc;

use bytes::Bytes;
use drydock_step::artifact::{bytes_of, stream_of};
use drydock_step::test_host::{TestHost, execute};
use drydock_step::{Connection, LockMode};
use drydock_steps::artifact::verify::Verify;
use reqwest::Method;
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

/// The ids of all versions of an object, as the bucket lists them.
async fn versions(server: &ObjectServer, bucket: &str, name: &str) -> Vec<String> {
    let (status, listed) = server.asked(Method::GET, &format!("{bucket}?versions"), None).await;
    assert_eq!(status, 200, "{listed}");
    let of = |text: &str, tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(found, _)| found.to_owned())
    };
    let all = listed.split("<Version>").skip(1);
    all.filter(|one| of(one, "Key").as_deref() == Some(name)).filter_map(|one| of(one, "VersionId")).collect()
}

#[tokio::test]
async fn what_is_locked_is_neither_removed_nor_lost_by_being_written_over() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("locked", true).await;
    let lock = json!({ "lock": { "mode": "compliance", "days": 3 } });
    let locking = connected(with(server.s3_settings("s3://locked", "drydock"), lock)).await.unwrap();
    let plain = connected(server.s3_settings("s3://locked", "drydock")).await.unwrap();
    locking.store().unwrap().put("a", stream_of("precious")).await.unwrap();
    let first = versions(&server, "locked", "a").await;
    assert_eq!(first.len(), 1);

    // Not through the store, by whatever settings it is reached.
    for connection in [&locking, &plain] {
        let store = connection.store().unwrap();
        let error = store.delete("a").await.unwrap_err();
        assert_eq!((error.code.as_str(), error.transient), ("artifact.locked", false), "{error}");
        let words = "removing a in s3://locked: it is locked (compliance) until 2";
        assert!(error.message.starts_with(words), "{error}");
        assert_eq!(bytes_of(store.open("a", 0).await.unwrap(), 99).await.unwrap(), b"precious");
        let error = store.put_new("a", Bytes::from("other")).await.unwrap_err();
        assert_eq!(error.code, "artifact.exists", "{error}");
    }
    // A put of the same name makes a version; the bytes that are locked stay below it, also by the store's own tools.
    plain.store().unwrap().put("a", stream_of("other")).await.unwrap();
    assert_eq!(versions(&server, "locked", "a").await.len(), 2);
    let locked = format!("locked/a?versionId={}", first[0]);
    let (status, said) = server.asked(Method::DELETE, &locked, None).await;
    assert_eq!(status, 403, "{said}");
    assert_eq!(server.asked(Method::GET, &locked, None).await, (200, "precious".to_owned()));
}

#[tokio::test]
async fn a_lock_that_is_missing_is_told_when_artifacts_are_read_back() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("locked", true).await;
    let settings = |mode: &str| {
        let lock = json!({ "lock": { "mode": mode, "days": 3 } });
        with(server.s3_settings("s3://locked", "drydock"), lock)
    };
    let (compliance, governance) =
        (connected(settings("compliance")).await.unwrap(), connected(settings("governance")).await.unwrap());
    let plain = connected(server.s3_settings("s3://locked", "drydock")).await.unwrap();
    compliance.store().unwrap().put("firm", stream_of("x")).await.unwrap();
    governance.store().unwrap().put("soft", stream_of("x")).await.unwrap();
    plain.store().unwrap().put("free", stream_of("x")).await.unwrap();

    let verified = async |connection: &Arc<dyn Connection>, path: &str| {
        let host = Arc::new(TestHost::new("/").target("t", connection.clone()));
        execute(&Verify, &host.ctx(Some("t")), json!({ "path": path })).await
    };
    for (connection, path, words) in [
        (&compliance, "firm", None),
        (&governance, "firm", None),
        (&governance, "soft", None),
        (&plain, "free", None),
        (&compliance, "free", Some("1 of 1 artifacts: free is not locked")),
        (
            &compliance,
            "soft",
            Some("1 of 1 artifacts: soft is locked by governance, and compliance is asked for"),
        ),
    ] {
        let told = verified(connection, path).await.map_err(|error| (error.code, error.message));
        match words {
            None => assert!(told.is_ok(), "{path}: {told:?}"),
            Some(words) => assert_eq!(told.unwrap_err(), ("artifact.unlocked".to_owned(), words.to_owned())),
        }
    }
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
