//! A server to try, with a small Octopus in it: [`World`].
//!
//! With `DRYDOCK_TEST_SQLSERVER='{"host": …, "user": …, "password": …, "sees": […]}'`, the settings of a target, the tests ask that server
//! instead, and drop their databases there first. Those that plant faults or touch the files of backups always ask the practice server.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use drydock_practice::clock::Clock;
use drydock_practice::faults::Faults;
use drydock_practice::ledger::Ledger;
use drydock_practice::sqlserver::{Attention, Installation, Options, Server, start_as};
use drydock_practice::tls::Identity;
use drydock_step::test_host::{TestHost, execute, given, reconcile};
use drydock_step::{Connection, Ctx, Ended, Kind, Reconciled, StepError, TargetKind};
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::sqlserver::target::SqlServer;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A server, and where its files lie.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) settings: Map<String, Value>,
    practice: Option<(Server, Ledger)>,
}

#[allow(clippy::disallowed_methods, reason = "a test has the system's time and environment to hand in")]
fn outside() -> (Clock, Option<String>) {
    let clock = Clock::new(Arc::new(|| std::time::SystemTime::now().into()));
    (clock, std::env::var("DRYDOCK_TEST_SQLSERVER").ok())
}

impl World {
    /// A server without faults.
    pub(crate) async fn new() -> Self {
        match outside() {
            (_, Some(settings)) => Self {
                dir: tempfile::tempdir().unwrap(),
                settings: serde_json::from_str(&settings).expect("DRYDOCK_TEST_SQLSERVER is a JSON mapping"),
                practice: None,
            },
            _ => Self::practice().await,
        }
    }

    /// A practice server without faults, whose files the test may touch.
    pub(crate) async fn practice() -> Self {
        Self::with_faults("[]").await
    }

    /// A practice server that does wrong by these rules.
    pub(crate) async fn with_faults(faults: &str) -> Self {
        Self::playing(faults, |_| Installation::default()).await
    }

    /// The same of another kind of server, which may have folders below the world's own.
    pub(crate) async fn playing(
        faults: &str,
        installation: impl FnOnce(&std::path::Path) -> Installation,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, _) = outside();
        let ledger = Ledger::in_memory(clock.clone());
        let tls = Identity::generate().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, tls.pem()).unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        std::fs::create_dir(dir.path().join("store/sql")).unwrap();
        let options = Options {
            dir: dir.path().join("server"),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            seed: 7,
            login: "drydock".into(),
            password: "Harbour-7".into(),
            server_name: "sql01".into(),
            tls,
            clock,
            ledger: ledger.clone(),
            faults: Faults::parse(faults).unwrap(),
            attention: Attention::Separate,
        };
        let server = start_as(options, installation(dir.path())).await.unwrap();
        let settings = json!({
            "host": "127.0.0.1",
            "port": server.addr().port(),
            "user": "drydock",
            "password": "Harbour-7",
            "ca": ca,
            "sees": [{ "artifacts": "sql/", "as": dir.path().join("store/sql") }],
        });
        let Value::Object(settings) = settings else { unreachable!() };
        Self { dir, settings, practice: Some((server, ledger)) }
    }

    /// The same server by other settings.
    pub(crate) fn set(mut self, key: &str, value: Value) -> Self {
        self.settings.insert(key.into(), value);
        self
    }

    /// A host whose attempt is `run/step/n`, with what earlier attempts noted.
    pub(crate) fn host(&self, attempt: &str, notes: Vec<Value>) -> Arc<TestHost> {
        let host = TestHost::new(self.dir.path()).attempt(attempt).noted(notes);
        let Value::Object(store) = json!({ "url": self.dir.path().join("store") }) else { unreachable!() };
        let host = host.server("backups", Arc::new(ArtifactsTarget), store);
        Arc::new(host.server("t", Arc::new(SqlServer), self.settings.clone()))
    }

    /// The context of the attempt `r1/step/1`.
    pub(crate) fn ctx(&self) -> Ctx {
        self.host("r1/step/1", Vec::new()).ctx(Some("t"))
    }

    /// A new connection.
    pub(crate) async fn connection(&self) -> Arc<dyn Connection> {
        self.connected().await.unwrap()
    }

    /// A new connection, or why not.
    pub(crate) async fn connected(&self) -> Result<Arc<dyn Connection>, StepError> {
        let settings = drydock_step::Settings {
            values: self.settings.clone(),
            folder: self.dir.path().to_owned(),
            attempt: "r1/other/1".into(),
        };
        SqlServer.connect(settings).await
    }

    /// Runs a script that must succeed.
    pub(crate) async fn run(&self, database: &str, script: &str) {
        let connection = self.connection().await;
        connection.script().unwrap().run_script(database, script).await.unwrap();
    }

    /// The first value of a query.
    pub(crate) async fn one(&self, database: &str, sql: &str) -> Value {
        let connection = self.connection().await;
        let found = connection.rows().unwrap().rows(Some(database), sql).await.unwrap();
        found.rows.first().and_then(|row| row.values().next()).cloned().unwrap_or(Value::Null)
    }

    /// What the kind gives.
    pub(crate) async fn outputs(&self, kind: &dyn Kind, with: Value) -> Result<Value, StepError> {
        ended(execute(kind, &self.ctx(), with).await)
    }

    /// How often the practice server did what `op` says, `*` at its end standing for anything.
    pub(crate) fn done(&self, op: &str) -> usize {
        let lines = self.practice.as_ref().map(|(_, ledger)| ledger.lines()).unwrap_or_default();
        let fits = |done: &str| match op.strip_suffix('*') {
            Some(beginning) => done.starts_with(beginning),
            None => done == op,
        };
        lines.iter().filter(|line| line.writes && fits(&line.op)).count()
    }

    /// The digests of the statements with which the attempt `r1/step/1` changed something on the practice server.
    pub(crate) fn digests(&self) -> Vec<String> {
        let lines = self.practice.as_ref().map(|(_, ledger)| ledger.lines()).unwrap_or_default();
        let own =
            lines.into_iter().filter(|line| line.writes && line.attempt.as_deref() == Some("r1/step/1"));
        own.filter(|line| !line.op.starts_with("exec ")).filter_map(|line| line.sha256).collect()
    }

    /// Returns when the practice server holds an answer back.
    pub(crate) async fn holds(&self) {
        let ledger = &self.practice.as_ref().expect("faults are planted in practice servers alone").1;
        while !ledger.lines().iter().any(|line| line.held) {
            tokio::task::yield_now().await;
        }
    }

    /// An attempt whose answer is held back until it is given up, as by a crash: what it had noted, and what is then found out.
    pub(crate) async fn crashed(&self, kind: &dyn Kind, with: Value) -> (Vec<Value>, Reconciled) {
        let host = self.host("r1/step/1", Vec::new());
        let ctx = host.ctx(Some("t"));
        tokio::select! {
            ended = execute(kind, &ctx, with.clone()) => panic!("nothing was held back: {ended:?}"),
            () = self.holds() => {}
        }
        let notes = host.notes();
        let found = self.settled(kind, with, notes.clone()).await;
        (notes, found)
    }

    /// What is found out about the attempt `r1/step/1` once the server is no longer busy with it.
    pub(crate) async fn settled(&self, kind: &dyn Kind, with: Value, notes: Vec<Value>) -> Reconciled {
        loop {
            let ctx = self.host("r1/step/1", notes.clone()).ctx(Some("t"));
            match reconcile(kind, &ctx, with.clone()).await.unwrap() {
                Reconciled::Busy(ms) => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
                found => return found,
            }
        }
    }

    /// The second attempt, from where the first was found.
    pub(crate) async fn again(
        &self,
        kind: &dyn Kind,
        with: Value,
        notes: Vec<Value>,
        from: Option<Value>,
    ) -> Result<Value, StepError> {
        let ctx = self.host("r1/step/2", notes).ctx(Some("t"));
        ended(kind.execute(&ctx, given(with), from.as_ref()).await)
    }
}

fn ended(ended: Result<Ended, StepError>) -> Result<Value, StepError> {
    match ended? {
        Ended::Outputs(outputs) => Ok(outputs),
        Ended::Waits(message) => panic!("it waits: {message}"),
    }
}

/// Makes the database `Octopus` with two agents, the table of marks, and a history of migrations.
pub(crate) async fn octopus(world: &World) {
    world
        .run(
            "master",
            "IF DB_ID(N'Octopus') IS NOT NULL DROP DATABASE [Octopus]\nGO\nCREATE DATABASE [Octopus]\nGO\n\
             ALTER DATABASE [Octopus] SET RECOVERY FULL",
        )
        .await;
    world
        .run(
            "Octopus",
            "CREATE SCHEMA [drydock]\nGO\n\
             CREATE TABLE [drydock].[marks] ([mark] nvarchar(32) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [run] nvarchar(64) NULL)\nGO\n\
             CREATE TABLE [drydock].[scripts] ([attempt] nvarchar(128) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [outputs] nvarchar(max) NOT NULL)\nGO\n\
             CREATE TABLE [agents] ([Id] int NOT NULL PRIMARY KEY, [Name] nvarchar(40) NOT NULL)\nGO\n\
             INSERT INTO [agents] VALUES (1, N'Ada'), (2, N'Bo''s')\nGO\n\
             CREATE TABLE [__EFMigrationsHistory] ([MigrationId] nvarchar(150) NOT NULL PRIMARY KEY, [ProductVersion] nvarchar(32) NOT NULL)\nGO\n\
             INSERT INTO [__EFMigrationsHistory] VALUES (N'20250101000000_Initial', N'9.0.0')",
        )
        .await;
}
