//! The target kind and `sqlserver.query`.

use drydock_step::StepError;
use drydock_step::target::LockClass;
use drydock_steps::sqlserver::query::Query;
use serde_json::{Value, json};

use crate::world::{World, octopus};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_who_it_is() {
    let world = World::new().await;
    let connection = world.connection().await;
    connection.ping().await.unwrap();
    let identity = connection.identity().await.unwrap();
    assert!(identity.text.starts_with(&format!("sqlserver {}", identity.name)), "{identity:?}");
    assert!(identity.version.split('.').count() >= 3, "{identity:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_with_their_types() {
    let world = World::new().await;
    octopus(&world).await;
    let with = json!({
        "database": "Octopus",
        "sql": "SELECT Id, Name, CAST(1234567890123456789012345 AS numeric(25,0)) AS lsn, CAST(NULL AS int) AS nothing \
                FROM agents WHERE Name = @name AND Id > @least",
        "parameters": { "name": "Bo's", "least": 1 },
    });
    let found = world.outputs(&Query, with).await.unwrap();
    assert_eq!(found["columns"], json!(["Id", "Name", "lsn", "nothing"]));
    assert_eq!(found["count"], 1);
    let expected = json!({ "Id": 2, "Name": "Bo's", "lsn": "1234567890123456789012345", "nothing": null });
    assert_eq!(found["rows"], json!([expected]));
    let none = json!({ "database": "Octopus", "sql": "SELECT Id FROM agents WHERE Id = 9" });
    assert_eq!(
        world.outputs(&Query, none).await.unwrap(),
        json!({ "rows": [], "columns": ["Id"], "count": 0 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_told_in_full() {
    let world = World::new().await;
    octopus(&world).await;
    for (with, code, words) in [
        (
            json!({ "database": "Octopus", "sql": "SELECT x FROM nowhere" }),
            "sqlserver.208",
            "Invalid object name 'nowhere' (error 208",
        ),
        (
            json!({ "database": "Elsewhere", "sql": "SELECT 1" }),
            "sqlserver.911",
            "Database 'Elsewhere' does not exist",
        ),
        (
            json!({ "database": "Octopus", "sql": "SELECT * FROM agents", "max_rows": 1 }),
            "query.rows",
            "more than 1 rows",
        ),
    ] {
        let error = world.outputs(&Query, with).await.unwrap_err();
        assert!(error.code == code && error.message.contains(words), "{error}");
        assert!(!error.transient && error.help.is_some(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_says_so() {
    let check = |key: &'static str, value: Value, code: &'static str| async move {
        let error: StepError = World::new().await.set(key, value).connected().await.err().unwrap();
        assert_eq!(error.code, code, "{error}");
        assert!(!error.message.contains("wrong-password") && error.help.is_some(), "{error}");
    };
    check("password", json!("wrong-password"), "sqlserver.18456").await;
    check("database", json!("Elsewhere"), "sqlserver.4060").await;
    check("port", json!(1), "sqlserver.connect").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_hold_as_long_as_their_connection() {
    let world = World::new().await;
    let (first, second) = (world.connection().await, world.connection().await);
    first.locks().unwrap().lock("Octopus", LockClass::Log).await.unwrap();
    second.locks().unwrap().lock("octopus", LockClass::Data).await.unwrap();
    let third = world.connection().await;
    let error = third.locks().unwrap().lock("Octopus", LockClass::Exclusive).await.unwrap_err();
    assert!(error.code == "locked" && error.transient, "{error}");
    assert!(error.message.contains("`drydock r1/other/1`"), "{error}");
    third.locks().unwrap().lock("Other", LockClass::Exclusive).await.unwrap();
    drop((first, second));
    // The server notices in its own time that they are gone.
    while third.locks().unwrap().lock("Octopus", LockClass::Exclusive).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_stops_at_its_first_error_and_leaves_nothing_open() {
    let world = World::new().await;
    octopus(&world).await;
    let connection = world.connection().await;
    let script = "INSERT INTO agents VALUES (3, N'Cy')\nGO\nBEGIN TRANSACTION;\nINSERT INTO agents VALUES (4, N'Di');\n\
                  INSERT INTO agents VALUES (1, N'again');\nCOMMIT\nGO\nINSERT INTO agents VALUES (5, N'Ed')";
    let error = connection.script().unwrap().run_script("Octopus", script).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.2627");
    assert!(error.message.starts_with("batch 2 of the script, which begins on line 3: Violation"), "{error}");
    assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM agents").await, json!(3));
    let ran = connection.script().unwrap().run_script("Octopus", "SELECT 1\nGO 2\nSELECT 2").await;
    assert_eq!(ran, Ok(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_not_used_again() {
    let world = World::with_faults(r#"[{"op": "select", "nth": 2, "do": "cut_before"}]"#).await;
    let connection = world.connection().await;
    connection.ping().await.unwrap();
    let error = connection.ping().await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient, error.unknown), ("sqlserver.lost", true, false));
    let error = connection.ping().await.unwrap_err();
    assert!(error.message.ends_with("the connection was lost before"), "{error}");
    world.connection().await.ping().await.unwrap();
}
