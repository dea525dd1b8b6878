//! `postgres.query`.

use drydock_steps::postgres::query::Query;
use serde_json::json;

use crate::server::BOTH;
use crate::world::{database, outputs};

const AGENTS: &str =
    "CREATE TABLE agents (id int PRIMARY KEY, name text); INSERT INTO agents VALUES (1, 'Ada'), (2, 'Bo''s')";

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_bound_and_rows_have_their_types() {
    for major in BOTH {
        let server = database(major, "queried", AGENTS).await;
        let with = json!({
            "database": "queried",
            "sql": "SELECT id, name, $3::numeric AS amount, $4::text AS nothing FROM agents WHERE name = $1 AND id > $2",
            "parameters": ["Bo's", 1, "1234567890123456789012345", null],
        });
        let row = json!({ "id": 2, "name": "Bo's", "amount": "1234567890123456789012345", "nothing": null });
        let expected = json!({ "rows": [row], "columns": ["id", "name", "amount", "nothing"], "count": 1 });
        assert_eq!(outputs(server, &Query, with).await.unwrap(), expected);
        for (sql, column) in [("SHOW server_version_num", "server_version_num"), ("VALUES (1)", "column1")] {
            let found = outputs(server, &Query, json!({ "sql": sql })).await.unwrap();
            assert_eq!((&found["columns"], &found["count"]), (&json!([column]), &json!(1)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_told_and_nothing_is_changed() {
    for major in BOTH {
        let server = database(major, "refused", AGENTS).await;
        for (with, code, words) in [
            (json!({ "sql": "SELECT id FROM agents", "max_rows": 1 }), "query.rows", "more than 1 rows"),
            (
                json!({ "sql": "SELECT $1::int", "parameters": [] }),
                "query.parameter",
                "has 1 parameters, and `parameters` gives 0",
            ),
            (
                json!({ "sql": "SELECT $1::int", "parameters": ["x"] }),
                "postgres.22P02",
                "invalid input syntax for type integer: \"x\"",
            ),
            (
                json!({ "sql": "SELECT $1::text; DROP TABLE agents", "parameters": ["x"] }),
                "query.writes",
                "more than one statement",
            ),
            (
                json!({ "sql": "UPDATE agents SET name = $1 RETURNING id", "parameters": ["x"] }),
                "postgres.25006",
                "read-only transaction",
            ),
            (json!({ "sql": "SELECT nextval('s')" }), "postgres.42P01", "relation \"s\" does not exist"),
        ] {
            let mut with = with;
            with["database"] = json!("refused");
            let error = outputs(server, &Query, with.clone()).await.unwrap_err();
            assert!(error.code == code && error.message.contains(words), "{with}: {error:?}");
            assert!(!error.transient && !error.unknown && error.help.is_some(), "{error:?}");
        }
        assert_eq!(server.one("refused", "SELECT count(DISTINCT name) FROM agents").await, json!(2));
        let elsewhere = json!({ "database": "Nowhere", "sql": "SELECT 1" });
        let error = outputs(server, &Query, elsewhere).await.unwrap_err();
        assert!(error.code == "postgres.3D000" && error.help.unwrap().contains("upper and lower case"));
    }
}
