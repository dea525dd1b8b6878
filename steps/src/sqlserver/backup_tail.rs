//! What a tail needs besides its backup: everybody out first, and back in when it failed. Main functions: [`close`], [`reopen`].

use drydock_step::{Ctx, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::database::{DatabaseFacts, State};
use super::sql::Identifier;
use super::target::SqlServerConnection;

/// What is kept before a database is closed to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Closing {
    /// Whether everybody could enter it.
    was_multi_user: bool,
}

/// Whether this attempt or an earlier one closed the database to others.
pub(super) fn has_closed(notes: &[Value]) -> bool {
    let closing = |note: &Value| Closing::deserialize(note.get("closing")?).ok();
    notes.iter().filter_map(closing).any(|closing| closing.was_multi_user)
}

fn single_user(database: &Identifier) -> String {
    format!("ALTER DATABASE {} SET SINGLE_USER WITH ROLLBACK IMMEDIATE", database.bracketed())
}

fn multi_user(database: &Identifier) -> String {
    format!("ALTER DATABASE {} SET MULTI_USER", database.bracketed())
}

/// The statement that closes it, for a dry run.
pub(super) fn shown(database: &str) -> String {
    format!("ALTER DATABASE {database} SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
}

/// Throws everybody out of a database. One that is being restored is refused: there is nobody in it, and no tail of it.
///
/// # Errors
/// `sqlserver.911`, `sqlserver.927`, `backup.closed`, or what the server says.
pub(super) async fn close(
    ctx: &Ctx,
    server: &SqlServerConnection,
    database: &Identifier,
    no_truncate: bool,
) -> Result<(), StepError> {
    let Some(facts) = DatabaseFacts::ask(server.session(), database).await? else {
        let message = format!("there is no database {database} on this server");
        return Err(StepError::new("sqlserver.911", message)
            .help("is the name spelled right, and is it this server?"));
    };
    match facts.state {
        State::Restoring => {
            let message = format!(
                "database {database} is in the middle of a restore: it has no tail that could be taken"
            );
            return Err(StepError::new("sqlserver.927", message)
                .help("its tail was taken before, or what it had was given up when the restore began"));
        }
        State::Online => {}
        // Nobody can be inside, and nothing of it can be altered.
        _ if no_truncate => return Ok(()),
        _ => {
            let message = format!("database {database} is {}, not ONLINE", facts.state_word);
            return Err(StepError::new("backup.closed", message).help(
                "bring it online, or say `no_truncate: true`: the log of a damaged database can be backed up all the same",
            ));
        }
    }
    if !facts.is_multi_user {
        return Ok(());
    }
    ctx.note(json!({ "closing": Closing { was_multi_user: true } })).await?;
    let alter = single_user(database);
    match server.session().work(&alter, &alter).await {
        // A damaged database may not be altered any more, and then nobody is in it.
        Err(error) if no_truncate && !error.unknown => {
            ctx.log(format!("{}; its log is backed up all the same", error.message));
            Ok(())
        }
        done => done,
    }
}

/// Lets everybody in again where a tail failed: best effort, since the failure itself is what has to be told.
pub(super) async fn reopen(ctx: &Ctx, database: &Identifier) {
    let again = async {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let facts = DatabaseFacts::ask(server.session(), database).await?;
        let is_ours = facts.is_some_and(|facts| facts.state == State::Online && !facts.is_multi_user);
        if is_ours {
            let alter = multi_user(database);
            server.session().work(&alter, &alter).await?;
        }
        Ok::<_, StepError>(())
    };
    if let Err(error) = again.await {
        ctx.log(format!(
            "database {database} may still have a single user: {}; `{}` lets everybody in",
            error.message,
            multi_user(database)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_keep_to_their_database_and_notes_are_read() {
        let database = Identifier::parse("a]b").unwrap();
        assert_eq!(single_user(&database), "ALTER DATABASE [a]]b] SET SINGLE_USER WITH ROLLBACK IMMEDIATE");
        assert_eq!(multi_user(&database), "ALTER DATABASE [a]]b] SET MULTI_USER");
        assert_eq!(shown(&database.bracketed()), single_user(&database));
        assert!(has_closed(&[json!({ "sent": 1 }), json!({ "closing": { "was_multi_user": true } })]));
        assert!(!has_closed(&[json!({ "closing": { "was_multi_user": false } })]));
    }
}
