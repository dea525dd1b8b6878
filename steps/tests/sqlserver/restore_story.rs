//! What happened to the databases that the tests of `sqlserver.restore` bring back, and what is seen of them: [`story`].

use drydock_step::test_host::given;
use drydock_step::{Ended, Kind};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::mark::Mark;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::world::{World, octopus};

/// What a step of its own gives.
pub(crate) async fn step(world: &World, name: &str, kind: &dyn Kind, with: Value) -> Value {
    let ctx = world.host(&format!("r0/{name}/1"), Vec::new()).ctx(Some("t"));
    match kind.execute(&ctx, given(with), None).await.unwrap() {
        Ended::Outputs(outputs) => outputs,
        waits => panic!("{waits:?}"),
    }
}

/// A full, a row, a log, a row, a mark, a row too many, a log: and the chain to the mark.
pub(crate) async fn story(world: &World) -> Value {
    octopus(world).await;
    story_of(world).await
}

/// The same of a database that is there.
pub(crate) async fn story_of(world: &World) -> Value {
    let backup = |kind: &str| json!({ "database": "Octopus", "type": kind });
    let full = step(world, "full", &Backup, backup("full")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let first = step(world, "log1", &Backup, backup("log")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (4, N'Di')").await;
    let mark = json!({ "mark": "dd_1", "databases": { "octopus": "Octopus" } });
    let mark = step(world, "mark", &Mark, mark).await;
    world.run("Octopus", "INSERT INTO agents VALUES (5, N'late')").await;
    let second = step(world, "log2", &Backup, backup("log")).await;
    let stop = json!({ "name": "dd_1", "lsn": mark["databases"]["octopus"]["lsn"] });
    json!({ "backups": [full, first, second], "stop_at_mark": stop, "server": full["server"] })
}

pub(crate) fn with(chain: &Value) -> Value {
    json!({ "database": "Octopus", "chain": chain, "replace": true, "strategy": "in_place" })
}

pub(crate) async fn check_at_the_mark(world: &World, database: &str) {
    assert_eq!(world.one(database, "SELECT MAX(Id) FROM agents").await, json!(4));
    assert_eq!(world.one(database, "SELECT mark FROM drydock.marks").await, json!("dd_1"));
    let name = database.replace('\'', "''");
    let state =
        format!("SELECT state_desc + N' ' + user_access_desc FROM sys.databases WHERE name = N'{name}'");
    assert_eq!(world.one("master", &state).await, json!("ONLINE MULTI_USER"));
}

/// What `sys.databases` says of a database: state, access, and whether it can only be read.
pub(crate) async fn access(world: &World, database: &str) -> Value {
    let sql =
        format!("SELECT state_desc + N' ' + user_access_desc FROM sys.databases WHERE name = N'{database}'");
    world.one("master", &sql).await
}

/// What a preflight finds: codes, and whether they are fatal.
pub(crate) async fn found(world: &World, with: Value) -> Vec<(String, bool, String)> {
    let found = Restore.preflight(&world.ctx(), given(with)).await.unwrap();
    found
        .findings
        .into_iter()
        .map(|one| (one.code, one.fatal, one.message + "; " + &one.help.unwrap_or_default()))
        .collect()
}

#[track_caller]
pub(crate) fn assert_found(found: &[(String, bool, String)], code: &str, fatal: bool, words: &str) {
    let one = found.iter().find(|(found, is_fatal, _)| found == code && *is_fatal == fatal);
    let Some((_, _, said)) = one else { panic!("no {code} in {found:?}") };
    assert!(said.contains(words), "{said}");
}

/// Everything that a restored Octopus holds.
pub(crate) async fn contents(world: &World, database: &str) -> Value {
    let connection = world.connection().await;
    let mut all = Vec::new();
    for sql in
        ["SELECT Id, Name FROM agents ORDER BY Id", "SELECT mark, run FROM drydock.marks ORDER BY mark"]
    {
        let found = connection.rows().unwrap().rows(Some(database), sql).await.unwrap();
        all.push(json!(
            found.rows.iter().map(|row| row.values().cloned().collect::<Vec<_>>()).collect::<Vec<_>>()
        ));
    }
    Value::Array(all)
}

/// Two databases with one mark in both, rows before it and after it, and the chains of both to it.
pub(crate) async fn pair(world: &World) -> Value {
    octopus(world).await;
    world.run("master", "IF DB_ID(N'Second') IS NOT NULL DROP DATABASE [Second]\nGO\nCREATE DATABASE [Second]\nGO\nALTER DATABASE [Second] SET RECOVERY FULL").await;
    world
        .run(
            "Second",
            "CREATE SCHEMA [drydock]\nGO\n\
             CREATE TABLE [drydock].[marks] ([mark] nvarchar(32) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [run] nvarchar(64) NULL)\nGO\n\
             CREATE TABLE [agents] ([Id] int NOT NULL PRIMARY KEY, [Name] nvarchar(40) NOT NULL)",
        )
        .await;
    let mut full = Vec::new();
    for name in ["Octopus", "Second"] {
        full.push(step(world, "full", &Backup, json!({ "database": name, "type": "full" })).await);
        world.run(name, "INSERT INTO agents VALUES (4, N'Di')").await;
    }
    let mark = json!({ "mark": "dd_pair", "databases": { "octopus": "Octopus", "second": "Second" } });
    let mark = step(world, "mark", &Mark, mark).await;
    let mut group = Vec::new();
    for (name, key, full) in [("Octopus", "octopus", &full[0]), ("Second", "second", &full[1])] {
        world.run(name, "INSERT INTO agents VALUES (5, N'late')").await;
        let log = step(world, "log", &Backup, json!({ "database": name, "type": "log" })).await;
        let stop = json!({ "name": "dd_pair", "lsn": mark["databases"][key]["lsn"] });
        group.push(json!({ "database": name, "chain": { "backups": [full, log], "stop_at_mark": stop } }));
    }
    json!({ "group": group, "replace": true, "strategy": "in_place" })
}
