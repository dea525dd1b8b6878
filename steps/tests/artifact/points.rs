//! A whole recovery point comes to another site, encrypted, and goes on where it was.

use std::path::Path;
use std::sync::Arc;

use drydock_recovery::manifest::Manifest;
use drydock_step::artifact::stream_of;
use drydock_step::test_host::{TestHost, execute};
use drydock_step::{Connection, Ended, StepError};
use drydock_steps::artifact::copy::Copy;
use drydock_steps::artifact::verify::Verify;
use serde_json::{Value, json};

use crate::encryption::RECIPIENT;
use crate::server::ObjectServer;
use crate::world::{connected, with};

/// A sealed point as a golden file has it, whose artifacts are made for the test: the manifest and their paths.
async fn sealed(store: &Arc<dyn Connection>) -> (Manifest, Vec<String>) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/formats/manifest-v1.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let (mut found, mut paths) = (vec![&mut manifest], Vec::new());
    let store = store.store().unwrap();
    while let Some(value) = found.pop() {
        match value {
            Value::Array(all) => found.extend(all),
            Value::Object(all) if all.contains_key("path") && all.contains_key("sha256") => {
                let path = all["path"].as_str().unwrap().to_owned();
                let stored = store.put(&path, stream_of(format!("bytes of {path}"))).await.unwrap();
                all.insert("size".into(), json!(stored.size));
                all.insert("sha256".into(), json!(stored.sha256));
                paths.push(path);
            }
            Value::Object(all) => found.extend(all.values_mut()),
            _ => {}
        }
    }
    let at = format!("points/{}/manifest.json", manifest["id"].as_str().unwrap());
    store.put(&at, stream_of(manifest.to_string())).await.unwrap();
    store.put(&at.replace("manifest", "marks/1"), stream_of("{}")).await.unwrap();
    paths.extend([at.replace("manifest", "marks/1"), at]);
    (Manifest::parse(&manifest.to_string()).unwrap(), paths)
}

fn outputs(ended: Result<Ended, StepError>) -> Value {
    match ended.unwrap() {
        Ended::Outputs(outputs) => outputs,
        Ended::Waits(message) => panic!("{message}"),
    }
}

#[tokio::test]
async fn a_point_comes_whole_its_manifest_last() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("offsite", false).await;
    let dir = tempfile::tempdir().unwrap();
    let here = connected(json!({ "url": dir.path() }).as_object().unwrap().clone()).await.unwrap();
    let (manifest, mut paths) = sealed(&here).await;
    assert!(manifest.artifacts().count() > 1);
    here.store().unwrap().put("not/of/the/point", stream_of("x")).await.unwrap();
    let encrypted =
        with(server.s3_settings("s3://offsite/p", "drydock"), json!({ "encrypt_to": [RECIPIENT] }));
    let offsite = connected(encrypted).await.unwrap();

    // One artifact is gone: what was copied stays, and the point is not there.
    let lost = paths.iter().find(|path| !path.starts_with("points/")).unwrap().clone();
    here.store().unwrap().delete(&lost).await.unwrap();
    let host = TestHost::new(dir.path()).target("t", here.clone()).target("offsite", offsite.clone());
    let host = Arc::new(host);
    let (id, ctx) = (manifest.id.to_string(), host.ctx(Some("t")));
    let copy = || execute(&Copy, &ctx, json!({ "to": "offsite", "point": id, "max_parallel": 2 }));
    let error = copy().await.unwrap_err();
    assert_eq!(error.code, "artifact.absent", "{error}");
    let at = format!("points/{id}/manifest.json");
    assert_eq!(offsite.store().unwrap().size(&at).await.unwrap(), None);

    here.store().unwrap().put(&lost, stream_of(format!("bytes of {lost}"))).await.unwrap();
    let copied = outputs(copy().await);
    let artifacts = copied["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.last().unwrap()["path"], at.as_str());
    let listed = offsite.store().unwrap().list("").await.unwrap();
    paths.sort();
    assert_eq!(listed.into_iter().map(|one| one.path).collect::<Vec<_>>(), paths);
    assert_eq!(outputs(copy().await), copied);

    // Without an identity what lies there is proved against the manifest's own hashes.
    let host = Arc::new(TestHost::new(dir.path()).target("t", offsite));
    let named: Vec<Value> = manifest.artifacts().map(|(_, artifact)| json!(artifact)).collect();
    let checked = outputs(execute(&Verify, &host.ctx(Some("t")), json!({ "paths": named })).await);
    assert_eq!(checked["checked"], named.len());
}
