//! `postgres.verify`, with the real pg_amcheck.

use std::io::{Seek, SeekFrom, Write};

use drydock_steps::postgres::verify::Verify;
use serde_json::{Value, json};

use crate::server::{BOTH, Major, Options, Postgres};
use crate::world::{database, outputs};

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_vectors_and_their_indexes_are_told() {
    let script = "CREATE EXTENSION vector; CREATE SCHEMA agent_7; \
        CREATE TABLE agent_7.vectors (id bigint, embedding vector(3), half halfvec(2)); \
        INSERT INTO agent_7.vectors SELECT n, ARRAY[n, 1, 0]::vector, ARRAY[1, n]::halfvec FROM generate_series(1, 20) AS n; \
        CREATE INDEX by_cosine ON agent_7.vectors USING hnsw (embedding vector_cosine_ops); \
        CREATE INDEX by_lists ON agent_7.vectors USING ivfflat (embedding vector_l2_ops) WITH (lists = 2)";
    let server = database(Major::Eighteen, "proved", script).await;
    let with = json!({ "database": "proved", "extensions": { "vector": "0.8.6", "plpgsql": "any" } });
    let found = outputs(server, &Verify, with).await.unwrap();
    assert_eq!((&found["invalid_indexes"], &found["collations"]), (&json!([]), &json!([])));
    assert_eq!(found["extensions"][1], json!({ "name": "vector", "version": "0.8.6", "available": "0.8.6" }));
    assert_eq!(found["vector_columns"], 2);
    let columns = found["vectors"].as_array().unwrap();
    assert_eq!((&columns[0]["table"], &columns[0]["type"]), (&json!("agent_7.vectors"), &json!("vector(3)")));
    assert_eq!((&columns[1]["column"], &columns[1]["indexes"]), (&json!("half"), &json!([])));
    let indexes = columns[0]["indexes"].as_array().unwrap();
    let methods: Vec<_> =
        indexes.iter().map(|index| (&index["name"], &index["method"], &index["ready"])).collect();
    assert_eq!(
        methods,
        [
            (&json!("by_cosine"), &json!("hnsw"), &json!(true)),
            (&json!("by_lists"), &json!("ivfflat"), &json!(true))
        ]
    );
    assert!(indexes[0]["definition"].as_str().unwrap().contains("USING hnsw (embedding vector_cosine_ops)"));
    assert!(indexes[0]["bytes"].as_i64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_database_is_named() {
    for major in BOTH {
        let script = "CREATE TABLE t (id int, name text); INSERT INTO t VALUES (1, 'a'), (1, 'b'); \
            CREATE COLLATION own (provider = libc, locale = 'C.utf8'); CREATE TABLE sorted (word text COLLATE own)";
        let server = database(major, "wrong", script).await;
        let verify = async |with: Value| {
            let mut with = with;
            with["database"] = json!("wrong");
            outputs(server, &Verify, with).await
        };
        for (wanted, words) in [
            (json!({ "vector": "any" }), "wrong: vector is not installed"),
            (
                json!({ "plpgsql": "9.9", "hstore": "any" }),
                "wrong: plpgsql is 1.0, not 9.9, hstore is not installed",
            ),
        ] {
            let error = verify(json!({ "extensions": wanted })).await.unwrap_err();
            assert_eq!((error.code.as_str(), error.message.as_str()), ("postgres.extension", words));
            assert!(error.help.unwrap().contains("CREATE EXTENSION"));
        }
        // As a restore on another machine leaves it.
        server
            .run_script("wrong", "UPDATE pg_collation SET collversion = '0.1' WHERE collname = 'own'")
            .await;
        let error = verify(json!({})).await.unwrap_err();
        assert!(error.code == "postgres.collation" && error.message.ends_with("has: own"), "{error}");
        assert!(error.help.unwrap().contains("REINDEX DATABASE"));
        let found = verify(json!({ "collations": false })).await.unwrap();
        assert_eq!(
            (&found["collations"][0]["name"], &found["collations"][0]["built_by"]),
            (&json!("own"), &json!("0.1"))
        );
        let connection = server.connection().await;
        let failed = connection
            .script()
            .unwrap()
            .run_script("wrong", "CREATE UNIQUE INDEX CONCURRENTLY once ON t (id)")
            .await;
        assert_eq!(failed.unwrap_err().code, "postgres.23505");
        let error = verify(json!({ "collations": false })).await.unwrap_err();
        assert_eq!(error.code, "postgres.index");
        assert_eq!(error.message, "wrong has indexes that answer nothing: public.once of t");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_by_the_servers_own_program() {
    for major in BOTH {
        let mut server = Postgres::start(major, Options::default());
        server.run_script("postgres", "CREATE DATABASE checked").await;
        let script = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'x' || n FROM generate_series(1, 2000) AS n";
        server.run_script("checked", script).await;
        let with = json!({ "database": "checked", "amcheck": true, "max_findings": 1 });
        let error = outputs(&server, &Verify, with.clone()).await.unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("postgres.extension", "checked: amcheck is not installed")
        );
        server.run_script("checked", "CREATE EXTENSION amcheck").await;
        let found = outputs(&server, &Verify, with.clone()).await.unwrap();
        let version = found["amcheck"].as_str().unwrap();
        assert!(version.starts_with(&format!("pg_amcheck (PostgreSQL) {}.", major.number())), "{version}");
        let index = server.one("checked", "SELECT pg_relation_filepath('t_pkey')").await;
        server.run_script("checked", "CHECKPOINT").await;
        server.stop();
        let path = server.data().join(index.as_str().unwrap());
        let mut file = std::fs::File::options().write(true).open(path).unwrap();
        // The third page of the index, whose first is about the others.
        file.seek(SeekFrom::Start(2 * 8192 + 4096)).unwrap();
        file.write_all(&[0xff; 512]).unwrap();
        drop(file);
        assert!(server.run(), "{}", server.log());
        let error = outputs(&server, &Verify, with).await.unwrap_err();
        assert_eq!(error.code, "postgres.damaged", "{error}");
        assert!(
            error
                .message
                .starts_with("checked is damaged, 1 finding(s): btree index \"checked.public.t_pkey\""),
            "{error}"
        );
        assert!(error.help.unwrap().contains("REINDEX"));
    }
}
