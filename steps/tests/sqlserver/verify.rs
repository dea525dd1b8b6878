//! `sqlserver.verify`: backups that are sound, cut, replaced; databases that are whole, and damaged ones.

use drydock_step::test_host::given;
use drydock_step::{Ended, Kind};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::verify::Verify;
use serde_json::{Value, json};

use crate::world::{World, octopus};

async fn taken(world: &World, step: &str, kind: &str) -> Value {
    let ctx = world.host(&format!("r1/{step}/1"), Vec::new()).ctx(Some("t"));
    let with = json!({ "database": "Octopus", "type": kind });
    match Backup.execute(&ctx, given(with), None).await.unwrap() {
        Ended::Outputs(outputs) => outputs,
        waits => panic!("{waits:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_read_and_compared_set_by_set() {
    let world = World::practice().await;
    octopus(&world).await;
    let (full, log) = (taken(&world, "full", "full").await, taken(&world, "log", "log").await);
    let found = world.outputs(&Verify, json!({ "chain": [full, log] })).await.unwrap();
    assert_eq!((&found["ok"], found["sets"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(found["sets"][1]["differences"], json!([]));
    // A bad file hides nothing of the next.
    let file = world.dir.path().join("store").join(full["artifacts"][0].as_str().unwrap());
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = world.outputs(&Verify, json!({ "chain": [full, log] })).await.unwrap_err();
    assert_eq!(error.code, "verify.unusable");
    assert!(error.message.starts_with("1 of 2 sets cannot be used: the full backup"), "{error}");
    assert!(
        error.message.contains("error 3203") && error.help.unwrap().contains("another copy"),
        "{}",
        error.message
    );
    let told = world.outputs(&Verify, json!({ "chain": [full, log], "on_damage": "report" })).await.unwrap();
    assert_eq!(
        (&told["ok"], &told["sets"][0]["ok"], &told["sets"][1]["ok"]),
        (&json!(false), &json!(false), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_is_told_field_by_field() {
    let world = World::practice().await;
    octopus(&world).await;
    let (first, second) = (taken(&world, "one", "full").await, taken(&world, "two", "full").await);
    let store = world.dir.path().join("store");
    let path = |of: &Value| store.join(of["artifacts"][0].as_str().unwrap());
    std::fs::copy(path(&second), path(&first)).unwrap();
    let error = world.outputs(&Verify, json!({ "chain": [first] })).await.unwrap_err();
    assert_eq!(error.code, "verify.differs");
    let told = world.outputs(&Verify, json!({ "chain": [first], "on_damage": "report" })).await.unwrap();
    let lines = told["sets"][0]["differences"].to_string();
    for field in ["`backup_set_guid`", "`first_lsn`", "`last_lsn`", "`checkpoint_lsn`"] {
        assert!(lines.contains(field), "no {field} in {lines}");
    }
    let one = json!({ "media": second["media"], "expected": second["set"] });
    assert_eq!(world.outputs(&Verify, one).await.unwrap()["ok"], true);
    let wrong = json!({ "media": second["media"], "expected": { "name": "another" } });
    let error = world.outputs(&Verify, wrong).await.unwrap_err();
    assert!(
        error
            .message
            .contains("`name` is \"drydock r1/two/1\" in the file's header and \"another\" by the record"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_another_position_or_a_file_that_is_gone_is_named() {
    let world = World::practice().await;
    octopus(&world).await;
    let full = taken(&world, "full", "full").await;
    let error = world.outputs(&Verify, json!({ "media": full["media"], "position": 2 })).await.unwrap_err();
    assert!(
        error.code == "verify.unusable" && error.message.contains("no backup set at position 2"),
        "{error}"
    );
    let error = world.outputs(&Verify, json!({ "media": ["sql/absent.bak"] })).await.unwrap_err();
    assert!(error.message.contains("error 3201"), "{error}");
    let error = world.outputs(&Verify, json!({ "media": ["elsewhere/x.bak"] })).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.unseen");
    let mut foreign = full["backup"].clone();
    foreign["server"] = json!("SQL99");
    let error = world.outputs(&Verify, json!({ "chain": [foreign] })).await.unwrap_err();
    assert!(
        error.code == "sqlserver.unseen" && error.message.contains("lies on media of SQL99 alone"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_a_database_is_told_page_by_page() {
    let world = World::practice().await;
    octopus(&world).await;
    let check = json!({ "checkdb": { "database": "Octopus" } });
    let found = world.outputs(&Verify, check.clone()).await.unwrap();
    assert_eq!(found["checkdb"], json!({ "database": "Octopus", "ok": true, "findings": [] }));
    world.run("master", "DBCC WRITEPAGE ('Octopus', 1, 55, 0, 1, 0x00, 1)").await;
    let error = world.outputs(&Verify, check.clone()).await.unwrap_err();
    assert_eq!(error.code, "verify.damaged");
    assert!(
        error.message.contains("DBCC CHECKDB found damage in Octopus: error 8928 on page (1:55): "),
        "{error}"
    );
    let mut report = check;
    report["on_damage"] = json!("report");
    let found = world.outputs(&Verify, report).await.unwrap();
    let findings = found["checkdb"]["findings"].as_array().unwrap();
    let numbers: Vec<_> = findings.iter().map(|finding| finding["number"].as_i64().unwrap()).collect();
    assert_eq!(
        (numbers, &findings[0]["page"], &findings[0]["file"]),
        (vec![8928, 8939], &json!(55), &json!(1))
    );
    assert_eq!(findings[0]["repair"], "repair_allow_data_loss");
    let error = world.outputs(&Verify, json!({ "checkdb": { "database": "Elsewhere" } })).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.911");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_set_is_not_verified_without_its_certificate() {
    let world = World::practice().await;
    octopus(&world).await;
    world
        .run(
            "master",
            "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'\nGO\nCREATE CERTIFICATE backups WITH SUBJECT = 'Backups'",
        )
        .await;
    let with = json!({ "database": "Octopus", "type": "full", "encryption": { "certificate": "backups" } });
    let full = world.outputs(&Backup, with).await.unwrap();
    assert_eq!(world.outputs(&Verify, json!({ "chain": [full] })).await.unwrap()["ok"], true);
    world.run("master", "DROP CERTIFICATE backups").await;
    let error = world.outputs(&Verify, json!({ "chain": [full] })).await.unwrap_err();
    assert!(error.code == "verify.unusable" && error.message.contains("error 33111"), "{error}");
    assert!(error.help.unwrap().contains("sqlserver.certificate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_is_stopped_and_its_connection_is_never_used_again() {
    let world = World::with_faults(r#"[{"op": "restore verifyonly", "do": "slow", "ms": 600000}]"#).await;
    octopus(&world).await;
    let full = taken(&world, "full", "full").await;
    let with = json!({ "chain": [full] });
    let host = world.host("r1/step/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let running = "SELECT COUNT(*) FROM sys.dm_exec_requests AS r JOIN sys.dm_exec_sessions AS s ON s.session_id = r.session_id \
                   WHERE s.program_name = N'drydock r1/step/1' AND r.command LIKE N'RESTORE%'";
    let cancelling = async {
        while world.one("master", running).await != 1 {
            tokio::task::yield_now().await;
        }
        Verify.cancel(&ctx, given(with.clone())).await.unwrap();
        host.cancel();
    };
    let verifying = async { Verify.execute(&ctx, given(with.clone()), None).await };
    let (ended, ()) = tokio::join!(verifying, cancelling);
    let code = ended.unwrap_err().code;
    assert!(["cancelled", "sqlserver.596"].contains(&code.as_str()), "{code}");
    while world.one("master", running).await != 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_answer_nobody_waited_for_gives_no_other() {
    let world = World::practice().await;
    let connection = world.connection().await;
    let waiting = connection.script().unwrap().run_script("master", "WAITFOR DELAY '00:10:00'");
    let begun = async {
        let is_there = "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE command = N'WAITFOR'";
        while world.one("master", is_there).await != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = waiting => panic!("it ended: {ended:?}"),
        () = begun => {}
    }
    let error = connection.ping().await.unwrap_err();
    assert!(
        error.code == "sqlserver.lost" && error.message.contains("the connection was lost before"),
        "{error}"
    );
    // The server notices that its client is gone, and stops.
    while world.one("master", "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE command = N'WAITFOR'").await
        != 0
    {
        tokio::task::yield_now().await;
    }
}
