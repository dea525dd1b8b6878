//! `ef.update`, and the scripts beside the Octopus plans.

use drydock_step::test_host::given;
use drydock_step::{Kind, Reconciled};
use drydock_steps::ef::update::Update;
use serde_json::{Value, json};

use crate::world::{World, octopus};

const MIGRATIONS: &str = include_str!("../../../plans/octopus/migrations.sql");
const GRANTS: &str = include_str!("../../../plans/octopus/grants.sql");

/// The ids that the script of the Octopus plans knows.
fn ids() -> Vec<&'static str> {
    let mut ids: Vec<&str> =
        MIGRATIONS.split("VALUES (N'").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect();
    ids.sort_unstable();
    ids
}

async fn empty(world: &World) {
    world
        .run(
            "master",
            "IF DB_ID(N'Octopus') IS NOT NULL DROP DATABASE [Octopus]\nGO\nCREATE DATABASE [Octopus]",
        )
        .await;
    std::fs::write(world.dir.path().join("migrations.sql"), MIGRATIONS).unwrap();
}

fn with() -> Value {
    json!({ "database": "Octopus", "script": "./migrations.sql", "expected": ids() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_applies_what_is_missing_and_nothing_twice() {
    let world = World::new().await;
    empty(&world).await;
    let all = world.outputs(&Update, with()).await.unwrap();
    assert_eq!(all, json!({ "applied": ids(), "pending": ids(), "migrations": ids(), "tables": 5 }));
    world.run("Octopus", "DELETE FROM [__EFMigrationsHistory] WHERE [MigrationId] LIKE N'2026%'\nGO\nDROP INDEX [IX_Octopus_Episodes_AgentId] ON [Octopus_Episodes]\nGO\nALTER TABLE [Octopus_Agents] DROP COLUMN [LastSeenAt]").await;
    let last = world.outputs(&Update, with()).await.unwrap();
    assert_eq!(last["applied"], json!(["20260210101500_AgentLastSeen"]));
    let nothing = world.outputs(&Update, with()).await.unwrap();
    assert_eq!((&nothing["applied"], &nothing["migrations"]), (&json!([]), &json!(ids())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_not_made() {
    let world = World::new().await;
    std::fs::write(world.dir.path().join("migrations.sql"), MIGRATIONS).unwrap();
    let with = json!({ "database": "Elsewhere", "script": "./migrations.sql" });
    let error = world.outputs(&Update, with.clone()).await.unwrap_err();
    assert!(error.code == "ef.database" && error.message.contains("would make an empty one"), "{error}");
    assert_eq!(world.one("master", "SELECT DB_ID(N'Elsewhere')").await, Value::Null);
    let found = Update.preflight(&world.ctx(), given(with)).await.unwrap();
    assert_eq!(
        found.findings.iter().map(|f| (f.code.as_str(), f.fatal)).collect::<Vec<_>>(),
        [("ef.database", true)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_release_is_refused() {
    let world = World::new().await;
    empty(&world).await;
    world.outputs(&Update, with()).await.unwrap();
    let older = json!({ "database": "Octopus", "script": "./migrations.sql", "expected": ids()[..4] });
    let error = world.outputs(&Update, older).await.unwrap_err();
    assert!(error.code == "ef.newer" && error.message.ends_with("20260210101500_AgentLastSeen"), "{error}");
    let mut newer = ids();
    newer.push("20990101000000_Later");
    let newer = json!({ "database": "Octopus", "script": "./migrations.sql", "expected": newer });
    let error = world.outputs(&Update, newer).await.unwrap_err();
    assert!(error.code == "ef.pending" && error.message.ends_with("20990101000000_Later"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_whose_answer_was_lost_are_found_again() {
    // The last transaction of the script is committed, and its answer never comes.
    let world = World::with_faults(r#"[{"op": "commit", "nth": 5, "do": "hold"}]"#).await;
    empty(&world).await;
    let (notes, found) = world.crashed(&Update, with()).await;
    assert_eq!(notes, [json!({ "before": [] })]);
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    assert_eq!(outputs["applied"], json!(ids()));
    let world = World::with_faults(r#"[{"op": "commit", "nth": 3, "do": "hold"}]"#).await;
    empty(&world).await;
    let (notes, found) = world.crashed(&Update, with()).await;
    let Reconciled::Partly(from) = found else { panic!("{found:?}") };
    let outputs = world.again(&Update, with(), notes, Some(from)).await.unwrap();
    assert_eq!(outputs["migrations"], json!(ids()));
    assert_eq!(outputs["applied"], json!(ids()), "also those that the lost attempt applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_batch_is_told_with_its_place() {
    let world = World::new().await;
    octopus(&world).await;
    std::fs::write(
        world.dir.path().join("bad.sql"),
        "SELECT 1\nGO\n\nDROP TABLE nowhere\nGO\nDROP TABLE agents",
    )
    .unwrap();
    let with = json!({ "database": "Octopus", "script": "bad.sql" });
    let error = world.outputs(&Update, with).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3701");
    assert!(error.message.starts_with("batch 2 of the script, which begins on line 4: "), "{error}");
    assert_eq!(error.detail.as_deref().map(str::trim), Some("DROP TABLE nowhere"));
    assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM agents").await, json!(2));
    let error =
        world.outputs(&Update, json!({ "database": "Octopus", "script": "no.sql" })).await.unwrap_err();
    assert!(error.code == "ef.script" && error.message.contains("no.sql cannot be read"), "{error}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_gets_its_connection_where_the_plan_says() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    octopus(&world).await;
    let bundle = world.dir.path().join("efbundle");
    std::fs::write(
        &bundle,
        "#!/bin/sh\necho \"$ConnectionStrings__X\" > seen\necho \"$@\" >> seen\ncase $1 in 1) exit 1; esac\n",
    )
    .unwrap();
    std::fs::set_permissions(&bundle, std::fs::Permissions::from_mode(0o755)).unwrap();
    let seen = || std::fs::read_to_string(world.dir.path().join("seen")).unwrap();
    let with = json!({ "database": "Octopus", "bundle": "efbundle", "args": ["last"], "connection_env": "ConnectionStrings__X" });
    let outputs = world.outputs(&Update, with).await.unwrap();
    assert_eq!(
        (&outputs["applied"], &outputs["migrations"]),
        (&json!([]), &json!(["20250101000000_Initial"]))
    );
    assert!(
        seen().contains("Database=\"Octopus\"") && seen().ends_with("\n--no-color --prefix-output last\n"),
        "{}",
        seen()
    );
    let with = json!({ "database": "Octopus", "command": ["./efbundle", 1] });
    let error = world.outputs(&Update, with).await.unwrap_err();
    assert!(
        error.code == "ef.exit" && error.message.contains("`./efbundle` ended with exit code 1"),
        "{error}"
    );
    assert!(seen().starts_with("\n1 --connection Server="), "{}", seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_another_release_is_known_by_its_own_ids() {
    let world = World::new().await;
    empty(&world).await;
    let with = json!({ "database": "Octopus", "script": "./migrations.sql", "tables": ["Octopus_Agents"] });
    let outputs = world.outputs(&Update, with.clone()).await.unwrap();
    assert_eq!(outputs["pending"], json!(ids()));
    world
        .run("Octopus", "INSERT INTO [__EFMigrationsHistory] VALUES (N'20990101000000_Later', N'12.0.0')")
        .await;
    let error = world.outputs(&Update, with.clone()).await.unwrap_err();
    assert!(error.code == "ef.newer" && error.message.ends_with("20990101000000_Later"), "{error}");
    let found = Update.preflight(&world.ctx(), given(with)).await.unwrap();
    assert_eq!(
        found.findings.iter().map(|f| (f.code.as_str(), f.fatal)).collect::<Vec<_>>(),
        [("ef.newer", true)]
    );
    world.run("Octopus", "DELETE FROM [__EFMigrationsHistory] WHERE MigrationId LIKE N'2099%'").await;
    let with = json!({ "database": "Octopus", "script": "./migrations.sql", "tables": ["octopus_agents", "drydock.marks", "Tools"] });
    let error = world.outputs(&Update, with).await.unwrap_err();
    assert!(
        error.code == "ef.tables" && error.message.ends_with("lacks the tables drydock.marks, Tools"),
        "{error}"
    );
}

/// A tool that lists two migrations and applies nothing.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_projects_own_list_says_what_is_pending() {
    let world = World::new().await;
    octopus(&world).await;
    let tool = "echo \"$@\" >> seen\ncase $1 in\nmigrations) echo 'info:    Build succeeded.'\n\
                echo 'data:    [ { \"id\": \"20250101000000_Initial\" }, { \"id\": \"20260101000000_Second\" } ]';;\n\
                *) echo \"info:    Applying migration '20260101000000_Second'.\"; echo \"$told\";;\nesac\n";
    std::fs::write(world.dir.path().join("ef.sh"), tool).unwrap();
    let dotnet = json!({ "tool": ["sh", "./ef.sh"], "context": "X" });
    let with = json!({ "database": "Octopus", "dotnet": dotnet });
    let error = world.outputs(&Update, with.clone()).await.unwrap_err();
    assert!(error.code == "ef.pending" && error.message.ends_with("20260101000000_Second"), "{error}");
    let seen = std::fs::read_to_string(world.dir.path().join("seen")).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "migrations list --json --no-connect --context X --no-color --prefix-output");
    assert!(
        lines[1].starts_with("database update --context X --no-color --prefix-output --connection Server="),
        "{seen}"
    );
    // Stopping where the database stands leaves nothing to do; before that there is nothing that EF may do.
    let with = json!({ "database": "Octopus", "dotnet": dotnet, "migration": "Initial" });
    assert_eq!(world.outputs(&Update, with).await.unwrap()["pending"], json!([]));
    world
        .run("Octopus", "INSERT INTO [__EFMigrationsHistory] VALUES (N'20260101000000_Second', N'10.0.0')")
        .await;
    let with = json!({ "database": "Octopus", "dotnet": dotnet, "migration": "Initial" });
    let error = world.outputs(&Update, with).await.unwrap_err();
    assert!(
        error.code == "ef.down" && error.message.ends_with("would take back 20260101000000_Second"),
        "{error}"
    );
    let with = json!({ "database": "Octopus", "dotnet": dotnet, "migration": "0" });
    assert_eq!(world.outputs(&Update, with).await.unwrap_err().code, "ef.migration");
    let bundle = json!({ "database": "Octopus", "bundle": "./b", "migration": "Initial" });
    assert_eq!(world.outputs(&Update, bundle).await.unwrap_err().message, "`migration` needs `expected`");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_may_be_kept_in_a_table_of_another_name() {
    let world = World::new().await;
    empty(&world).await;
    world.run("Octopus", "CREATE SCHEMA [ef]").await;
    let script = MIGRATIONS.replace("[__EFMigrationsHistory]", "[ef].[my history]");
    std::fs::write(world.dir.path().join("moved.sql"), script).unwrap();
    let moved = json!({ "database": "Octopus", "script": "./moved.sql", "history_table": "ef.my history" });
    let pending = async |with: &Value| {
        let found = Update.preflight(&world.ctx(), given(with.clone())).await.unwrap();
        (found.facts["pending"].clone(), found.findings.into_iter().map(|f| f.code).collect::<Vec<_>>())
    };
    assert_eq!(pending(&moved).await, (json!(ids()), Vec::new()));
    assert_eq!(world.outputs(&Update, moved.clone()).await.unwrap()["applied"], json!(ids()));
    assert_eq!(pending(&moved).await, (json!([]), Vec::new()));
    assert_eq!(world.outputs(&Update, moved.clone()).await.unwrap()["applied"], json!([]));
    // The table of the usual name would say that nothing was applied, and afterwards that all is still pending.
    let mut usual = moved.clone();
    usual.as_object_mut().unwrap().remove("history_table");
    assert_eq!(pending(&usual).await, (json!(ids()), Vec::new()));
    assert_eq!(world.outputs(&Update, usual).await.unwrap_err().code, "ef.pending");
    world.run("Octopus", "INSERT INTO [ef].[my history] VALUES (N'20990101000000_Later', N'12.0.0')").await;
    let error = world.outputs(&Update, moved.clone()).await.unwrap_err();
    assert!(error.code == "ef.newer" && error.message.ends_with("20990101000000_Later"), "{error}");
    assert_eq!(pending(&moved).await.1, ["ef.newer"]);
    let mut bracketed = moved;
    bracketed["history_table"] = json!("[ef].[x]");
    let error = world.outputs(&Update, bracketed).await.unwrap_err();
    assert!(error.code == "input" && error.message.contains("without brackets"), "{error}");
}

/// The practice server has no users to grant anything to: that part needs a real one.
#[tokio::test(flavor = "multi_thread")]
async fn the_grants_script_makes_the_table_of_marks_once() {
    let world = World::new().await;
    world
        .run(
            "master",
            "IF DB_ID(N'Octopus') IS NOT NULL DROP DATABASE [Octopus]\nGO\nCREATE DATABASE [Octopus]",
        )
        .await;
    let tables = GRANTS.split("IF DATABASE_PRINCIPAL_ID").next().unwrap();
    world.run("Octopus", tables).await;
    world.run("Octopus", tables).await;
    assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM drydock.marks").await, json!(0));
}
