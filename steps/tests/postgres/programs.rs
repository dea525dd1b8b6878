//! What the real programs of PostgreSQL do with what they are given, also where the runner's own environment says otherwise.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::requests::Requests;
use drydock_step::test_host::{TestHost, execute};
use drydock_step::{ChildEnd, ChildSpec, Connection, Ctx, Ended, Host, Sample, StepError};
use drydock_steps::postgres::verify::Verify;
use serde_json::{Value, json};

use crate::server::{BOTH, Major, Options, Postgres};
use crate::world::{database, host};

/// A host whose programs inherit these variables.
struct Inherited {
    inner: Arc<TestHost>,
    variables: Vec<(&'static str, String)>,
}

#[async_trait]
impl Host for Inherited {
    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }

    async fn note(&self, value: Value) -> Result<(), StepError> {
        self.inner.note(value).await
    }

    fn sample(&self, sample: Sample) {
        self.inner.sample(sample);
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    async fn cancelled(&self) {
        self.inner.cancelled().await;
    }

    /// What a step sets comes after what is inherited, and counts.
    async fn spawn(&self, spec: ChildSpec) -> Result<ChildEnd, StepError> {
        assert!(!spec.argv.join(" ").contains("Harbour"), "{:?}", spec.argv);
        assert!(!spec.env.iter().any(|(_, value)| value.contains("Harbour")), "{:?}", spec.env);
        let inherited = self.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let env = inherited.chain(spec.env).collect();
        self.inner.spawn(ChildSpec { env, ..spec }).await
    }

    async fn connect(&self, target: &str) -> Result<Arc<dyn Connection>, StepError> {
        self.inner.connect(target).await
    }

    async fn run_plan(&self, plan: &Path, params: Value) -> Result<Value, StepError> {
        self.inner.run_plan(plan, params).await
    }

    async fn read_requests(&self, path: &Path) -> Result<Requests, StepError> {
        self.inner.read_requests(path).await
    }

    fn scratch(&self) -> &Path {
        self.inner.scratch()
    }
}

/// Variables by which a program would reach another server, as somebody else, or none at all.
fn elsewhere(folder: &Path) -> Vec<(&'static str, String)> {
    let services = folder.join("services");
    let text = "[other]\nhost=127.0.0.9\nhostaddr=127.0.0.9\nport=1\nuser=other\ndbname=other\nsslmode=require\n[drydock]\nport=1\n";
    std::fs::write(&services, text).unwrap();
    let mut variables: Vec<(&'static str, String)> = [
        ("PGHOST", "127.0.0.9"),
        ("PGHOSTADDR", "127.0.0.9"),
        ("PGPORT", "1"),
        ("PGDATABASE", "other"),
        ("PGUSER", "other"),
        ("PGPASSWORD", "other"),
        ("PGPASSFILE", "/dev/null"),
        ("PGSERVICE", "other"),
        ("PGOPTIONS", "-c no_such_setting=1"),
        ("PGAPPNAME", "other"),
        ("PGSSLMODE", "verify-full"),
        ("PGREQUIRESSL", "1"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGSSLCERTMODE", "require"),
        ("PGSSLCERT", "/nowhere/cert"),
        ("PGSSLKEY", "/nowhere/key"),
        ("PGSSLROOTCERT", "/nowhere/root"),
        ("PGSSLCRL", "/nowhere/crl"),
        ("PGREQUIRESSL", "1"),
        ("PGREQUIREAUTH", "none"),
        ("PGREQUIREPEER", "nobody"),
        ("PGCHANNELBINDING", "require"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ("PGSSLMAXPROTOCOLVERSION", "TLSv1"),
        ("PGGSSENCMODE", "require"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGLOADBALANCEHOSTS", "random"),
        ("PGMINPROTOCOLVERSION", "3.2"),
        ("PGMAXPROTOCOLVERSION", "3.2"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGDATESTYLE", "no such style"),
        ("PGTZ", "No/Where"),
        ("PGCONNECT_TIMEOUT", "x"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    variables.push(("PGSERVICEFILE", services.display().to_string()));
    variables.push(("PGSYSCONFDIR", folder.display().to_string()));
    variables
}

async fn verified(ctx: &Ctx, name: &str) -> Result<Ended, StepError> {
    execute(&Verify, ctx, json!({ "database": name, "amcheck": true })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_runners_environment_changes_where_a_program_connects() {
    for major in BOTH {
        let server =
            database(major, "meant", "CREATE EXTENSION amcheck; CREATE TABLE t (id int PRIMARY KEY)").await;
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inner = host(server, dir.path());
        let ctx = inner.ctx(Some("t"));
        let ctx = Ctx { host: Arc::new(Inherited { inner, variables: elsewhere(other.path()) }), ..ctx };
        verified(&ctx, "meant").await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the passfile is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_proves_what_the_library_proves() {
    let options =
        Options { tls: true, hba: Some("hostssl all all all scram-sha-256\n".into()), ..Options::default() };
    let server = Postgres::start(Major::Fifteen, options);
    let (ca, dir) = (server.data().join("server.crt"), tempfile::tempdir().unwrap());
    let by = |host: &str| server.settings_with(json!({ "host": host, "sslmode": "verify-full", "ca": ca }));
    let target = Arc::new(drydock_steps::postgres::target::Postgres);
    let test = Arc::new(TestHost::new(dir.path()).server("t", target, by("localhost")));
    let script = "CREATE EXTENSION amcheck; CREATE TABLE t (id int PRIMARY KEY)";
    let connection = test.connect("t").await.unwrap();
    connection.script().unwrap().run_script("postgres", script).await.unwrap();
    verified(&test.ctx(Some("t")), "postgres").await.unwrap();
}
