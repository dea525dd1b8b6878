//! What every kind between stores finds before it does anything; and that looking ahead leaves no trace.

use std::path::Path;
use std::sync::Arc;

use drydock_step::artifact::stream_of;
use drydock_step::test_host::{TestHost, given};
use drydock_step::{Kind, PreflightFinding, StepError, TargetKind};
use drydock_steps::artifact::collect::Collect;
use drydock_steps::artifact::copy::Copy;
use drydock_steps::artifact::place::Place;
use drydock_steps::artifact::read::Read;
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::artifact::verify::Verify;
use serde_json::{Value, json};

use crate::world::connected;

/// What a kind finds on the store `here`, beside `there`, `lost`, whose volume is not mounted, and `off`, which nobody answers for.
async fn found(dir: &Path, kind: &dyn Kind, with: Value) -> Result<Vec<PreflightFinding>, StepError> {
    let urls = [("here", "here"), ("there", "there"), ("lost", "no/volume")];
    let host = urls.into_iter().fold(TestHost::new(dir), |host, (name, folder)| {
        let settings = json!({ "url": dir.join(folder) }).as_object().unwrap().clone();
        host.server(name, Arc::new(ArtifactsTarget), settings)
    });
    let off = json!({ "url": "s3://bucket", "endpoint": "http://127.0.0.1:9", "identity": "none" });
    let host = host.server(
        "off",
        Arc::new(ArtifactsTarget) as Arc<dyn TargetKind>,
        off.as_object().unwrap().clone(),
    );
    let target = with.get("target").and_then(Value::as_str).unwrap_or("here").to_owned();
    let mut with = with;
    with.as_object_mut().unwrap().remove("target");
    Ok(kind.preflight(&Arc::new(host).ctx(Some(&target)), given(with)).await?.findings)
}

/// A store with `sql/a`, of five bytes; another with another of that name; a folder with a file.
async fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (store, text) in [("here", "hello"), ("there", "hello!")] {
        let settings = json!({ "url": dir.path().join(store) }).as_object().unwrap().clone();
        let connection = connected(settings).await.unwrap();
        connection.store().unwrap().put("sql/a", stream_of(text)).await.unwrap();
    }
    std::fs::create_dir(dir.path().join("drop")).unwrap();
    std::fs::write(dir.path().join("drop/a"), "hullo, you").unwrap();
    dir
}

/// Every file and folder, and how long it is.
fn all(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(all(&path));
        }
        found.push((path.display().to_string(), path.metadata().unwrap().len()));
    }
    found.sort();
    found
}

#[tokio::test]
async fn each_kind_names_what_is_in_its_way_and_changes_nothing() {
    let dir = world().await;
    let before = all(dir.path());
    let (id, hello) = ("01JD0000000000000000000000", json!({ "path": "sql/a", "size": 6 }));
    let cases: Vec<(&dyn Kind, Value, &str, &str)> = vec![
        (&Verify, json!({ "path": "sql/a" }), "", ""),
        (&Verify, json!({ "paths": ["sql/a", "sql/b"] }), "artifact.absent", "no artifact sql/b"),
        (&Verify, json!({ "path": hello }), "artifact.damaged", "sql/a has 5 bytes, expected 6"),
        (&Verify, json!({ "prefix": "none" }), "artifact.absent", "nothing below none"),
        (
            &Verify,
            json!({ "target": "lost", "path": "a" }),
            "artifact.io",
            "nor is the folder above it there",
        ),
        (&Read, json!({ "path": "sql/a" }), "", ""),
        (&Read, json!({ "path": "sql/b" }), "artifact.absent", "no artifact sql/b"),
        (&Read, json!({ "path": "../b" }), "artifact.path", "`../b` is no path"),
        (&Copy, json!({ "to": "there", "prefix": "sql", "into": "mirror" }), "", ""),
        (
            &Copy,
            json!({ "to": "there", "prefix": "sql" }),
            "artifact.exists",
            "another sql/a is there: it has 6 bytes",
        ),
        (&Copy, json!({ "to": "here", "prefix": "sql" }), "input", "`to` is the same store"),
        (&Copy, json!({ "to": "lost", "prefix": "sql" }), "artifact.io", "cannot be used"),
        (&Copy, json!({ "to": "there", "point": id }), "point.missing", "no sealed point"),
        (&Place, json!({ "to": "there", "artifacts": ["sql/a"], "into": "in" }), "", ""),
        (
            &Place,
            json!({ "to": "there", "artifacts": ["sql/a"] }),
            "artifact.exists",
            "another sql/a is there",
        ),
        (&Place, json!({ "folder": "drop", "artifacts": ["sql/a"], "into": "in" }), "", ""),
        (&Place, json!({ "folder": "no/folder", "artifacts": ["sql/a"] }), "artifact.io", "the folder "),
        (
            &Place,
            json!({ "folder": "drop", "artifacts": ["sql/a"], "into": "a" }),
            "artifact.io",
            "is no folder",
        ),
        (&Collect, json!({ "folder": "drop", "prefix": "new" }), "", ""),
        (&Collect, json!({ "folder": "drop", "prefix": "sql" }), "artifact.exists", "another sql/a is there"),
        (&Collect, json!({ "folder": "drop", "files": ["../a"], "prefix": "new" }), "artifact.path", "../a"),
        (
            &Collect,
            json!({ "target": "lost", "folder": "drop", "prefix": "new" }),
            "artifact.io",
            "cannot be used",
        ),
    ];
    for (kind, with, code, words) in cases {
        let told = found(dir.path(), kind, with.clone()).await.unwrap();
        assert_eq!(
            told.iter().map(|one| one.code.as_str()).collect::<Vec<_>>().join(" "),
            code,
            "{with}: {told:?}"
        );
        assert!(told.iter().all(|one| one.fatal && one.message.contains(words)), "{with}: {told:?}");
    }
    assert_eq!(all(dir.path()), before);
}

#[tokio::test]
async fn files_that_a_step_before_will_write_are_only_noted() {
    let dir = world().await;
    for with in [
        json!({ "folder": "drop", "files": ["tonight.bak"], "prefix": "sql" }),
        json!({ "folder": "not yet", "prefix": "sql" }),
    ] {
        let told = found(dir.path(), &Collect, with).await.unwrap();
        assert_eq!(
            (told.len(), told[0].code.as_str(), told[0].fatal),
            (1, "artifact.absent", false),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_no_finding_of_a_step() {
    let dir = world().await;
    let kinds: [(&dyn Kind, Value); 3] = [
        (&Verify, json!({ "target": "off", "path": "a" })),
        (&Copy, json!({ "to": "off", "prefix": "sql" })),
        (&Place, json!({ "to": "off", "artifacts": ["sql/a"] })),
    ];
    for (kind, with) in kinds {
        let error = found(dir.path(), kind, with).await.unwrap_err();
        assert!(error.transient && error.code == "artifact.io", "{error}");
    }
}
