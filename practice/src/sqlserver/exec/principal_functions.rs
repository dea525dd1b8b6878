//! Functions that ask who somebody is and what they may do. Main function: [`call`].

use super::rights::Who;
use super::session::Session;
use super::{principals, tables};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::cursor::Cursor;
use crate::sqlserver::query::names::TypedValue;
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::store::logins::Role;
use crate::sqlserver::value::Value;

/// Calls a function; nothing when there is none of that name.
///
/// # Errors
/// When the arguments are not ones that it takes.
pub fn call(
    session: &mut Session,
    name: &str,
    arguments: &[TypedValue],
) -> Result<Option<TypedValue>, SqlError> {
    let text = |at: usize| match arguments.get(at).map(|(value, _)| value) {
        Some(Value::Text(text)) => Some(text.clone()),
        Some(Value::Integer(number)) => Some(number.to_string()),
        _ => None,
    };
    let flag = |value: i64| Ok(Some((Value::Integer(value), SqlType::Int)));
    let named = |name: Option<String>| Ok(Some((name.map_or(Value::Null, Value::Text), SqlType::SYSNAME)));
    match name {
        "IS_SRVROLEMEMBER" => {
            let login = text(1).unwrap_or_else(|| session.client.login.clone());
            let catalog = session.instance.catalog();
            let Some((_, role)) =
                text(0).and_then(|role| catalog.server_role(&role).map(|(id, name)| (id, name.to_owned())))
            else {
                return Ok(Some((Value::Null, SqlType::Int)));
            };
            let is_full = session.instance.setup.installation().is_sysadmin;
            let is_in = catalog.login(&login).is_some_and(|own| own.is_in(&role) || own.is(Role::SysAdmin));
            flag(i64::from(is_in && (is_full || role != "sysadmin")))
        }
        "HAS_PERMS_BY_NAME" => {
            let (class, right) =
                (text(1).map(|class| class.to_uppercase()), text(2).unwrap_or_default().to_uppercase());
            Ok(Some((held(session, text(0), class.as_deref(), &right)?, SqlType::Int)))
        }
        "SUSER_SID" => {
            let sid = session.instance.catalog().sid_of(&session.client.login);
            Ok(Some((sid.map_or(Value::Null, Value::Blob), SqlType::VarBinary(Width::Of(85)))))
        }
        "SUSER_ID" => {
            let name = text(0).unwrap_or_else(|| session.client.login.clone());
            let id = session.instance.catalog().principal_id(&name);
            Ok(Some((id.map_or(Value::Null, Value::Integer), SqlType::Int)))
        }
        "ORIGINAL_LOGIN" => {
            let first = session.played.first().unwrap_or(&session.client.login);
            named(Some(first.clone()))
        }
        "DATABASE_PRINCIPAL_ID" | "USER_ID" => {
            let id = match text(0) {
                Some(name) => principals::number_of(session, &name)?,
                None => Some(1),
            };
            Ok(Some((id.map_or(Value::Null, Value::Integer), SqlType::Int)))
        }
        "IS_MEMBER" | "IS_ROLEMEMBER" => {
            let is_in = principals::is_member(session, &text(0).unwrap_or_default())?;
            Ok(Some((is_in.map_or(Value::Null, |is_in| Value::Integer(i64::from(is_in))), SqlType::Int)))
        }
        "USER_NAME" | "SESSION_USER" => {
            let id = session.current;
            session.attach(id)?;
            let number = match (session.who(id)?, text(0).and_then(|number| number.parse().ok())) {
                (_, Some(number)) => number,
                (Who::Owner, None) => 1,
                (Who::User(user), None) => user,
                (Who::Guest, None) => 2,
            };
            named(principals::name_of(session, id, number)?)
        }
        "HAS_DBACCESS" => {
            let id = text(0).and_then(|name| session.instance.catalog().named(&name).map(|own| own.id));
            let Some(id) = id else { return Ok(Some((Value::Null, SqlType::Int))) };
            flag(i64::from(session.attach(id).is_ok()))
        }
        _ => Ok(None),
    }
}

/// `HAS_PERMS_BY_NAME`: NULL for what is not there.
fn held(
    session: &mut Session,
    name: Option<String>,
    class: Option<&str>,
    right: &str,
) -> Result<Value, SqlError> {
    let flag = |is: bool| Ok(Value::Integer(i64::from(is)));
    match (class, name) {
        (None | Some("SERVER"), _) => flag(session.instance.catalog().allows(&session.client.login, right)),
        (Some("DATABASE"), name) => {
            let id = match name {
                Some(name) => session.instance.catalog().named(&name).map(|own| own.id),
                None => Some(session.current),
            };
            let Some(id) = id else { return Ok(Value::Null) };
            match session.attach(id) {
                Ok(()) => flag(session.allows(id, right, None)?),
                Err(_) => flag(session.instance.catalog().has_role(&session.client.login, Role::SysAdmin)),
            }
        }
        (Some("LOGIN"), Some(name)) => {
            let catalog = session.instance.catalog();
            let Some(major) = catalog.principal_id(&name) else { return Ok(Value::Null) };
            flag(catalog.allows_on(&session.client.login, right, 101, major))
        }
        (Some(_), Some(name)) => {
            let Ok(name) = Cursor::new(&name)?.object_name() else { return Ok(Value::Null) };
            match tables::find(session, &name)? {
                Some(found) => {
                    flag(session.allows(found.database, right, Some((found.object, found.schema_id)))?)
                }
                None => Ok(Value::Null),
            }
        }
        (Some(_), None) => Ok(Value::Null),
    }
}
