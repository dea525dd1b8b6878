//! Practice servers as a process of their own, with a small Octopus in them: [`Practice`].

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use drydock_practice::octopus::{Data, fill_from};
use drydock_practice::seed::Seed;
use drydock_practice::server::Ports;
use drydock_step::{Settings, TargetKind};
use drydock_steps::sqlserver::target::SqlServer;
use serde_json::{Value, json};

use crate::world::{World, program};

/// How long the servers may take to answer, in steps of 10 ms.
const PATIENCE: u32 = 6_000;

/// The URL that the SQL Server can back up to.
const URL: &str = "https://octopus.blob.core.windows.net/backups";

/// The process; it ends when this is dropped.
pub(crate) struct Practice {
    child: Child,
}

impl Practice {
    /// Servers for one world, which go wrong by these rules and hold these data. Their environment file is `env.yaml`, their ledger
    /// `ledger.jsonl`, the artifact store `artifacts`.
    pub(crate) fn start(world: &World, faults: &Value, data: &Value, setup: &str) -> Self {
        std::fs::write(world.path("faults.json"), faults.to_string()).unwrap();
        // Where a case may put copies of its backups, and what lies behind the URL that it may back up to.
        let (mirror, blobs) = (world.path("artifacts/sql/mirror"), world.path("artifacts/sql/blobs"));
        [&mirror, &blobs].into_iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        let playing = json!({ "urls": { URL: blobs } });
        std::fs::write(world.path("sqlserver.json"), playing.to_string()).unwrap();
        let mut command = Command::new(program());
        command.args(["practice", "--seed", "7", "--until-eof"]);
        for (flag, file) in [
            ("--dir", "servers"),
            ("--artifacts", "artifacts"),
            ("--ports", "ports.json"),
            ("--ledger", "ledger.jsonl"),
            ("--environment", "env.yaml"),
            ("--faults", "faults.json"),
            ("--sqlserver", "sqlserver.json"),
        ] {
            command.arg(flag).arg(world.path(file));
        }
        let log = std::fs::File::create(world.path("practice.log")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut practice = Self { child: command.spawn().unwrap() };
        let ports = practice.ports(&world.path("ports.json"));
        fill(&ports, data);
        let setup = setup.replace("{sql}", &world.path("artifacts/sql").display().to_string());
        if !setup.is_empty() {
            prepare(&ports, &setup);
        }
        practice
    }

    fn ports(&mut self, path: &Path) -> Ports {
        for _ in 0..PATIENCE {
            if let Ok(text) = std::fs::read_to_string(path) {
                return serde_json::from_str(&text).unwrap();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the practice servers ended at once: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the practice servers do not answer");
    }
}

impl Drop for Practice {
    fn drop(&mut self) {
        // Nobody needs what is in them any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fill(ports: &Ports, data: &Value) {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let data = Data::parse(data).unwrap();
    runtime.block_on(fill_from(&ports.addresses(), Seed(1), &data)).unwrap();
}

/// Runs a script in `master`.
fn prepare(ports: &Ports, script: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = &ports.sqlserver;
    let values = json!({
        "host": server.host, "port": server.port, "user": server.user, "password": server.password, "ca": server.ca,
    });
    let Value::Object(values) = values else { unreachable!() };
    let settings = Settings { values, folder: "/".into(), attempt: "setup/setup/1".into() };
    runtime.block_on(async {
        let connection = SqlServer.connect(settings).await.unwrap();
        connection.script().unwrap().run_script("master", script).await.unwrap();
    });
}

/// A document of an agent, whose id ends like this.
pub(crate) fn document(end: &str) -> String {
    format!("0d0c0000-0000-4000-8000-0000000000{end}")
}

/// A point of a document.
pub(crate) fn point(id: u64, agent: &str, document: &str) -> Value {
    let payload =
        json!({ "agent_id": agent, "document_id": document, "chunk": id, "version": 1, "text": "a chunk" });
    json!({ "id": id, "vector": [0.1, 0.2, 0.3, id], "payload": payload })
}

/// An Octopus of two agents, in the shape that its API and its plans know.
pub(crate) fn octopus() -> Value {
    let documents = [("aa", document("a1")), ("aa", document("a2")), ("bb", document("b1"))];
    let rows: Vec<String> = documents
        .iter()
        .map(|(agent, id)| format!("(N'{id}', N'{agent}', N'A title', 1, '2026-01-01T00:00:00')"))
        .collect();
    let collection = |points: Vec<Value>| json!({ "size": 4, "distance": "Dot", "points": points });
    let tables = "
        CREATE TABLE [Octopus_Agents] ([Id] nvarchar(32) NOT NULL PRIMARY KEY, [Name] nvarchar(200) NOT NULL, [Model] nvarchar(100) NOT NULL, [EmbeddingModel] nvarchar(100) NOT NULL, [CreatedAt] datetime2 NOT NULL);
        CREATE TABLE [Octopus_Episodes] ([Id] bigint IDENTITY(1,1) NOT NULL PRIMARY KEY, [AgentId] nvarchar(32) NOT NULL, [StartedAt] datetime2 NOT NULL, [Summary] nvarchar(max) NOT NULL, [Outcome] nvarchar(20) NOT NULL);
        CREATE TABLE [Octopus_Documents] ([Id] uniqueidentifier NOT NULL PRIMARY KEY, [AgentId] nvarchar(32) NOT NULL, [Title] nvarchar(200) NOT NULL, [Version] int NOT NULL, [UpdatedAt] datetime2 NOT NULL);
        CREATE TABLE [drydock].[marks] ([mark] nvarchar(32) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [run] nvarchar(64) NULL);
        CREATE TABLE [drydock].[scripts] ([attempt] nvarchar(128) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [outputs] nvarchar(max) NOT NULL);
        CREATE TABLE [__EFMigrationsHistory] ([MigrationId] nvarchar(150) NOT NULL PRIMARY KEY, [ProductVersion] nvarchar(32) NOT NULL);
        INSERT INTO [__EFMigrationsHistory] VALUES (N'20250101000000_First', N'9.0.0');
        INSERT INTO [Octopus_Agents] VALUES (N'aa', N'Ada', N'small', N'embed', '2026-01-01T00:00:00'), (N'bb', N'Bo', N'small', N'embed', '2026-01-01T00:00:00');
        INSERT INTO [Octopus_Episodes] ([AgentId], [StartedAt], [Summary], [Outcome]) VALUES (N'aa', '2026-01-01T00:00:00', N'Counted boxes', N'completed');";
    json!({
        "sqlserver": { "OctopusDB": [
            "CREATE SCHEMA [drydock]",
            tables,
            format!("INSERT INTO [Octopus_Documents] VALUES {}", rows.join(", ")),
        ] },
        "qdrant": {
            "agent_aa": collection(vec![point(1, "aa", &document("a1")), point(2, "aa", &document("a2"))]),
            "agent_bb": collection(vec![point(1, "bb", &document("b1"))]),
        },
    })
}
