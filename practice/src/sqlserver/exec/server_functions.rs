//! Functions over constants that ask the server: SERVERPROPERTY, DB_ID and their like. Main function: [`call`].

use super::principal_functions;
use super::session::Session;
use super::tables::{self, alias};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::cursor::Cursor;
use crate::sqlserver::query::names::TypedValue;
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::store::database::{COLLATION, DATABASE_VERSION, State, model_shown};
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::value::Value;

/// What `@@VERSION` says.
const BANNER: &str = "Microsoft SQL Server (practice server of Drydock) - ";

/// Calls a function; nothing when there is none of that name.
///
/// # Errors
/// When the arguments are not ones that it takes.
pub fn call(
    session: &mut Session,
    name: &str,
    arguments: &[TypedValue],
) -> Result<Option<TypedValue>, SqlError> {
    let name_type = SqlType::SYSNAME;
    let text = |at: usize| arguments.get(at).and_then(|(value, _)| text_of(value));
    let flag = |value: i64| Ok(Some((Value::Integer(value), SqlType::Int)));
    let named = |name: Option<String>| Ok(Some((name.map_or(Value::Null, Value::Text), name_type)));
    match name {
        "SERVERPROPERTY" => {
            let value = text(0).map_or(Value::Null, |property| server_property(session, &property));
            Ok(Some((value, SqlType::Variant)))
        }
        "DATABASEPROPERTYEX" => {
            let value = match (text(0), text(1)) {
                (Some(database), Some(property)) => database_property(session, &database, &property),
                _ => Value::Null,
            };
            Ok(Some((value, SqlType::Variant)))
        }
        "DB_NAME" | "DB_ID" => Ok(Some(database(session, name, arguments))),
        "OBJECT_ID" => object_id(session, text(0), text(1)).map(|value| Some((value, SqlType::Int))),
        "OBJECT_NAME" | "SCHEMA_NAME" | "SCHEMA_ID" | "TYPE_ID" => {
            described(session, name, arguments).map(Some)
        }
        "COL_LENGTH" => col_length(session, text(0), text(1)).map(Some),
        "FN_HADR_IS_PRIMARY_REPLICA" => {
            let secondaries = &session.instance.setup.installation().secondaries;
            let is_secondary = text(0).is_some_and(|name| secondaries.contains(&name));
            Ok(Some((if is_secondary { Value::Integer(0) } else { Value::Null }, SqlType::Bit)))
        }
        "FN_HADR_BACKUP_IS_PREFERRED_REPLICA" => {
            let is_preferred = session.instance.setup.installation().is_preferred_replica;
            Ok(Some((Value::Integer(i64::from(is_preferred)), SqlType::Bit)))
        }
        "SUSER_SNAME" | "SUSER_NAME" | "SYSTEM_USER" => named(Some(session.client.login.clone())),
        "HOST_NAME" => named(Some(session.client.host.clone())),
        "APP_NAME" | "PROGRAM_NAME" => named(Some(session.client.program.clone())),
        "APPLOCK_MODE" => {
            let mode = applock_mode(session, &text(1).unwrap_or_default(), &text(2).unwrap_or_default());
            Ok(Some((Value::Text(mode), SqlType::NVarChar(Width::Of(32)))))
        }
        "XACT_STATE" => flag(i64::from(session.transaction.depth > 0)),
        "SCOPE_IDENTITY" => {
            let ty = SqlType::Decimal { precision: 38, scale: 0 };
            let identity = session
                .identity
                .map(|id| crate::sqlserver::value::Decimal { unscaled: i128::from(id), scale: 0 }.kept());
            Ok(Some((identity.map_or(Value::Null, Value::Text), ty)))
        }
        "ERROR_NUMBER" | "ERROR_SEVERITY" | "ERROR_STATE" | "ERROR_LINE" | "ERROR_MESSAGE"
        | "ERROR_PROCEDURE" => Ok(Some(caught(session, name))),
        _ => principal_functions::call(session, name, arguments),
    }
}

/// A variable that begins with `@@`.
#[must_use]
pub fn global(session: &Session, name: &str) -> Option<TypedValue> {
    let int = |value: i64| Some((Value::Integer(value), SqlType::Int));
    match name {
        "@@spid" => Some((Value::Integer(i64::from(session.id)), SqlType::SmallInt)),
        "@@trancount" => int(i64::from(session.transaction.depth)),
        "@@rowcount" => int(session.row_count),
        "@@error" => int(i64::from(session.last_error)),
        "@@servername" | "@@servicename" => {
            Some((Value::Text(session.instance.setup.server_name.clone()), SqlType::SYSNAME))
        }
        "@@version" => {
            let installation = session.instance.setup.installation();
            let (_, distribution, release) = installation.platform.shown();
            let text = format!("{BANNER}{} (X64) on {distribution} {release} <X64>", installation.version());
            Some((Value::Text(text), SqlType::NVarChar(Width::Of(300))))
        }
        "@@lock_timeout" => int(session.options.lock_timeout.unwrap_or(-1)),
        "@@language" => Some((Value::Text("us_english".into()), SqlType::SYSNAME)),
        "@@identity" => {
            let ty = SqlType::Decimal { precision: 38, scale: 0 };
            let identity = session
                .identity
                .map(|id| crate::sqlserver::value::Decimal { unscaled: i128::from(id), scale: 0 }.kept());
            Some((identity.map_or(Value::Null, Value::Text), ty))
        }
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn server_property(session: &Session, property: &str) -> Value {
    let setup = &session.instance.setup;
    let installation = &setup.installation();
    let text = |text: &str| Value::Text(text.to_owned());
    let paths = setup.paths();
    let dir = |dir: std::path::PathBuf| Value::Text(paths.join(&paths.shown(&dir), ""));
    match property.to_lowercase().as_str() {
        "productversion" => text(&installation.version()),
        "productmajorversion" => text(&installation.major.to_string()),
        "productminorversion" => text("0"),
        "productbuild" => text(&installation.build().to_string()),
        "productlevel" => text("RTM"),
        "edition" => text(installation.edition()),
        "engineedition" => Value::Integer(installation.engine),
        "machinename" | "servername" | "computernamephysicalnetbios" => text(&setup.server_name),
        "collation" => text(COLLATION),
        "ishadrenabled"
        | "isclustered"
        | "issingleuser"
        | "isintegratedsecurityonly"
        | "isfulltextinstalled" => Value::Integer(0),
        "pathseparator" => text(&paths.separator().to_string()),
        "processid" => Value::Integer(1),
        "instancedefaultbackuppath" => text(&paths.shown(&paths.backup_dir())),
        "instancedefaultdatapath" => dir(paths.data_dir()),
        "instancedefaultlogpath" => dir(paths.log_dir()),
        _ => Value::Null,
    }
}

fn database_property(session: &Session, database: &str, property: &str) -> Value {
    let catalog = session.instance.catalog();
    let Some(database) = catalog.named(database) else { return Value::Null };
    let text = |text: &str| Value::Text(text.to_owned());
    match property.to_lowercase().as_str() {
        "status" => text(database.state.name()),
        "recovery" => text(model_shown(database.model).1),
        "useraccess" => text(database.access.shown().1),
        "updateability" => {
            text(if database.read_only || database.standby.is_some() { "READ_ONLY" } else { "READ_WRITE" })
        }
        "version" => Value::Integer(DATABASE_VERSION),
        "isinstandby" => Value::Integer(i64::from(database.standby.is_some())),
        "collation" if database.state == State::Online => text(COLLATION),
        _ => Value::Null,
    }
}

fn database(session: &Session, name: &str, arguments: &[TypedValue]) -> TypedValue {
    let catalog = session.instance.catalog();
    let found = match arguments.first() {
        None => catalog.databases.get(&session.current),
        Some((Value::Text(name), _)) => catalog.named(name),
        Some((Value::Integer(id), _)) => u32::try_from(*id).ok().and_then(|id| catalog.databases.get(&id)),
        Some(_) => None,
    };
    if name == "DB_ID" {
        (found.map_or(Value::Null, |found| Value::Integer(i64::from(found.id))), SqlType::SmallInt)
    } else {
        (found.map_or(Value::Null, |found| Value::Text(found.name.clone())), SqlType::SYSNAME)
    }
}

/// OBJECT_ID('name', 'type'): a name that cannot be looked up is NULL.
fn object_id(session: &mut Session, name: Option<String>, kind: Option<String>) -> Result<Value, SqlError> {
    let Some(name) = name else { return Ok(Value::Null) };
    let parsed = Cursor::new(&name).and_then(|mut cursor| cursor.object_name());
    let Ok(object) = parsed else { return Ok(Value::Null) };
    let Ok(database) = tables::database_of(session, &object) else { return Ok(Value::Null) };
    let d = alias(database);
    let sql = format!(
        "SELECT o.object_id FROM {d}.__objects o JOIN {d}.__schemas s USING (schema_id) WHERE o.name = ? AND s.name = ? \
         AND (? IS NULL OR rtrim(o.type) = ? COLLATE ci)"
    );
    let schema = object.schema.unwrap_or_else(|| "dbo".into());
    let kind = kind.map_or(Value::Null, |kind| Value::Text(kind.trim().to_owned()));
    let found = session.single(&sql, &[Value::Text(object.name), Value::Text(schema), kind.clone(), kind])?;
    Ok(found.unwrap_or(Value::Null))
}

fn described(session: &mut Session, name: &str, arguments: &[TypedValue]) -> Result<TypedValue, SqlError> {
    session.attach(session.current)?;
    let d = alias(session.current);
    let given = arguments.first().map_or(Value::Null, |(value, _)| value.clone());
    let (sql, ty) = match name {
        "OBJECT_NAME" => (format!("SELECT name FROM {d}.__objects WHERE object_id = ?"), SqlType::SYSNAME),
        "SCHEMA_NAME" if arguments.is_empty() => return Ok((Value::Text("dbo".into()), SqlType::SYSNAME)),
        "SCHEMA_NAME" => (format!("SELECT name FROM {d}.__schemas WHERE schema_id = ?"), SqlType::SYSNAME),
        "SCHEMA_ID" if arguments.is_empty() => return Ok((Value::Integer(1), SqlType::Int)),
        "SCHEMA_ID" => (format!("SELECT schema_id FROM {d}.__schemas WHERE name = ?"), SqlType::Int),
        _ => return Err(SqlError::not_understood(name)),
    };
    Ok((session.single(&sql, &[given])?.unwrap_or(Value::Null), ty))
}

/// COL_LENGTH: in bytes, -1 for `max`, NULL when there is no such column.
fn col_length(
    session: &mut Session,
    table: Option<String>,
    column: Option<String>,
) -> Result<TypedValue, SqlError> {
    let nothing = Ok((Value::Null, SqlType::SmallInt));
    let (Some(table), Some(column)) = (table, column) else { return nothing };
    let Ok(name) = Cursor::new(&table).and_then(|mut cursor| cursor.object_name()) else { return nothing };
    let Some(found) = tables::find(session, &name)? else { return nothing };
    let Some(field) = found.fields.iter().find(|field| compare(&field.name, &column).is_eq()) else {
        return nothing;
    };
    let length = match (field.ty, field.ty.text_width()) {
        (SqlType::NVarChar(_) | SqlType::NChar(_), Width::Of(n)) => i64::from(n) * 2,
        (SqlType::VarChar(_) | SqlType::Char(_), Width::Of(n)) => i64::from(n),
        (SqlType::NVarChar(_) | SqlType::VarChar(_) | SqlType::VarBinary(Width::Max), _) => -1,
        (SqlType::Bit | SqlType::TinyInt, _) => 1,
        (SqlType::SmallInt, _) => 2,
        (SqlType::Int | SqlType::Real, _) => 4,
        (SqlType::UniqueIdentifier, _) => 16,
        _ => 8,
    };
    Ok((Value::Integer(length), SqlType::SmallInt))
}

/// The strongest lock of that name which the caller's session holds.
fn applock_mode(session: &Session, resource: &str, owner: &str) -> String {
    let catalog = session.instance.catalog();
    let of_transaction = !owner.eq_ignore_ascii_case("Session");
    let held = catalog.locks.iter().find(|lock| {
        lock.session == session.id
            && lock.database == session.current
            && lock.resource == resource
            && lock.of_transaction == of_transaction
    });
    held.map_or_else(|| "NoLock".to_owned(), |lock| lock.mode.clone())
}

fn caught(session: &Session, name: &str) -> TypedValue {
    let ty = if matches!(name, "ERROR_MESSAGE" | "ERROR_PROCEDURE") {
        SqlType::NVarChar(Width::Of(4000))
    } else {
        SqlType::Int
    };
    let Some(error) = &session.caught else { return (Value::Null, ty) };
    let value = match name {
        "ERROR_NUMBER" => Value::Integer(i64::from(error.number)),
        "ERROR_SEVERITY" => Value::Integer(i64::from(error.class)),
        "ERROR_STATE" => Value::Integer(i64::from(error.state)),
        "ERROR_LINE" => Value::Integer(i64::from(error.line)),
        "ERROR_MESSAGE" => Value::Text(error.message.clone()),
        _ => Value::Null,
    };
    (value, ty)
}
