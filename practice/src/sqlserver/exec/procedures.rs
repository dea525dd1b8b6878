//! EXEC of the procedures that this server has. Main function: [`execute`].

use std::path::Path;

use super::agent;
use super::databases::plain_text;
use super::given::Given;
use super::halt::{Done, Halt};
use super::machine;
use super::output::Output;
use super::session::Session;
use super::tables::{self, Found, alias};
use super::view_rows::{drives, file_exists, listed};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::cursor::Cursor;
use crate::sqlserver::lang::statement::{Argument, Execute, ObjectName};
use crate::sqlserver::query::compiler::literal;
use crate::sqlserver::query::names::TypedValue;
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::store::sessions::AppLock;
use crate::sqlserver::tds::tokens::{Column, Command};
use crate::sqlserver::value::Value;

/// How deep batches may stand in one another.
const NESTING: u32 = 32;

/// `EXEC`.
pub fn execute(session: &mut Session, execute: &Execute, out: &mut Output) -> Done<()> {
    match execute {
        Execute::Text(expression) => {
            let (text, _) = session.value_of(expression)?;
            run_nested(session, &plain_text(&text), Vec::new(), out)
        }
        Execute::Procedure { result, name, arguments } => {
            if arguments.iter().any(|argument| argument.output) {
                return Err(SqlError::not_understood("OUTPUT arguments of EXEC").into());
            }
            let given =
                arguments.iter().map(|argument| given(session, argument)).collect::<Result<Vec<_>, _>>()?;
            let status = call(session, &name.name, given, out)?;
            match result {
                Some(variable) => Ok(session.assign(variable, Value::Integer(status), SqlType::Int)?),
                None => Ok(()),
            }
        }
    }
}

fn given(session: &mut Session, argument: &Argument) -> Result<Given, SqlError> {
    // A bare word is a text to EXEC, where elsewhere it would be a column.
    let value = match &argument.value {
        sqlparser::ast::Expr::Identifier(ident) if !ident.value.starts_with('@') => {
            (Value::Text(ident.value.clone()), SqlType::SYSNAME)
        }
        expression => session.value_of(expression)?,
    };
    Ok(Given { name: argument.name.clone().unwrap_or_default(), value })
}

/// Calls a procedure; its return status.
///
/// # Errors
/// 2812 for a procedure that is not there.
pub fn call(session: &mut Session, name: &str, given: Vec<Given>, out: &mut Output) -> Done<i64> {
    let text = |name: &str, at: usize| -> Option<String> {
        let by_name = given.iter().find(|argument| !name.is_empty() && argument.name == name);
        let found = by_name.or_else(|| given.get(at).filter(|argument| argument.name.is_empty()));
        found.filter(|argument| argument.value.0 != Value::Null).map(|argument| plain_text(&argument.value.0))
    };
    match name.to_lowercase().as_str() {
        "sp_executesql" => execute_sql(session, given, out).map(|()| 0),
        "sp_getapplock" => {
            let timeout = text("@locktimeout", 3).and_then(|millis| millis.parse().ok());
            take_applock(session, text("@resource", 0), text("@lockmode", 1), text("@lockowner", 2), timeout)
        }
        "sp_releaseapplock" => release_applock(session, text("@resource", 0), text("@lockowner", 1)),
        "xp_fileexist" => {
            let names = ["File Exists", "File is a Directory", "Parent Directory Exists"];
            let columns: Vec<Column> =
                names.iter().map(|name| Column::new(*name, SqlType::TinyInt)).collect();
            let row = file_exists(session, &text("@filename", 0).unwrap_or_default());
            out.rows(&columns, &[row], Command::Select)?;
            Ok(0)
        }
        "xp_create_subdir" => {
            let path = text("", 0).unwrap_or_default();
            std::fs::create_dir_all(session.instance.setup.file_path(&path, false)).map_err(|error| {
                SqlError::new(22048, format!("xp_create_subdir() returned error {error}, '{path}'"))
            })?;
            Ok(0)
        }
        "xp_dirtree" => {
            let depth = text("", 1).and_then(|depth| depth.parse().ok()).unwrap_or(0);
            let with_files = text("", 2).is_some_and(|flag| flag != "0");
            let mut rows = Vec::new();
            let folder = session.instance.setup.file_path(&text("", 0).unwrap_or_default(), false);
            walk(&folder, 1, depth, with_files, &mut rows);
            let mut columns = vec![
                Column::new("subdirectory", SqlType::NVarChar(Width::Of(512))),
                Column::new("depth", SqlType::Int),
            ];
            if with_files {
                columns.push(Column::new("file", SqlType::Int));
            }
            out.rows(&columns, &rows, Command::Select)?;
            Ok(0)
        }
        "xp_fixeddrives" => {
            let columns =
                [Column::new("drive", SqlType::NVarChar(Width::Of(1))), Column::new("MB free", SqlType::Int)];
            out.rows(&columns, &drives(session), Command::Select)?;
            Ok(0)
        }
        "sp_rename" => {
            rename(session, text("@objname", 0), text("@newname", 1), text("@objtype", 2)).map(|()| 0)
        }
        other => {
            if let Some(status) = agent::call(session, other, &given)? {
                return Ok(status);
            }
            if let Some(status) = machine::call(session, other, &given, out)? {
                return Ok(status);
            }
            Err(SqlError::new(2812, format!("Could not find stored procedure '{other}'.")).state(62).into())
        }
    }
}

fn walk(dir: &Path, level: i64, limit: i64, with_files: bool, rows: &mut Vec<Vec<Value>>) {
    for (name, is_directory, ..) in listed(dir) {
        if !is_directory && !with_files {
            continue;
        }
        let mut row = vec![Value::Text(name.clone()), Value::Integer(level)];
        if with_files {
            row.push(Value::Integer(i64::from(!is_directory)));
        }
        rows.push(row);
        if is_directory && (limit == 0 || level < limit) && level < 32 {
            walk(&dir.join(&name), level + 1, limit, with_files, rows);
        }
    }
}

/// sp_executesql: a batch of its own with parameters; options and the current database come back afterwards.
pub fn execute_sql(session: &mut Session, given: Vec<Given>, out: &mut Output) -> Done<()> {
    let mut arguments = given.into_iter();
    let statement = arguments.next().map(|argument| plain_text(&argument.value.0)).unwrap_or_default();
    let declared = arguments.next().map(|argument| plain_text(&argument.value.0)).unwrap_or_default();
    let mut variables = Vec::new();
    let mut cursor = Cursor::new(&declared)?;
    while !cursor.is_at_end() {
        let name = cursor.variable().ok_or_else(|| cursor.unexpected())?;
        let ty = cursor.data_type()?;
        cursor.accept_token(&sqlparser::tokenizer::Token::Comma);
        variables.push((name, ty));
    }
    let mut values = Vec::new();
    for (at, argument) in arguments.enumerate() {
        let by_place = variables.get(at).map(|(name, _)| name.clone());
        let name = if argument.name.is_empty() { by_place } else { Some(argument.name.to_lowercase()) };
        let declared = variables.iter().find(|(declared, _)| Some(declared) == name.as_ref());
        let Some((name, ty)) = declared else {
            let text = format!("Procedure or function expects no parameter '{}'.", name.unwrap_or_default());
            return Err(SqlError::new(8145, text).into());
        };
        let (value, from) = argument.value;
        let value = if from == *ty { value } else { session.converted(value, from, *ty)? };
        values.push((name.clone(), (value, *ty)));
    }
    if let Some((missing, _)) =
        variables.iter().find(|(name, _)| !values.iter().any(|(given, _)| given == name))
    {
        let text = format!(
            "The parameterized query '{statement}' expects the parameter '{missing}', which was not supplied."
        );
        return Err(SqlError::new(8178, text).into());
    }
    run_nested(session, &statement, values, out)
}

/// Runs a text as a batch inside this one.
fn run_nested(
    session: &mut Session,
    text: &str,
    variables: Vec<(String, TypedValue)>,
    out: &mut Output,
) -> Done<()> {
    if session.nesting == NESTING {
        let text = "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit 32).";
        return Err(SqlError::new(217, text).into());
    }
    session.nesting += 1;
    let before = std::mem::replace(&mut session.variables, variables.into_iter().collect());
    let (options, database) = (session.options.clone(), session.current);
    let done = session.run_text(text, out);
    session.nesting -= 1;
    session.variables = before;
    session.options = options;
    if session.current != database {
        super::databases::move_to(session, database);
    }
    done
}

/// Which of two lock modes can be held by different sessions at once.
fn compatible(a: &str, b: &str) -> bool {
    let shared =
        |mode: &str| mode.eq_ignore_ascii_case("Shared") || mode.eq_ignore_ascii_case("IntentShared");
    let intent = |mode: &str| mode.to_lowercase().starts_with("intent");
    (shared(a) && shared(b))
        || (intent(a) && intent(b))
        || (shared(a) && b.eq_ignore_ascii_case("Update"))
        || (shared(b) && a.eq_ignore_ascii_case("Update"))
}

fn take_applock(
    session: &mut Session,
    resource: Option<String>,
    mode: Option<String>,
    owner: Option<String>,
    timeout: Option<i64>,
) -> Done<i64> {
    let (Some(resource), Some(mode)) = (resource, mode) else { return Ok(-999) };
    let known = ["Shared", "Update", "IntentShared", "IntentExclusive", "Exclusive"];
    let Some(mode) = known.into_iter().find(|known| known.eq_ignore_ascii_case(&mode)) else {
        return Ok(-999);
    };
    let of_transaction = !owner.is_some_and(|owner| owner.eq_ignore_ascii_case("Session"));
    if of_transaction && session.transaction.depth == 0 {
        return Ok(-999);
    }
    let patience = match timeout {
        Some(millis) if millis >= 0 => std::time::Duration::from_millis(millis.unsigned_abs()),
        _ => session.patience(),
    };
    let lock = AppLock {
        session: session.id,
        database: session.current,
        resource,
        mode: mode.to_owned(),
        of_transaction,
    };
    let mut waited = false;
    let got = session.instance.wait_for(&session.stop, patience, |catalog| {
        let stands_in_the_way = catalog.locks.iter().any(|held| {
            held.session != lock.session
                && held.database == lock.database
                && held.resource == lock.resource
                && !compatible(&held.mode, &lock.mode)
        });
        if stands_in_the_way {
            waited = true;
            return None;
        }
        catalog.locks.push(lock.clone());
        Some(())
    })?;
    Ok(match (got, waited) {
        (None, _) => -1,
        (Some(()), true) => 1,
        (Some(()), false) => 0,
    })
}

fn release_applock(session: &mut Session, resource: Option<String>, owner: Option<String>) -> Done<i64> {
    let resource = resource.unwrap_or_default();
    let of_transaction = !owner.is_some_and(|owner| owner.eq_ignore_ascii_case("Session"));
    let mut catalog = session.instance.catalog();
    let held = catalog.locks.iter().position(|lock| {
        lock.session == session.id
            && lock.database == session.current
            && lock.resource == resource
            && lock.of_transaction == of_transaction
    });
    let Some(at) = held else {
        let text = format!(
            "Cannot release the application lock (Database Principal: 'public', Resource: '{resource}') because it is not currently held."
        );
        return Err(SqlError::new(1223, text).into());
    };
    catalog.locks.remove(at);
    drop(catalog);
    session.instance.wake();
    Ok(0)
}

/// sp_rename of a column or a table.
fn rename(
    session: &mut Session,
    object: Option<String>,
    new: Option<String>,
    kind: Option<String>,
) -> Done<()> {
    let (Some(object), Some(new)) = (object, new) else {
        let text = "Procedure or function 'sp_rename' expects parameters '@objname' and '@newname'.";
        return Err(SqlError::new(201, text).into());
    };
    let name = Cursor::new(&object)?.object_name()?;
    let missing = || {
        let text = format!("No item by the name of '{object}' could be found in the current database.");
        Halt::from(SqlError::new(15_225, text))
    };
    match kind.as_deref().unwrap_or("OBJECT").to_uppercase().as_str() {
        "OBJECT" => {
            let found = tables::find(session, &name)?.ok_or_else(missing)?;
            session.atomically(|session| rename_table(session, &found, &new))
        }
        "COLUMN" => {
            // The name's last part is the column, what stands before it the table.
            let table =
                ObjectName { database: None, schema: name.database, name: name.schema.unwrap_or_default() };
            let found = tables::find(session, &table)?.ok_or_else(missing)?;
            let field = found.fields.iter().find(|field| compare(&field.name, &name.name).is_eq());
            let old = field.ok_or_else(missing)?.name.clone();
            session.atomically(|session| rename_column(session, &found, &old, &new))
        }
        _ => Err(SqlError::not_understood("sp_rename of anything but tables and columns").into()),
    }
}

fn rename_table(session: &mut Session, table: &Found, new: &str) -> Done<()> {
    let keys = format!("SELECT 1 FROM {}.__objects WHERE parent = ? AND type = 'F '", alias(table.database));
    if session.single(&keys, &[Value::Integer(table.object)])?.is_some() {
        return Err(SqlError::not_understood("sp_rename of a table with foreign keys").into());
    }
    let (from, to) = (quoted(&table.stored_name()), quoted(&tables::stored_name(&table.schema, new)));
    let (object, name) = (table.object, literal(new));
    session.change_schema(table.database, |d| {
        vec![
            format!("ALTER TABLE {d}.{from} RENAME TO {to}"),
            format!("UPDATE {d}.__objects SET name = {name} WHERE object_id = {object}"),
        ]
    })
}

fn rename_column(session: &mut Session, table: &Found, old: &str, new: &str) -> Done<()> {
    if tables::indexes(session, table)?.iter().any(|index| index.columns.iter().any(|column| column == old)) {
        return Err(SqlError::not_understood("sp_rename of a column that an index has").into());
    }
    let (stored, from, to) = (quoted(&table.stored_name()), quoted(old), quoted(new));
    let (object, old, new) = (table.object, literal(old), literal(new));
    session.change_schema(table.database, |d| {
        vec![
            format!("ALTER TABLE {d}.{stored} RENAME COLUMN {from} TO {to}"),
            format!("UPDATE {d}.__columns SET name = {new} WHERE object_id = {object} AND name = {old}"),
        ]
    })
}
