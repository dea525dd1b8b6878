//! The warning with vectors in PostgreSQL: the newest vectors over an older truth, then a point that was made while everybody wrote, then one
//! that was made in a pause.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::flipped::{each_is_noticed, files_of};
use crate::pgvector::{Recovered, STOP, Service, environment, shipped};
use crate::postgres_server::{Major, Options, PASSWORD, Postgres, os_user};
use crate::sql_plans::Practice;
use crate::warning::{Steps, insert};
use crate::world::World;

/// Documents, by what becomes of them.
const STAYS: &str = "00000000-0000-4000-8000-000000000001";
const CHANGES: &str = "00000000-0000-4000-8000-000000000002";
const DELETED: &str = "00000000-0000-4000-8000-000000000003";
const COMES: &str = "00000000-0000-4000-8000-000000000004";
const AFTER: &str = "00000000-0000-4000-8000-000000000005";
const LAST: &str = "00000000-0000-4000-8000-000000000006";
/// Its vector is written before its row is committed.
const EARLY: &str = "00000000-0000-4000-8000-00000000000e";

const AGENT: &str = "one";

/// A truth in practice's SQL Server, vectors in a real PostgreSQL, and their WAL in the store.
struct Port {
    world: World,
    server: Postgres,
    _practice: Practice,
}

fn vector(document: &str) -> String {
    format!(
        "INSERT INTO vectors (agent_id, document_id, version, embedding) VALUES ('{AGENT}', '{document}', 1, '[1,2,3]')"
    )
}

fn row(document: &str) -> String {
    insert(document, AGENT)
}

impl Port {
    fn open() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let world = World::plan("").write("stop.yaml", STOP).write("password", PASSWORD);
        // A recovered server is another user's, who must come by.
        std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o711)).unwrap();
        let practice = Practice::start(&world, "{}");
        let server = Postgres::start(Major::Eighteen, Options::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.run_script("postgres", "CREATE DATABASE octopus"));
        let made = format!(
            "CREATE EXTENSION vector; CREATE TABLE vectors (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, agent_id text NOT NULL, \
             document_id uuid NOT NULL, version int NOT NULL, embedding vector(3) NOT NULL); {}; {}; {}",
            vector(STAYS),
            vector(CHANGES),
            vector(DELETED)
        );
        runtime.block_on(server.run_script("octopus", &made));
        let port = Self { world, server, _practice: practice };
        port.environment("production.yaml", json!({}));
        let truth = format!(
            "DELETE FROM [Octopus_Documents]; DELETE FROM [Octopus_Agents]; INSERT INTO [Octopus_Agents] ([Id], [Name], [Model], [EmbeddingModel], [CreatedAt]) \
             VALUES (N'{AGENT}', N'{AGENT}', N'small', N'embed', SYSUTCDATETIME()); {}; {}; {}",
            row(STAYS),
            row(CHANGES),
            row(DELETED)
        );
        port.run(Steps::default().sql("truth", &truth), "truth", "production.yaml");
        port
    }

    /// An environment whose cluster is reached with these settings.
    fn environment(&self, name: &str, more: Value) {
        let mut settings = self.server.settings_with(more);
        settings.insert("kind".into(), json!("postgres"));
        settings.insert("password".into(), json!({ "file": self.world.path("password") }));
        environment(&self.world, name, &Value::Object(settings), &json!({}));
    }

    /// Runs steps to their end; what they gave.
    fn run(&self, steps: Steps, id: &str, environment: &str) -> Value {
        let mut plan: Value = serde_json::from_str(&steps.plan(id)).unwrap();
        plan["targets"] =
            json!({ "sql": "sqlserver", "pgvector": "postgres", "backups": "artifacts", "api": "http" });
        std::fs::write(self.world.path(&format!("{id}.yaml")), plan.to_string()).unwrap();
        self.world.drydock(&format!("run {id}.yaml -e {environment} --run-id {id}")).with_exit(0);
        let shown = self.world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
        serde_json::from_str::<Value>(&shown).unwrap()["steps"].clone()
    }

    /// Somebody writes vectors past the application.
    fn psql(&self, steps: Steps, name: &str, sql: &str) -> Steps {
        let psql = self.server.bin().join("psql");
        let reached = format!("host=127.0.0.1 port={} user=postgres dbname=octopus", self.server.port);
        let argv = json!([psql, "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, reached]);
        steps.step(name, json!({ "uses": "process.run", "with": { "argv": argv, "env": { "PGPASSWORD": PASSWORD } }, "on_unknown": "redo" }))
    }

    /// A point: what `between` does stands between the restore point and the mark, what `after` does behind the mark.
    fn backup(
        &self,
        id: &str,
        pause: bool,
        before: Steps,
        between: impl FnOnce(Steps) -> Steps,
        after: impl FnOnce(Steps) -> Steps,
    ) -> Value {
        let lease = |steps: Steps, name: &str, asked: Value| {
            if pause { steps.http(name, "api", "POST", "/maintenance", asked) } else { steps }
        };
        let look = |steps: Steps, name: &str| {
            let asked = json!({ "method": "GET", "path": "/maintenance" });
            if pause { steps.then(name, "http.request", "api", asked) } else { steps }
        };
        let count = |steps: Steps, name: &str| {
            steps.then(
                name,
                "postgres.count",
                "pgvector",
                json!({ "database": "octopus", "tables": ["public.vectors"] }),
            )
        };
        let steps = before
            .then("full", "sqlserver.backup", "sql", json!({ "database": "OctopusDB", "type": "full" }))
            .then("base", "postgres.basebackup", "pgvector", json!({ "to": "backups" }))
            .then("open", "point.open", "backups", json!({}));
        // The vector comes before its row.
        let steps = if pause { steps } else { self.psql(steps, "early", &vector(EARLY)) };
        let steps = look(lease(steps, "pause", json!({ "enabled": true, "lease_s": 120 })), "quiet");
        let named = json!({ "name": "{{ steps.open.outputs.mark }}" });
        let steps =
            between(count(steps, "before").then("named", "postgres.restore_point", "pgvector", named));
        let steps = steps.then(
            "mark",
            "sqlserver.mark",
            "sql",
            json!({ "mark": "{{ steps.open.outputs.mark }}",
            "databases": { "octopus": "OctopusDB" }, "rows": ["Octopus_Agents", "Octopus_Documents"] }),
        );
        let steps = lease(look(count(steps, "after"), "still"), "go_on", json!({ "enabled": false }));
        let mut seal = json!({
            "point": "{{ steps.open.outputs }}", "mark": "{{ steps.mark.outputs }}",
            "sqlserver": { "octopus": ["{{ steps.full.outputs }}", "{{ steps.log.outputs }}"] },
            "postgres": { "vectors": { "base": "{{ steps.base.outputs }}", "restore_point": "{{ steps.named.outputs }}",
                "wal": "{{ steps.wal.outputs }}", "counts": ["{{ steps.before.outputs }}", "{{ steps.after.outputs }}"] } },
            "truth": "sql", "derived": "pgvector" });
        if pause {
            seal["pause"] = json!({ "before": "{{ steps.quiet.outputs.json }}", "after": "{{ steps.still.outputs.json }}" });
        }
        let steps = after(steps)
            .then("log", "sqlserver.backup", "sql", json!({ "database": "OctopusDB", "type": "log" }))
            .then("wal", "postgres.wal_range", "backups", json!({ "prefix": "postgres/wal", "base": "{{ steps.base.outputs }}", "to": "{{ steps.named.outputs.lsn }}", "within": "2m" }))
            .then("seal", "point.seal", "backups", seal);
        self.run(steps, id, "production.yaml")
    }

    /// Back to a point, the vectors on a server of their own; what disagrees, before and after it is mended.
    fn restore(&self, point: &Value, id: &str) -> (Value, Value) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _recovered = Recovered { server: &self.server, folder: self.world.path(id) };
        let mut there = json!({ "from": "backups", "base": "{{ steps.point.outputs.postgres.vectors.bases }}",
            "wal": "{{ steps.point.outputs.postgres.vectors.wal.prefix }}", "to": "{{ steps.point.outputs.postgres.vectors.to }}",
            "into": self.world.path(id), "port": port, "listen": "127.0.0.1", "programs": [self.server.bin()] });
        if let Some(user) = os_user() {
            there["os_user"] = json!(user);
        }
        let environment = format!("{id}-environment.yaml");
        self.environment(&environment, json!({ "port": port }));
        let steps = Steps::default()
            .then("point", "point.select", "backups", json!({ "to": point }))
            .then("restore", "sqlserver.restore", "sql", json!({ "database": "OctopusDB", "chain": "{{ steps.point.outputs.sqlserver.octopus }}", "replace": true }))
            .then("recover", "postgres.recover", "pgvector", there)
            .then("promote", "postgres.promote", "pgvector", json!({}))
            .then("agree", "point.reconcile", "backups", reconcile("delete", "delete"))
            .then("again", "point.reconcile", "backups", reconcile("fail", "fail"));
        let restored = self.run(steps, id, &environment);
        (restored["agree"]["outputs"].clone(), restored["again"]["outputs"].clone())
    }
}

fn reconcile(on_orphans: &str, on_stale: &str) -> Value {
    json!({ "truth": "sql", "derived": "pgvector", "database": "OctopusDB", "table": { "database": "octopus", "table": "public.vectors" },
        "on_orphans": on_orphans, "on_stale": on_stale, "on_missing": "list" })
}

fn counts(told: &Value) -> [u64; 4] {
    ["orphans", "stale", "missing", "missing_collections"].map(|name| told["counts"][name].as_u64().unwrap())
}

#[test]
fn vectors_in_postgresql_are_torn_from_an_older_truth_named_and_mended_and_whole_in_a_pause() {
    let port = Port::open();
    let mut wal = port.world.command(&format!(
        "run {} -e production.yaml --run-id wal -p spool={}",
        shipped("pgvector-wal"),
        port.world.path("spool").display()
    ));
    let log = std::fs::File::create(port.world.path("wal.log")).unwrap();
    let mut service = Service(wal.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    for _ in 0..3_000 {
        if port.world.path("artifacts/postgres/wal/streaming.json").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }

    // Created, changed and deleted between restore point and mark, and after the mark.
    let between = |steps: Steps| {
        let steps = steps.sql("delete", &format!("DELETE FROM [Octopus_Documents] WHERE [Id] = '{DELETED}'"));
        let steps =
            port.psql(steps, "forget", &format!("DELETE FROM vectors WHERE document_id = '{DELETED}'"));
        let steps = steps
            .sql("change", &format!("UPDATE [Octopus_Documents] SET [Version] = 2 WHERE [Id] = '{CHANGES}'"));
        let steps = port.psql(
            steps,
            "change_vectors",
            &format!("UPDATE vectors SET version = 2 WHERE document_id = '{CHANGES}'"),
        );
        port.psql(steps.sql("come", &row(COMES)), "come_vectors", &vector(COMES))
    };
    let after = |steps: Steps| {
        let steps = steps.sql("late_row", &row(EARLY)).sql("after_row", &row(AFTER));
        port.psql(steps, "after_vectors", &vector(AFTER))
    };
    let torn = port.backup("torn", false, Steps::default(), between, after);
    let unpaused = torn["seal"]["outputs"]["id"].clone();

    // In a pause, while the application is asked to write.
    let tries = |steps: Steps| {
        steps.then("try", "http.request", "api", json!({ "method": "POST", "path": "/agents", "json": { "name": "zz-try" }, "expect_status": [503] }))
    };
    let sealed = port.backup("paused", true, Steps::default(), tries, |steps| steps);
    let claims = &sealed["seal"]["outputs"]["claims"];
    assert!(claims.as_array().unwrap().contains(&json!("paused")), "{claims}");
    let paused = sealed["seal"]["outputs"]["id"].clone();
    port.run(
        port.psql(Steps::default().sql("last", &row(LAST)), "last_vectors", &vector(LAST)),
        "last",
        "production.yaml",
    );

    // The naive restore: the newest backup of the truth under the newest vectors.
    let chain = json!([sealed["full"]["outputs"], sealed["log"]["outputs"]]);
    let naive = Steps::default()
        .then(
            "restore",
            "sqlserver.restore",
            "sql",
            json!({ "database": "OctopusDB", "chain": chain, "replace": true }),
        )
        .then("agree", "point.reconcile", "backups", reconcile("list", "list"));
    let naive = port.run(naive, "naive", "production.yaml")["agree"]["outputs"].clone();
    assert_eq!(counts(&naive), [1, 0, 0, 0], "{naive}");
    assert_eq!(naive["orphans"][0]["ids"], json!([LAST]), "{naive}");

    // The unpaused point: exactly what the order of its steps lets through, each named and mended.
    let (told, again) = port.restore(&unpaused, "unpaused");
    assert_eq!(counts(&told), [2, 1, 1, 0], "{told}");
    assert_eq!(told["orphans"][0]["ids"], json!([DELETED, EARLY]), "{told}");
    assert_eq!(told["stale"][0]["ids"], json!([{ "id": CHANGES, "vectors": "1", "truth": "2" }]), "{told}");
    assert_eq!(told["missing"][0]["ids"], json!([COMES]), "{told}");
    // What was of an old version was taken out, and is to be indexed again with what never was there.
    assert_eq!(counts(&again), [0, 0, 2, 0], "{again}");
    assert_eq!(again["missing"][0]["ids"], json!([CHANGES, COMES]), "{again}");

    let (told, _) = port.restore(&paused, "from_pause");
    assert_eq!(counts(&told), [0; 4], "{told}");

    // A byte flipped in a base backup, or in WAL, is noticed as one of any other file is.
    let paused = paused.as_str().unwrap();
    let files = files_of(&port.world, "production.yaml", paused);
    let (segments, bases): (Vec<&String>, Vec<&String>) =
        files.iter().filter(|file| file.starts_with("postgres/")).partition(|file| file.contains("/wal/"));
    assert!(bases.len() == 2 && !segments.is_empty(), "{files:?}");
    each_is_noticed(
        &port.world,
        "production.yaml",
        paused,
        bases.into_iter().chain(segments.into_iter().take(1)),
    );

    port.world.drydock("run stop.yaml -e production.yaml --run-id stop").with_exit(0);
    assert_eq!(service.0.wait().unwrap().code(), Some(0), "{}", port.world.text("wal.log"));
}
