//! `drydock grants`: what a plan needs, identity by identity.

use serde_json::Value;

use crate::world::World;

const PLAN: &str = "drydock: v1
name: both
purpose: backup
params: { database: { type: string, required: true } }
targets: { sql: sqlserver, api: http }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: Octopus, type: full } }
  rest: { uses: sqlserver.restore, target: sql, needs: [full], with: { database: Copy, chain: [\"{{ steps.full.outputs }}\"] } }
  look: { uses: sqlserver.query, target: sql, with: { database: \"{{ params.database }}\", sql: SELECT 1 } }
  ask: { uses: http.request, target: api, with: { method: GET } }
";

const ENVIRONMENT: &str = "drydock: v1
environment: e
targets:
  sql: { kind: sqlserver, host: nowhere.invalid, user: nightly, password: { env: NOBODY_ASKS } }
  api: { kind: http, url: \"http://nowhere.invalid\" }
";

#[test]
fn identities_are_apart_and_nobody_is_asked() {
    let world = World::plan(PLAN).write("env.yaml", ENVIRONMENT);
    let told = world.drydock("grants plan.yaml -e env.yaml --format json").with_exit(0);
    let found: Value = serde_json::from_str(&told.stdout).unwrap();
    let of = |at: usize, key: &str| found[at][key].as_str().unwrap_or_default().to_owned();
    let heads: Vec<[String; 3]> =
        (0..3).map(|at| [of(at, "target"), of(at, "duty"), of(at, "login")]).collect();
    assert_eq!(
        heads,
        [["sql", "backup", "nightly"], ["sql", "restore", "drydock_restore"], ["api", "backup", ""]]
            .map(|head| head.map(str::to_owned))
    );
    let (backup, restore) = (of(0, "script"), of(1, "script"));
    assert!(backup.contains("ALTER ROLE [db_backupoperator] ADD MEMBER [nightly];"), "{backup}");
    assert!(backup.contains("-- in the database (known after run), as a user of that login:"), "{backup}");
    assert!(
        !backup.contains("dbcreator") && restore.contains("[dbcreator] ADD MEMBER [drydock_restore];"),
        "{restore}"
    );
    assert!(!restore.contains("db_backupoperator"), "{restore}");
    let arguments = "grants plan.yaml -e env.yaml -p database=Octopus --restore-login dr";
    let told = world.drydock(arguments).with_exit(0).stdout;
    assert!(told.contains("-- Target sql (sqlserver), to restore: rest\n"), "{told}");
    assert!(told.contains("[dbcreator] ADD MEMBER [dr];") && !told.contains("known after"), "{told}");
}

#[test]
fn plans_that_a_plan_runs_count_too() {
    let outer =
        "drydock: v1\nname: outer\nsteps:\n  inner: { uses: plan.run, with: { plan: ./inner.yaml } }\n";
    let inner = "drydock: v1\nname: inner\npurpose: backup\ntargets: { sql: sqlserver }\nsteps:\n  full: { uses: sqlserver.backup, target: sql, with: { database: Octopus, type: full } }\n";
    let world = World::plan(outer).write("inner.yaml", inner).write("env.yaml", ENVIRONMENT);
    let told = world.drydock("grants plan.yaml -e env.yaml").with_exit(0).stdout;
    assert!(told.contains("-- Target sql (sqlserver), to back up: inner/full\n"), "{told}");
    assert!(told.contains("ALTER ROLE [db_backupoperator] ADD MEMBER [drydock_backup];"), "{told}");
}
