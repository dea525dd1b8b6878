//! What a session does: rows by their types, scripts as one transaction, locks, and what becomes of it when the server goes.

use drydock_step::target::LockClass;
use serde_json::json;

use crate::server::{BOTH, Major, Options, Postgres};
use crate::world::{database, shared};

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_with_their_types() {
    for major in BOTH {
        let server = shared(major);
        let connection = server.connection().await;
        let sql = "SELECT 1::int2 AS small, 9223372036854775807 AS big, 1.50::numeric AS amount, 0.1::float8 AS float, 'NaN'::float4 AS nan, \
                   true AS yes, '{\"a\": null}'::jsonb AS doc, '\\x00ff'::bytea AS raw, NULL::int AS nothing, '{1,2}'::int[] AS list, \
                   '2026-11-22 07:19:33.66+01'::timestamptz AS at, 'x' AS at, 'a'::\"char\" AS \"Größe\", 2";
        let found = connection.rows().unwrap().rows(None, sql).await.unwrap();
        let expected = json!({
            "small": 1, "big": i64::MAX, "amount": "1.50", "float": 0.1, "nan": "NaN", "yes": true, "doc": { "a": null },
            "raw": "\\x00ff", "nothing": null, "list": "{1,2}", "at": "2026-11-22T06:19:33.66Z", "at_2": "x", "Größe": "a",
            "column_14": 2,
        });
        assert_eq!(json!(found.rows), json!([expected]));
        let none = connection.rows().unwrap().rows(None, "SELECT 1 AS one WHERE false").await.unwrap();
        assert_eq!((none.columns, none.rows.len()), (vec!["one".to_owned()], 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_is_refused_and_leaves_the_session_as_it_was() {
    for major in BOTH {
        let server = database(major, "reading", "CREATE TABLE t (id int); INSERT INTO t VALUES (1)").await;
        let connection = server.connection().await;
        let rows = connection.rows().unwrap();
        for (sql, code, words) in [
            (
                "DELETE FROM t RETURNING id",
                "postgres.25006",
                "cannot execute DELETE in a read-only transaction",
            ),
            ("DELETE FROM t", "query.writes", "it gives no rows"),
            ("", "query.writes", "it gives no rows"),
            ("COMMIT", "query.writes", "it gives no rows"),
            ("SELECT 1; DELETE FROM t", "query.writes", "it has more than one statement"),
            ("SELECT id INTO u FROM t", "query.writes", "it gives no rows"),
            ("COPY t TO '/tmp/x'", "query.writes", "it gives no rows"),
            (
                "SELECT x FROM t",
                "postgres.42703",
                "column \"x\" does not exist (ERROR, SQLSTATE 42703, line 1, column 8)",
            ),
            ("SELECT 1/0 AS n", "postgres.22012", "the query: division by zero"),
            ("SELECT * FROM nowhere", "postgres.42P01", "relation \"nowhere\" does not exist"),
        ] {
            let error = rows.rows(Some("reading"), sql).await.unwrap_err();
            assert!(error.code == code && error.message.contains(words), "{sql}: {error:?}");
        }
        assert_eq!(server.one("reading", "SELECT count(*) FROM t").await, json!(1));
        let own = rows.rows(None, "SELECT 1/0 AS n").await.unwrap_err();
        assert_eq!(own.detail.as_deref(), Some("SELECT 1/0 AS n"));
        assert_eq!(rows.rows(None, "SELECT 7 AS n").await.unwrap().rows[0]["n"], json!(7));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_one_transaction_and_names_the_statement_that_failed() {
    for major in BOTH {
        let server = database(major, "scripts", "CREATE TABLE t (id int PRIMARY KEY)").await;
        let connection = server.connection().await;
        let script = connection.script().unwrap();
        assert_eq!(
            script.run_script("scripts", "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);").await,
            Ok(2)
        );
        for (text, code, words) in [
            (
                "INSERT INTO t VALUES (3);\nINSERT INTO t VALUES (1)",
                "postgres.23505",
                "statement 2 of the script: duplicate key",
            ),
            (
                "INSERT INTO t VALUES (3);\nINSERT INTO u VALUES (1)",
                "postgres.42P01",
                "statement 2 of the script: relation \"u\" does not exist (ERROR, SQLSTATE 42P01, line 2, column 13)",
            ),
            (
                "INSERT INTO t VALUES (3);\nINSRT",
                "postgres.42601",
                "the script: syntax error at or near \"INSRT\" (ERROR, SQLSTATE 42601, line 2, column 1)",
            ),
            ("SELECT 1; VACUUM t", "postgres.25001", "statement 2 of the script: VACUUM cannot"),
            ("BEGIN; INSERT INTO t VALUES (3)", "script.transaction", "did not end it"),
        ] {
            let error = script.run_script("scripts", text).await.unwrap_err();
            assert!(error.code == code && error.message.contains(words), "{text}: {error}");
            assert!(!error.transient && !error.unknown, "{error:?}");
        }
        assert_eq!(server.one("scripts", "SELECT count(*) FROM t").await, json!(2));
        assert_eq!(script.run_script("scripts", "VACUUM t").await, Ok(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_hold_as_long_as_their_connection() {
    for major in BOTH {
        let server = shared(major);
        let (first, second) = (server.connection().await, server.connection().await);
        first.locks().unwrap().lock("database octopus", LockClass::Log).await.unwrap();
        second.locks().unwrap().lock("database octopus", LockClass::Data).await.unwrap();
        let third = server.connection().await;
        let error = third.locks().unwrap().lock("database octopus", LockClass::Exclusive).await.unwrap_err();
        assert!(error.code == "locked" && error.transient, "{error}");
        assert!(error.message.starts_with("database octopus is locked by another run: backend "), "{error}");
        assert!(error.message.ends_with("`drydock r1/other/1` from 127.0.0.1"), "{error}");
        third.locks().unwrap().lock("database other", LockClass::Exclusive).await.unwrap();
        drop((first, second));
        // The server notices in its own time that they are gone.
        let mut asked = 0;
        while let Err(error) = third.locks().unwrap().lock("database octopus", LockClass::Exclusive).await {
            asked += 1;
            assert!(asked < 10_000, "{error}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_says_why_and_is_not_used_again() {
    let server = shared(Major::Fifteen);
    let connection = server.connection().await;
    let pid = connection.rows().unwrap().rows(None, "SELECT pg_backend_pid() AS pid").await.unwrap();
    let pid = pid.rows[0]["pid"].as_i64().unwrap();
    assert_eq!(
        server.one("postgres", &format!("SELECT pg_terminate_backend({pid}, 5000)")).await,
        json!(true)
    );
    let error = connection.ping().await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.transient, error.unknown),
        ("postgres.57P01", true, false),
        "{error}"
    );
    assert!(error.message.contains("terminating connection due to administrator command"), "{error}");
    let error = connection.ping().await.unwrap_err();
    assert!(
        error.code == "postgres.lost" && error.message.ends_with("the connection was lost before"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_leaves_a_script_unknown() {
    let mut server = Postgres::start(Major::Eighteen, Options::default());
    let connection = server.connection().await;
    let sleeping = tokio::spawn(async move {
        connection
            .script()
            .unwrap()
            .run_script("postgres", "CREATE TABLE t (id int); SELECT pg_sleep(600)")
            .await
    });
    let running = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while server.one("postgres", running).await != json!(1) {
        tokio::task::yield_now().await;
    }
    server.stop();
    let error = sleeping.await.unwrap().unwrap_err();
    assert!(error.unknown && !error.transient, "{error:?}");
    assert!(error.message.starts_with("statement 2 of the script: "), "{error}");
    assert!(server.run(), "{}", server.log());
    let left = "SELECT to_regclass('t') IS NULL AS gone";
    assert_eq!(server.one("postgres", left).await, json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_given_up_is_stopped_at_the_server() {
    let server = shared(Major::Eighteen);
    let connection = server.connection().await;
    let rows = connection.rows().unwrap();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(601) AS slept' AND state = 'active'";
    let seen = async {
        while server.one("postgres", running).await != json!(1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        found = rows.rows(None, "SELECT pg_sleep(601) AS slept") => panic!("{found:?}"),
        () = seen => {}
    }
    let mut asked = 0;
    while server.one("postgres", running).await != json!(0) {
        asked += 1;
        assert!(asked < 10_000, "it still runs");
        tokio::task::yield_now().await;
    }
    let error = rows.rows(None, "SELECT 1 AS n").await.unwrap_err();
    assert!(error.code == "postgres.lost" && error.message.ends_with("was lost before"), "{error}");
}
