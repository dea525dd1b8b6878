//! Who a server is when it does not tell everything, and where several are the same system.

use serde_json::json;

use crate::server::{Major, Options, Postgres, connected};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hides_its_system_identifier_is_known_by_its_place() {
    let server = Postgres::start(Major::Fifteen, Options::default());
    let hide =
        "CREATE ROLE plain LOGIN PASSWORD 'p'; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
    server.run_script("postgres", hide).await;
    let settings = server.settings_with(json!({ "user": "plain", "password": "p" }));
    let identity = connected(settings).await.unwrap().identity().await.unwrap();
    assert_eq!(identity.text, format!("postgres 127.0.0.1:{}", server.port));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_server_is_another_server() {
    let (first, copy) = (
        Postgres::start(Major::Fifteen, Options::default()),
        Postgres::start(Major::Fifteen, Options::default()),
    );
    let system = "SELECT system_identifier::text FROM pg_control_system()";
    assert_eq!(first.one("postgres", system).await, copy.one("postgres", system).await);
    let (first, copy) = (first.connection().await, copy.connection().await);
    assert_ne!(first.identity().await.unwrap().text, copy.identity().await.unwrap().text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_and_it_may_pass() {
    let settings = vec![
        ("max_connections", "4".to_owned()),
        ("superuser_reserved_connections", "1".to_owned()),
        ("max_wal_senders", "0".to_owned()),
    ];
    let server = Postgres::start(Major::Fifteen, Options { settings, ..Options::default() });
    server.run_script("postgres", "CREATE ROLE plain LOGIN PASSWORD 'p'").await;
    let settings = server.settings_with(json!({ "user": "plain", "password": "p" }));
    let mut held = Vec::new();
    let error = loop {
        match connected(settings.clone()).await {
            Ok(connection) => held.push(connection),
            Err(error) => break error,
        }
        assert!(held.len() <= 4, "nothing is ever refused");
    };
    assert!(error.code == "postgres.53300" && error.transient, "{error}");
    assert!(error.help.unwrap().contains("`max_connections`"));
}
