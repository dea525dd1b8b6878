//! Statements that take long: watched from a second connection while they run ([`watched`]), found again after a crash ([`running`]),
//! and stopped ([`stop`]).

use std::sync::Arc;
use std::time::Duration;

use drydock_step::{Connection, Ctx, StepError};
use tokio::time::sleep;

use super::answer::present;
use super::settings::marked;
use super::sql::quoted;
use super::target::SqlServerConnection;

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
        "SELECT command, percent_complete, estimated_completion_time FROM sys.dm_exec_requests WHERE session_id = {session_id}"
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
    let session_id = connection.facts().await?.session_id;
    ctx.progress(0, None, "percent", doing);
    tokio::select! {
        done = connection.session().work(doing, sql) => done,
        lost = ended_without_answer(ctx, session_id, doing) => Err(lost),
    }
}

/// Watches a session's request. Returns only when it was seen once and is long gone: the way back to us is broken. A login that may not
/// see other sessions shows no progress, and its watch never ends.
async fn ended_without_answer(ctx: &Ctx, session_id: i64, doing: &str) -> StepError {
    let mut watcher: Option<Arc<dyn Connection>> = None;
    let mut watch = Watch::default();
    loop {
        sleep(INTERVAL).await;
        if watcher.is_none() {
            watcher = ctx.connection().await.ok();
        }
        let Some(connection) = &watcher else { continue };
        match progress_of(connection.as_ref(), session_id).await {
            Ok(Some((percent, left, command))) => {
                watch.saw(true);
                let left = left.map_or(String::new(), |left| format!(", {left} s left"));
                ctx.progress(percent, Some(100), "percent", format!("{command}{left}"));
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

/// Percent, seconds left, and the command of a session's request.
async fn progress_of(
    connection: &dyn Connection,
    session_id: i64,
) -> Result<Option<(u64, Option<i64>, String)>, StepError> {
    let session = SqlServerConnection::of(connection)?.session();
    let answer = session.ask("asking for progress", &request_of(session_id)).await?;
    let Some(row) = answer.rows().next() else { return Ok(None) };
    let percent = row.real("percent_complete")?.unwrap_or(0.0).clamp(0.0, 100.0);
    let left = row.number("estimated_completion_time")?.filter(|ms| *ms > 0).map(|ms| ms / 1000);
    // Between 0 and 100 nothing of the fraction is lost that anybody would miss.
    let percent = percent.round() as u64;
    Ok(Some((percent, left, row.text("command")?.unwrap_or_default().to_owned())))
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
    fn only_sessions_of_the_attempt_are_found() {
        let media = requests_of("r1/it's/1", Work::Media);
        assert!(
            media.contains("program_name = N'drydock r1/it''s/1' AND r.session_id <> @@SPID AND (r.command")
        );
        assert!(requests_of("r1/a/1", Work::Any).ends_with("@@SPID"));
    }
}
