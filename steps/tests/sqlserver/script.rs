//! `sqlserver.script`.

use drydock_step::test_host::{execute, given};
use drydock_step::{Kind, Reconciled};
use drydock_steps::sqlserver::script::Script;
use serde_json::{Value, json};

use crate::world::{World, octopus};

const TIDY: &str = "INSERT INTO agents VALUES (3, @name)\nGO\nUPDATE agents SET Name = @name WHERE Id = @id\n\
                    SELECT Id FROM agents WHERE Name = @name ORDER BY Id; SELECT COUNT_BIG(*) AS n FROM agents\nGO\n\
                    DECLARE @own int = 7; SELECT @own AS own\nGO 2\n";

fn tidy() -> Value {
    json!({ "database": "Octopus", "sql": TIDY, "parameters": { "name": "O'Hara", "id": 1 } })
}

fn given_by_tidy() -> Value {
    let own = json!({ "batch": 3, "columns": ["own"], "rows": [{ "own": 7 }] });
    json!({ "batches": 4, "results": [
        { "batch": 2, "columns": ["Id"], "rows": [{ "Id": 1 }, { "Id": 3 }] },
        { "batch": 2, "columns": ["n"], "rows": [{ "n": 3 }] },
        own,
        own,
    ] })
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_run_with_their_values_and_leave_a_record() {
    let world = World::new().await;
    octopus(&world).await;
    let found = world.outputs(&Script, tidy()).await.unwrap();
    assert_eq!(found, given_by_tidy());
    let kept = world.one("Octopus", "SELECT outputs FROM drydock.scripts").await;
    assert_eq!(serde_json::from_str::<Value>(kept.as_str().unwrap()).unwrap(), found);
    assert_eq!(world.one("Octopus", "SELECT Name FROM agents WHERE Id = 1").await, json!("O'Hara"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_done_whole_or_not_at_all() {
    let world = World::new().await;
    octopus(&world).await;
    for (sql, code, words) in [
        (
            "INSERT INTO agents VALUES (3, N'Cy')\nGO\n\nSELECT 1\nSELECT nothing FROM nowhere",
            "sqlserver.208",
            "batch 2 of the script, which begins on line 4: Invalid object name 'nowhere'",
        ),
        (
            "INSERT INTO agents VALUES (3, N'Cy')\nGO\nINSERT INTO agents VALUES (4, N'Di'); ROLLBACK\nGO\nSELECT 1",
            "script.transaction",
            "batch 2, which begins on line 3, ends the transaction that the script runs in",
        ),
        (
            "INSERT INTO agents VALUES (3, N'Cy'); BEGIN TRANSACTION",
            "script.transaction",
            "the script leaves a transaction of its own open",
        ),
        (
            "INSERT INTO agents VALUES (3, N'Cy')\nGO\nALTER DATABASE Octopus SET RECOVERY SIMPLE",
            "script.transaction",
            "batch 2, which begins on line 3, says ALTER DATABASE, which no transaction can hold",
        ),
        ("INSERT INTO agents VALUES (3, N'Cy'); SELECT 1; SELECT 2", "query.rows", "more than 1 rows"),
    ] {
        let with = json!({ "database": "Octopus", "sql": sql, "max_rows": 1 });
        let error = world.outputs(&Script, with).await.unwrap_err();
        assert!(error.code == code && error.message.contains(words), "{error}");
        assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM agents").await, json!(2), "{sql}");
    }
    assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM drydock.scripts").await, json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_may_run_twice_needs_no_transaction() {
    let world = World::new().await;
    octopus(&world).await;
    world.run("Octopus", "DROP TABLE drydock.scripts").await;
    let once = json!({ "database": "Octopus", "sql": "SELECT 1" });
    let error = world.outputs(&Script, once.clone()).await.unwrap_err();
    assert_eq!(error.code, "script.table");
    let found = Script.preflight(&world.ctx(), given(once)).await.unwrap().findings;
    assert_eq!(
        found.iter().map(|f| (f.code.as_str(), f.fatal)).collect::<Vec<_>>(),
        [("script.table", true)]
    );
    let sql = "ALTER DATABASE Octopus SET RECOVERY SIMPLE\nGO\nUSE master\nGO\nSELECT DB_NAME() AS here";
    let with = json!({ "database": "Octopus", "sql": sql, "idempotent": true });
    let found = world.outputs(&Script, with).await.unwrap();
    assert_eq!(
        found["results"],
        json!([{ "batch": 3, "columns": ["here"], "rows": [{ "here": "master" }] }])
    );
    let open =
        json!({ "database": "Octopus", "sql": "BEGIN TRANSACTION; DELETE FROM agents", "idempotent": true });
    let error = world.outputs(&Script, open).await.unwrap_err();
    assert!(error.code == "script.transaction" && error.message.contains("would hold its locks"), "{error}");
    assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM agents").await, json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_leads_no_later_question_astray() {
    let world = World::new().await;
    octopus(&world).await;
    let connection = world.connection().await;
    connection.script().unwrap().run_script("Octopus", "USE master").await.unwrap();
    let found = connection.rows().unwrap().rows(Some("Octopus"), "SELECT DB_NAME() AS here").await.unwrap();
    assert_eq!(found.rows[0]["here"], json!("Octopus"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_whose_answer_was_lost_is_known_by_its_record() {
    let world = World::with_faults(r#"[{"op": "commit", "attempt": "r1/step/1", "do": "hold"}]"#).await;
    octopus(&world).await;
    let (notes, found) = world.crashed(&Script, tidy()).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(found, Reconciled::Done(given_by_tidy()));
    assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM agents").await, json!(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_was_cut_off_has_done_nothing() {
    let world = World::with_faults(r#"[{"op": "commit", "attempt": "r1/step/1", "do": "cut_before"}]"#).await;
    octopus(&world).await;
    let host = world.host("r1/step/1", Vec::new());
    let error = execute(&Script, &host.ctx(Some("t")), tidy()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.unknown), ("sqlserver.lost", true), "{error}");
    assert_eq!(world.settled(&Script, tidy(), host.notes()).await, Reconciled::NotDone);
    assert_eq!(world.one("Octopus", "SELECT COUNT_BIG(*) FROM agents").await, json!(2));
    assert_eq!(world.again(&Script, tidy(), host.notes(), None).await.unwrap(), given_by_tidy());
}
