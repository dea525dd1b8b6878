//! `sqlserver.history`: what a server remembers, what lies in a folder, and who took it.

use drydock_recovery::chain::{ChainRequest, choose};
use drydock_recovery::history::History as Known;
use drydock_step::test_host::given;
use drydock_step::{Ended, Kind};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::history_listing::History;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::world::{World, octopus};

async fn taken(world: &World, step: &str, with: Value) -> Value {
    let ctx = world.host(&format!("r1/{step}/1"), Vec::new()).ctx(Some("t"));
    match Backup.execute(&ctx, given(with), None).await.unwrap() {
        Ended::Outputs(outputs) => outputs,
        waits => panic!("{waits:?}"),
    }
}

/// What somebody else's job does.
async fn foreign(world: &World, kind: &str, file: &str) {
    let path = world.dir.path().join("store/sql").join(file);
    world
        .run("master", &format!("BACKUP {kind} Octopus TO DISK = N'{}' WITH CHECKSUM", path.display()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_took_comes_out_usable_in_chains() {
    let world = World::practice().await;
    octopus(&world).await;
    foreign(&world, "DATABASE", "SQL01_Octopus_FULL_20260714_030000.bak").await;
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    taken(&world, "log", json!({ "database": "Octopus", "type": "log" })).await;
    world.run("Octopus", "INSERT INTO agents VALUES (4, N'Di')").await;
    foreign(&world, "LOG", "SQL01_Octopus_LOG_20260714_031500.trn").await;
    let told = world.outputs(&History, json!({ "database": "octopus" })).await.unwrap();
    assert_eq!(told["count"], 3);
    let known = Known::parse(&told["backups"].to_string()).unwrap();
    assert_eq!(choose(&known, &ChainRequest::default()).unwrap().backups.len(), 3);
    assert_eq!(told["backups"][2]["artifacts"], json!(["sql/SQL01_Octopus_LOG_20260714_031500.trn"]));
    let programs: Vec<&str> =
        told["owners"].as_array().unwrap().iter().map(|owner| owner["program"].as_str().unwrap()).collect();
    assert_eq!(programs, ["a job like Ola Hallengren's", "drydock"]);
    let problem = told["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("the log of Octopus is backed up by 2: "), "{problem}");
    let restored = json!({ "database": "Octopus", "into": "Copy", "chain": told["backups"] });
    world.outputs(&Restore, restored).await.unwrap();
    assert_eq!(world.one("Copy", "SELECT COUNT(*) FROM agents").await, 4);
    let none = world.outputs(&History, json!({ "since": "2099-01-01T00:00:00Z" })).await.unwrap();
    assert_eq!(none["count"], 0);
    let error = world.outputs(&History, json!({ "max": 2 })).await.unwrap_err();
    assert!(
        error.code == "history.large" && error.help.unwrap().contains("raise `max`"),
        "{}",
        error.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_read_file_by_file_and_a_bad_one_hides_nothing() {
    let world = World::practice().await;
    octopus(&world).await;
    let store = world.dir.path().join("store/sql");
    let striped = taken(&world, "full", json!({ "database": "Octopus", "type": "full", "stripes": 2 })).await;
    std::fs::create_dir(store.join("old")).unwrap();
    taken(&world, "log", json!({ "database": "Octopus", "type": "log", "to": "sql/old" })).await;
    std::fs::write(store.join("notes.txt"), "no backup").unwrap();
    std::fs::write(store.join("empty.bak"), "").unwrap();
    world.run("msdb", "DELETE FROM dbo.backupset").await;
    let told = world.outputs(&History, json!({ "folder": "sql", "recursive": true })).await.unwrap();
    let kinds: Vec<&str> =
        told["backups"].as_array().unwrap().iter().map(|backup| backup["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["full", "log"]);
    assert_eq!(told["backups"][0]["artifacts"].as_array().unwrap().len(), 2);
    let problems = told["problems"].to_string();
    assert!(problems.contains("notes.txt") && problems.contains("error 3241"), "{problems}");
    assert!(problems.contains("empty.bak") && problems.contains("error 3254"), "{problems}");
    let flat = world.outputs(&History, json!({ "folder": "sql" })).await.unwrap();
    assert_eq!(flat["count"], 1);
    std::fs::remove_file(world.dir.path().join("store").join(striped["artifacts"][1].as_str().unwrap()))
        .unwrap();
    let told = world.outputs(&History, json!({ "folder": "sql" })).await.unwrap();
    assert!(told["problems"].to_string().contains("is one of 2 stripes, and 1 of them are here"), "{told}");
    let known = Known::parse(&told["backups"].to_string()).unwrap();
    assert!(choose(&known, &ChainRequest::default()).is_err(), "half a set leads nowhere");
    let error = world.outputs(&History, json!({ "folder": "https://a/b" })).await.unwrap_err();
    assert!(error.code == "input" && error.message.contains("no server lists those"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_set_is_told_and_not_offered() {
    let world = World::with_faults(r#"[{"op": "backup log *", "do": "disk_full"}]"#).await;
    octopus(&world).await;
    foreign(&world, "DATABASE", "a.bak").await;
    let path = world.dir.path().join("store/sql/a.bak");
    let connection = world.connection().await;
    let append = format!("BACKUP LOG Octopus TO DISK = N'{}'", path.display());
    let error = connection.script().unwrap().run_script("master", &append).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3202");
    let told = world.outputs(&History, json!({ "folder": "sql" })).await.unwrap();
    assert_eq!(told["count"], 1);
    assert!(told["problems"][0].as_str().unwrap().ends_with("set 2 was not written to its end"), "{told}");
}
