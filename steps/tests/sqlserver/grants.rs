//! The rights that kinds need, as `drydock grants` prints them: given twice on a server, they are what a login needs that is no administrator.

use std::sync::Arc;

use drydock_step::test_host::{TestHost, given};
use drydock_step::{Ended, Given, Grant, Kind, StepError, TargetKind};
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::sqlserver::adopt::Adopt;
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::certificate::Certificate;
use drydock_steps::sqlserver::mark::Mark;
use drydock_steps::sqlserver::open::Open;
use drydock_steps::sqlserver::query::Query;
use drydock_steps::sqlserver::restore::Restore;
use drydock_steps::sqlserver::script::Script;
use drydock_steps::sqlserver::target::SqlServer;
use drydock_steps::sqlserver::verify::Verify;
use serde_json::{Value, json};

use crate::world::{World, octopus};

/// What may not differ after the script has run a second time: principals, members and permissions.
const OF_SERVER: &str = "SELECT p.name, p.type_desc AS a, N'' AS b FROM sys.server_principals AS p \
    UNION ALL SELECT m.name, N'in', r.name FROM sys.server_role_members AS x JOIN sys.server_principals AS r ON r.principal_id = x.role_principal_id JOIN sys.server_principals AS m ON m.principal_id = x.member_principal_id \
    UNION ALL SELECT g.name, x.state_desc, x.permission_name FROM sys.server_permissions AS x JOIN sys.server_principals AS g ON g.principal_id = x.grantee_principal_id \
    ORDER BY name, a, b";
const OF_DATABASE: &str = "SELECT p.name, p.type_desc AS a, N'' AS b FROM sys.database_principals AS p \
    UNION ALL SELECT m.name, N'in', r.name FROM sys.database_role_members AS x JOIN sys.database_principals AS r ON r.principal_id = x.role_principal_id JOIN sys.database_principals AS m ON m.principal_id = x.member_principal_id \
    UNION ALL SELECT g.name, x.state_desc, x.permission_name FROM sys.database_permissions AS x JOIN sys.database_principals AS g ON g.principal_id = x.grantee_principal_id \
    ORDER BY name, a, b";

const PASSWORD: &str = "Quay-7's";

/// Makes a login that may do nothing yet.
async fn login(world: &World, name: &str) {
    world
        .run("master", &format!("CREATE LOGIN [{name}] WITH PASSWORD = N'Quay-7''s', CHECK_POLICY = OFF"))
        .await;
}

/// What a step gives when it is run by that login.
async fn by(
    world: &World,
    login: &str,
    step: &str,
    kind: &dyn Kind,
    with: Value,
) -> Result<Value, StepError> {
    let mut settings = world.settings.clone();
    settings.insert("user".into(), json!(login));
    settings.insert("password".into(), json!(PASSWORD));
    let Value::Object(store) = json!({ "url": world.dir.path().join("store") }) else { unreachable!() };
    let host = TestHost::new(world.dir.path()).attempt(&format!("r1/{step}/1"));
    let host = host.server("backups", Arc::new(ArtifactsTarget), store);
    let ctx = Arc::new(host.server("t", Arc::new(SqlServer), settings)).ctx(Some("t"));
    match kind.execute(&ctx, given(with), None).await? {
        Ended::Outputs(outputs) => Ok(outputs),
        waits @ Ended::Waits(_) => panic!("{waits:?}"),
    }
}

/// The script for these steps.
fn script(login: &str, steps: &[(&dyn Kind, Value)]) -> String {
    let mut grants: Vec<Grant> = Vec::new();
    for (kind, with) in steps {
        let given = given(with.clone());
        grants.extend(kind.grants(&Given { with: &given.with, fill: None }).unwrap());
    }
    SqlServer.grant_script(login, &grants.iter().collect::<Vec<_>>()).unwrap()
}

/// Everybody's rights at the server and in these databases.
async fn rights(world: &World) -> Vec<Value> {
    let connection = world.connection().await;
    let rows = connection.rows().unwrap();
    let mut all = Vec::new();
    for (database, sql) in
        [("master", OF_SERVER), ("master", OF_DATABASE), ("msdb", OF_DATABASE), ("Octopus", OF_DATABASE)]
    {
        all.push(json!([database, rows.rows(Some(database), sql).await.unwrap().rows]));
    }
    all
}

/// Runs the script twice, and sees that the second time changes nothing.
async fn twice(world: &World, script: &str) {
    let nobody = rights(world).await;
    world.run("master", script).await;
    let once = rights(world).await;
    assert_ne!(once, nobody);
    world.run("master", script).await;
    assert_eq!(rights(world).await, once, "{script}");
}

/// The codes with which these steps end; empty where they do what they are for.
async fn codes(world: &World, login: &str, tag: &str, steps: &[(&str, &dyn Kind, Value)]) -> Vec<String> {
    let mut codes = Vec::new();
    for (step, kind, with) in steps {
        let done = by(world, login, &format!("{step}_{tag}"), *kind, with.clone()).await;
        codes.push(done.err().map_or(String::new(), |error| {
            assert!(error.code != "internal", "{step}: {error}");
            error.code
        }));
    }
    codes
}

fn of<'k>(steps: &[(&str, &'k dyn Kind, Value)]) -> Vec<(&'k dyn Kind, Value)> {
    steps.iter().map(|(_, kind, with)| (*kind, with.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_backups_needs_what_the_script_gives() {
    let world = World::practice().await;
    octopus(&world).await;
    world.run("Octopus", "DROP TABLE drydock.marks\nGO\nDROP TABLE drydock.scripts").await;
    world.run("master", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'\nGO\nCREATE CERTIFICATE backups WITH SUBJECT = 'Backups'").await;
    login(&world, "drydock_backup").await;
    let mark = json!({ "mark": "dd_1", "databases": { "octopus": "Octopus" }, "rows": ["agents"] });
    let steps: Vec<(&str, &dyn Kind, Value)> = vec![
        ("full", &Backup, json!({ "database": "Octopus", "type": "full" })),
        ("mark", &Mark, mark),
        ("log", &Backup, json!({ "database": "Octopus", "type": "log" })),
        ("query", &Query, json!({ "database": "Octopus", "sql": "SELECT COUNT(*) AS n FROM agents" })),
        ("script", &Script, json!({ "database": "Octopus", "sql": "INSERT INTO agents VALUES (9, N'Io')" })),
    ];
    assert_eq!(
        codes(&world, "drydock_backup", "before", &steps).await,
        ["sqlserver.916", "mark.table", "sqlserver.916", "sqlserver.916", "script.table"]
    );
    let certificate = json!({ "name": "backups", "password": "Key's-9" });
    let all = [of(&steps), vec![(&Certificate as &dyn Kind, certificate.clone())]].concat();
    twice(&world, &script("drydock_backup", &all)).await;
    let rows = async |table: &str| world.one("Octopus", &format!("SELECT COUNT(*) FROM {table}")).await;
    assert_eq!((rows("drydock.marks").await, rows("drydock.scripts").await), (json!(0), json!(0)));
    assert_eq!(codes(&world, "drydock_backup", "after", &steps).await, [""; 5]);
    by(&world, "drydock_backup", "certificate", &Certificate, certificate).await.unwrap();
    assert_eq!((rows("drydock.marks").await, rows("drydock.scripts").await), (json!(1), json!(1)));
    assert_eq!(rows("agents").await, json!(3));
    // It takes backups and nothing else.
    let full = json!({ "database": "Octopus", "chain": { "backups": [] } });
    assert_ne!(codes(&world, "drydock_backup", "other", &[("restore", &Restore, full)]).await, [""]);
    let sql = "SELECT COUNT(*) FROM sys.server_role_members AS x JOIN sys.server_principals AS p ON p.principal_id = x.member_principal_id WHERE p.name = N'drydock_backup'";
    assert_eq!(world.one("master", sql).await, json!(0));
}

/// A database with the application's user, and the backup that is to come back.
async fn saved(world: &World) -> Value {
    octopus(world).await;
    for name in ["drydock_restore", "app", "owner"] {
        login(world, name).await;
    }
    world.run("Octopus", "CREATE USER [app]\nGO\nGRANT SELECT ON [agents] TO [app]").await;
    world.outputs(&Backup, json!({ "database": "Octopus", "type": "full" })).await.unwrap()
}

fn restored(full: &Value, strategy: &str) -> Value {
    let chain = json!({ "backups": [full], "server": full["server"] });
    json!({ "database": "Octopus", "chain": chain, "replace": true, "strategy": strategy })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_restores_needs_what_the_script_gives() {
    let world = World::practice().await;
    let full = saved(&world).await;
    let adopt = json!({ "database": "Octopus", "owner": "owner", "application": "app", "reads": ["agents"] });
    let steps: Vec<(&str, &dyn Kind, Value)> = vec![
        ("in_place", &Restore, restored(&full, "in_place")),
        ("beside", &Restore, restored(&full, "beside")),
        ("open", &Open, json!({ "database": "Octopus", "broker": "new" })),
        ("adopt", &Adopt, adopt),
    ];
    assert_eq!(
        codes(&world, "drydock_restore", "before", &steps).await,
        ["sqlserver.229", "sqlserver.229", "sqlserver.5011", "adopt.rights"]
    );
    assert_eq!(world.done("restore *"), 0);
    let verify = json!({ "chain": [full] });
    let all = [of(&steps), vec![(&Verify as &dyn Kind, verify.clone())]].concat();
    twice(&world, &script("drydock_restore", &all)).await;
    assert_eq!(codes(&world, "drydock_restore", "after", &steps).await, [""; 4]);
    let found = by(&world, "drydock_restore", "verify", &Verify, verify).await.unwrap();
    assert_eq!(found["ok"], true);
    let owner = "SELECT SUSER_SNAME(owner_sid) FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", owner).await, json!("owner"));
    let full = json!({ "database": "Octopus", "type": "full" });
    assert_eq!(
        codes(&world, "drydock_restore", "other", &[("full", &Backup, full)]).await,
        ["sqlserver.262"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_is_adopted_by_what_came_back_with_it() {
    let world = World::practice().await;
    octopus(&world).await;
    for name in ["drydock_restore", "app", "app_here"] {
        login(&world, name).await;
    }
    world.run("Octopus", "CREATE USER [app]").await;
    let adopt = json!({ "database": "Octopus", "logins": { "app": "app_here" }, "compatibility_level": 150 });
    let all: Vec<(&dyn Kind, Value)> = vec![
        (&Restore, json!({ "database": "Octopus", "chain": { "backups": [] }, "replace": true })),
        (&Adopt, adopt.clone()),
    ];
    twice(&world, &script("drydock_restore", &all)).await;
    let full = world.outputs(&Backup, json!({ "database": "Octopus", "type": "full" })).await.unwrap();
    world.run("master", "DROP LOGIN [app]").await;
    let steps: Vec<(&str, &dyn Kind, Value)> =
        vec![("in_place", &Restore, restored(&full, "in_place")), ("adopt", &Adopt, adopt)];
    assert_eq!(codes(&world, "drydock_restore", "after", &steps).await, [""; 2]);
    let owner = "SELECT SUSER_SNAME(owner_sid) FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", owner).await, json!("drydock"), "a restore in place leaves the owner");
    let mapped = "SELECT SUSER_SNAME(sid) FROM sys.database_principals WHERE name = N'app'";
    assert_eq!(world.one("Octopus", mapped).await, json!("app_here"));
    // Nobody but an administrator sets TRUSTWORTHY.
    for (on, expected) in [(true, 1), (false, 0)] {
        let with = json!({ "database": "Octopus", "trustworthy": on });
        let script = script("x", &[(&Adopt as &dyn Kind, with)]);
        let given = "ALTER SERVER ROLE [sysadmin] ADD MEMBER [x];";
        assert_eq!(script.matches(given).count(), expected, "{script}");
    }
}
