//! `postgres.count`.

use drydock_steps::postgres::count::Count;
use serde_json::{Value, json};

use crate::server::{BOTH, Major};
use crate::world::{database, outputs, shared};

const TABLES: &str = "CREATE SCHEMA agent_7; CREATE SCHEMA \"Agent 8\"; \
    CREATE TABLE vectors (id int, at timestamptz, share float8, note text); CREATE TABLE agent_7.vectors (id int); \
    CREATE TABLE \"Agent 8\".\"it's\" (id int); CREATE VIEW seen AS SELECT * FROM vectors; \
    INSERT INTO vectors SELECT n, to_timestamp(n), n / 7.0, 'x' || n FROM generate_series(1, 100) AS n; \
    INSERT INTO agent_7.vectors VALUES (1), (2); \
    CREATE TABLE parted (id int) PARTITION BY LIST (id); CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (1); \
    INSERT INTO parted VALUES (1)";

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_counted_by_their_patterns() {
    for major in BOTH {
        let server = database(major, "counted", TABLES).await;
        let count = async |tables: Value| {
            outputs(server, &Count, json!({ "database": "counted", "tables": tables })).await
        };
        let rows = |n: u64| json!({ "rows": n });
        let all = json!({
            "rows": 103,
            "tables": { "Agent 8.it's": rows(0), "agent_7.vectors": rows(2), "public.parted": rows(1), "public.vectors": rows(100) },
        });
        assert_eq!(outputs(server, &Count, json!({ "database": "counted" })).await.unwrap(), all);
        assert_eq!(count(json!(["vectors"])).await.unwrap()["rows"], 102);
        let of_agents = count(json!(["agent_*.*", "Agent 8.it's"])).await.unwrap();
        assert_eq!(of_agents["tables"], json!({ "Agent 8.it's": rows(0), "agent_7.vectors": rows(2) }));
        assert_eq!(count(json!(["none_*"])).await.unwrap(), json!({ "rows": 0, "tables": {} }));
        assert_eq!(count(json!([])).await.unwrap(), json!({ "rows": 0, "tables": {} }));
        let error = count(json!(["vectors", "public.Vectors"])).await.unwrap_err();
        assert_eq!(error.code, "postgres.table");
        assert_eq!(error.message, "the database counted has no table `public.Vectors`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_rows_have_equal_digests_on_any_server_and_in_any_order() {
    let digest = async |major: Major, name: &str, more: &str| {
        let server = database(major, name, &format!("{TABLES}; {more}")).await;
        let with = json!({ "database": name, "tables": ["public.vectors", "Agent 8.*"], "hash": true });
        let found = outputs(server, &Count, with).await.unwrap();
        assert_eq!(found["tables"]["Agent 8.it's"], json!({ "rows": 0, "hash": "0" }));
        found["tables"]["public.vectors"]["hash"].as_str().unwrap().to_owned()
    };
    let old = digest(Major::Fifteen, "hashed", "ALTER DATABASE hashed SET timezone = 'Asia/Tokyo'").await;
    let moved =
        "UPDATE vectors SET note = note WHERE id % 2 = 0; ALTER DATABASE hashed SET extra_float_digits = 0";
    assert_eq!(digest(Major::Eighteen, "hashed", moved).await, old);
    let other = digest(Major::Eighteen, "hashed_2", "UPDATE vectors SET note = 'y' WHERE id = 7").await;
    assert_ne!(other, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_role_may_not_see_are_an_error_and_no_smaller_number() {
    for major in BOTH {
        let secret = "CREATE TABLE secret (id int); INSERT INTO secret VALUES (1); ALTER TABLE secret ENABLE ROW LEVEL SECURITY";
        database(major, "hidden", secret).await;
        let server = shared(major);
        server
            .run_script("hidden", "CREATE ROLE reader LOGIN PASSWORD 'r'; GRANT pg_read_all_data TO reader")
            .await;
        let settings = server.settings_with(json!({ "user": "reader", "password": "r" }));
        let host = drydock_step::test_host::TestHost::new("/nowhere");
        let host = host.server("t", std::sync::Arc::new(drydock_steps::postgres::target::Postgres), settings);
        let ctx = std::sync::Arc::new(host).ctx(Some("t"));
        let with = json!({ "database": "hidden" });
        let error = drydock_step::test_host::execute(&Count, &ctx, with).await.unwrap_err();
        assert_eq!(error.code, "postgres.42501", "{error}");
        assert!(
            error.message.starts_with(
                "counting the rows of public.secret: query would be affected by row-level security"
            ),
            "{error}"
        );
    }
}
