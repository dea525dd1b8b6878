//! A real PostgreSQL for a case, beside or instead of practice servers: [`PostgresWorld`].

use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::postgres_server::{Major, Options, PASSWORD, Postgres, as_user};
use crate::world::World;

/// Adds targets to a world's environment, each a PostgreSQL with these settings.
pub(crate) fn bind(world: &World, targets: &[(&str, Map<String, Value>)]) {
    let password = world.path("postgres_password");
    std::fs::write(&password, PASSWORD).unwrap();
    let mut text = String::from("targets:\n");
    for (name, settings) in targets {
        let mut settings = settings.clone();
        settings.insert("kind".into(), json!("postgres"));
        settings.insert("password".into(), json!({ "file": password }));
        // JSON is YAML.
        text.push_str(&format!("  {name}: {}\n", Value::Object(settings)));
    }
    let environment = world.text("env.yaml").replace("targets:\n", &text);
    std::fs::write(world.path("env.yaml"), environment).unwrap();
}

/// Where a world's server is, as its own file says it.
const PLACE: &str = "postgres.json";

/// What is inside the server of a world, if it has one, a line each: `database octopus` for its databases, `restore point` for the points
/// that its log tells of.
pub(crate) fn inside(world: &World) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(world.path(PLACE)) else { return Vec::new() };
    let place: Value = serde_json::from_str(&text).unwrap();
    let of = |key: &str| std::path::PathBuf::from(place[key].as_str().unwrap());
    let mut psql = Command::new(of("bin").join("psql"));
    psql.args([
        "-XAtw",
        "-h",
        "127.0.0.1",
        "-p",
        &place["port"].to_string(),
        "-U",
        "postgres",
        "-d",
        "postgres",
    ]);
    psql.args(["-c", "SELECT 'database ' || datname FROM pg_database WHERE NOT datistemplate"]);
    let listed = psql.env("PGPASSWORD", PASSWORD).current_dir("/").output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let log = std::fs::read_to_string(of("log")).unwrap();
    let points = log.lines().filter(|line| line.contains("LOG:  restore point "));
    let databases = String::from_utf8_lossy(&listed.stdout);
    databases.lines().map(str::to_owned).chain(points.map(|_| "restore point".to_owned())).collect()
}

/// The server that a case begins with, and the one that it may recover, which ends with this as well.
pub(crate) struct PostgresWorld {
    /// The server.
    pub(crate) server: Postgres,
    drill: std::path::PathBuf,
    /// The port of the one that is recovered.
    pub(crate) port: u16,
}

impl PostgresWorld {
    /// A server in which a script was run, bound as `pg`; `drill` is one that is not there, `backups` the store `artifacts`.
    pub(crate) fn start(world: &World, script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        // A recovered server is another user's, who must come by.
        std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o711)).unwrap();
        // What incremental backups are made from.
        let settings = vec![("summarize_wal", "on".to_owned())];
        let server = Postgres::start(Major::Eighteen, Options { settings, ..Options::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        if !script.is_empty() {
            runtime.block_on(server.run_script("postgres", script));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text =
            "drydock: v1\nenvironment: practice\ntargets:\n  backups: { kind: artifacts, url: artifacts }\n";
        std::fs::write(world.path("env.yaml"), text).unwrap();
        let recovered = server.settings_with(json!({ "port": port }));
        bind(world, &[("pg", server.settings()), ("drill", recovered)]);
        let place = json!({ "bin": server.bin(), "port": server.port, "log": server.dir().join("log") });
        std::fs::write(world.path(PLACE), place.to_string()).unwrap();
        Self { server, drill: world.path("drill"), port }
    }
}

impl PostgresWorld {
    /// The folder of its programs.
    pub(crate) fn bin(&self) -> String {
        self.server.bin().display().to_string()
    }
}

impl Drop for PostgresWorld {
    fn drop(&mut self) {
        if self.drill.join("postmaster.pid").exists() {
            let mut stop = as_user(&self.server.bin().join("pg_ctl"));
            stop.arg("-D").arg(&self.drill).args(["-m", "immediate", "-w", "stop"]).current_dir("/");
            let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}
