//! `artifact.place` asks the server that shall see what was brought whether it can open it; beforehand, whether it sees the folder.

use std::sync::Arc;

use drydock_step::artifact::stream_of;
use drydock_step::test_host::{TestHost, given};
use drydock_step::{Ctx, Ended, Kind, Preflight, StepError, TargetKind};
use drydock_steps::artifact::place::Place;
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::target::SqlServer;
use serde_json::{Value, json};

use crate::world::{World, octopus};

/// An attempt of a step on the store `offsite`; `backups` is the store that the server `sql` sees a part of.
fn ctx(world: &World) -> Ctx {
    let host = TestHost::new(world.dir.path());
    let host = ["offsite", "store"].into_iter().fold(host, |host, folder| {
        let Value::Object(settings) = json!({ "url": world.dir.path().join(folder) }) else { unreachable!() };
        host.server(if folder == "store" { "backups" } else { folder }, Arc::new(ArtifactsTarget), settings)
    });
    Arc::new(host.server("sql", Arc::new(SqlServer), world.settings.clone())).ctx(Some("offsite"))
}

async fn placed(world: &World, with: Value) -> Result<Value, StepError> {
    match Place.execute(&ctx(world), given(with), None).await? {
        Ended::Outputs(outputs) => Ok(outputs),
        waits => panic!("{waits:?}"),
    }
}

async fn ahead(world: &World, with: Value) -> Preflight {
    Place.preflight(&ctx(world), given(with)).await.unwrap()
}

/// Puts a text into the other store.
async fn offsite(world: &World, path: &str, text: &str) {
    let Value::Object(values) = json!({ "url": world.dir.path().join("offsite") }) else { unreachable!() };
    let settings = drydock_step::Settings { values, folder: "/".into(), attempt: "r1/step/1".into() };
    let store = ArtifactsTarget.connect(settings).await.unwrap();
    store.store().unwrap().put(path, stream_of(text.to_owned())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_opens_what_was_brought_backup_or_not() {
    let world = World::practice().await;
    octopus(&world).await;
    let taken = world.ctx();
    let taken = Backup.execute(&taken, given(json!({ "database": "Octopus", "type": "full" })), None).await;
    let Ok(Ended::Outputs(taken)) = taken else { panic!("{taken:?}") };
    let backup = taken["artifacts"][0].as_str().unwrap().to_owned();
    // The server that wrote it is gone, and its copy at the other site is all that is left.
    let (lay, lies) =
        (world.dir.path().join("store").join(&backup), world.dir.path().join("offsite").join(&backup));
    std::fs::create_dir_all(lies.parent().unwrap()).unwrap();
    std::fs::rename(&lay, &lies).unwrap();
    offsite(&world, "sql/backups.cer", "a certificate, say").await;

    let with = json!({ "artifacts": [backup, "sql/backups.cer"], "to": "backups", "seen_by": "sql" });
    assert_eq!(ahead(&world, with.clone()).await.findings, []);
    assert!(!lay.exists(), "to look ahead brings nothing");
    let outputs = placed(&world, with).await.unwrap();
    let seen: Vec<&str> = outputs["seen"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(
        seen,
        [lay.to_str().unwrap(), world.dir.path().join("store/sql/backups.cer").to_str().unwrap()]
    );

    // The same into a folder, which the server knows by a name of its own.
    let drop = world.dir.path().join("drop");
    let with = json!({ "artifacts": ["sql/backups.cer"], "folder": drop, "into": "in", "seen_by": "sql", "seen_at": drop });
    std::fs::create_dir(&drop).unwrap();
    assert_eq!(ahead(&world, with.clone()).await.findings, []);
    let outputs = placed(&world, with).await.unwrap();
    assert_eq!(outputs["seen"], json!([drop.join("in/sql/backups.cer")]));
    assert_eq!(outputs["files"], outputs["seen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_not_see_is_told_before_and_after() {
    let world = World::practice().await;
    let elsewhere = world.dir.path().join("not mounted");
    let world = world.set("sees", json!([{ "artifacts": "sql/", "as": elsewhere }]));
    offsite(&world, "sql/a.bak", "x").await;
    offsite(&world, "other/a.bak", "x").await;
    let with = |path: &str| json!({ "artifacts": [path], "to": "backups", "seen_by": "sql" });

    let found = ahead(&world, with("sql/a.bak")).await.findings;
    assert_eq!(
        (found.len(), found[0].code.as_str(), found[0].fatal),
        (1, "artifact.unseen", true),
        "{found:?}"
    );
    let words = format!("the server does not see {}: it sees no such folder", elsewhere.display());
    assert_eq!(found[0].message, words);
    assert!(found[0].help.as_deref().unwrap().contains("is the share mounted on the server"));
    let found = ahead(&world, with("other/a.bak")).await.findings;
    assert_eq!(found[0].code, "sqlserver.unseen", "{found:?}");

    // Brought all the same, it is there and no success.
    let error = placed(&world, with("sql/a.bak")).await.unwrap_err();
    assert_eq!(error.code, "artifact.unseen", "{error}");
    let words =
        format!("the server does not see {}: it sees no such file", elsewhere.join("a.bak").display());
    assert_eq!(error.message, words);
    assert!(world.dir.path().join("store/sql/a.bak").exists());
    // Once the share is there, the same step goes through.
    std::os::unix::fs::symlink(world.dir.path().join("store/sql"), &elsewhere).unwrap();
    let outputs = placed(&world, with("sql/a.bak")).await.unwrap();
    assert_eq!(outputs["seen"], json!([elsewhere.join("a.bak")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_open_nothing_proves_nothing() {
    let world = World::practice().await;
    world.run("master", "CREATE LOGIN [poor] WITH PASSWORD = N'Quay-7', CHECK_POLICY = OFF").await;
    let world = world.set("user", json!("poor")).set("password", json!("Quay-7"));
    offsite(&world, "sql/a.bak", "x").await;
    let with = json!({ "artifacts": ["sql/a.bak"], "to": "backups", "seen_by": "sql" });
    // Nobody tells it of folders: that it cannot be asked beforehand is no finding.
    assert_eq!(ahead(&world, with.clone()).await.findings, []);
    let error = placed(&world, with.clone()).await.unwrap_err();
    assert_eq!(error.code, "artifact.unseen", "{error}");
    assert!(
        error.message.contains("its login may not open files, for which it needs CREATE ANY DATABASE"),
        "{error}"
    );
    let admin = world.set("user", json!("drydock")).set("password", json!("Harbour-7"));
    admin.run("master", "GRANT CREATE ANY DATABASE TO [poor]").await;
    let world = admin.set("user", json!("poor")).set("password", json!("Quay-7"));
    placed(&world, with).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_server_names_a_folder_has_to_be_said() {
    let world = World::practice().await;
    for (with, words) in [
        (
            json!({ "artifacts": ["a"], "folder": "drop", "seen_by": "sql" }),
            "`seen_at` is needed, with `folder`",
        ),
        (json!({ "artifacts": ["a"], "to": "backups", "seen_at": "/x" }), "it needs `seen_by`"),
    ] {
        let error = placed(&world, with).await.unwrap_err();
        assert_eq!(error.code, "input");
        assert!(error.message.contains(words), "{error}");
    }
}
