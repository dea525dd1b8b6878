//! Buckets keep the promises of an artifact store, and say in words what is wrong.

use bytes::Bytes;
use drydock_step::artifact::{bytes_of, conformance, stream_of};
use serde_json::json;

use crate::server::ObjectServer;
use crate::world::{connected, with};

#[tokio::test]
async fn a_bucket_of_s3_conforms() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("whole", false).await;
    server.bucket("part", false).await;
    let whole = connected(server.s3_settings("s3://whole", "drydock")).await.unwrap();
    assert_eq!(whole.ping().await, Ok(()));
    conformance::passes(whole.store().unwrap()).await.unwrap();

    let other = connected(server.s3_settings("s3://part/other", "drydock")).await.unwrap();
    other.store().unwrap().put_new("untouched", Bytes::from("1")).await.unwrap();
    let below = connected(server.s3_settings("s3://part/pre fix/p%1", "drydock")).await.unwrap();
    conformance::passes(below.store().unwrap()).await.unwrap();
    assert_eq!(other.store().unwrap().list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_container_of_azure_conforms() {
    let Some(server) = ObjectServer::azure().await else { return };
    server.container("whole").await;
    server.container("part").await;
    let whole = connected(server.azure_settings("az://whole")).await.unwrap();
    assert_eq!(whole.ping().await, Ok(()));
    conformance::passes(whole.store().unwrap()).await.unwrap();
    let below = connected(server.azure_settings("az://part/pre fix")).await.unwrap();
    conformance::passes(below.store().unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_s3_is_told_with_a_remedy() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("bucket", false).await;
    let settings = || server.s3_settings("s3://bucket/p", "drydock");

    let reader = connected(server.s3_settings("s3://bucket/p", "reader")).await.unwrap();
    assert_eq!(reader.ping().await, Ok(()));
    let error = reader.store().unwrap().put("a", stream_of("x")).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient), ("artifact.denied", false), "{error}");
    assert!(error.message.starts_with("storing a in s3://bucket/p: it answered 403"), "{error}");

    let stranger = connected(with(settings(), json!({ "access_key": "nobody" }))).await.unwrap();
    let error = stranger.ping().await.unwrap_err();
    assert_eq!(error.code, "artifact.denied");
    assert_eq!(error.help.as_deref(), Some("the `access_key` is not known there"), "{error}");

    let forger = connected(with(settings(), json!({ "secret_key": "wrong" }))).await.unwrap();
    let error = forger.ping().await.unwrap_err();
    assert!(error.help.as_deref().unwrap().starts_with("the secret key does not belong"), "{error}");

    let lost = connected(with(settings(), json!({ "url": "s3://none/p" }))).await.unwrap();
    let store = lost.store().unwrap();
    for error in [
        lost.ping().await.unwrap_err(),
        store.open("a", 0).await.err().unwrap(),
        store.put("a", stream_of("x")).await.unwrap_err(),
        store.list("").await.unwrap_err(),
    ] {
        assert_eq!(error.code, "artifact.io", "{error}");
        assert!(error.help.as_deref().unwrap().starts_with("make the bucket"), "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_azure_is_told_with_a_remedy() {
    let Some(server) = ObjectServer::azure().await else { return };
    let lost = connected(server.azure_settings("az://none")).await.unwrap();
    let error = lost.store().unwrap().put("a", stream_of("x")).await.unwrap_err();
    assert_eq!(error.code, "artifact.io", "{error}");
    assert!(error.help.as_deref().unwrap().starts_with("make the container"), "{error}");
    let forger = with(server.azure_settings("az://none"), json!({ "account_key": "d3Jvbmc=" }));
    let error = connected(forger).await.unwrap().ping().await.unwrap_err();
    assert_eq!(error.code, "artifact.denied", "{error}");
}

#[tokio::test]
async fn nobody_at_home_is_transient() {
    let values = json!({ "url": "s3://bucket", "endpoint": "http://127.0.0.1:9", "identity": "none" });
    let error = connected(values.as_object().unwrap().clone()).await.unwrap().ping().await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient), ("artifact.io", true), "{error}");
}

#[tokio::test]
async fn empty_objects_in_the_place_of_folders_are_passed_over() {
    let Some(server) = ObjectServer::azure().await else { return };
    server.container("container").await;
    let connection = connected(server.azure_settings("az://container")).await.unwrap();
    let store = connection.store().unwrap();
    for (name, text) in [("f", ""), ("f/a", "x"), ("empty", ""), ("f-b", "")] {
        store.put(name, stream_of(text)).await.unwrap();
    }
    let paths: Vec<String> = store.list("").await.unwrap().into_iter().map(|one| one.path).collect();
    assert_eq!(paths, ["empty", "f-b", "f/a"]);
    assert_eq!(bytes_of(store.open("empty", 0).await.unwrap(), 1).await.unwrap(), Vec::<u8>::new());
}
