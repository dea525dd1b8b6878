//! How a server is reached: roles, hosts, TLS by `sslmode`, sockets, and what is told when it is not.

use serde_json::{Value, json};

use crate::server::{BOTH, Major, Options, Postgres, connected};
use crate::world::shared;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_who_it_is() {
    for major in BOTH {
        let server = shared(major);
        let connection = server.connection().await;
        connection.ping().await.unwrap();
        let identity = connection.identity().await.unwrap();
        assert!(identity.version.starts_with(&format!("{}.", major.number())), "{identity:?}");
        let place = format!("127.0.0.1:{}", server.port);
        assert_eq!(identity.name, place);
        let system = server.one("postgres", "SELECT system_identifier::text FROM pg_control_system()").await;
        assert_eq!(identity.text, format!("postgres {place} (system {})", system.as_str().unwrap()));
        let name = "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        assert_eq!(server.one("postgres", name).await, json!("drydock r1/other/1"));
        let limits = "SELECT current_setting('statement_timeout') || current_setting('idle_in_transaction_session_timeout')";
        server.run_script("postgres", "ALTER ROLE postgres SET statement_timeout = '7s'").await;
        assert_eq!(server.one("postgres", limits).await, json!("00"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_refused_says_so() {
    for major in BOTH {
        for (key, value, code, transient, words) in [
            ("password", json!("wrong-password"), "postgres.28P01", false, "password authentication failed"),
            ("user", json!("nobody"), "postgres.28P01", false, "password authentication failed"),
            (
                "database",
                json!("Elsewhere"),
                "postgres.3D000",
                false,
                "database \"Elsewhere\" does not exist",
            ),
            ("port", json!(1), "postgres.connect", true, "Connection refused"),
            ("host", json!("no-such-host.invalid"), "postgres.connect", true, "failed to lookup address"),
        ] {
            let error = connected(shared(major).settings_with(json!({ key: value }))).await.err().unwrap();
            assert_eq!(
                (error.code.as_str(), error.transient, error.unknown),
                (code, transient, false),
                "{error}"
            );
            assert!(error.message.contains(words) && error.message.starts_with("connecting to "), "{error}");
            assert!(!error.message.contains("wrong-password") && error.help.is_some(), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_host_that_answers_is_asked_and_sockets_are_hosts() {
    let server = shared(Major::Eighteen);
    let hosts = json!(["127.0.0.1:1", format!("127.0.0.1:{}", server.port)]);
    connected(server.settings_with(json!({ "host": hosts }))).await.unwrap().ping().await.unwrap();
    let socket = json!({ "host": server.dir(), "sslmode": "verify-full" });
    connected(server.settings_with(socket)).await.unwrap().ping().await.unwrap();
    let error = connected(server.settings_with(json!({ "host": ["127.0.0.1:1", "127.0.0.1:2"] }))).await;
    let error = error.err().unwrap();
    assert!(error.message.contains("127.0.0.1:1: ") && error.message.contains("127.0.0.1:2: "), "{error}");
    let standby = json!({ "target_session_attrs": "read-only" });
    let error = connected(server.settings_with(standby)).await.err().unwrap();
    assert!(
        error.code == "postgres.connect" && error.message.contains("database is not read only"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sslmode_proves_what_it_says() {
    let options = Options { tls: true, ..Options::default() };
    let hba = Some("hostssl all all 127.0.0.1/32 scram-sha-256\n".to_owned());
    let server = Postgres::start(Major::Fifteen, Options { hba, ..options });
    let ca = server.data().join("server.crt");
    let other = Postgres::start(Major::Fifteen, Options { tls: true, ..Options::default() });
    let stranger = other.data().join("server.crt");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let by_name = "localhost";
    let by_address = "127.0.0.1";
    for (host, mode, ca, expected) in [
        (by_address, "prefer", None, Ok(())),
        (by_address, "require", None, Ok(())),
        (by_address, "require", Some(&ca), Ok(())),
        (by_address, "require", Some(&stranger), Err("BadSignature")),
        (by_address, "verify-ca", Some(&ca), Ok(())),
        (by_name, "verify-ca", Some(&stranger), Err("BadSignature")),
        (by_name, "verify-full", Some(&ca), Ok(())),
        (by_address, "verify-full", Some(&ca), Err("not valid for name")),
        (by_name, "verify-full", None, Err("UnknownIssuer")),
    ] {
        let mut settings = server.settings_with(json!({ "host": host, "sslmode": mode }));
        if let Some(ca) = ca {
            settings.insert("ca".into(), json!(ca));
        }
        match (connected(settings).await, expected) {
            (Ok(connection), Ok(())) => {
                let rows = connection.rows().unwrap().rows(None, encrypted).await.unwrap();
                assert_eq!(rows.rows[0]["ssl"], Value::Bool(true), "{host} {mode}");
            }
            (Err(error), Err(words)) => {
                assert!(error.code == "postgres.tls" && !error.transient, "{mode}: {error}");
                assert!(
                    error.message.contains(words) && error.help.unwrap().contains("`ca`"),
                    "{}",
                    error.message
                );
            }
            (found, expected) => panic!("{host} {mode}: {:?}, {expected:?}", found.err()),
        }
    }
    let error = connected(server.settings_with(json!({ "sslmode": "disable" }))).await.err().unwrap();
    assert!(error.code == "postgres.28000" && error.message.contains("no encryption"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_told_from_a_certificate_that_is_wrong() {
    let server = shared(Major::Eighteen);
    for mode in ["require", "verify-full"] {
        let error = connected(server.settings_with(json!({ "sslmode": mode }))).await.err().unwrap();
        assert_eq!(error.code, "postgres.tls");
        assert!(error.message.ends_with("server does not support TLS"), "{error}");
        assert!(error.help.unwrap().contains("`sslmode: disable`"));
    }
    connected(server.settings_with(json!({ "sslmode": "prefer" }))).await.unwrap().ping().await.unwrap();
}
