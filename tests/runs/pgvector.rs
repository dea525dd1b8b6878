//! The plans of the vectors in PostgreSQL, run in their order against practice servers and a real PostgreSQL: WAL streamed, a point sealed,
//! then back to it beside everything that came later.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres_server::{Major, Options, PASSWORD, Postgres, as_user, os_user};
use crate::sql_plans::Practice;
use crate::world::{World, ended};

/// The agents of the truth.
const AGENTS: &str = "drydock: v1
name: agents
targets: { sql: sqlserver }
steps:
  agents: { uses: sqlserver.query, target: sql, with: { database: OctopusDB, sql: SELECT Id FROM Octopus_Agents ORDER BY Id } }
  documents: { uses: sqlserver.query, target: sql, with: { database: OctopusDB, sql: \"SELECT TOP (50) Id, AgentId, Version FROM Octopus_Documents ORDER BY Id\" } }
outputs: { rows: \"{{ steps.agents.outputs.rows }}\", documents: \"{{ steps.documents.outputs.rows }}\" }
";

/// An agent that comes after the point.
const LATE: &str = "drydock: v1
name: late
targets: { api: http }
steps:
  late: { uses: http.request, target: api, with: { method: POST, path: /agents, json: { name: zz-late } }, on_unknown: redo }
  document:
    uses: http.request
    target: api
    needs: [late]
    with: { method: POST, path: \"/agents/{{ steps.late.outputs.json.id }}/documents\", json: { title: late, text: Late. } }
    on_unknown: redo
outputs: { id: \"{{ steps.late.outputs.json.id }}\", document: \"{{ steps.document.outputs.json.id }}\" }
";

pub(crate) const STOP: &str = "drydock: v1
name: stop
targets: { backups: artifacts }
steps:
  stop: { uses: postgres.wal_stop, with: { to: backups, prefix: postgres/wal } }
";

/// The vectors that are there.
const VECTORS: &str = "drydock: v1\nname: vectors\ntargets: { pgvector: postgres }\nsteps:\n  ask: { uses: postgres.query, target: pgvector, with: { database: octopus, sql: \"SELECT count(*) AS n, max(id) AS last FROM vectors\" } }\noutputs: { row: \"{{ steps.ask.outputs.rows[0] }}\" }\n";

/// The recovered server, which outlives its run; it ends when this is dropped.
pub(crate) struct Recovered<'a> {
    pub(crate) server: &'a Postgres,
    pub(crate) folder: std::path::PathBuf,
}

impl Drop for Recovered<'_> {
    fn drop(&mut self) {
        if self.folder.join("postmaster.pid").exists() {
            let mut stop = as_user(&self.server.bin().join("pg_ctl"));
            stop.arg("-D").arg(&self.folder).args(["-m", "immediate", "-w", "stop"]).current_dir("/");
            let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// A run in the background; it ends when this is dropped.
pub(crate) struct Service(pub(crate) Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn shipped(plan: &str) -> String {
    format!("{}/../plans/octopus/{plan}.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// What a run gives.
pub(crate) fn outputs(world: &World, plan: &str, environment: &str, id: &str, more: &str) -> Value {
    world.drydock(&format!("run {plan} -e {environment} --run-id {id} {more}")).with_exit(0);
    let shown = world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
    serde_json::from_str::<Value>(&shown).unwrap()["outputs"].clone()
}

/// The same, saved as a dry run that asked the servers, and executed as it was reviewed.
fn reviewed(world: &World, plan: &str, environment: &str, id: &str, more: &str) -> Value {
    let save = format!("dry-run {plan} -e {environment} {more} --probe --out {id}.json");
    world.drydock(&save).with_exit(0);
    world.drydock(&format!("run --saved {id}.json --run-id {id}")).with_exit(0);
    let shown = world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
    serde_json::from_str::<Value>(&shown).unwrap()["outputs"].clone()
}

/// The number that the next transaction gets which writes.
const NEXT: &str = "drydock: v1
name: next
targets: { pgvector: postgres }
steps:
  next: { uses: postgres.query, target: pgvector, with: { database: octopus, sql: \"SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next\" } }
outputs: { next: \"{{ steps.next.outputs.rows[0].next }}\" }
";

/// A dry run of a shipped plan that asks the servers writes nothing at PostgreSQL: no transaction gets a number by it. The server itself may
/// give one at any time, so that one try of five must be without.
fn writes_nothing(world: &World, plan: &str) {
    let quiet = (0..5).any(|try_| {
        let next =
            |when: &str| outputs(world, "next.yaml", "production.yaml", &format!("{plan}-{when}-{try_}"), "");
        let before = next("before");
        world.drydock(&format!("dry-run {} -e production.yaml --probe=deep", shipped(plan))).with_exit(0);
        before == next("after")
    });
    assert!(quiet, "the dry run of {plan} writes");
}

/// Writes an environment: that of the practice servers, and the cluster of the vectors at this server with these parameters.
pub(crate) fn environment(world: &World, name: &str, cluster: &Value, params: &Value) {
    let text = world.text("env.yaml");
    let of_practice = "\nparams: { new_point: false, sql_database: OctopusDB }\n";
    assert!(text.contains("targets:\n") && text.contains(of_practice), "{text}");
    let mut params = params.clone();
    params["new_point"] = json!(false);
    let text = text.replace(of_practice, "\n");
    // JSON is YAML.
    let text = text.replace("targets:\n", &format!("targets:\n  pgvector: {cluster}\n"));
    std::fs::write(world.path(name), format!("{text}\nparams: {params}\n")).unwrap();
}

#[test]
fn vectors_in_postgresql_come_back_to_the_point_of_their_agents() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::plan("")
        .write("agents.yaml", AGENTS)
        .write("late.yaml", LATE)
        .write("stop.yaml", STOP)
        .write("next.yaml", NEXT)
        .write("vectors.yaml", VECTORS);
    // A recovered server is another user's, who must come by.
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o711)).unwrap();
    let _practice = Practice::start(&world, "{}");
    let server = Postgres::start(Major::Eighteen, Options::default());
    std::fs::write(world.path("password"), PASSWORD).unwrap();
    let cluster = |more: Value| {
        let mut settings = server.settings_with(more);
        settings.insert("kind".into(), json!("postgres"));
        settings.insert("password".into(), json!({ "file": world.path("password") }));
        Value::Object(settings)
    };
    environment(&world, "production.yaml", &cluster(json!({})), &json!({}));
    let there = outputs(&world, "agents.yaml", "production.yaml", "agents", "");
    let rows = there["rows"].clone();
    let documents = there["documents"].as_array().unwrap();
    assert!(rows.as_array().unwrap().len() > 1 && documents.len() > 10, "{there}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |database: &str, script: &str| runtime.block_on(server.run_script(database, script));
    run("postgres", "CREATE DATABASE octopus");
    let vectors = |from: u32, to: u32, whose: &str| {
        format!(
            "INSERT INTO vectors SELECT n, {whose}, ARRAY(SELECT sin(n * k + k) FROM generate_series(1, 16) AS k)::vector \
             FROM generate_series({from}, {to}) AS n"
        )
    };
    let of = |column: &str| {
        let cells = documents.iter().map(|row| row[column].to_string().replace('"', "'"));
        format!("(ARRAY[{}])[n % {} + 1]", cells.collect::<Vec<_>>().join(", "), documents.len())
    };
    let of_documents = format!("{}, {}::uuid, {}", of("AgentId"), of("Id"), of("Version"));
    run(
        "octopus",
        &format!(
            "CREATE EXTENSION vector; CREATE TABLE vectors \
             (id int PRIMARY KEY, agent_id text NOT NULL, document_id uuid NOT NULL, version int NOT NULL, embedding vector(16) NOT NULL); \
             {}; CREATE INDEX nearest ON vectors USING hnsw (embedding vector_l2_ops)",
            vectors(1, 10_000, &of_documents)
        ),
    );

    let wal = format!(
        "run {} -e production.yaml --run-id wal -p spool={}",
        shipped("pgvector-wal"),
        world.path("spool").display()
    );
    let mut command: Command = world.command(&wal);
    let log = std::fs::File::create(world.path("wal.log")).unwrap();
    let mut service = Service(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    for _ in 0..3_000 {
        if world.path("artifacts/postgres/wal/streaming.json").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let sealed = reviewed(&world, &shipped("pgvector-backup"), "production.yaml", "backup", "");
    let point = sealed["point"].as_str().unwrap();

    // What comes later is in the WAL and in the log, and must not come back.
    let late = outputs(&world, "late.yaml", "production.yaml", "late", "");
    let of_late =
        format!("'{}', '{}'::uuid, 1", late["id"].as_str().unwrap(), late["document"].as_str().unwrap());
    run("octopus", &format!("{}; DELETE FROM vectors WHERE id % 3 = 0", vectors(10_001, 10_400, &of_late)));
    run("octopus", "SELECT pg_switch_wal()");
    // Vectors that were written before the row of their document was committed, which never was.
    let too_early = format!("'{}', gen_random_uuid(), 1", late["id"].as_str().unwrap());
    run("octopus", &vectors(11_001, 11_010, &too_early));
    writes_nothing(&world, "pgvector-backup");
    writes_nothing(&world, "pgvector-log");
    let logged = reviewed(&world, &shipped("pgvector-log"), "production.yaml", "log", "");
    run("octopus", &format!("{}; SELECT pg_switch_wal()", vectors(20_001, 20_100, &of_late)));
    let logged_again = outputs(&world, &shipped("pgvector-log"), "production.yaml", "log2", "");
    assert_ne!(logged["log_point"], logged_again["log_point"]);

    let shown = world.drydock(&format!("points show {point} -e production.yaml")).with_exit(0).stdout;
    for part in [
        "cluster vectors: 18",
        "base backup drydock_",
        "rows of public.vectors: 10000 to 10000",
        "searches by embedding of public.vectors",
        "wal_archived",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let listed = world.drydock("points list -e production.yaml").with_exit(0).stdout;
    assert!(listed.contains("1 cluster"), "{listed}");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let recovered = Recovered { server: &server, folder: world.path("octopus") };
    let mut params = json!({ "into": world.path("octopus"), "port": port, "programs": [server.bin()] });
    params["os_user"] = json!(os_user());
    environment(&world, "drill.yaml", &cluster(json!({ "port": port })), &params);
    let dry = world
        .drydock(&format!("dry-run {} -e drill.yaml -p to={point}", shipped("pgvector-restore")))
        .with_exit(0)
        .stdout;
    assert!(dry.contains("pg_ctl -D ") && dry.contains(&format!("restore point dd_{point}")), "{dry}");
    let restored =
        reviewed(&world, &shipped("pgvector-restore"), "drill.yaml", "restore", "-p to=point:latest");
    assert_eq!(
        (&restored["point"], &restored["vectors"]["promoted"]),
        (&json!(point), &json!(true)),
        "{restored}"
    );
    assert_eq!(restored["vectors"]["timeline"], 2, "{restored}");

    let back = outputs(&world, "agents.yaml", "drill.yaml", "agents2", "")["rows"].clone();
    assert_eq!(back, rows, "the agents of the point, and no later one");
    let row = outputs(&world, "vectors.yaml", "drill.yaml", "vectors", "")["row"].clone();
    assert_eq!((&row["n"], &row["last"]), (&json!(10_000), &json!(10_000)));
    drop(recovered);

    // A log point is for the vectors, too: the first of the two, by its id. To it the whole system fails over.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let recovered = Recovered { server: &server, folder: world.path("octopus2") };
    params["into"] = json!(world.path("octopus2"));
    params["port"] = json!(port);
    environment(&world, "away.yaml", &cluster(json!({ "port": port })), &params);
    let asked = fail_over(&world, logged["log_point"].as_str().unwrap());
    assert_eq!(asked, ["POST /stop", "POST /start", "PUT /records/octopus.example"]);
    let row = outputs(&world, "vectors.yaml", "away.yaml", "vectors2", "")["row"].clone();
    let left = 10_400 - 10_400 / 3;
    assert_eq!(
        (&row["n"], &row["last"]),
        (&json!(left), &json!(10_400)),
        "all until the log point, and none later"
    );
    let shown = world.drydock("runs show away --format json").with_exit(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let consistent = &shown["steps"]["consistent"]["outputs"];
    assert_eq!(
        (&consistent["counts"]["orphans"], &consistent["deleted"]),
        (&json!(10), &json!(10)),
        "{consistent}"
    );
    let price = &shown["steps"]["point"]["outputs"]["price"];
    assert!(price["reindex"][0]["seconds"].as_f64().unwrap() < 60.0, "{price}");

    world.drydock("run stop.yaml -e production.yaml --run-id stop").with_exit(0);
    let status = service.0.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", world.text("wal.log"));
    let told = ended(&mut world.command("runs show wal --format json")).with_exit(0).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(told["outputs"]["segments"].as_u64().unwrap() >= 3, "{told}");
    the_line_goes_on(&world, point);
    drop(recovered);
}

/// The failover to a log point, approved; what its hosts and its names were asked.
fn fail_over(world: &World, to: &str) -> Vec<String> {
    let (url, asked) = crate::log_points::obliging();
    let more = format!(
        "targets:\n  hosts: {{ kind: http, url: \"{url}\" }}\n  dns: {{ kind: http, url: \"{url}\" }}\n"
    );
    std::fs::write(world.path("away.yaml"), world.text("away.yaml").replace("targets:\n", &more)).unwrap();
    // The other SQL Server has no such database, and folders of its own.
    let gone = "drydock: v1\nname: gone\ntargets: { sql: sqlserver }\nsteps:\n  gone: { uses: sqlserver.drop, target: sql, with: { database: OctopusDB } }\n";
    std::fs::write(world.path("gone.yaml"), gone).unwrap();
    world.drydock("run gone.yaml -e away.yaml --run-id gone").with_exit(0);
    let folders = world.path("servers/sqlserver");
    for folder in ["data", "log"] {
        std::fs::create_dir_all(folders.join(folder)).unwrap();
    }
    let run = format!(
        "run {} -e away.yaml --run-id away -p to={to} -p address=other.example -p data_folder={1}/data -p log_folder={1}/log",
        shipped("pgvector-failover"),
        folders.display()
    );
    world.drydock(&run).with_exit(24);
    assert!(asked.lock().unwrap().is_empty(), "nothing is touched before somebody has approved");
    world.drydock("approve away approved --as on-call --reason drill").with_exit(0);
    world.drydock("resume away").with_exit(0);
    asked.lock().unwrap().clone()
}

/// What took over is backed up from there on, in its own line; and one agent comes back from the line before, nobody else touched.
fn the_line_goes_on(world: &World, before: &str) {
    let streams = || {
        let text = world.text("artifacts/postgres/wal/streaming.json");
        serde_json::from_str::<Value>(&text).ok().and_then(|told| told["attempt"].as_str().map(str::to_owned))
    };
    let was = streams();
    let wal = format!(
        "run {} -e away.yaml --run-id wal2 -p spool={}",
        shipped("pgvector-wal"),
        world.path("spool2").display()
    );
    let log = std::fs::File::create(world.path("wal2.log")).unwrap();
    let mut service = Service(world.command(&wal).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    for _ in 0..3_000 {
        if streams() != was {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let sealed = outputs(world, &shipped("pgvector-backup"), "away.yaml", "backup2", "");
    let listed = world.drydock("points list -e away.yaml --format json").with_exit(0).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["current"]),
        (&sealed["point"], &json!(true)),
        "{}",
        world.text("wal2.log")
    );
    let latest = world
        .drydock(&format!("points show {} -e away.yaml --format json", sealed["point"].as_str().unwrap()));
    let latest: Value = serde_json::from_str(&latest.with_exit(0).stdout).unwrap();
    assert_eq!(latest["postgres"]["vectors"]["restore_point"]["timeline"], 2, "{}", latest["postgres"]);

    let agents = outputs(world, "agents.yaml", "away.yaml", "agents3", "");
    // One whose documents are among those that are compared.
    let agent = agents["documents"][0]["AgentId"].as_str().unwrap();
    let sql = format!(
        "DELETE FROM [Octopus_Documents] WHERE [AgentId] = '{agent}'; DELETE FROM [Octopus_Episodes] WHERE [AgentId] = '{agent}'"
    );
    let lost = json!({ "uses": "sqlserver.script", "target": "sql", "with": { "database": "OctopusDB", "sql": sql } });
    // JSON is YAML.
    let lost = json!({ "drydock": "v1", "name": "lost", "targets": { "sql": "sqlserver" }, "steps": { "lost": lost } });
    let lost = lost.to_string();
    std::fs::write(world.path("lost.yaml"), lost).unwrap();
    world.drydock("run lost.yaml -e away.yaml --run-id lost").with_exit(0);
    assert_ne!(outputs(world, "agents.yaml", "away.yaml", "agents4", "")["documents"], agents["documents"]);
    let plan = shipped("pgvector-restore-agent");
    let back = outputs(world, &plan, "away.yaml", "agent", &format!("-p agent={agent} -p to={before}"));
    assert_eq!(back["point"], before);
    assert_eq!(outputs(world, "agents.yaml", "away.yaml", "agents5", ""), agents);

    world.drydock("run stop.yaml -e away.yaml --run-id stop2").with_exit(0);
    assert_eq!(service.0.wait().unwrap().code(), Some(0), "{}", world.text("wal2.log"));
}
