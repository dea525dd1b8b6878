//! What a tail needs besides its backup: everybody out first, and back in when it failed. Main functions: [`close`], [`reopen`].

use drydock_step::{Ctx, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::database::{DatabaseFacts, State};
use super::sql::Identifier;
use super::target::SqlServerConnection;

/// What is kept before a database is closed to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Closing {
    /// Who could enter it, as `sys.databases` says it.
    was: String,
}

/// Who may enter a database, as `ALTER DATABASE … SET` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access(&'static str);

/// All that there are; the last is what a tail needs.
const ACCESSES: [&str; 3] = ["MULTI_USER", "RESTRICTED_USER", "SINGLE_USER"];

impl Access {
    fn parse(text: &str) -> Option<Self> {
        ACCESSES.into_iter().find(|known| *known == text).map(Self)
    }

    fn is_single(self) -> bool {
        self.0 == "SINGLE_USER"
    }

    fn statement(self, database: &Identifier) -> String {
        format!("ALTER DATABASE {} SET {}", database.bracketed(), self.0)
    }
}

/// What an earlier attempt, or this one before a crash, found when it closed the database to others.
pub(super) fn closed_from(notes: &[Value]) -> Option<Access> {
    let closing = |note: &Value| Closing::deserialize(note.get("closing")?).ok();
    notes
        .iter()
        .filter_map(closing)
        .find_map(|closing| Access::parse(&closing.was))
        .filter(|was| !was.is_single())
}

fn single_user(database: &Identifier) -> String {
    shown(&database.bracketed())
}

/// Who may enter a database, and how many others are in it.
async fn inside(
    server: &SqlServerConnection,
    database: &Identifier,
) -> Result<(Option<Access>, i64), StepError> {
    let name = database.quoted();
    let sql = format!(
        "SELECT d.user_access_desc, (SELECT COUNT(*) FROM sys.dm_exec_sessions AS s WHERE s.database_id = d.database_id AND s.session_id <> @@SPID) \
         AS others FROM sys.databases AS d WHERE d.name = {name}"
    );
    let answer = server.session().ask("asking who is in the database", &sql).await?;
    let row = answer.first()?;
    Ok((row.text("user_access_desc")?.and_then(Access::parse), row.number("others")?.unwrap_or(0)))
}

/// The statement that closes it, for a dry run.
pub(super) fn shown(database: &str) -> String {
    format!("ALTER DATABASE {database} SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
}

/// Throws everybody out of a database. One that is being restored is refused: there is nobody in it, and no tail of it. What is to be put
/// back when the tail fails.
///
/// # Errors
/// `sqlserver.911`, `sqlserver.927`, `backup.closed`, or what the server says.
pub(super) async fn close(
    ctx: &Ctx,
    server: &SqlServerConnection,
    database: &Identifier,
    no_truncate: bool,
) -> Result<Option<Access>, StepError> {
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
        _ if no_truncate => return Ok(None),
        _ => {
            let message = format!("database {database} is {}, not ONLINE", facts.state_word);
            return Err(StepError::new("backup.closed", message).help(
                "bring it online, or say `no_truncate: true`: the log of a damaged database can be backed up all the same",
            ));
        }
    }
    let noted = closed_from(&ctx.notes);
    let (access, others) = inside(server, database).await?;
    let was = noted.or(access.filter(|access| !access.is_single()));
    // Closed already, and whoever took the one place has left it.
    if access.is_some_and(Access::is_single) && others == 0 {
        return Ok(was);
    }
    if noted.is_none() {
        ctx.note(json!({ "closing": Closing { was: access.map_or("", |access| access.0).to_owned() } }))
            .await?;
    }
    let alter = single_user(database);
    match server.session().work(&alter, &alter).await {
        // A damaged database may not be altered any more, and then nobody is in it.
        Err(error) if no_truncate && !error.unknown => {
            ctx.log(format!("{}; its log is backed up all the same", error.message));
            Ok(None)
        }
        done => done.map(|()| was),
    }
}

/// Lets those in again who could enter before a tail that failed: best effort, since the failure itself is what has to be told.
pub(super) async fn reopen(ctx: &Ctx, database: &Identifier, was: Access) {
    let alter = was.statement(database);
    let again = async {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let facts = DatabaseFacts::ask(server.session(), database).await?;
        let is_closed = facts.is_some_and(|facts| facts.state == State::Online && !facts.is_multi_user);
        if is_closed { server.session().work(&alter, &alter).await } else { Ok(()) }
    };
    if let Err(error) = again.await {
        ctx.log(format!(
            "database {database} may still have a single user: {}; `{alter}` lets the others in",
            error.message
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
        let was = |was: &str| closed_from(&[json!({ "sent": 1 }), json!({ "closing": { "was": was } })]);
        assert_eq!(was("MULTI_USER").unwrap().statement(&database), "ALTER DATABASE [a]]b] SET MULTI_USER");
        assert_eq!(was("RESTRICTED_USER"), Some(Access("RESTRICTED_USER")));
        assert_eq!((was("SINGLE_USER"), was("x; DROP"), closed_from(&[])), (None, None, None));
    }
}
