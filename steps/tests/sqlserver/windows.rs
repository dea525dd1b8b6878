//! A server on Windows, driven from wherever these tests run: its paths are its own in every statement and every answer.

use drydock_practice::sqlserver::{Installation, Platform, Volume};
use drydock_step::test_host::given;
use drydock_step::{Ended, Kind};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::certificate::Certificate;
use drydock_steps::sqlserver::history_listing::History;
use drydock_steps::sqlserver::restore::Restore;
use drydock_steps::sqlserver::verify::Verify;
use serde_json::{Value, json};

use crate::world::{World, octopus};

const PROGRAM: &str = r"C:\Program Files\Microsoft SQL Server\MSSQL16.MSSQLSERVER\MSSQL";

/// A server that sees the store as a share, and has drives C and D.
async fn windows() -> World {
    let world = World::playing("[]", |dir| Installation {
        platform: Platform::Windows,
        shares: [(r"\\nas01\octopus".to_owned(), dir.join("store"))].into(),
        volumes: ["C:\\", "D:\\"].map(|mount| volume(mount, 64 << 30)).into(),
        ..Installation::default()
    })
    .await
    .set("sees", json!([{ "artifacts": "sql/", "as": r"\\nas01\octopus\sql" }]));
    octopus(&world).await;
    world
}

fn volume(mount: &str, available_bytes: i64) -> Volume {
    Volume { mount: mount.into(), total_bytes: 1 << 40, available_bytes }
}

async fn made(world: &World, name: &str, kind: &dyn Kind, with: Value) -> Value {
    let ctx = world.host(&format!("r1/{name}/1"), Vec::new()).ctx(Some("t"));
    match kind.execute(&ctx, given(with), None).await.unwrap_or_else(|error| panic!("{name}: {error:?}")) {
        Ended::Outputs(outputs) => outputs,
        waits => panic!("{waits:?}"),
    }
}

/// A full, a differential and a log, each with a row before it.
async fn story(world: &World, more: Value) -> Vec<Value> {
    let mut taken = Vec::new();
    for (id, kind) in [(3, "full"), (4, "differential"), (5, "log")] {
        world.run("Octopus", &format!("INSERT INTO agents VALUES ({id}, N'x')")).await;
        let mut with = json!({ "database": "Octopus", "type": kind });
        for (key, value) in more.as_object().unwrap() {
            with[key] = value.clone();
        }
        taken.push(made(world, kind, &Backup, with).await);
    }
    taken
}

async fn found(world: &World, kind: &dyn Kind, with: Value) -> Vec<(String, bool, String)> {
    let found = kind.preflight(&world.ctx(), given(with)).await.unwrap().findings.into_iter();
    found.map(|one| (one.code, one.fatal, one.message + "; " + &one.help.unwrap_or_default())).collect()
}

#[track_caller]
fn assert_found(found: &[(String, bool, String)], code: &str, words: &str) {
    let said = found.iter().any(|(own, _, said)| own == code && said.contains(words));
    assert!(said, "no {code} with `{words}` in {found:?}");
}

async fn files_of(world: &World, database: &str) -> Vec<String> {
    let sql = format!(
        "SELECT physical_name FROM sys.master_files WHERE DB_NAME(database_id) = N'{database}' ORDER BY file_id"
    );
    let connection = world.connection().await;
    let rows = connection.rows().unwrap().rows(None, &sql).await.unwrap().rows;
    rows.iter().map(|row| row["physical_name"].as_str().unwrap().to_owned()).collect()
}

fn surround(world: &World, surroundings: Value) {
    let file = world.dir.path().join("server/surroundings.json");
    std::fs::write(file, surroundings.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_go_into_the_share_and_come_back_beside_the_original() {
    let world = windows().await;
    let taken = story(&world, json!({})).await;
    let media = taken[0]["media"][0].as_str().unwrap();
    assert!(media.starts_with(r"\\nas01\octopus\sql\Octopus_") && media.ends_with(".bak"), "{media}");
    let artifact = taken[0]["artifacts"][0].as_str().unwrap();
    assert!(world.dir.path().join("store").join(artifact).is_file(), "{artifact}");
    let chain = json!({ "database": "Octopus", "into": "Drill", "chain": taken });
    assert_eq!(found(&world, &Restore, chain.clone()).await, []);
    let outputs = made(&world, "drill", &Restore, chain.clone()).await;
    assert_eq!(outputs["restored"], json!(3));
    assert_eq!(world.one("Drill", "SELECT MAX(Id) FROM agents").await, json!(5));
    let [data, log] = <[String; 2]>::try_from(files_of(&world, "Drill").await).unwrap();
    assert!(data.starts_with(&format!(r"{PROGRAM}\DATA\Drill")) && data.ends_with(".mdf"), "{data}");
    assert!(log.starts_with(&format!(r"{PROGRAM}\DATA\Drill")) && log.ends_with(".ldf"), "{log}");
    let verified = made(&world, "verify", &Verify, json!({ "chain": taken })).await;
    assert_eq!((&verified["ok"], verified["sets"].as_array().unwrap().len()), (&json!(true), 3));
    // Over the original, kept until the copy is proved.
    let beside = json!({ "database": "Octopus", "chain": taken, "replace": true });
    let outputs = made(&world, "beside", &Restore, beside).await;
    assert_eq!(outputs["strategy"], "beside");
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_go_where_the_server_is_told() {
    let world = windows().await;
    world.run("master", r"EXEC master.sys.xp_create_subdir N'D:\Backups'").await;
    let taken = story(&world, json!({ "to": r"D:\Backups", "file": "{run}_{database}_{type}_{time}" })).await;
    let media = taken[2]["media"][0].as_str().unwrap();
    assert!(media.starts_with(r"D:\Backups\r1_log_1_Octopus_log_") && media.ends_with(".trn"), "{media}");
    let restored = json!({ "database": "Octopus", "into": "Copy", "chain": taken,
        "data_folder": r"D:\Data", "log_folder": r"D:\Logs" });
    let missing = found(&world, &Restore, restored.clone()).await;
    assert_found(&missing, "sqlserver.5133", r"D:\Data");
    for folder in ["Data", "Logs"] {
        world.run("master", &format!(r"EXEC master.sys.xp_create_subdir N'D:\{folder}'")).await;
    }
    made(&world, "copy", &Restore, restored).await;
    let files = files_of(&world, "Copy").await;
    assert!(files[0].starts_with(r"D:\Data\Copy") && files[1].starts_with(r"D:\Logs\Copy"), "{files:?}");
    // Without the server's history: each file by its header.
    let known =
        made(&world, "known", &History, json!({ "database": "Octopus", "folder": r"d:\backups" })).await;
    assert_eq!(known["count"], json!(3), "{known}");
    let again = json!({ "database": "Octopus", "into": "Again", "chain": known });
    made(&world, "again", &Restore, again).await;
    assert_eq!(world.one("Again", "SELECT MAX(Id) FROM agents").await, json!(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_goes_to_the_share_and_comes_back() {
    let world = windows().await;
    world
        .run("master", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'\nGO\nCREATE CERTIFICATE backups WITH SUBJECT = 'Backups'")
        .await;
    let with = json!({ "name": "backups", "password": "Key's-9" });
    let saved = made(&world, "saved", &Certificate, with.clone()).await;
    let artifact = saved["artifacts"][1].as_str().unwrap();
    assert!(world.dir.path().join("store").join(artifact).is_file(), "{artifact}");
    world.run("master", "DROP CERTIFICATE backups").await;
    let mut back = with;
    back["from"] = json!({ "certificate": saved["artifacts"][0], "key": saved["artifacts"][1] });
    assert_eq!(made(&world, "back", &Certificate, back).await["created"], json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_fail_is_told_in_windows_words() {
    let world = windows().await;
    let taken = story(&world, json!({})).await;
    let chain = json!({ "database": "Octopus", "into": "Fresh", "chain": taken });
    let to_gone = json!({ "database": "Octopus", "type": "full", "to": r"E:\gone" });
    assert_found(&found(&world, &Backup, to_gone.clone()).await, "sqlserver.3201", r"E:\gone");
    // Another database's file, in letters of another case.
    let mut clash = chain.clone();
    clash["move"] = json!({ "Octopus": format!(r"{}\data\OCTOPUS.MDF", PROGRAM.to_lowercase()) });
    assert_found(&found(&world, &Restore, clash.clone()).await, "sqlserver.1834", "Octopus");
    assert_eq!(world.outputs(&Restore, clash).await.unwrap_err().code, "sqlserver.1834");
    // No room on D:, of which nothing is known before a database has a file there.
    world.run("master", r"CREATE DATABASE Other ON (NAME = Other, FILENAME = N'D:\other.mdf')").await;
    let mut small = chain.clone();
    small["data_folder"] = json!(r"D:\");
    surround(&world, json!({ "volumes": [volume("C:\\", 64 << 30), volume("D:\\", 1000)] }));
    assert_found(&found(&world, &Restore, small.clone()).await, "sqlserver.3257", "D:");
    assert_eq!(world.outputs(&Restore, small).await.unwrap_err().code, "sqlserver.3257");
    // A file of the chain is gone.
    std::fs::remove_file(world.dir.path().join("store").join(taken[1]["artifacts"][0].as_str().unwrap()))
        .unwrap();
    let gone = found(&world, &Restore, chain.clone()).await;
    assert_found(&gone, "sqlserver.3201", taken[1]["media"][0].as_str().unwrap());
    let error = world.outputs(&Restore, chain).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3201", "{error}");
}
