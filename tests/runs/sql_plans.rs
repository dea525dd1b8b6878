//! The plans of SQL Server alone, run in their order against practice servers: full, differential, logs; then back to a moment between two
//! logs, proved by what is in the tables.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::world::{World, program};

/// Practice servers as a process of their own; it ends when this is dropped.
pub(crate) struct Practice(Child);

impl Practice {
    /// Servers for a world, whose environment file is `env.yaml`; the SQL Server is of this kind.
    pub(crate) fn start(world: &World, kind: &str) -> Self {
        Self::with(world, kind, &["--seed", "7", "--fill"])
    }

    /// The same, with nothing in them. Another server draws other ids.
    pub(crate) fn empty(world: &World, kind: &str) -> Self {
        Self::with(world, kind, &["--seed", "8"])
    }

    /// The same with more options of `drydock practice`.
    pub(crate) fn with(world: &World, kind: &str, more: &[&str]) -> Self {
        std::fs::write(world.path("kind.json"), kind).unwrap();
        let mut command = Command::new(program());
        command.args(["practice", "--until-eof"]).args(more).stdin(Stdio::piped());
        for (flag, file) in [
            ("--dir", "servers"),
            ("--artifacts", "artifacts"),
            ("--ports", "ports.json"),
            ("--environment", "env.yaml"),
            ("--sqlserver", "kind.json"),
        ] {
            command.arg(flag).arg(world.path(file));
        }
        let practice = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        for _ in 0..6_000 {
            if world.path("ports.json").exists() {
                // A new point after each restore is asked for by the test that looks at it.
                let environment = world.text("env.yaml");
                let quick = environment.replace("params: { ", "params: { new_point: false, ");
                std::fs::write(world.path("env.yaml"), quick).unwrap();
                return practice;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the practice servers do not answer");
    }
}

impl Drop for Practice {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent is added; the answer is the server's time once that was committed.
const ADD: &str = "drydock: v1
name: add
params: { id: { type: string, required: true } }
targets: { sql: sqlserver }
steps:
  add:
    uses: sqlserver.script
    target: sql
    with:
      database: OctopusDB
      sql: |
        INSERT INTO [Octopus_Agents] ([Id], [Name], [Model], [EmbeddingModel], [CreatedAt]) VALUES (@id, @id, N'small', N'embed', SYSUTCDATETIME())
      parameters: { id: \"{{ params.id }}\" }
  now: { uses: sqlserver.query, target: sql, needs: [add], with: { sql: SELECT SYSUTCDATETIME() AS now } }
outputs: { now: \"{{ steps.now.outputs.rows[0].now }}\" }
";

const AGENTS: &str = "drydock: v1
name: agents
targets: { sql: sqlserver }
steps:
  agents: { uses: sqlserver.query, target: sql, with: { database: OctopusDB, sql: \"SELECT Id FROM Octopus_Agents WHERE Name = Id ORDER BY Id\" } }
outputs: { ids: \"{{ steps.agents.outputs.rows }}\" }
";

struct Story {
    world: World,
    runs: u32,
}

impl Story {
    /// A plan run to its end; what it gives.
    fn run(&mut self, plan: &str, more: &str) -> Value {
        self.runs += 1;
        let id = format!("r{}", self.runs);
        self.world.drydock(&format!("run {plan} -e env.yaml --run-id {id} {more}")).with_exit(0);
        let shown = self.world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
        serde_json::from_str::<Value>(&shown).unwrap()["outputs"].clone()
    }

    fn shipped(&mut self, plan: &str, more: &str) -> Value {
        let plan = format!("{}/../plans/octopus/{plan}.yaml", env!("CARGO_MANIFEST_DIR"));
        self.run(&plan, more)
    }

    fn agents(&mut self) -> Vec<String> {
        let ids = self.run("agents.yaml", "")["ids"].clone();
        ids.as_array().unwrap().iter().map(|row| row["Id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_moment_between_two_logs_comes_back() {
    let world = World::plan("").write("add.yaml", ADD).write("agents.yaml", AGENTS);
    let _practice = Practice::start(&world, "{}");
    let mut story = Story { world, runs: 0 };
    story.shipped("sql-full", "");
    story.run("add.yaml", "-p id=after_full");
    story.shipped("sql-differential", "");
    story.shipped("sql-log", "");
    let moment = story.run("add.yaml", "-p id=before_the_moment")["now"].as_str().unwrap().to_owned();
    // A `datetime` holds three thousandths of a second and a bit.
    std::thread::sleep(Duration::from_millis(20));
    story.run("add.yaml", "-p id=after_the_moment");
    story.shipped("sql-log", "");
    story.run("add.yaml", "-p id=never_backed_up");
    assert_eq!(story.agents(), ["after_full", "after_the_moment", "before_the_moment", "never_backed_up"]);
    let to = chrono::DateTime::parse_from_rfc3339(&moment).unwrap() + chrono::TimeDelta::milliseconds(10);
    let restored = story.shipped("sql-restore", &format!("-p at={}", to.to_rfc3339()));
    assert_eq!(story.agents(), ["after_full", "before_the_moment"]);
    let reached = chrono::DateTime::parse_from_rfc3339(restored["recovered_to"].as_str().unwrap()).unwrap();
    assert_eq!(reached.timestamp_millis(), to.timestamp_millis());
}

/// A login with a user in the database, then a login of that name with another SID: as on another server.
const APPLICATION: &str = "drydock: v1
name: application
targets: { sql: sqlserver }
steps:
  made:
    uses: sqlserver.script
    target: sql
    with: { database: OctopusDB, idempotent: true, sql: \"CREATE LOGIN [app] WITH PASSWORD = N'Pier-22x'; CREATE USER [app]; GRANT SELECT TO [app]\" }
";

const LOST: &str = "drydock: v1
name: lost
targets: { sql: sqlserver }
steps:
  lost: { uses: sqlserver.script, target: sql, with: { database: master, idempotent: true, sql: \"DROP LOGIN [app]\" } }
";

const READS: &str = "drydock: v1
name: reads
targets: { sql: sqlserver }
steps:
  home: { uses: sqlserver.adopt, target: sql, with: { database: OctopusDB, orphans: list, application: app, reads: [Octopus_Agents] } }
outputs: { user: \"{{ steps.home.outputs.application.user }}\", orphans: \"{{ steps.home.outputs.orphans }}\" }
";

#[test]
fn a_lost_login_comes_back_with_its_sid_and_reads_the_restored_database() {
    let world = World::plan("").write("application.yaml", APPLICATION).write("lost.yaml", LOST);
    let world = world.write("reads.yaml", READS).write("add.yaml", ADD);
    let _practice = Practice::start(&world, "{}");
    let mut story = Story { world, runs: 0 };
    story.run("application.yaml", "");
    story.shipped("sql-full", "");
    let moment = story.run("add.yaml", "-p id=one")["now"].as_str().unwrap().to_owned();
    story.shipped("sql-log", "");
    let kept = story.shipped("sql-objects", "");
    assert_eq!(kept["left_out"], serde_json::json!([]));
    story.run("lost.yaml", "");
    let script = kept["script"]["path"].as_str().unwrap().to_owned();
    let back = story.shipped("sql-objects-restore", &format!("-p script={script}"));
    assert_eq!(back["differing"], serde_json::json!([]));
    let restored = story.shipped("sql-restore", &format!("-p at={moment}"));
    assert_eq!(restored["orphans"], serde_json::json!([]));
    let read = story.run("reads.yaml", "");
    assert_eq!((&read["user"], &read["orphans"]), (&serde_json::json!("app"), &serde_json::json!([])));
}

#[test]
fn a_server_on_windows_comes_back_out_of_its_backup_files() {
    let world = World::plan("").write("add.yaml", ADD).write("agents.yaml", AGENTS);
    let _practice = Practice::start(&world, r#"{ "platform": "windows" }"#);
    let environment = std::fs::read_to_string(world.path("env.yaml")).unwrap();
    assert!(environment.contains(r#"as: "\\\\practice\\artifacts\\sql""#), "{environment}");
    let mut story = Story { world, runs: 0 };
    story.run("add.yaml", "-p id=before_full");
    let full = story.shipped("sql-full", "");
    let medium = full["backup"]["media"][0].as_str().unwrap();
    assert!(medium.starts_with(r"\\practice\artifacts\sql\OctopusDB_full_"), "{medium}");
    let moment = story.run("add.yaml", "-p id=after_full")["now"].as_str().unwrap().to_owned();
    // A `datetime` holds three thousandths of a second and a bit.
    std::thread::sleep(Duration::from_millis(20));
    story.run("add.yaml", "-p id=too_late");
    story.shipped("sql-log", "");
    let to = chrono::DateTime::parse_from_rfc3339(&moment).unwrap() + chrono::TimeDelta::milliseconds(10);
    story.shipped("sql-restore", &format!("-p at={}", to.to_rfc3339()));
    assert_eq!(story.agents(), ["after_full", "before_full"]);
}
