//! `sqlserver.server_objects` and `sqlserver.restore_objects`: what a server has beside its databases, written down and made again.

use drydock_step::{Ended, Kind, Reconciled};
use drydock_steps::sqlserver::restore_objects::RestoreObjects;
use drydock_steps::sqlserver::server_objects::ServerObjects;
use serde_json::{Value, json};

use crate::world::World;

/// Everything that a script holds, with names that have to be quoted and a command of several lines.
const MADE: &str = "CREATE LOGIN [o'app] WITH PASSWORD = N'Pier-22x', CHECK_POLICY = OFF
GO
CREATE LOGIN [old] WITH PASSWORD = N'Pier-23x'; ALTER LOGIN [old] DISABLE
GO
CREATE SERVER ROLE [watchers] AUTHORIZATION [o'app]
GO
ALTER SERVER ROLE [watchers] ADD MEMBER [o'app]; GRANT VIEW SERVER STATE TO [watchers]; DENY ALTER ANY DATABASE TO [o'app]
GO
CREATE CREDENTIAL [blobs] WITH IDENTITY = N'SHARED ACCESS SIGNATURE', SECRET = N'x'
GO
EXEC sp_addlinkedserver @server = N'REPORT]S', @srvproduct = N'', @provider = N'MSOLEDBSQL', @datasrc = N'reports:1433'
GO
EXEC sp_serveroption N'REPORT]S', N'rpc out', N'true'
GO
EXEC sp_addlinkedsrvlogin N'REPORT]S', N'False', N'o''app', N'reader', N'secret'
GO
EXEC msdb.dbo.sp_add_operator @name = N'On call', @email_address = N'dba@octopus.example', @pager_days = 127
GO
EXEC msdb.dbo.sp_add_category @class = 'JOB', @type = 'LOCAL', @name = N'Octopus'
GO
EXEC msdb.dbo.sp_add_job @job_name = N'Log every 15''', @enabled = 1, @category_name = N'Octopus', @owner_login_name = N'o''app', @notify_level_email = 2, @notify_email_operator_name = N'On call'
GO
DECLARE @command nvarchar(max) = CAST(N'BACKUP LOG x' AS nvarchar(max)) + NCHAR(13) + NCHAR(10) + N'GO' + NCHAR(13) + NCHAR(10) + REPLICATE(N'y', 2500) + REPLICATE(N'z', 2500);
EXEC msdb.dbo.sp_add_jobstep @job_name = N'Log every 15''', @step_name = N'log', @command = @command, @database_name = N'master', @on_fail_action = 3
EXEC msdb.dbo.sp_add_jobstep @job_name = N'Log every 15''', @step_name = N'copy', @subsystem = N'CmdExec', @command = N'robocopy a b'
EXEC msdb.dbo.sp_add_jobschedule @job_name = N'Log every 15''', @name = N'quarterly', @freq_type = 4, @freq_interval = 1, @freq_subday_type = 4, @freq_subday_interval = 15
EXEC msdb.dbo.sp_add_jobserver @job_name = N'Log every 15'''
GO
EXEC sp_configure 'backup compression default', 1; RECONFIGURE
GO
EXEC sp_configure 'show advanced options', 1; RECONFIGURE
GO
EXEC sp_configure 'max degree of parallelism', 4; RECONFIGURE
GO
EXEC sp_configure 'show advanced options', 0; RECONFIGURE
GO
CREATE ENDPOINT [Mirror] STATE = STARTED AS TCP (LISTENER_PORT = 5022, LISTENER_IP = ALL) FOR DATABASE_MIRRORING (ROLE = PARTNER, AUTHENTICATION = WINDOWS NEGOTIATE, ENCRYPTION = REQUIRED ALGORITHM AES)
GO
INSERT INTO msdb.dbo.sysalerts (name, message_id, severity, enabled) VALUES (N'Severity 20', 0, 20, 1)";

fn names(list: &Value, what: &str) -> Vec<String> {
    let all = list.as_array().unwrap().iter().filter(|one| one["what"] == what);
    all.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// The script of a server with everything, and where a second server finds it.
async fn scripted(source: &World, target: &World) -> Value {
    source.run("master", MADE).await;
    let saved = source.outputs(&ServerObjects, json!({ "to": "backups" })).await.unwrap();
    let path = saved["artifact"]["path"].as_str().unwrap();
    let place = target.dir.path().join("store").join(path);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::copy(source.dir.path().join("store").join(path), place).unwrap();
    saved
}

fn from(saved: &Value, more: Value) -> Value {
    let mut with = json!({
        "from": "backups",
        "script": saved["artifact"]["path"],
        "sha256": saved["artifact"]["sha256"],
    });
    for (key, value) in more.as_object().unwrap() {
        with[key] = value.clone();
    }
    with
}

const ALL: [&str; 9] = [
    "logins",
    "roles",
    "permissions",
    "credentials",
    "linked_servers",
    "operators",
    "jobs",
    "configuration",
    "endpoints",
];

#[tokio::test(flavor = "multi_thread")]
async fn all_comes_back_on_another_server() {
    let (source, target) = (World::practice().await, World::practice().await);
    let saved = scripted(&source, &target).await;
    let text = std::fs::read_to_string(
        source.dir.path().join("store").join(saved["artifact"]["path"].as_str().unwrap()),
    )
    .unwrap();
    assert!(text.contains("WITH PASSWORD = 0x0200") && text.contains(" HASHED, SID = 0x"), "{text}");
    assert!(!text.contains("Pier-22x") && !saved.to_string().contains("0x0200"), "{saved}");
    assert_eq!(saved["left_out"], json!([{ "what": "alerts of SQL Server Agent", "count": 1 }]));
    assert_eq!(names(&saved["by_hand"], "credential"), ["blobs"]);
    assert_eq!(names(&saved["by_hand"], "linked login"), ["o'app at REPORT]S"]);

    let made = target.outputs(&RestoreObjects, from(&saved, json!({ "parts": ALL }))).await.unwrap();
    assert_eq!(names(&made["made"], "login"), ["o'app", "old"]);
    assert_eq!(names(&made["made"], "member"), ["o'app of watchers"]);
    assert_eq!(names(&made["made"], "job"), ["Log every 15'"]);
    assert_eq!(names(&made["made"], "endpoint"), ["Mirror"]);
    assert_eq!(
        names(&made["made"], "option"),
        ["backup compression default = 1", "max degree of parallelism = 4"]
    );
    assert_eq!((&made["differing"], &made["waiting"]), (&json!([]), &json!([])));
    assert_eq!(names(&made["by_hand"], "credential"), ["blobs"]);

    // The job is the same to the letter and does not run; the login has its SID and its password.
    let command = "SELECT command FROM msdb.dbo.sysjobsteps WHERE step_id = 1";
    assert_eq!(source.one("msdb", command).await, target.one("msdb", command).await);
    assert_eq!(target.one("msdb", "SELECT enabled FROM msdb.dbo.sysjobs").await, json!(0));
    let sid = "SELECT sid FROM sys.server_principals WHERE name = N'o''app'";
    assert_eq!(source.one("master", sid).await, target.one("master", sid).await);
    let target = target.set("user", json!("o'app")).set("password", json!("Pier-22x"));
    assert_eq!(target.one("master", "SELECT SUSER_SNAME() AS name").await, json!("o'app"));
    let target = target.set("user", json!("drydock")).set("password", json!("Harbour-7"));

    // A second time there is nothing to do, and a script of the copy is the same but for its head.
    let again = target.outputs(&RestoreObjects, from(&saved, json!({ "parts": ALL }))).await.unwrap();
    assert_eq!((&again["made"], &again["differing"]), (&json!([]), &json!([])));
    let enabled = from(&saved, json!({ "enable_jobs": true }));
    let enabled = target.outputs(&RestoreObjects, enabled).await.unwrap();
    assert_eq!(names(&enabled["made"], "enabled job"), ["Log every 15'"]);
    let copy = target.outputs(&ServerObjects, json!({ "to": "backups" })).await.unwrap();
    let copy = std::fs::read_to_string(
        target.dir.path().join("store").join(copy["artifact"]["path"].as_str().unwrap()),
    )
    .unwrap();
    let body = |text: &str| -> Vec<String> {
        // The login with a password of its own could not be made.
        let lines = text.lines().filter(|line| !line.starts_with("-- ") && *line != "GO");
        lines.map(str::to_owned).collect()
    };
    let (body, copied) = (body(&text), body(&copy));
    let differs = body.iter().zip(&copied).find(|(one, other)| one != other);
    assert_eq!((differs, body.len()), (None, copied.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_runs_as_it_stands_and_twice() {
    let (source, target) = (World::practice().await, World::practice().await);
    let saved = scripted(&source, &target).await;
    let path = source.dir.path().join("store").join(saved["artifact"]["path"].as_str().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    target.run("master", &text).await;
    assert_eq!(target.one("msdb", "SELECT enabled FROM msdb.dbo.sysjobs").await, json!(1));
    target.run("master", &text).await;
    let with = from(&saved, json!({ "parts": ALL, "enable_jobs": true }));
    let found = target.outputs(&RestoreObjects, with).await.unwrap();
    assert_eq!(
        (&found["made"], &found["differing"], &found["waiting"]),
        (&json!([]), &json!([]), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_otherwise_is_told_and_left() {
    let (source, target) = (World::practice().await, World::practice().await);
    let saved = scripted(&source, &target).await;
    target.run("master", "CREATE LOGIN [o'app] WITH PASSWORD = N'Other-11'").await;
    let before = target.one("master", "SELECT sid FROM sys.server_principals WHERE name = N'o''app'").await;
    let refused = from(&saved, json!({ "where_different": "refuse" }));
    let error = target.outputs(&RestoreObjects, refused).await.unwrap_err();
    assert!(error.code == "objects.different" && error.message.contains("login o'app"), "{error}");
    assert_eq!(target.done("create login old"), 0);
    let made = target.outputs(&RestoreObjects, from(&saved, json!({}))).await.unwrap();
    assert_eq!(names(&made["differing"], "login"), ["o'app"]);
    assert_eq!(names(&made["made"], "login"), ["old"]);
    assert_eq!(
        target.one("master", "SELECT sid FROM sys.server_principals WHERE name = N'o''app'").await,
        before
    );
    // The machine's own are brought back where they are named.
    assert_eq!(names(&made["made"], "endpoint"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_made_keeps_no_other_back() {
    let (source, target) = (World::practice().await, World::practice().await);
    let saved = scripted(&source, &target).await;
    // Without its operator the job cannot be.
    let some = from(&saved, json!({ "parts": ["logins", "jobs", "linked_servers"] }));
    let error = target.outputs(&RestoreObjects, some.clone()).await.unwrap_err();
    assert_eq!(error.code, "objects.failed");
    assert!(error.message.starts_with("1 of the objects could not be made: job Log every 15'"), "{error}");
    assert_eq!(target.one("msdb", "SELECT COUNT(*) AS n FROM msdb.dbo.sysjobs").await, json!(0));
    assert_eq!(target.done("create login *"), 2);
    let rest = from(&saved, json!({ "parts": ["logins", "operators", "jobs", "linked_servers"] }));
    let made = target.outputs(&RestoreObjects, rest).await.unwrap();
    assert_eq!(names(&made["made"], "job"), ["Log every 15'"]);
    assert_eq!(target.done("create login *"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_a_login_by_hand_is_by_hand() {
    let (source, target) = (World::practice().await, World::practice().await);
    let local =
        source.one("master", "SELECT CAST(SERVERPROPERTY(N'MachineName') AS nvarchar(128)) AS name").await;
    let local = format!("{}\\dba", local.as_str().unwrap());
    let made = format!(
        "CREATE LOGIN [{local}] FROM WINDOWS; ALTER SERVER ROLE sysadmin ADD MEMBER [{local}]; GRANT VIEW SERVER STATE TO [{local}]"
    );
    source.run("master", &made).await;
    let job = format!("EXEC dbo.sp_add_job @job_name = N'Nightly', @owner_login_name = N'{local}'");
    source.run("msdb", &job).await;
    let saved = scripted(&source, &target).await;
    let found = target.outputs(&RestoreObjects, from(&saved, json!({ "enable_jobs": true }))).await.unwrap();
    assert_eq!(names(&found["by_hand"], "login"), [local.as_str()]);
    assert_eq!(names(&found["by_hand"], "job"), ["Nightly"]);
    assert_eq!(names(&found["by_hand"], "enabled job"), ["Nightly"]);
    assert_eq!(names(&found["by_hand"], "member"), [format!("{local} of sysadmin")]);
    assert_eq!(names(&found["by_hand"], "permission"), [format!("GRANT VIEW SERVER STATE TO [{local}]")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_database_waits_for_its_database() {
    let (source, target) = (World::practice().await, World::practice().await);
    source.run("master", "CREATE DATABASE [Octopus]\nGO\nCREATE LOGIN [app] WITH PASSWORD = N'Pier-22x', DEFAULT_DATABASE = [Octopus]").await;
    let saved = scripted(&source, &target).await;
    let made = target.outputs(&RestoreObjects, from(&saved, json!({}))).await.unwrap();
    assert_eq!(names(&made["waiting"], "default database"), ["Octopus of app"]);
    target.run("master", "CREATE DATABASE [Octopus]").await;
    let made = target.outputs(&RestoreObjects, from(&saved, json!({}))).await.unwrap();
    assert_eq!(
        (names(&made["made"], "default database"), &made["waiting"]),
        (vec!["Octopus of app".to_owned()], &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_out() {
    let rule = r#"[{ "server": "sqlserver", "op": "create login old", "do": "hold" }]"#;
    let (source, target) = (World::practice().await, World::with_faults(rule).await);
    let saved = scripted(&source, &target).await;
    let with = from(&saved, json!({ "parts": ["logins", "roles"] }));
    let (notes, found) = target.crashed(&RestoreObjects, with.clone()).await;
    let Reconciled::Partly(progress) = found else { panic!("{found:?}") };
    assert_eq!(progress, json!({ "left": 2 }));
    let made = target.again(&RestoreObjects, with.clone(), notes.clone(), Some(progress)).await.unwrap();
    assert_eq!(names(&made["made"], "login"), ["o'app", "old"]);
    let Reconciled::Done(found) = target.settled(&RestoreObjects, with, notes).await else {
        panic!("not done")
    };
    assert_eq!(found, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_was_written_is_found_again() {
    let world = World::practice().await;
    let host = world.host("r1/step/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let Ok(Ended::Outputs(outputs)) =
        drydock_step::test_host::execute(&ServerObjects, &ctx, json!({ "to": "backups" })).await
    else {
        panic!("it ended badly")
    };
    let found = world.settled(&ServerObjects, json!({ "to": "backups" }), host.notes()).await;
    assert_eq!(found, Reconciled::Done(outputs.clone()));
    let wrong = from(&outputs, json!({ "sha256": "00" }));
    let error = world.outputs(&RestoreObjects, wrong).await.unwrap_err();
    assert!(error.code == "objects.script" && error.message.contains("expected 00"), "{error}");
    assert_eq!(Kind::shape(&RestoreObjects).name, "sqlserver.restore_objects");
}
