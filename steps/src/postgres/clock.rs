//! A server's clock: [`now`], [`moment`].

use drydock_recovery::Time;
use drydock_step::StepError;

use super::session::Session;

/// What time a server has.
///
/// # Errors
/// What the server says.
pub(super) async fn now(session: &Session) -> Result<Time, StepError> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros";
    let answer = session.ask("asking for the time", sql).await?;
    let micros = answer.first()?.number("micros")?;
    moment(micros.unwrap_or_default())
}

/// The moment so many microseconds after 1970 began.
///
/// # Errors
/// `postgres.answer`, when there is no such moment.
pub(super) fn moment(micros: i64) -> Result<Time, StepError> {
    Time::from_timestamp_micros(micros).ok_or_else(|| {
        StepError::new("postgres.answer", format!("the server's clock says {micros} µs, which is no time"))
    })
}
