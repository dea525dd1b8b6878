//! One session at a server, in one database, asked one thing at a time: [`Session`]. When an answer is given up in the middle the session
//! is dropped and stays dropped, and the server is asked to stop what it did.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drydock_step::StepError;
use drydock_step::target::RowSet;
use futures_util::TryStreamExt;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::SimpleQueryMessage;

use super::answer::Answer;
use super::cells::{READABLE, distinct, json_of};
use super::failure::{Effect, Failure};
use super::reading::{ReadingQuery, refused_as_writing};
use super::settings::{Place, PostgresSettings};
use super::wire::Wire;

/// The longest that one of our own questions may take.
const QUESTION: Duration = Duration::from_secs(60);

/// Limits that an administrator has set for people's sessions: a backup runs for hours and is silent meanwhile. Names that a server does
/// not know are passed over.
const WITHOUT_LIMITS: &str = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', \
    'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";

/// States with which another of several hosts is tried.
const NEXT_HOST: [&str; 2] = ["57P03", "53300"];

/// A session.
pub(super) struct Session {
    wire: Wire,
    turn: Mutex<()>,
    is_lost: AtomicBool,
}

/// The right to ask, until it is given back. When it is dropped before, somebody has given up in the middle of an answer.
struct Turn<'s> {
    session: &'s Session,
    _held: MutexGuard<'s, ()>,
    is_over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.session.is_lost.store(true, Ordering::SeqCst);
        let stopper = self.session.wire.stopper();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Nobody waits for it: a server that cannot be reached ends the statement when it finds its client gone.
            runtime.spawn(async move { stopper.stop().await });
        }
    }
}

impl Session {
    /// A new session in this database, at the first place that lets us in.
    ///
    /// # Errors
    /// `postgres.connect` (transient), `postgres.tls`, or what the server says to the role.
    pub(super) async fn open(settings: &PostgresSettings, database: &str) -> Result<Self, StepError> {
        let tls = settings.connector()?;
        let mut failed: Vec<(&Place, Failure)> = Vec::new();
        for place in &settings.places {
            let config = settings.config(place, database);
            let tls = tls.as_ref().filter(|_| !place.is_socket());
            // A server may take a connection and then say nothing.
            let limit = settings.connect_timeout.saturating_mul(2);
            let connected = match tokio::time::timeout(limit, Wire::connect(&config, tls)).await {
                Ok(connected) => connected.map_err(Failure::from),
                Err(_) => Err(Failure::Lost(format!("no answer within {} s", limit.as_secs_f32()))),
            };
            match connected {
                Ok(wire) => {
                    let session = Self { wire, turn: Mutex::default(), is_lost: false.into() };
                    session.ask("lifting the session's limits", WITHOUT_LIMITS).await?;
                    return Ok(session);
                }
                Err(failure) => {
                    let is_last = failure.state().is_some_and(|state| !NEXT_HOST.contains(&state));
                    failed.push((place, failure));
                    if is_last {
                        break;
                    }
                }
            }
        }
        Err(unreachable(failed))
    }

    /// The answer to one of our own questions.
    ///
    /// # Errors
    /// What the server says; `postgres.lost` (transient) when no answer comes within a minute.
    pub(super) async fn ask(&self, doing: &str, sql: &str) -> Result<Answer, StepError> {
        let asked = tokio::time::timeout(QUESTION, self.answer(sql)).await;
        let answer = asked.unwrap_or(Err(Failure::TimedOut(QUESTION)));
        answer.map_err(|failure| failure.of_statement(sql, doing, Effect::Reads))
    }

    /// The answer to a question that may take as long as the data are large.
    ///
    /// # Errors
    /// What the server says; `postgres.lost` (transient).
    pub(super) async fn ask_long(&self, doing: &str, sql: &str) -> Result<Answer, StepError> {
        self.answer(sql).await.map_err(|failure| failure.of_statement(sql, doing, Effect::Reads))
    }

    /// Runs a statement that changes something, for as long as it takes; its last rows.
    ///
    /// # Errors
    /// What the server says; `postgres.lost` (unknown) when the answer is lost.
    pub(super) async fn work(&self, doing: &str, sql: &str) -> Result<Answer, StepError> {
        self.answer(sql).await.map_err(|failure| failure.of_statement(sql, doing, Effect::Writes))
    }

    /// One state of the database, for several questions about it.
    ///
    /// # Errors
    /// What the server says; `postgres.lost` (transient).
    pub(super) async fn snapshot(&self) -> Result<Snapshot<'_>, StepError> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {READABLE}; SET LOCAL row_security = off"
        );
        let begun = async {
            let turn = self.turn().await?;
            self.batch(&begin).await?;
            Ok(Snapshot { turn })
        };
        begun
            .await
            .map_err(|failure: Failure| failure.of_statement(&begin, "taking a snapshot", Effect::Reads))
    }

    /// The rows of a query that only reads, at most so many and one more. It runs in a transaction that only reads and is rolled back.
    ///
    /// # Errors
    /// `query.writes` for what is more than one statement or gives no rows, `query.parameter`, or what the server says.
    pub(super) async fn read(&self, query: &ReadingQuery<'_>, rows: usize) -> Result<RowSet, StepError> {
        self.read_or_describe(query, Some(rows)).await
    }

    /// Whether a query would give rows: the server reads it and does not run it.
    ///
    /// # Errors
    /// Those of [`Session::read`].
    pub(super) async fn describe(&self, query: &ReadingQuery<'_>) -> Result<(), StepError> {
        self.read_or_describe(query, None).await.map(drop)
    }

    async fn read_or_describe(
        &self,
        query: &ReadingQuery<'_>,
        rows: Option<usize>,
    ) -> Result<RowSet, StepError> {
        let told = |failure: Failure| match refused_as_writing(&failure) {
            Some(refused) => refused,
            None => failure.of_statement(query.sql, "the query", Effect::Reads),
        };
        let turn = self.turn().await.map_err(told)?;
        let found = self.read_within(query, rows.map(|rows| rows.saturating_add(1))).await;
        let stays = !matches!(&found, Err(Ended::Failed(failure)) if !failure.leaves_connection());
        let ended = if stays { self.batch("ROLLBACK").await } else { Ok(()) };
        self.give_back(turn, stays && ended.is_ok());
        found.map_err(|ended| match ended {
            Ended::Failed(failure) => told(failure),
            Ended::Refused(error) => error,
        })
    }

    async fn read_within(&self, query: &ReadingQuery<'_>, rows: Option<usize>) -> Result<RowSet, Ended> {
        self.batch(&format!("BEGIN READ ONLY; {READABLE}")).await?;
        // Described before it runs: the server itself says whether it is one statement, and what its columns are.
        let described =
            self.wire.client.prepare(query.sql).await.map_err(|error| self.wire.failure(error))?;
        query.fits(described.params().len(), described.columns().len()).map_err(Ended::Refused)?;
        let Some(rows) = rows else { return Ok(RowSet::default()) };
        let answer = match query.prepared() {
            None => self.rows(query.sql, rows).await?,
            Some((prepare, execute, forget)) => {
                self.batch(&prepare).await?;
                let answer = self.rows(&execute, rows).await;
                // What was prepared outlives the transaction, and an error as well, after which nothing but its end is taken.
                if answer.as_ref().err().is_none_or(Failure::leaves_connection) {
                    self.batch(&format!("ROLLBACK; {forget}; BEGIN READ ONLY")).await?;
                }
                answer?
            }
        };
        let columns = distinct(described.columns().iter().map(tokio_postgres::Column::name));
        let row = |cells: &Vec<Option<String>>| {
            let typed = described.columns().iter().zip(cells);
            let values = typed.map(|(column, cell)| json_of(column.type_(), cell.as_deref()));
            columns.iter().cloned().zip(values).collect()
        };
        Ok(RowSet { rows: answer.cells.iter().map(row).collect(), columns })
    }

    /// Runs a script as one transaction; how many statements it had.
    ///
    /// # Errors
    /// What the server says, with the statement's number; `script.transaction` when it leaves a transaction open; `postgres.lost` (unknown).
    pub(super) async fn script(&self, script: &str) -> Result<u64, StepError> {
        let told = |failure: Failure, done: u64| {
            // What cannot be read is refused as a whole, before its first statement.
            let whole = done == 0 && failure.state() == Some("42601");
            let doing =
                if whole { "the script".into() } else { format!("statement {} of the script", done + 1) };
            failure.of_statement(script, &doing, Effect::Writes)
        };
        let turn = self.turn().await.map_err(|failure| told(failure, 0))?;
        let mut done = 0;
        let run = async {
            let stream = self.wire.client.simple_query_raw(script).await?;
            let mut stream = pin!(stream);
            while let Some(message) = stream.try_next().await? {
                if matches!(message, SimpleQueryMessage::CommandComplete(_)) {
                    done += 1;
                }
            }
            Ok(())
        };
        let ran = run.await.map_err(|error| self.wire.failure(error));
        let stays = ran.as_ref().err().is_none_or(Failure::leaves_connection);
        self.wire.notices();
        let ended = if stays { self.batch("ROLLBACK").await } else { Ok(()) };
        // The server warns whoever ends a transaction where there is none.
        let was_closed = self.wire.notices().iter().any(|notice| notice.state == "25P01");
        self.give_back(turn, stays && ended.is_ok());
        ran.map_err(|failure| told(failure, done))?;
        ended.map_err(|failure| told(failure, done))?;
        if was_closed {
            return Ok(done);
        }
        let message = "the script began a transaction and did not end it; it was rolled back";
        Err(StepError::new("script.transaction", message)
            .help("end it with COMMIT, or leave BEGIN out: a script is one transaction by itself"))
    }

    async fn turn(&self) -> Result<Turn<'_>, Failure> {
        let held = self.turn.lock().await;
        if self.is_lost.load(Ordering::SeqCst) {
            return Err(Failure::Lost("the connection was lost before".into()));
        }
        Ok(Turn { session: self, _held: held, is_over: false })
    }

    /// Gives a turn back whose answer came to its end, and keeps the session where it can be asked again.
    fn give_back(&self, mut turn: Turn<'_>, stays: bool) {
        turn.is_over = true;
        if !stays {
            self.is_lost.store(true, Ordering::SeqCst);
        }
    }

    /// The last rows of the answer to a question, all of them.
    async fn answer(&self, sql: &str) -> Result<Answer, Failure> {
        let turn = self.turn().await?;
        let answer = self.rows(sql, usize::MAX).await;
        self.give_back(turn, answer.as_ref().err().is_none_or(Failure::leaves_connection));
        answer
    }

    async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.wire.client.batch_execute(sql).await.map_err(|error| self.wire.failure(error))
    }

    /// Rows of the last statement, of which so many are kept. What follows is read to its end: errors may stand behind the rows.
    async fn rows(&self, sql: &str, keep: usize) -> Result<Answer, Failure> {
        let asked = async {
            let stream = self.wire.client.simple_query_raw(sql).await?;
            let mut stream = pin!(stream);
            let mut answer = Answer::default();
            while let Some(message) = stream.try_next().await? {
                match message {
                    SimpleQueryMessage::RowDescription(columns) => {
                        let columns = columns.iter().map(|column| column.name().to_owned()).collect();
                        answer = Answer { columns, cells: Vec::new() };
                    }
                    SimpleQueryMessage::Row(row) if answer.cells.len() < keep => {
                        let cell = |at| row.try_get(at).map(|cell: Option<&str>| cell.map(str::to_owned));
                        answer.cells.push((0..row.len()).map(cell).collect::<Result<_, _>>()?);
                    }
                    _ => {}
                }
            }
            Ok(answer)
        };
        asked.await.map_err(|error| self.wire.failure(error))
    }
}

/// One state of a database: nothing that others do meanwhile is seen, and what row level security would hide is an error. Where it is not
/// brought to its end the session is not asked again.
pub(super) struct Snapshot<'s> {
    turn: Turn<'s>,
}

impl Snapshot<'_> {
    /// The answer to a question, which may take as long as the data are large.
    ///
    /// # Errors
    /// What the server says; `postgres.lost` (transient).
    pub(super) async fn ask(&self, doing: &str, sql: &str) -> Result<Answer, StepError> {
        let answer = self.turn.session.rows(sql, usize::MAX).await;
        answer.map_err(|failure| failure.of_statement(sql, doing, Effect::Reads))
    }

    /// Ends it.
    ///
    /// # Errors
    /// `postgres.lost` (transient).
    pub(super) async fn end(self) -> Result<(), StepError> {
        let session = self.turn.session;
        let ended = session.batch("ROLLBACK").await;
        session.give_back(self.turn, ended.is_ok());
        ended.map_err(|failure| failure.while_doing("ending a snapshot", Effect::Reads))
    }
}

/// Why a query gave nothing.
enum Ended {
    Failed(Failure),
    Refused(StepError),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why no place lets us in.
fn unreachable(mut failed: Vec<(&Place, Failure)>) -> StepError {
    let refused = failed.iter().position(|(_, failure)| failure.state().is_some());
    if let Some(at) = refused {
        let (place, failure) = failed.swap_remove(at);
        return failure.while_doing(&format!("connecting to {place}"), Effect::Reads);
    }
    let words = |(place, failure): &(&Place, Failure)| {
        let why = match failure {
            Failure::Lost(why) | Failure::Tls(why) | Failure::Garbled(why) => why.as_str(),
            Failure::TimedOut(_) | Failure::Refused(_) => "no answer",
        };
        format!("connecting to {place}: {why}")
    };
    let message = failed.iter().map(words).collect::<Vec<_>>().join("; ");
    let tls = failed.iter().any(|(_, failure)| matches!(failure, Failure::Tls(_)));
    if !tls {
        return StepError::transient("postgres.connect", message)
            .help("is it the right host and port, does the server listen there (`listen_addresses`), and does its name resolve?");
    }
    let help = if message.contains("does not support TLS") {
        "this server was built or configured without TLS: set `ssl = on` there, or say `sslmode: disable` where nobody is on the way"
    } else if message.contains("CaUsedAsEndEntity") {
        "its certificate is one of an authority; make it with `basicConstraints=CA:FALSE`"
    } else {
        "give the authority that signed its certificate in `ca`; with `verify-full` it must bear the very name that `host` is"
    };
    StepError::new("postgres.tls", message).help(help)
}
