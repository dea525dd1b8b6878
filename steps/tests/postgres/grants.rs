//! The rights that kinds need, as `drydock grants` prints them: given twice by a superuser, they are what a role needs that is none.

use std::process::Stdio;
use std::sync::Arc;

use drydock_step::test_host::{TestHost, execute, given};
use drydock_step::{Given, Grant, Kind, TargetKind};
use drydock_steps::postgres::count::Count;
use drydock_steps::postgres::query::Query;
use drydock_steps::postgres::target::Postgres as Target;
use drydock_steps::postgres::verify::Verify;
use serde_json::{Value, json};

use crate::server::{BOTH, PASSWORD, Postgres, as_user};
use crate::world::database;

/// Runs a script in psql, as its first line says that it is to be.
fn psql(server: &Postgres, script: &str) {
    let mut command = as_user(&server.bin().join("psql"));
    command.args(["-X", "-w", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres", "-p"]);
    command.arg(server.port.to_string()).args(["-d", "postgres", "-c"]).arg("SELECT 1").current_dir("/");
    command.env("PGPASSWORD", PASSWORD).stdin(Stdio::null());
    // `-c` once for each line: psql takes no pipe from a test that does not wait for it.
    for line in script.lines().filter(|line| !line.starts_with("--")) {
        command.arg("-c").arg(line);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_needs_what_the_script_gives() {
    for major in BOTH {
        let server = database(
            major,
            "granted",
            "REVOKE CONNECT ON DATABASE granted FROM PUBLIC; CREATE TABLE t (id int)",
        )
        .await;
        server.run_script("granted", "CREATE ROLE \"o'dock\" LOGIN PASSWORD 'r'").await;
        let steps: [(&dyn Kind, Value); 3] = [
            (&Query, json!({ "database": "granted", "sql": "SELECT id FROM t" })),
            (&Count, json!({ "database": "granted", "hash": true })),
            (&Verify, json!({ "database": "granted", "amcheck": true })),
        ];
        let settings = server.settings_with(json!({ "user": "o'dock", "password": "r" }));
        let dir = tempfile::tempdir().unwrap();
        let ctx = Arc::new(TestHost::new(dir.path()).server("t", Arc::new(Target), settings)).ctx(Some("t"));
        let mut grants: Vec<Grant> = Vec::new();
        for (kind, with) in &steps {
            let error = execute(*kind, &ctx, with.clone()).await.unwrap_err();
            assert!(error.code == "postgres.42501", "{error}");
            let given = given(with.clone());
            grants.extend(kind.grants(&Given { with: &given.with, fill: None }).unwrap());
        }
        let script = Target.grant_script("o'dock", &grants.iter().collect::<Vec<_>>()).unwrap();
        psql(server, &script);
        psql(server, &script);
        for (kind, with) in &steps {
            execute(*kind, &ctx, with.clone()).await.unwrap();
        }
        let writes = "SELECT has_table_privilege('o''dock', 't', 'INSERT') OR rolsuper FROM pg_roles WHERE rolname = 'o''dock'";
        assert_eq!(server.one("granted", writes).await, json!(false));
    }
}
