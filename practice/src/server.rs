//! All practice servers together, on free ports of the loopback interface. Main types: [`Practice`],
//! [`Options`].

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Host, Offsets};
use crate::faults::{Faults, FaultsError};
use crate::ledger::Ledger;
use crate::octopus::api::{Api, ApiOptions};
use crate::octopus::{Addresses, DATABASE, QdrantAddress, SqlServerAddress};
use crate::qdrant::{Qdrant, QdrantOptions};
use crate::seed::Seed;
use crate::sqlserver::{self, Attention, Installation, Platform};
use crate::tls::{Identity, IdentityError};

/// What a set of practice servers is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// What everything that looks random is drawn from.
    pub seed: u64,
    /// Where the servers keep their files; created when absent.
    pub dir: PathBuf,
    /// Their time, and that of the ledger.
    pub clock: Clock,
    /// How far the clock of each server is off it.
    pub offsets: Offsets,
    /// The file that every request is recorded in; without it nothing is kept.
    pub ledger: Option<PathBuf>,
    /// Rules of what goes wrong, as [`Faults::parse`] reads them.
    pub faults: Option<String>,
    /// How many nodes Qdrant has; one is no cluster.
    pub qdrant_nodes: usize,
    /// The SQL Server's port; the API's is the next, those of Qdrant's nodes follow it. Any free ones where it is 0.
    pub first_port: u16,
}

/// Why the servers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder, file or port.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// The fault rules.
    #[error(transparent)]
    Faults(#[from] FaultsError),
    /// The certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The SQL Server.
    #[error(transparent)]
    SqlServer(#[from] sqlserver::StartError),
}

/// Where each server is found, in the shape of the file that `practice --ports` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// SQL Server.
    pub sqlserver: SqlServerAddress,
    /// Qdrant.
    pub qdrant: QdrantAddress,
    /// The Octopus API.
    pub api: ApiAddress,
}

/// Where the Octopus API is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiAddress {
    /// `http://host:port`.
    pub url: String,
}

/// The running servers; they stop when this value is dropped.
#[derive(Debug)]
pub struct Practice {
    ports: Ports,
    dir: PathBuf,
    ledger: Ledger,
    platform: Platform,
    sqlserver: sqlserver::Server,
    qdrant: Qdrant,
    api: Api,
}

/// The one login of the practice SQL Server.
const LOGIN: &str = "sa";

/// What the practice SQL Server calls itself.
const SERVER_NAME: &str = "PRACTICE";

/// The share by which a Windows server reaches the artifact store.
pub const SHARE: &str = r"\\practice\artifacts";

/// Files with what must not stand in an environment file.
const PASSWORD_FILE: &str = "sql-password";
const KEY_FILE: &str = "qdrant-key";

/// The certificate to trust.
const CA_FILE: &str = "practice-ca.pem";

/// What is laid down in the folder before anything starts.
struct Ground {
    dir: PathBuf,
    identity: Identity,
    ca: PathBuf,
    password: String,
    key: String,
}

/// Starts a SQL Server, a Qdrant and an Octopus API over both. They are empty: [`crate::octopus::fill`] them.
///
/// # Errors
/// [`StartError`] when a folder cannot be made, a port not be bound, or the fault rules make no sense.
pub async fn start(options: Options) -> Result<Practice, StartError> {
    start_as(options, Installation::default()).await
}

/// The same with a SQL Server of another kind.
///
/// # Errors
/// [`StartError`].
pub async fn start_as(options: Options, installation: Installation) -> Result<Practice, StartError> {
    let Options { seed, dir, clock, offsets, ledger, faults, qdrant_nodes, first_port } = options;
    // None is chosen where none was asked for.
    let port = |after: u16| if first_port == 0 { 0 } else { first_port.saturating_add(after) };
    let clock_of = |host| offsets.clock_of(host, &clock);
    let seed = Seed(seed);
    let faults = faults.as_deref().map_or(Ok(Faults::default()), Faults::parse)?;
    let Ground { dir, identity, ca, password, key } = Ground::lay(&dir, seed)?;
    let ledger = match ledger {
        Some(path) => Ledger::open(&path, clock.clone()).map_err(failed("opening the ledger", &path))?,
        None => Ledger::in_memory(clock.clone()),
    };
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let sql = sqlserver::Options {
        dir: dir.join("sqlserver"),
        bind: loopback,
        port: port(0),
        seed: seed.0,
        login: LOGIN.into(),
        password: password.clone(),
        server_name: SERVER_NAME.into(),
        tls: identity,
        clock: clock_of(Host::SqlServer),
        ledger: ledger.clone(),
        faults: faults.clone(),
        attention: Attention::Separate,
    };
    let platform = installation.platform;
    let sqlserver = sqlserver::start_as(sql, installation).await?;
    let qdrant = QdrantOptions {
        dir: dir.join("qdrant"),
        nodes: qdrant_nodes,
        port: port(2),
        api_key: Some(key.clone()),
        read_only_key: None,
        seed,
        clock: clock_of(Host::Qdrant),
        ledger: ledger.clone(),
        faults: faults.clone(),
    };
    let qdrant = Qdrant::start(qdrant).await.map_err(failed("starting Qdrant in", &dir))?;
    let (host, sql_port) = (loopback.to_string(), sqlserver.addr().port());
    let addresses = Addresses {
        sqlserver: SqlServerAddress { host, port: sql_port, user: LOGIN.into(), password, ca },
        qdrant: QdrantAddress { nodes: qdrant.urls(), api_key: key },
    };
    let clock = clock_of(Host::Api);
    let api = ApiOptions {
        addresses: addresses.clone(),
        port: port(1),
        seed,
        clock,
        ledger: ledger.clone(),
        faults,
    };
    let api = Api::start(api).await.map_err(failed("starting the Octopus API in", &dir))?;
    let Addresses { sqlserver: sql, qdrant: vectors } = addresses;
    let ports = Ports { sqlserver: sql, qdrant: vectors, api: ApiAddress { url: api.url() } };
    Ok(Practice { ports, dir, ledger, platform, sqlserver, qdrant, api })
}

impl Ground {
    /// Makes the folder, and in it the certificate and the files with the secrets.
    fn lay(dir: &Path, seed: Seed) -> Result<Self, StartError> {
        std::fs::create_dir_all(dir).map_err(failed("making the practice folder", dir))?;
        let dir = std::path::absolute(dir).map_err(failed("resolving the practice folder", dir))?;
        let identity = Identity::generate()?;
        let ca = dir.join(CA_FILE);
        std::fs::write(&ca, identity.pem()).map_err(failed("writing the certificate", &ca))?;
        let secret = |name: &str, file: &str| {
            let secret = format!("Practice-{}", seed.uuid(name).simple());
            write_secret(&dir.join(file), &secret).map(|()| secret)
        };
        let password = secret("sql password", PASSWORD_FILE)?;
        let key = secret("qdrant key", KEY_FILE)?;
        Ok(Self { dir, identity, ca, password, key })
    }
}

impl Practice {
    /// Where each server is found.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The ledger; [`Ledger::lines`] shows it when it has no file.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The text of an environment file that binds the targets of the Octopus plans to these servers, with
    /// the artifact store in the folder `artifacts`.
    #[must_use]
    pub fn environment_yaml(&self, artifacts: &Path) -> String {
        let Ports { sqlserver, qdrant, api } = &self.ports;
        let path = |path: &Path| quoted(&path.display().to_string());
        let sees = match self.platform {
            Platform::Windows => quoted(&format!(r"{SHARE}\sql")),
            Platform::Linux => path(&artifacts.join("sql")),
        };
        let nodes: Vec<String> = qdrant.nodes.iter().map(|url| quoted(url)).collect();
        format!(
            "drydock: v1
environment: practice
targets:
  sql:
    kind: sqlserver
    host: {host}
    port: {port}
    user: {user}
    password: {{ file: {password} }}
    encrypt: required
    ca: {ca}
    sees: [ {{ artifacts: sql/, as: {sees} }} ]
  vectors: {{ kind: qdrant, nodes: [{nodes}], api_key: {{ file: {key} }} }}
  backups: {{ kind: artifacts, url: {store} }}
  api: {{ kind: http, url: {api} }}
  hook: {{ kind: http, url: {hook} }}
params: {{ sql_database: {DATABASE} }}
",
            host = quoted(&sqlserver.host),
            port = sqlserver.port,
            user = sqlserver.user,
            password = path(&self.dir.join(PASSWORD_FILE)),
            ca = path(&sqlserver.ca),
            nodes = nodes.join(", "),
            key = path(&self.dir.join(KEY_FILE)),
            store = quoted(&format!("file://{}", artifacts.display())),
            api = quoted(&api.url),
            hook = quoted(&format!("{}/hook", api.url)),
        )
    }

    /// Stops all servers; connections end where they are.
    pub fn stop(self) {
        self.api.stop();
        self.qdrant.stop();
        self.sqlserver.stop();
    }
}

impl Ports {
    /// The stores, without the API over them.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses { sqlserver: self.sqlserver.clone(), qdrant: self.qdrant.clone() }
    }
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, secret: &str) -> Result<(), StartError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| io::Write::write_all(&mut file, secret.as_bytes()));
    written.map_err(failed("writing", path))
}

/// A text as a YAML scalar, whatever is in it: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let what = format!("{what} {}", path.display());
    move |error| StartError::Io { what, error }
}
