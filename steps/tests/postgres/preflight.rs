//! What a preflight finds before anything runs.

use drydock_step::test_host::given;
use drydock_step::{Kind, PreflightFinding};
use drydock_steps::postgres::count::Count;
use drydock_steps::postgres::query::Query;
use drydock_steps::postgres::verify::Verify;
use serde_json::{Value, json};

use crate::server::{BOTH, Postgres};
use crate::world::{database, host};

async fn found(server: &Postgres, kind: &dyn Kind, with: Value) -> Vec<PreflightFinding> {
    let dir = tempfile::tempdir().unwrap();
    let ctx = host(server, dir.path()).ctx(Some("t"));
    kind.preflight(&ctx, given(with)).await.unwrap().findings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_fail_is_found_and_what_would_work_is_not_run() {
    for major in BOTH {
        let server = database(major, "ahead", "CREATE TABLE t (id int); CREATE SEQUENCE s").await;
        for (kind, with, code, words) in [
            (
                &Query as &dyn Kind,
                json!({ "sql": "SELECT x FROM t" }),
                "postgres.42703",
                "column \"x\" does not exist",
            ),
            (&Query, json!({ "sql": "DELETE FROM t" }), "query.writes", "it gives no rows"),
            (&Query, json!({ "sql": "SELECT $1::int" }), "query.parameter", "has 1 parameters"),
            (
                &Query,
                json!({ "sql": "SELECT 1", "database": "none" }),
                "postgres.3D000",
                "\"none\" does not exist",
            ),
            (&Count, json!({ "tables": ["u"] }), "postgres.table", "no table `u`"),
        ] {
            let mut with = with;
            with.as_object_mut().unwrap().entry("database").or_insert(json!("ahead"));
            let findings = found(server, kind, with.clone()).await;
            assert_eq!(findings.len(), 1, "{with}");
            assert!(findings[0].code == code && findings[0].fatal, "{findings:?}");
            assert!(findings[0].message.contains(words) && findings[0].help.is_some(), "{findings:?}");
        }
        for (kind, with) in [
            (&Query as &dyn Kind, json!({ "database": "ahead", "sql": "SELECT nextval('s')" })),
            (&Query, json!({ "database": "ahead", "sql": { "$after": ["a"] } })),
            (&Count, json!({ "database": "ahead", "tables": ["t", "none_*"] })),
            (&Verify, json!({ "database": "ahead", "amcheck": true })),
        ] {
            assert_eq!(found(server, kind, with).await, []);
        }
        assert_eq!(server.one("ahead", "SELECT is_called FROM s").await, json!(false));
    }
}
