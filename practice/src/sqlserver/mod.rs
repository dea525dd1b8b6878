//! A stand-in for SQL Server: real TDS, real rows, a real log. Main type: [`Server`].
//!
//! A database is an SQLite file beside a log of its own; statements are compiled from T-SQL to SQLite with their
//! types, and what no rule here covers is refused. BACKUP writes media files, RESTORE applies them by the rules of
//! the real server, with its error numbers, wire types and order of tokens.

pub mod error;

pub mod sql_type;

pub mod value;

pub mod moment;

pub mod tds;

pub mod cast;

pub mod lang;

pub mod store;

pub mod query;

pub mod exec;

mod connection;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::tls::Identity;
use error::SqlError;
use exec::history::{MSDB, TABLES};
use exec::output::Output;
use exec::session::{Client, Session};
use store::instance::{Instance, Setup};

pub use store::installation::{Installation, NoInstallation, Platform, Volume};
pub use tds::parse_client_message;

/// How an attention is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attention {
    /// In a message of its own, as real servers do.
    #[default]
    Separate,
    /// In the message that it ends.
    Joined,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that holds everything; created when it is absent.
    pub dir: PathBuf,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port, 0 for a free one.
    pub port: u16,
    /// From this follow all identifiers and the first log sequence numbers.
    pub seed: u64,
    /// The administrator's login.
    pub login: String,
    /// Its password.
    pub password: String,
    /// What `@@SERVERNAME` says.
    pub server_name: String,
    /// The certificate to show.
    pub tls: Identity,
    /// The time.
    pub clock: Clock,
    /// Where requests are counted.
    pub ledger: Ledger,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// How attentions are acknowledged.
    pub attention: Attention,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be read or written.
    #[error("the practice SQL Server cannot use its folder {}: {source}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its address cannot be listened on.
    #[error("the practice SQL Server cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Its system tables cannot be made.
    #[error("the practice SQL Server cannot make its system tables: {0}")]
    System(SqlError),
}

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no further connections; those that are open live until their clients go.
    pub fn stop(&self) {
        self.accepting.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a server within a tokio runtime.
///
/// # Errors
/// [`StartError`].
pub async fn start(options: Options) -> Result<Server, StartError> {
    start_as(options, Installation::default()).await
}

/// The same, playing a server of this kind.
///
/// # Errors
/// [`StartError`].
pub async fn start_as(options: Options, installation: Installation) -> Result<Server, StartError> {
    let Options {
        dir,
        bind,
        port,
        seed,
        login,
        password,
        server_name,
        tls,
        clock,
        ledger,
        faults,
        attention,
    } = options;
    let setup = Setup { dir: dir.clone(), server_name, login, password, start: installation };
    let opened = tokio::task::spawn_blocking(move || {
        let instance = Instance::open(setup, seed, clock, ledger, faults)?;
        Ok(Arc::new(instance))
    });
    let failed = |source| StartError::Folder { dir: dir.clone(), source };
    let instance: Arc<Instance> =
        opened.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
    let prepared = Arc::clone(&instance);
    tokio::task::spawn_blocking(move || make_system_tables(&prepared))
        .await
        .map_err(|error| failed(io::Error::other(error)))?
        .map_err(StartError::System)?;
    let address = SocketAddr::new(bind, port);
    let listening = TcpListener::bind(address).await;
    let listener = listening.map_err(|source| StartError::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address, source })?;
    let accepting = tokio::spawn(accept(listener, instance, tls, attention));
    Ok(Server { address, accepting })
}

async fn accept(listener: TcpListener, instance: Arc<Instance>, tls: Identity, attention: Attention) {
    loop {
        let Ok((tcp, peer)) = listener.accept().await else { continue };
        let (instance, tls) = (Arc::clone(&instance), tls.clone());
        tokio::spawn(async move {
            if let Err(error) = connection::serve(instance, tls, attention, tcp).await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        });
    }
}

/// Makes msdb's tables in a fresh instance.
fn make_system_tables(instance: &Arc<Instance>) -> Result<(), SqlError> {
    let client = Client { login: instance.setup.login.clone(), ..Client::default() };
    let mut session = Session::open(instance, client)?;
    exec::databases::move_to(&mut session, MSDB);
    session.attach(MSDB)?;
    let mut out = Output::new(None, &instance.setup.server_name, false);
    // Columns that came with 2022.
    let newest = ", last_valid_restore_time datetime,\n  compression_algorithm nvarchar(32)";
    let is_older = instance.setup.installation().major < 16;
    let tables = if is_older { TABLES.replace(newest, "") } else { TABLES.to_owned() };
    let text = format!("IF OBJECT_ID(N'dbo.backupset') IS NULL BEGIN {tables} END");
    let agent = exec::agent::TABLES;
    let text = format!("{text}\nIF OBJECT_ID(N'dbo.sysjobs') IS NULL BEGIN {agent} END");
    let made = session.run_text(&text, &mut out);
    session.close();
    match (made, out.first_error) {
        (Ok(()), None) => Ok(()),
        (_, Some(error)) => Err(error),
        (Err(halt), None) => Err(SqlError::internal(format_args!("{halt:?}"))),
    }
}
