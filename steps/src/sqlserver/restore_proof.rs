//! What a database itself proves once it is opened: the row of the mark that it was restored to is in it, and none of a later mark
//! ([`proved`]).

use drydock_step::StepError;

use super::marking::MARKS;
use super::restore_chain::{MarkStop, RestoreChain, Stop};
use super::session::Session;
use super::sql::{Identifier, quoted, table_in};

/// Checks the mark's own row. Nothing is proved where no mark is known by its name, or where the database has no table of marks.
///
/// # Errors
/// `restore.mark_row` when the row is not there, or one of a later mark is; what the server says.
pub(super) async fn proved(
    session: &Session,
    database: &Identifier,
    chain: &RestoreChain,
) -> Result<(), StepError> {
    let Stop::Mark(MarkStop { name: Some(mark), before, .. }) = &chain.stop else { return Ok(()) };
    let (table, doing) =
        (table_in(database, MARKS), format!("looking for the mark's row in database {database}"));
    let there = format!("SELECT OBJECT_ID({}, N'U') AS id", quoted(&table));
    if session.ask(&doing, &there).await?.first()?.number("id")?.is_none() {
        return Ok(());
    }
    let own =
        session.ask(&doing, &format!("SELECT [mark] FROM {table} WHERE [mark] = {}", quoted(mark))).await?;
    let wrong = |why: String| {
        let message = format!("database {database} is not at mark {mark}: {why}");
        StepError::new("restore.mark_row", message).help(
            "it stays RESTRICTED_USER, so that nobody works on it; look at drydock.marks in it, then restore again, or let everybody in with \
             `sqlserver.open` if you know better",
        )
    };
    match (own.len(), before) {
        (0, true) => Ok(()),
        (_, true) => Err(wrong("the mark's own row is in it, and it shall stop before that".into())),
        (0, false) => Err(wrong("the mark's own row is not in drydock.marks".into())),
        (_, false) => {
            // A run that opened its point later may have marked before this one, and a clock may have been set back since: later is what is
            // later by both.
            let mark = quoted(mark);
            let sql = format!(
                "SELECT [mark] FROM {table} WHERE [mark] > {mark} AND [at] > (SELECT MAX([at]) FROM {table} WHERE [mark] = {mark}) ORDER BY [at]",
            );
            let later = session.ask(&doing, &sql).await?;
            let named: Vec<&str> =
                later.rows().take(3).filter_map(|row| row.text("mark").ok().flatten()).collect();
            if later.len() == 0 {
                return Ok(());
            }
            Err(wrong(format!("drydock.marks has {} later rows: {}", later.len(), named.join(", "))))
        }
    }
}
