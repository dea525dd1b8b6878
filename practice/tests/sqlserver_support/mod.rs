//! A server to try, and clients for it. Main type: [`World`].
#![allow(dead_code, unreachable_pub)] // Each test file uses its own part.
#![allow(clippy::unwrap_used, clippy::panic)] // The lints know test functions, not what helps them.

pub mod raw;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use drydock_practice::clock::Clock;
use drydock_practice::faults::Faults;
use drydock_practice::ledger::Ledger;
use drydock_practice::sqlserver::{Attention, Installation, Options, Server, start_as};
use drydock_practice::tls::Identity;
use tempfile::TempDir;
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

/// A client's connection.
pub type Conn = Client<Compat<TcpStream>>;

/// A small generator of numbers, so that a failure can be had again by its seed.
pub struct Draws(pub u64);

impl Draws {
    /// The next number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// A server in a folder of its own.
pub struct World {
    pub dir: TempDir,
    pub server: Server,
    pub ledger: Ledger,
    pub tls: Identity,
    pub clock: Clock,
}

/// How a world is made.
pub struct Making {
    pub faults: &'static str,
    pub attention: Attention,
    pub seed: u64,
    pub clock: Clock,
}

impl Default for Making {
    fn default() -> Self {
        Self { faults: "[]", attention: Attention::Separate, seed: 7, clock: system_clock() }
    }
}

#[allow(clippy::disallowed_methods)] // A test has the system's time to hand in.
pub fn system_clock() -> Clock {
    Clock::new(Arc::new(|| std::time::SystemTime::now().into()))
}

/// A clock that goes on by ten milliseconds whenever it is looked at: no two events share a tick of `datetime`.
pub fn stepping_clock() -> Clock {
    let looked = std::sync::atomic::AtomicI64::new(0);
    Clock::new(Arc::new(move || {
        let steps = looked.fetch_add(10_000, std::sync::atomic::Ordering::SeqCst);
        chrono::DateTime::from_timestamp_micros(1_784_000_000_000_000 + steps).unwrap()
    }))
}

impl World {
    pub async fn new() -> Self {
        Self::made(Making::default()).await
    }

    pub async fn made(making: Making) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::in_folder(dir, making).await
    }

    pub async fn in_folder(dir: TempDir, making: Making) -> Self {
        Self::playing(dir, making, Installation::default()).await
    }

    /// A server of another kind.
    pub async fn playing(dir: TempDir, making: Making, installation: Installation) -> Self {
        let clock = making.clock;
        let ledger = Ledger::in_memory(clock.clone());
        let tls = Identity::generate().unwrap();
        let options = Options {
            dir: dir.path().to_owned(),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            seed: making.seed,
            login: "drydock".into(),
            password: "Harbour-7".into(),
            server_name: "sql01".into(),
            tls: tls.clone(),
            clock: clock.clone(),
            ledger: ledger.clone(),
            faults: Faults::parse(making.faults).unwrap(),
            attention: making.attention,
        };
        let server = start_as(options, installation).await.unwrap();
        Self { dir, server, ledger, tls, clock }
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("localhost");
        config.port(self.server.addr().port());
        config.authentication(AuthMethod::sql_server("drydock", "Harbour-7"));
        config.encryption(EncryptionLevel::Required);
        config.trust_cert_ca_bundle(self.tls.pem().as_bytes().to_vec());
        config.command_timeout(None);
        config
    }

    pub async fn connect(&self) -> Conn {
        connect(self.config()).await.unwrap()
    }

    /// A path in the server's backup folder, quoted for T-SQL.
    pub fn media(&self, name: &str) -> String {
        format!("N'{}'", self.media_path(name).display())
    }

    pub fn media_path(&self, name: &str) -> PathBuf {
        self.dir.path().join("backup").join(name)
    }
}

/// The real server that `DRYDOCK_TEST_SQLSERVER` names, as an ADO connection string; it may also be given as the settings of a target, a JSON
/// mapping, which the tests of the kinds take.
#[allow(clippy::disallowed_methods)] // Where a test runs against is its environment's to say.
pub fn real_server() -> Option<String> {
    let given = std::env::var("DRYDOCK_TEST_SQLSERVER").ok()?;
    if !given.trim_start().starts_with('{') {
        return Some(given);
    }
    let settings: serde_json::Value = serde_json::from_str(&given).unwrap();
    let text = |key: &str| settings[key].as_str().unwrap_or_default().to_owned();
    let port = settings["port"].as_u64().unwrap_or(1433);
    let trusts = settings["trust_certificate"].as_bool().unwrap_or(false);
    let encrypt = if text("encrypt") == "off" { "false" } else { "true" };
    Some(format!(
        "Server=tcp:{},{port};User ID={};Password={};Encrypt={encrypt};TrustServerCertificate={trusts}",
        text("host"),
        text("user"),
        text("password")
    ))
}

/// What a test that would mean the same on a real server asks: the practice server, or the one that
/// `DRYDOCK_TEST_SQLSERVER` names. A database `shop` is dropped there first.
pub struct Subject {
    practice: Option<World>,
    config: Config,
}

impl Subject {
    pub async fn new() -> Self {
        let Some(ado) = real_server() else {
            let world = World::new().await;
            return Self { config: world.config(), practice: Some(world) };
        };
        let subject = Self { practice: None, config: Config::from_ado_string(&ado).unwrap() };
        run(&mut subject.connect().await, "DROP DATABASE IF EXISTS shop").await;
        subject
    }

    pub async fn connect(&self) -> Conn {
        connect(self.config.clone()).await.unwrap()
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        use std::net::ToSocketAddrs;
        let address = self.config.get_addr().replace("localhost", "127.0.0.1");
        address.to_socket_addrs().unwrap().next().unwrap()
    }

    /// Whether it is the practice server, whose own refusals can be told.
    pub fn is_practice(&self) -> bool {
        self.practice.is_some()
    }
}

/// Connects as a configuration says; tiberius is told the address that this server has.
pub async fn connect(config: Config) -> tiberius::Result<Conn> {
    let tcp = TcpStream::connect(config.get_addr().replace("localhost", "127.0.0.1")).await?;
    tcp.set_nodelay(true)?;
    Client::connect(config, tcp.compat_write()).await
}

/// Runs a batch that must succeed.
#[track_caller]
pub fn run<'a>(conn: &'a mut Conn, sql: &'a str) -> impl Future<Output = ()> + 'a {
    let at = std::panic::Location::caller();
    async move {
        if let Err(error) = results(conn, sql).await {
            panic!("{at}: {sql}\n{error}");
        }
    }
}

async fn results(conn: &mut Conn, sql: &str) -> tiberius::Result<Vec<Vec<tiberius::Row>>> {
    conn.simple_query(sql).await?.into_results().await
}

/// The number of the error that a batch must end with.
pub async fn error_of(conn: &mut Conn, sql: &str) -> u32 {
    match results(conn, sql).await {
        Err(tiberius::error::Error::Server(error)) => error.code(),
        other => panic!("{sql}: {other:?}"),
    }
}

/// The first result's rows, each value as text.
#[track_caller]
pub fn rows<'a>(conn: &'a mut Conn, sql: &'a str) -> impl Future<Output = Vec<Vec<String>>> + 'a {
    let at = std::panic::Location::caller();
    async move {
        let found = results(conn, sql).await.unwrap_or_else(|error| panic!("{at}: {sql}\n{error}"));
        let rows = found.into_iter().next().unwrap_or_default();
        rows.into_iter().map(|row| row.into_iter().map(|cell| shown(&cell)).collect()).collect()
    }
}

/// One value as text.
#[track_caller]
pub fn one<'a>(conn: &'a mut Conn, sql: &'a str) -> impl Future<Output = String> + 'a {
    let rows = rows(conn, sql);
    async move {
        rows.await
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .unwrap_or_else(|| "no row".into())
    }
}

/// A value with its wire type before it where that says more than the value.
pub fn shown(cell: &ColumnData<'static>) -> String {
    match cell {
        ColumnData::U8(v) => v.map_or("NULL".into(), |v| v.to_string()),
        ColumnData::I16(v) => v.map_or("NULL".into(), |v| v.to_string()),
        ColumnData::I32(v) => v.map_or("NULL".into(), |v| v.to_string()),
        ColumnData::I64(v) => v.map_or("NULL".into(), |v| v.to_string()),
        ColumnData::F32(v) => v.map_or("NULL".into(), |v| v.to_string()),
        ColumnData::F64(v) => v.map_or("NULL".into(), |v| v.to_string()),
        ColumnData::Bit(v) => v.map_or("NULL".into(), |v| u8::from(v).to_string()),
        ColumnData::String(v) => v.as_ref().map_or("NULL".into(), |v| v.to_string()),
        ColumnData::Guid(v) => v.map_or("NULL".into(), |v| v.to_string()),
        ColumnData::Binary(v) => v.as_ref().map_or("NULL".into(), |v| format!("{v:02X?}")),
        ColumnData::Numeric(v) => {
            v.map_or("NULL".into(), |v| if v.scale() == 0 { v.value().to_string() } else { v.to_string() })
        }
        ColumnData::DateTime(v) => {
            v.map_or("NULL".into(), |v| format!("{}:{}", v.days(), v.seconds_fragments()))
        }
        other => format!("{other:?}"),
    }
}
