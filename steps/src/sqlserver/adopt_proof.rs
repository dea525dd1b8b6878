//! Whether an application reaches its data: [`proved`] enters a database as its login and reads, as the application would.

use drydock_step::StepError;
use serde_json::{Value, json};

use super::failure::Effect;
use super::session::Request;
use super::sql::{Identifier, quoted, table_in};
use super::target::SqlServerConnection;

/// As whom a session is in its database.
const WHO: &str = "SELECT USER_NAME() AS name";

/// The login of an application.
pub(super) struct Application<'a> {
    /// Its name.
    pub(super) login: &'a str,
    /// Its password. Without it, it is played by a login that may.
    pub(super) password: Option<&'a str>,
    /// Tables that it has to be able to read.
    pub(super) reads: &'a [String],
}

impl Application<'_> {
    /// How it is let in.
    pub(super) fn way(&self) -> &'static str {
        if self.password.is_some() { "connection" } else { "impersonation" }
    }

    /// The statements, in order, each with what the login cannot do where it is refused.
    fn questions(&self, database: &Identifier) -> Vec<(String, String)> {
        let mut all = Vec::new();
        if self.password.is_none() {
            all.push((
                format!("EXECUTE AS LOGIN = {}", quoted(self.login)),
                "cannot be played in".to_owned(),
            ));
            all.push((format!("USE {}", database.bracketed()), "cannot enter".to_owned()));
        }
        all.push((WHO.to_owned(), "cannot be asked who it is in".to_owned()));
        all.extend(self.reads.iter().map(|table| {
            let sql = format!("SELECT TOP (1) 1 AS one FROM {}", table_in(database, table));
            (sql, format!("cannot read {table} in"))
        }));
        all
    }

    /// The statements, in order.
    pub(super) fn statements(&self, database: &Identifier) -> Vec<String> {
        self.questions(database).into_iter().map(|(sql, _)| sql).collect()
    }
}

fn failed(application: &Application<'_>, database: &Identifier, doing: &str, error: StepError) -> StepError {
    if error.transient {
        return error;
    }
    let message = format!("login {} {doing} database {database}: {}", application.login, error.message);
    StepError::new("adopt.application", message).help(
        "is its user mapped to it (`orphans`), has it the right to read, and is the database open to it (`sqlserver.open`)?",
    )
}

/// Enters and reads; as whom it came in.
///
/// # Errors
/// `adopt.application`, with what the server says to it.
pub(super) async fn proved(
    server: &SqlServerConnection,
    database: &Identifier,
    application: &Application<'_>,
) -> Result<Value, StepError> {
    let by = application.password.map(|password| (application.login, password));
    // A session of its own, for as long as this takes: who has put on another login is that login until it goes.
    let session = server.another(by, database.as_str()).await;
    let session = session.map_err(|error| failed(application, database, "is not let into", error))?;
    let mut user = String::new();
    for (sql, cannot) in application.questions(database) {
        let answer = session.answer(Request { rows: 1, ..Request::of(&sql) }).await;
        let answer = answer.map_err(|failure| {
            failed(application, database, &cannot, failure.while_doing(&sql, Effect::Reads))
        })?;
        if sql == WHO {
            user = answer.first()?.text("name")?.unwrap_or_default().to_owned();
        }
    }
    let (by, reads) = (application.way(), application.reads);
    Ok(json!({ "login": application.login, "user": user, "by": by, "reads": reads }))
}
