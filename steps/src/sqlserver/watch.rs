//! Statements that take long: watched from a second connection while they run ([`watched`]), found again after a crash ([`running`]),
//! and stopped ([`stop`]).

use std::sync::Arc;
use std::time::Duration;

use drydock_step::{Connection, Ctx, StepError};
use tokio::time::sleep;

use super::answer::present;
use super::backup_statement::BackupKind;
use super::settings::marked;
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;
use crate::bytes::size;

/// How often a statement is asked after.
const INTERVAL: Duration = Duration::from_secs(1);

/// After how many questions in a row that find nothing more of a statement its answer is given up.
const PATIENCE: u32 = 10;

/// Which requests are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// BACKUP and RESTORE.
    Media,
    /// Any.
    Any,
}

fn request_of(session_id: i64) -> String {
    format!(
        "SELECT command, percent_complete, estimated_completion_time, total_elapsed_time FROM sys.dm_exec_requests WHERE session_id = {session_id}"
    )
}

/// Requests of other sessions of an attempt.
fn requests_of(attempt: &str, work: Work) -> String {
    let only = match work {
        Work::Media => " AND (r.command LIKE N'BACKUP%' OR r.command LIKE N'RESTORE%')",
        Work::Any => "",
    };
    format!(
        "SELECT r.session_id, r.command FROM sys.dm_exec_requests AS r JOIN sys.dm_exec_sessions AS s ON s.session_id = r.session_id \
         WHERE s.program_name = {} AND r.session_id <> @@SPID{only}",
        quoted(&marked(attempt))
    )
}

/// How many bytes a backup is likely to move: what the last of its kind had before compression, or else what the database's files take.
/// Nothing where nobody tells.
pub(super) async fn expected_size(
    server: &SqlServerConnection,
    database: &Identifier,
    kind: BackupKind,
) -> Option<u64> {
    let (letter, name) = (kind.letter(), database.quoted());
    let last = format!(
        "SELECT TOP (1) backup_size AS bytes FROM msdb.dbo.backupset WHERE database_name = {name} AND type = '{letter}' ORDER BY backup_set_id DESC"
    );
    let files = format!(
        "SELECT SUM(CAST(size AS bigint)) * 8192 AS bytes FROM sys.master_files WHERE database_id = DB_ID({name}) AND type = 0"
    );
    for sql in [last, files].into_iter().take(if kind.is_log() { 1 } else { 2 }) {
        let answer = server.session().ask("asking for the size of a backup", &sql).await.ok()?;
        let bytes = answer.rows().next().and_then(|row| row.number("bytes").ok().flatten());
        if let Some(bytes) = bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
            return Some(bytes);
        }
    }
    None
}

/// Runs a statement that changes something, for as long as it takes, and shows how far it is.
///
/// # Errors
/// What the server says; `sqlserver.lost` (unknown) when the connection breaks, or when the server has long ended the statement and its
/// answer never came.
pub(super) async fn watched(
    ctx: &Ctx,
    connection: &SqlServerConnection,
    doing: &str,
    sql: &str,
) -> Result<(), StepError> {
    watched_sized(ctx, connection, doing, sql, None).await
}

/// The same of a statement that is likely to move so many bytes.
///
/// # Errors
/// As [`watched`].
pub(super) async fn watched_sized(
    ctx: &Ctx,
    connection: &SqlServerConnection,
    doing: &str,
    sql: &str,
    bytes: Option<u64>,
) -> Result<(), StepError> {
    let session_id = connection.facts().await?.session_id;
    ctx.progress(0, None, "percent", doing);
    tokio::select! {
        done = connection.session().work(doing, sql) => done,
        lost = ended_without_answer(ctx, session_id, doing, bytes) => Err(lost),
    }
}

/// Watches a session's request. Returns only when it was seen once and is long gone: the way back to us is broken. A login that may not
/// see other sessions shows no progress, and its watch never ends.
async fn ended_without_answer(ctx: &Ctx, session_id: i64, doing: &str, bytes: Option<u64>) -> StepError {
    let mut watcher: Option<Arc<dyn Connection>> = None;
    let mut watch = Watch::default();
    loop {
        sleep(INTERVAL).await;
        if watcher.is_none() {
            watcher = ctx.connection().await.ok();
        }
        let Some(connection) = &watcher else { continue };
        match progress_of(connection.as_ref(), session_id).await {
            Ok(Some(seen)) => {
                watch.saw(true);
                ctx.progress(seen.percent.round() as u64, Some(100), "percent", seen.words(bytes));
            }
            Ok(None) => watch.saw(false),
            Err(_) => watcher = None,
        }
        if watch.is_over() {
            let message = format!(
                "{doing}: the server has ended the statement {PATIENCE} s ago and its answer never came; whether it did it is not known"
            );
            return StepError::unknown("sqlserver.lost", message);
        }
    }
}

/// What was seen of a statement.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    once: bool,
    missed: u32,
}

impl Watch {
    fn saw(&mut self, is_there: bool) {
        self.once |= is_there;
        self.missed = if is_there { 0 } else { self.missed + 1 };
    }

    /// Whether it was there and is long gone.
    fn is_over(self) -> bool {
        self.once && self.missed >= PATIENCE
    }
}

/// What is seen of a session's request.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    command: String,
    percent: f64,
    elapsed_ms: i64,
    left_ms: Option<i64>,
}

impl Seen {
    /// Its phase, how fast it goes and how long it still takes. A percentage of 0 at first and of 100 at the end is no standstill: files
    /// are zeroed before anything is read, and a restored database is recovered afterwards.
    fn words(&self, bytes: Option<u64>) -> String {
        let restores = self.command.starts_with("RESTORE");
        let moves = restores || self.command.starts_with("BACKUP");
        let phase = match self.percent {
            _ if !moves => "",
            percent if percent <= 0.0 && restores => ": preparing, files are zeroed first",
            percent if percent <= 0.0 => ": preparing",
            percent if percent >= 100.0 && restores => ": recovering, which may take long at 100 %",
            percent if percent >= 100.0 => ": finishing",
            _ => "",
        };
        let mut words = format!("{}{phase}", self.command);
        let under_way = phase.is_empty() && moves && self.percent > 0.0;
        if let (true, Some(bytes), 1..) = (under_way, bytes, self.elapsed_ms) {
            let moved = bytes as f64 * self.percent / 100.0;
            words.push_str(&format!(", {}/s", size(moved * 1000.0 / self.elapsed_ms as f64)));
        }
        if let Some(left) = self.left_ms.filter(|left| *left >= 1000) {
            words.push_str(&format!(", {} left", span(left / 1000)));
        }
        words
    }
}

/// Seconds as people say them.
fn span(seconds: i64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// What is seen of a session's request; nothing when it has none.
async fn progress_of(connection: &dyn Connection, session_id: i64) -> Result<Option<Seen>, StepError> {
    let session = SqlServerConnection::of(connection)?.session();
    let answer = session.ask("asking for progress", &request_of(session_id)).await?;
    let Some(row) = answer.rows().next() else { return Ok(None) };
    Ok(Some(Seen {
        command: row.text("command")?.unwrap_or_default().to_owned(),
        percent: row.real("percent_complete")?.unwrap_or(0.0).clamp(0.0, 100.0),
        elapsed_ms: row.number("total_elapsed_time")?.unwrap_or(0),
        left_ms: row.number("estimated_completion_time")?.filter(|ms| *ms > 0),
    }))
}

/// The sessions of an attempt that work at the server, beside the one that asks.
///
/// # Errors
/// What the server says.
pub(super) async fn running(
    connection: &SqlServerConnection,
    attempt: &str,
    work: Work,
) -> Result<Vec<i64>, StepError> {
    let answer =
        connection.session().ask("looking for running requests", &requests_of(attempt, work)).await?;
    answer.rows().map(|row| present(row.number("session_id")?, "session_id")).collect()
}

/// Ends what an attempt runs at the server, from another connection.
///
/// # Errors
/// What the server says; a session that is gone already is none.
pub(super) async fn stop(ctx: &Ctx) -> Result<(), StepError> {
    let connection = ctx.connection().await?;
    let connection = SqlServerConnection::of(&*connection)?;
    for session_id in running(connection, &ctx.attempt, Work::Any).await? {
        let kill = format!("KILL {session_id}");
        match connection.session().work(&kill, &kill).await {
            Err(error) if error.code == "sqlserver.6106" => {}
            done => done?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_up_only_for_a_statement_that_was_seen_and_is_gone() {
        let mut watch = Watch::default();
        (0..3 * PATIENCE).for_each(|_| watch.saw(false));
        assert!(!watch.is_over(), "who may not see sessions waits");
        watch.saw(true);
        (1..PATIENCE).for_each(|_| watch.saw(false));
        assert!(!watch.is_over());
        watch.saw(false);
        assert!(watch.is_over());
    }

    #[test]
    fn progress_has_a_rate_and_says_what_a_standstill_is() {
        let seen = |command: &str, percent: f64, left_ms: Option<i64>| {
            let seen = Seen { command: command.into(), percent, elapsed_ms: 2000, left_ms };
            seen.words(Some(100 << 20))
        };
        assert_eq!(seen("BACKUP DATABASE", 50.0, Some(2000)), "BACKUP DATABASE, 25.0 MiB/s, 2 s left");
        assert_eq!(seen("BACKUP LOG", 0.0, None), "BACKUP LOG: preparing");
        assert_eq!(seen("BACKUP LOG", 100.0, None), "BACKUP LOG: finishing");
        assert_eq!(
            seen("RESTORE DATABASE", 0.0, None),
            "RESTORE DATABASE: preparing, files are zeroed first"
        );
        assert_eq!(
            seen("RESTORE DATABASE", 100.0, None),
            "RESTORE DATABASE: recovering, which may take long at 100 %"
        );
        assert_eq!(seen("DBCC TABLE CHECK", 0.0, Some(7_260_000)), "DBCC TABLE CHECK, 2 h 1 min left");
        let unsized_one = Seen { command: "BACKUP LOG".into(), percent: 10.0, elapsed_ms: 5, left_ms: None };
        assert_eq!(unsized_one.words(None), "BACKUP LOG");
        assert_eq!((size(10.0), span(90)), ("10.0 B".to_owned(), "1 min 30 s".to_owned()));
    }

    #[test]
    fn only_sessions_of_the_attempt_are_found() {
        let media = requests_of("r1/it's/1", Work::Media);
        assert!(
            media.contains("program_name = N'drydock r1/it''s/1' AND r.session_id <> @@SPID AND (r.command")
        );
        assert!(requests_of("r1/a/1", Work::Any).ends_with("@@SPID"));
    }
}
