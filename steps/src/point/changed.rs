//! How many documents have to be indexed again after a restore: [`Changed`] counts them in the truth, while it is still there.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use drydock_recovery::Time;
use drydock_recovery::catalogue::Selection;
use drydock_recovery::manifest::off_words;
use drydock_step::{Ctx, StepError};
use serde_json::Value;

/// Whoever restores waits no longer than this for a server that may be dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the truth is asked.
pub(super) struct Changed<'a> {
    pub(super) truth: &'a str,
    pub(super) database: Option<&'a str>,
    pub(super) sql: &'a str,
}

impl Changed<'_> {
    /// The documents that changed between the oldest vectors of a selection and its moment, or in words why nobody can say.
    pub(super) async fn asked(&self, ctx: &Ctx, selection: &Selection) -> Result<u64, String> {
        if let Some((server, off_s)) = selection.clocks.iter().find(|(name, _)| selection.has_server(name)) {
            return Err(format!(
                "the clock of {server} went {}: what changed in between cannot be told by the times in its rows",
                off_words(TimeDelta::seconds(*off_s as i64))
            ));
        }
        let Some(since) = selection.price.reindex.iter().map(|one| one.since).min() else { return Ok(0) };
        let sql = self.sql.replace("{since}", &literal(since)).replace("{until}", &literal(selection.at));
        match tokio::time::timeout(PATIENCE, self.counted(ctx, &sql)).await {
            Ok(Ok(count)) => Ok(count),
            Ok(Err(error)) => Err(format!("{} was asked: {}", self.truth, error.message)),
            Err(_) => Err(format!("{} did not answer within {} s", self.truth, PATIENCE.as_secs())),
        }
    }

    async fn counted(&self, ctx: &Ctx, sql: &str) -> Result<u64, StepError> {
        let server = ctx.host.connect(self.truth).await?;
        let rows = server.rows().ok_or_else(|| StepError::internal("the truth does not answer queries"))?;
        let answer = rows.rows(self.database, sql).await?;
        let cell = answer.rows.first().and_then(|row| row.values().next());
        let count = match cell {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        count.ok_or_else(|| StepError::new("point.query", "the query of `changed` gives no count"))
    }
}

/// A time in UTC as every SQL reads it.
fn literal(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true).trim_end_matches('Z').to_owned()
}
