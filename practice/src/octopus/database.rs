//! The SQL side of Octopus: a connection that is made again when it is gone. Main type: [`Database`].

use tiberius::{AuthMethod, Client, Config, EncryptionLevel, Row, ToSql};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::addresses::SqlServerAddress;
use super::error::OctopusError;

/// One connection to a SQL Server.
pub(super) type Session = Client<Compat<TcpStream>>;

/// A database, asked over one connection at a time.
pub(super) struct Database {
    address: SqlServerAddress,
    name: &'static str,
    session: Mutex<Option<Session>>,
}

impl Database {
    /// The database `name`; nothing is connected yet.
    pub(super) fn new(address: SqlServerAddress, name: &'static str) -> Self {
        Self { address, name, session: Mutex::new(None) }
    }

    /// Rows of a statement that only reads. When the connection proves to be gone, a new one is asked.
    pub(super) async fn read(&self, sql: &str, with: &[&dyn ToSql]) -> Result<Vec<Row>, OctopusError> {
        let mut kept = self.session.lock().await;
        if let Some(session) = kept.take() {
            match rows(session, sql, with).await {
                Ok((session, rows)) => {
                    *kept = Some(session);
                    return Ok(rows);
                }
                Err(error) => tracing::debug!(%error, "asking again over a new connection"),
            }
        }
        let session = connect(&self.address, self.name).await?;
        let (session, rows) = rows(session, sql, with).await?;
        *kept = Some(session);
        Ok(rows)
    }

    /// Rows of a statement that writes, sent once: whether it was done is not known when the connection
    /// breaks. Read first, and a connection that was gone has been replaced.
    pub(super) async fn write(&self, sql: &str, with: &[&dyn ToSql]) -> Result<Vec<Row>, OctopusError> {
        let mut kept = self.session.lock().await;
        let session = match kept.take() {
            Some(session) => session,
            None => connect(&self.address, self.name).await?,
        };
        let (session, rows) = rows(session, sql, with).await?;
        *kept = Some(session);
        Ok(rows)
    }
}

/// Asks over a session, which only comes back when nothing went wrong on it.
async fn rows(
    mut session: Session,
    sql: &str,
    with: &[&dyn ToSql],
) -> Result<(Session, Vec<Row>), OctopusError> {
    let rows = session.query(sql, with).await?.into_first_result().await?;
    Ok((session, rows))
}

/// Connects to a database.
pub(super) async fn connect(address: &SqlServerAddress, database: &str) -> Result<Session, OctopusError> {
    let unreachable =
        |error| OctopusError::Unreachable { address: format!("{}:{}", address.host, address.port), error };
    let mut config = Config::new();
    config.host(&address.host);
    config.port(address.port);
    config.authentication(AuthMethod::sql_server(&address.user, &address.password));
    config.encryption(EncryptionLevel::Required);
    config.trust_cert_ca(address.ca.display());
    config.database(database);
    config.application_name("octopus");
    let stream = TcpStream::connect(config.get_addr()).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(Client::connect(config, stream.compat_write()).await?)
}

/// Runs a batch and throws its rows away.
pub(super) async fn run(session: &mut Session, batch: &str) -> Result<(), OctopusError> {
    session.simple_query(batch).await?.into_results().await?;
    Ok(())
}

/// A text as a literal of Transact-SQL.
pub(super) fn literal(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}
