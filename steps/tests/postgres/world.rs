//! Servers that tests share, for what leaves nothing behind: [`shared`].

use std::sync::OnceLock;

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
