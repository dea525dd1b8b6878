//! Logins and the roles of the server: made, dropped, changed. Main function: [`administer`].

use super::halt::Done;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::LoginChange;
use crate::sqlserver::store::logins::{Login, Role};

/// CREATE LOGIN, DROP LOGIN, ALTER SERVER ROLE.
pub fn administer(session: &Session, change: &LoginChange) -> Done<()> {
    let mut catalog = session.instance.catalog();
    if !catalog.has_role(&session.client.login, Role::SysAdmin) {
        return Err(SqlError::new(15_247, "User does not have permission to perform this action.").into());
    }
    match change {
        LoginChange::Create { name, password } => {
            if catalog.login(name).is_some() {
                let text = format!("The server principal '{name}' already exists.");
                return Err(SqlError::new(15_025, text).into());
            }
            let (name, password) = (name.clone(), password.clone());
            catalog.logins.push(Login { name, password, roles: Vec::new() });
        }
        LoginChange::Drop(name) => {
            if catalog.login(name).is_none() {
                return Err(no_login("drop", name).into());
            }
            if catalog.sessions.values().any(|entry| entry.login.eq_ignore_ascii_case(name)) {
                let text = format!("Could not drop login '{name}' as the user is currently logged in.");
                return Err(SqlError::new(15_434, text).into());
            }
            catalog.logins.retain(|login| !login.name.eq_ignore_ascii_case(name));
        }
        LoginChange::Member { role, name, is_added } => {
            let Some(role) = Role::named(role) else {
                return Err(SqlError::not_understood(format_args!("the server role {role}")).into());
            };
            let login = catalog.logins.iter_mut().find(|login| login.name.eq_ignore_ascii_case(name));
            let login = login.ok_or_else(|| {
                let text = format!("Cannot add the principal '{name}', because it does not exist or you do not have permission.");
                SqlError::new(15_151, text)
            })?;
            login.roles.retain(|member| *member != role);
            login.roles.extend(is_added.then_some(role));
        }
    }
    session.instance.save(&catalog)?;
    Ok(())
}

fn no_login(what: &str, name: &str) -> SqlError {
    let text =
        format!("Cannot {what} the login '{name}', because it does not exist or you do not have permission.");
    SqlError::new(15_151, text)
}
