//! The row that a script leaves in its own transaction, by which it is known to have been committed: [`Record`].

use drydock_step::StepError;
use serde_json::Value;

use super::answer::present;
use super::session::Session;
use super::sql::{Identifier, quoted, table_in};

/// The table that holds a row for each script that was run.
pub(super) const SCRIPTS: &str = "drydock.scripts";

/// The row of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The database that the script began in.
    pub(super) database: Identifier,
    /// The attempt, as it is left on servers.
    pub(super) attempt: String,
}

impl Record {
    fn table(&self) -> String {
        table_in(&self.database, SCRIPTS)
    }

    /// The row and the end of the transaction: one batch, so that there is never one without the other.
    pub(super) fn commit(&self, outputs: &str) -> String {
        format!(
            "INSERT INTO {} ([attempt], [at], [outputs]) VALUES ({}, SYSUTCDATETIME(), {});\nCOMMIT TRANSACTION;",
            self.table(),
            quoted(&self.attempt),
            quoted(outputs)
        )
    }

    /// Whether the table is there and seen by the login.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn has_table(&self, session: &Session) -> Result<bool, StepError> {
        let sql = format!("SELECT OBJECT_ID({}, N'U') AS id", quoted(&self.table()));
        let answer = session.ask("looking for drydock.scripts", &sql).await?;
        Ok(answer.first()?.number("id")?.is_some())
    }

    /// The error of its absence.
    pub(super) fn no_table(&self) -> StepError {
        let message = format!("database {} has no table drydock.scripts that this login sees", self.database);
        StepError::new("script.table", message).help(
            "run plans/octopus/grants.sql in it: it makes the table; or say `idempotent: true` where running the script twice does no harm",
        )
    }

    /// What the script gave, when it was committed.
    ///
    /// # Errors
    /// What the server says; `sqlserver.answer` for a row that is none of ours.
    pub(super) async fn outputs(&self, session: &Session) -> Result<Option<Value>, StepError> {
        let sql =
            format!("SELECT [outputs] FROM {} WHERE [attempt] = {}", self.table(), quoted(&self.attempt));
        let answer = session.ask("asking whether the script was committed", &sql).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        let text = present(row.text("outputs")?, "outputs")?;
        serde_json::from_str(text).map(Some).map_err(|error| {
            StepError::new("sqlserver.answer", format!("the record of the script cannot be read: {error}"))
        })
    }
}
