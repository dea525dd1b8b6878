//! Names as hostile as a server allows, from the backup to the restored rows.

use drydock_step::test_host::given;
use drydock_step::{Ended, Kind};
use drydock_steps::ef::update::Update;
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::mark::Mark;
use drydock_steps::sqlserver::query::Query;
use drydock_steps::sqlserver::restore::Restore;
use drydock_steps::sqlserver::script::Script;
use drydock_steps::sqlserver::verify::Verify;
use serde_json::{Value, json};

use crate::world::World;

/// Names of databases: brackets, quotes, other scripts, blanks at both ends of words, signs that no file name on Windows bears, and one that
/// is as long as any may be.
fn names() -> [String; 6] {
    [
        "a]b[c]]".to_owned(),
        "it's; DROP DATABASE x --".to_owned(),
        "Größe, 数据库 и база".to_owned(),
        "two  blanks, a comma".to_owned(),
        "slash/back\\slash:*?\"<>|".to_owned(),
        format!("{}]'", "ü".repeat(126)),
    ]
}

/// What a step of its own gives.
async fn step(world: &World, name: &str, kind: &dyn Kind, with: Value) -> Value {
    let ctx = world.host(&format!("r0/{name}/1"), Vec::new()).ctx(Some("t"));
    match kind.execute(&ctx, given(with.clone()), None).await {
        Ok(Ended::Outputs(outputs)) => outputs,
        other => panic!("{name} with {with}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_goes_all_the_way() {
    let world = World::new().await;
    std::fs::write(world.dir.path().join("m.sql"), "SELECT 1\nGO\n").unwrap();
    for (at, name) in names().into_iter().enumerate() {
        let bracketed = format!("[{}]", name.replace(']', "]]"));
        let make = format!(
            "IF DB_ID(N'{}') IS NOT NULL DROP DATABASE {bracketed}\nGO\nCREATE DATABASE {bracketed}\nGO\nALTER DATABASE {bracketed} SET RECOVERY FULL",
            name.replace('\'', "''")
        );
        world.run("master", &make).await;
        let tables = "CREATE SCHEMA [drydock]\nGO\n\
            CREATE TABLE [drydock].[marks] ([mark] nvarchar(32) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [run] nvarchar(64) NULL)\nGO\n\
            CREATE TABLE [drydock].[scripts] ([attempt] nvarchar(128) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [outputs] nvarchar(max) NOT NULL)\nGO\n\
            CREATE TABLE [t] ([v] nvarchar(200) NOT NULL)";
        world.run(&name, tables).await;
        let of = |what: &str| format!("{what}{at}");
        let full = step(
            &world,
            &of("full"),
            &Backup,
            json!({ "database": name, "type": "full", "name": name, "description": name }),
        )
        .await;
        let script =
            json!({ "database": name, "sql": "INSERT INTO t VALUES (@v)", "parameters": { "v": name } });
        step(&world, &of("script"), &Script, script).await;
        let mark = json!({ "mark": of("dd_"), "databases": { "x": name }, "rows": ["t"] });
        let mark = step(&world, &of("mark"), &Mark, mark).await;
        assert_eq!(mark["databases"]["x"]["database"], json!(name));
        let log = step(&world, &of("log"), &Backup, json!({ "database": name, "type": "log" })).await;
        step(&world, &of("verify"), &Verify, json!({ "chain": [full, log] })).await;
        let into: String = name.chars().rev().collect();
        let restore = json!({ "database": name, "into": into, "chain": [full, log], "replace": true });
        let restored = step(&world, &of("restore"), &Restore, restore).await;
        assert_eq!(restored["database"], json!(into));
        let query =
            json!({ "database": into, "sql": "SELECT v FROM t WHERE v = @v", "parameters": { "v": name } });
        assert_eq!(step(&world, &of("query"), &Query, query).await["rows"], json!([{ "v": name }]));
        step(&world, &of("ef"), &Update, json!({ "database": into, "script": "m.sql" })).await;
        // The next round's names must not be in the way of a server that somebody else uses.
        for database in [&name, &into] {
            world.run("master", &format!("DROP DATABASE [{}]", database.replace(']', "]]"))).await;
        }
    }
}
