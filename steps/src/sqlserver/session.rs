//! One connection to a server, asked one thing at a time: [`Session`]. When anything but a plain refusal goes wrong it is dropped and
//! stays dropped: after a cut answer the protocol would give the next question the last one's answer.

use std::time::Duration;

use drydock_step::StepError;
use futures_util::TryStreamExt;
use tiberius::error::Error;
use tiberius::{Client, QueryItem, SqlBrowser};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::answer::{Answer, Column};
use super::failure::{Effect, Failure};
use super::settings::SqlServerSettings;
use super::sql::bracketed;

/// The longest that one of our own questions may take.
const QUESTION: Duration = Duration::from_secs(60);

/// When a silent connection is probed, and how often: before a firewall in between forgets it.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How often one server may lead on to another.
const REDIRECTIONS: usize = 3;

/// A value of a query's parameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parameter {
    /// NULL.
    Null,
    /// A bit.
    Flag(bool),
    /// A bigint.
    Whole(i64),
    /// A float.
    Real(f64),
    /// An nvarchar.
    Text(String),
}

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    /// The statement, alone in its batch.
    pub(super) sql: &'a str,
    /// In which database; `None` stays where the session is.
    pub(super) database: Option<&'a str>,
    /// Values for `@P1`, `@P2` …
    pub(super) parameters: &'a [Parameter],
    /// The most rows that are kept of all its result sets; one more is an error of the caller's.
    pub(super) rows: usize,
    /// The longest that it may take.
    pub(super) limit: Option<Duration>,
}

impl<'a> Request<'a> {
    /// A statement that may take as long as it needs.
    pub(super) fn of(sql: &'a str) -> Self {
        Self { sql, database: None, parameters: &[], rows: usize::MAX, limit: None }
    }
}

struct Wire {
    client: Client<Compat<TcpStream>>,
    database: String,
}

/// A connection.
pub(super) struct Session {
    wire: Mutex<Option<Wire>>,
}

impl Session {
    /// A new connection, in `master`'s context or that of the login's own database.
    ///
    /// # Errors
    /// `sqlserver.connect` (transient), or what the server says to the login.
    pub(super) async fn open(settings: &SqlServerSettings) -> Result<Self, StepError> {
        let doing = format!("connecting to {}", settings.place());
        let unreachable = |why: String| {
            let error = StepError::transient("sqlserver.connect", format!("{doing}: {why}"));
            // A certificate does not mend itself.
            if why.contains("certificate") {
                return StepError { transient: false, ..error }.help(
                    "give the authority that signed it in `ca`, or its name in `certificate_host`; the server's own is made anew at each start unless it was given one",
                );
            }
            error.help("is it the right host and port or instance, and does the server listen on TCP?")
        };
        let refused = |error: Error| match Failure::from(error) {
            refused @ Failure::Refused(_) => refused.while_doing(&doing, Effect::Reads),
            Failure::Lost(why) | Failure::Garbled(why) => unreachable(why),
            Failure::TimedOut(limit) => unreachable(format!("no answer within {} s", limit.as_secs())),
        };
        let limit = settings.connect_timeout();
        let mut config = settings.config()?;
        let mut stream = stream_to(TcpStream::connect_named(&config), limit).await.map_err(unreachable)?;
        for _ in 0..=REDIRECTIONS {
            match Client::connect(config.clone(), stream.compat_write()).await {
                Ok(client) => {
                    return Ok(Self { wire: Mutex::new(Some(Wire { client, database: String::new() })) });
                }
                // An availability group's listener and Azure's gateway name the server that has the database.
                Err(Error::Routing { host, port }) => {
                    let address = (host.clone(), port);
                    stream =
                        stream_to(async { Ok(TcpStream::connect(address).await?) }, limit).await.map_err(
                            |why| unreachable(format!("it leads on to {host}:{port}, and there {why}")),
                        )?;
                    config.host(host);
                    config.port(port);
                }
                Err(error) => return Err(refused(error)),
            }
        }
        Err(unreachable(format!("it leads on to another server more than {REDIRECTIONS} times")))
    }

    /// The answer to one of our own questions, asked in `master`.
    ///
    /// # Errors
    /// What the server says; `sqlserver.lost` (transient) when no answer comes within a minute.
    pub(super) async fn ask(&self, doing: &str, sql: &str) -> Result<Answer, StepError> {
        let request = Request { database: Some("master"), limit: Some(QUESTION), ..Request::of(sql) };
        self.answer(request).await.map_err(|failure| failure.of_statement(sql, doing, Effect::Reads))
    }

    /// The answer to a question that may take as long as reading a whole backup.
    ///
    /// # Errors
    /// What the server says; `sqlserver.lost` (transient).
    pub(super) async fn ask_long(&self, doing: &str, sql: &str) -> Result<Answer, StepError> {
        let request = Request { database: Some("master"), ..Request::of(sql) };
        self.answer(request).await.map_err(|failure| failure.of_statement(sql, doing, Effect::Reads))
    }

    /// Runs a statement that changes something, in `master`, for as long as it takes.
    ///
    /// # Errors
    /// What the server says; `sqlserver.lost` (unknown) when the answer is lost.
    pub(super) async fn work(&self, doing: &str, sql: &str) -> Result<(), StepError> {
        let request = Request { database: Some("master"), ..Request::of(sql) };
        let done = self.answer(request).await;
        done.map(|_| ()).map_err(|failure| failure.of_statement(sql, doing, Effect::Writes))
    }

    /// Runs a statement that changes something in a database, for as long as it takes.
    ///
    /// # Errors
    /// What the server says; `sqlserver.lost` (unknown) when the answer is lost.
    pub(super) async fn work_in(&self, database: &str, doing: &str, sql: &str) -> Result<(), StepError> {
        let request = Request { database: Some(database), ..Request::of(sql) };
        let done = self.answer(request).await;
        done.map(|_| ()).map_err(|failure| failure.of_statement(sql, doing, Effect::Writes))
    }

    /// The first result set of the answer to a request.
    ///
    /// # Errors
    /// The cause, not yet in words.
    pub(super) async fn answer(&self, request: Request<'_>) -> Result<Answer, Failure> {
        Ok(self.answers(request).await?.into_iter().next().unwrap_or_default())
    }

    /// What follows is asked in the database that it names, wherever a script's USE has led the session.
    pub(super) async fn forget_database(&self) {
        if let Some(wire) = self.wire.lock().await.as_mut() {
            wire.database.clear();
        }
    }

    /// Every result set of the answer to a request.
    ///
    /// # Errors
    /// The cause, not yet in words.
    pub(super) async fn answers(&self, request: Request<'_>) -> Result<Vec<Answer>, Failure> {
        let mut kept = self.wire.lock().await;
        // Taken out for the time of the question: when this future is dropped in the middle, so is the connection.
        let mut wire = kept.take().ok_or_else(|| Failure::Lost("the connection was lost before".into()))?;
        let asked = async {
            if let Some(database) = request.database.filter(|database| *database != wire.database) {
                let enter = format!("USE {}", bracketed(database));
                asked(&mut wire.client, &Request::of(&enter)).await?;
                database.clone_into(&mut wire.database);
            }
            asked(&mut wire.client, &request).await
        };
        let answer = match request.limit {
            Some(limit) => tokio::time::timeout(limit, asked).await.unwrap_or(Err(Failure::TimedOut(limit))),
            None => asked.await,
        };
        if answer.as_ref().err().is_none_or(Failure::leaves_connection) {
            *kept = Some(wire);
        }
        answer
    }
}

/// A connection that is watched for silence, once it is made.
///
/// # Errors
/// In words.
async fn stream_to(
    connecting: impl Future<Output = tiberius::Result<TcpStream>>,
    limit: Duration,
) -> Result<TcpStream, String> {
    let connected = async {
        let stream = connecting.await?;
        stream.set_nodelay(true)?;
        let (time, interval) = KEEPALIVE;
        let keepalive = socket2::TcpKeepalive::new().with_time(time).with_interval(interval);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(stream)
    };
    match tokio::time::timeout(limit, connected).await {
        Ok(connected) => connected.map_err(|error: Error| match Failure::from(error) {
            Failure::Lost(why) | Failure::Garbled(why) => why,
            other => format!("{other:?}"),
        }),
        Err(_) => Err(format!("nobody answered within {} s", limit.as_secs())),
    }
}

async fn asked(
    client: &mut Client<Compat<TcpStream>>,
    request: &Request<'_>,
) -> Result<Vec<Answer>, Failure> {
    let mut stream = if request.parameters.is_empty() {
        client.simple_query(request.sql).await?
    } else {
        let mut query = tiberius::Query::new(request.sql);
        for parameter in request.parameters {
            match parameter {
                Parameter::Null => query.bind(None::<&str>),
                Parameter::Flag(flag) => query.bind(*flag),
                Parameter::Whole(number) => query.bind(*number),
                Parameter::Real(number) => query.bind(*number),
                Parameter::Text(text) => query.bind(text.as_str()),
            }
        }
        query.query(client).await?
    };
    let mut answers: Vec<Answer> = Vec::new();
    let mut room = request.rows;
    // What follows is read to its end even when it is not kept: errors may stand behind the rows.
    while let Some(item) = stream.try_next().await? {
        match item {
            QueryItem::Metadata(metadata) => {
                answers.push(Answer::new(metadata.columns().iter().map(Column::of).collect()));
            }
            QueryItem::Row(row) if room > 0 => {
                if let Some(answer) = answers.last_mut() {
                    answer.push(row.into_iter().collect());
                    room -= 1;
                }
            }
            QueryItem::Row(_) => {}
        }
    }
    Ok(answers)
}
