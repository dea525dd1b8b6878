//! DBCC CHECKDB, and DBCC WRITEPAGE, which gives it something to find. Main functions: [`check`], [`damage`].

use rusqlite::params;

use super::halt::{Done, Halt};
use super::history::{MSDB, date};
use super::output::Output;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::Text;
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::store::database::Database;
use crate::sqlserver::store::files;
use crate::sqlserver::tds::tokens::{Column, Command};
use crate::sqlserver::value::Value;

/// What is wrong with a database: the error and the page, where it has one.
struct Complaint {
    error: SqlError,
    page: Option<u64>,
}

fn named(session: &Session, name: Option<&Text>) -> Result<Database, SqlError> {
    let name = name.map(|name| session.text(name)).transpose()?;
    let catalog = session.instance.catalog();
    let database = match &name {
        Some(name) => catalog.named(name).ok_or_else(|| SqlError::no_database(name).state(1))?,
        None => catalog.databases.get(&session.current).ok_or_else(|| SqlError::internal("no database"))?,
    };
    session.may_use(&catalog, database)?;
    Ok(database.clone())
}

/// `DBCC CHECKDB`.
pub fn check(
    session: &mut Session,
    name: Option<&Text>,
    no_messages: bool,
    as_table: bool,
    out: &mut Output,
) -> Done<()> {
    session.working("DBCC TABLE CHECK");
    let database = named(session, name)?;
    let complaints = complaints(session, &database);
    let shown = &database.name;
    if as_table {
        return table(&database, &complaints, no_messages, out);
    }
    if !no_messages {
        out.message(&SqlError::new(2536, format!("DBCC results for '{shown}'.")).class(10));
    }
    let summary = summary(shown, complaints.len());
    if !complaints.is_empty() {
        let mut errors: Vec<SqlError> = complaints.into_iter().map(|complaint| complaint.error).collect();
        errors.extend([summary, least_repair(shown)]);
        return Err(Halt::Errors(errors));
    }
    if !no_messages {
        out.message(&summary);
        let text =
            "DBCC execution completed. If DBCC printed error messages, contact your system administrator.";
        out.message(&SqlError::new(2528, text).class(10));
    }
    out.done(0, Command::None, 0);
    Ok(())
}

fn complaints(session: &Session, database: &Database) -> Vec<Complaint> {
    let path = database.data_path();
    let found =
        files::complaints(&path, &session.instance.guids).unwrap_or_else(|error| vec![error.to_string()]);
    let structure = found.iter().map(|line| Complaint {
        error: SqlError::new(8939, format!("Table error in database '{}': {line}.", database.name)),
        page: None,
    });
    let pages = session.instance.catalog().damaged_pages(database);
    let pages = pages.iter().flat_map(|page| {
        let place = "Object ID 0, index ID -1, partition ID 0, alloc unit ID 0 (type Unknown)";
        let unread = format!("{place}: Page (1:{page}) could not be processed.  See other errors for details.");
        let test = format!("Table error: {place}, page (1:{page}). Test (IS_OFF (BUF_IOERR, pBUF->bstat)) failed. Values are 133129 and -4.");
        [(8928, unread), (8939, test)].map(|(number, text)| Complaint {
            error: SqlError::new(number, text),
            page: Some(*page),
        })
    });
    pages.chain(structure).collect()
}

fn summary(database: &str, count: usize) -> SqlError {
    let text =
        format!("CHECKDB found 0 allocation errors and {count} consistency errors in database '{database}'.");
    SqlError::new(8989, text).class(10)
}

fn least_repair(database: &str) -> SqlError {
    let text = format!(
        "repair_allow_data_loss is the minimum repair level for the errors found by DBCC CHECKDB ({database})."
    );
    SqlError::new(8958, text).class(10)
}

/// `WITH TABLERESULTS`: what would be messages are rows, errors too.
fn table(database: &Database, complaints: &[Complaint], no_messages: bool, out: &mut Output) -> Done<()> {
    let int = |name| Column::new(name, SqlType::Int);
    let text = |name, width| Column::new(name, SqlType::NVarChar(Width::Of(width)));
    let columns = [
        int("Error"),
        int("Level"),
        int("State"),
        text("MessageText", 4000),
        text("RepairLevel", 30),
        int("Status"),
        int("DbId"),
        int("DbFragId"),
        int("ObjectId"),
        int("IndexId"),
        Column::new("PartitionId", SqlType::BigInt),
        Column::new("AllocUnitId", SqlType::BigInt),
        int("RidDbId"),
        int("RidPruId"),
        int("File"),
        int("Page"),
        int("Slot"),
    ];
    let row = |error: &SqlError, page: Option<u64>, repair: Option<&str>| -> Vec<Value> {
        let whole = |number: i64| Value::Integer(number);
        let page = page.and_then(|page| i64::try_from(page).ok());
        let place = page.map_or(Value::Null, |_| whole(1));
        let head = vec![whole(i64::from(error.number)), whole(i64::from(error.class)), whole(1)];
        let words = vec![
            Value::Text(error.message.clone()),
            repair.map_or(Value::Null, |repair| Value::Text(repair.to_owned())),
        ];
        let ids =
            vec![whole(2), whole(i64::from(database.id)), whole(1), whole(0), whole(-1), whole(0), whole(0)];
        let rid =
            vec![whole(i64::from(database.id)), whole(1), place, page.map_or(Value::Null, whole), whole(-1)];
        [head, words, ids, rid].concat()
    };
    let mut rows: Vec<Vec<Value>> = complaints
        .iter()
        .map(|complaint| row(&complaint.error, complaint.page, Some("repair_allow_data_loss")))
        .collect();
    if !complaints.is_empty() || !no_messages {
        rows.push(row(&summary(&database.name, complaints.len()), None, None));
    }
    if !complaints.is_empty() {
        rows.push(row(&least_repair(&database.name), None, None));
    }
    // Where there is nothing to tell there is no result either.
    if rows.is_empty() {
        out.done(0, Command::None, 0);
    } else {
        out.rows(&columns, &rows, Command::None)?;
    }
    Ok(())
}

/// `DBCC WRITEPAGE`.
pub fn damage(session: &mut Session, database: &Text, page: u64, out: &mut Output) -> Done<()> {
    let database = named(session, Some(database))?;
    let mut catalog = session.instance.catalog();
    let damaged = (database.binding, page);
    if !catalog.damaged.contains(&damaged) {
        catalog.damaged.push(damaged);
    }
    session.instance.save(&catalog)?;
    drop(catalog);
    out.done(0, Command::None, 0);
    Ok(())
}

/// Notes damaged pages where administrators look for them.
pub(super) fn note_suspects(session: &Session, database: u32, pages: &[u64]) {
    let path = session.instance.catalog().databases.get(&MSDB).map(Database::data_path);
    let Some(path) = path else { return };
    let at = date(session.instance.clock.now());
    // A history that cannot be written changes nothing about the damage.
    let _ = files::change_unlogged(&path, &session.instance.guids, |msdb| {
        pages.iter().try_for_each(|page| {
            let row = params![database, i64::try_from(*page).unwrap_or(i64::MAX), at];
            let sql = "INSERT INTO \"dbo.suspect_pages\" VALUES (?, 1, ?, 2, 1, ?)";
            msdb.execute(sql, row).map(|_| ())
        })
    });
}
