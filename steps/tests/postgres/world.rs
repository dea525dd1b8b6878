//! Servers that tests share, for what leaves nothing behind: [`shared`], and what kinds give there: [`outputs`].

use std::path::Path;
use std::sync::{Arc, OnceLock};

use drydock_step::test_host::{TestHost, execute};
use drydock_step::{Ended, Kind, StepError};
use drydock_steps::postgres::target::Postgres as Target;
use serde_json::Value;

use crate::server::{Major, Options, Postgres};

/// A server of this major that every test of this program asks. Each makes databases of its own there.
pub(crate) fn shared(major: Major) -> &'static Postgres {
    static SERVERS: [OnceLock<Postgres>; 2] = [OnceLock::new(), OnceLock::new()];
    SERVERS[usize::from(major == Major::Fifteen)].get_or_init(|| Postgres::start(major, Options::default()))
}

/// A database of this name at a shared server, made anew.
pub(crate) async fn database(major: Major, name: &str, script: &str) -> &'static Postgres {
    let server = shared(major);
    server.run_script("postgres", &format!("CREATE DATABASE \"{name}\"")).await;
    if !script.is_empty() {
        server.run_script(name, script).await;
    }
    server
}

/// A host whose attempt is `r1/step/1`, with a server as its target `t`.
pub(crate) fn host(server: &Postgres, folder: &Path) -> Arc<TestHost> {
    Arc::new(TestHost::new(folder).server("t", Arc::new(Target), server.settings()))
}

/// What a kind gives.
pub(crate) async fn outputs(server: &Postgres, kind: &dyn Kind, with: Value) -> Result<Value, StepError> {
    let dir = tempfile::tempdir().unwrap();
    let ended = execute(kind, &host(server, dir.path()).ctx(Some("t")), with).await;
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "it leaves {left:?} in its scratch");
    match ended? {
        Ended::Outputs(outputs) => Ok(outputs),
        Ended::Waits(message) => panic!("it waits: {message}"),
    }
}
