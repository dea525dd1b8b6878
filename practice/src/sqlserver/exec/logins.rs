//! Logins and the roles of the server: made, dropped, changed, and the views of them. Main function: [`administer`].

use super::halt::Done;
use super::session::Session;
use super::view_rows::{Row, bit, date, text};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{LoginChange, LoginOptions, Password};
use crate::sqlserver::store::instance::{Catalog, same_name};
use crate::sqlserver::store::logins::{FIXED, Login, Permission, Role, ServerRole, hashed};
use crate::sqlserver::value::Value;

/// CREATE, ALTER and DROP of logins and of roles of the server.
pub fn administer(session: &Session, change: &LoginChange) -> Done<()> {
    let mut catalog = session.instance.catalog();
    let right = match change {
        LoginChange::CreateRole { .. } => "CREATE SERVER ROLE",
        LoginChange::DropRole(_) | LoginChange::Member { .. } => "ALTER ANY SERVER ROLE",
        _ => "ALTER ANY LOGIN",
    };
    if !catalog.allows(&session.client.login, right) {
        return Err(SqlError::new(15_247, "User does not have permission to perform this action.").into());
    }
    match change {
        LoginChange::Create { name, is_windows, options } => {
            create(session, &mut catalog, name, *is_windows, options)?
        }
        LoginChange::Alter { name, options } => alter(session, &mut catalog, name, options)?,
        LoginChange::Drop(name) => {
            if catalog.login(name).is_none() {
                return Err(missing("drop", "login", name).into());
            }
            if catalog.sessions.values().any(|entry| entry.login.eq_ignore_ascii_case(name)) {
                let text = format!("Could not drop login '{name}' as the user is currently logged in.");
                return Err(SqlError::new(15_434, text).into());
            }
            if catalog
                .databases
                .values()
                .any(|own| own.owner.as_deref().is_some_and(|owner| same_name(owner, name)))
            {
                let text = "Login(s) own one or more database(s). Change the owner of the database(s) before dropping the login(s).";
                return Err(SqlError::new(15_174, text).into());
            }
            catalog.logins.retain(|login| !login.name.eq_ignore_ascii_case(name));
            catalog.principals.permissions.retain(|own| !same_name(&own.grantee, name));
        }
        LoginChange::CreateRole { role, owner } => {
            taken(&catalog, role)?;
            let owner = owner.clone().unwrap_or_else(|| session.client.login.clone());
            catalog.principal_id(&owner).ok_or_else(|| missing("find", "server principal", &owner))?;
            let id = catalog.next_principal();
            let made = session.instance.clock.now();
            catalog.principals.roles.push(ServerRole { id, name: role.clone(), owner, made });
        }
        LoginChange::DropRole(role) => {
            let at = catalog.principals.roles.iter().position(|own| same_name(&own.name, role));
            let at = at.ok_or_else(|| missing("drop", "server role", role))?;
            if catalog.logins.iter().any(|login| login.is_in(role)) {
                let text = format!("The server principal '{role}' has members and cannot be dropped.");
                return Err(SqlError::new(15_144, text).into());
            }
            catalog.principals.roles.remove(at);
            catalog.principals.permissions.retain(|own| !same_name(&own.grantee, role));
        }
        LoginChange::Member { role, name, is_added } => {
            let known = catalog.server_role(role).map(|(_, name)| name.to_owned());
            let known = known.ok_or_else(|| missing("alter", "server role", role))?;
            let login = catalog.logins.iter_mut().find(|login| login.name.eq_ignore_ascii_case(name));
            let login = login.ok_or_else(|| {
                let text = format!("Cannot add the principal '{name}', because it does not exist or you do not have permission.");
                SqlError::new(15_151, text)
            })?;
            login.roles.retain(|member| !same_name(member, &known));
            login.roles.extend(is_added.then_some(known));
        }
    }
    session.instance.save(&catalog)?;
    Ok(())
}

fn taken(catalog: &Catalog, name: &str) -> Result<(), SqlError> {
    match catalog.principal_id(name) {
        None => Ok(()),
        Some(_) => Err(SqlError::new(15_025, format!("The server principal '{name}' already exists."))),
    }
}

fn create(
    session: &Session,
    catalog: &mut Catalog,
    name: &str,
    is_windows: bool,
    options: &LoginOptions,
) -> Result<(), SqlError> {
    taken(catalog, name)?;
    if is_windows && !name.contains('\\') {
        let text =
            format!("'{name}' is not a valid Windows NT name. Give the complete name: <domain\\username>.");
        return Err(SqlError::new(15_407, text));
    }
    let (id, made) = (catalog.next_principal(), session.instance.clock.now());
    let mut login = Login::new(id, name, "", session.instance.guids.next().as_bytes(), made);
    login.hash = None;
    if let Some(sid) = &options.sid {
        if sid.is_empty() || sid.len() > 16 {
            return Err(SqlError::new(15_419, "Supplied parameter sid should be binary(16)."));
        }
        if let Some(other) = catalog.logins.iter().find(|own| own.sid == *sid) {
            let text = format!("Supplied parameter sid is in use. ({})", other.name);
            return Err(SqlError::new(15_433, text));
        }
        login.sid.clone_from(sid);
    }
    said(&mut login, catalog, options)?;
    catalog.principals.permissions.push(Permission {
        class: 100,
        major: 0,
        grantee: name.to_owned(),
        right: "CONNECT SQL".to_owned(),
        state: 'G',
    });
    catalog.logins.push(login);
    Ok(())
}

fn alter(
    session: &Session,
    catalog: &mut Catalog,
    name: &str,
    options: &LoginOptions,
) -> Result<(), SqlError> {
    let at = catalog.logins.iter().position(|login| login.name.eq_ignore_ascii_case(name));
    let at = at.ok_or_else(|| missing("alter", "login", name))?;
    let Some(mut login) = catalog.logins.get(at).cloned() else {
        return Err(missing("alter", "login", name));
    };
    if options.disabled == Some(true) && same_name(&login.name, &session.client.login) {
        return Err(SqlError::new(15_537, format!("Login '{name}' cannot disable itself.")));
    }
    said(&mut login, catalog, options)?;
    if let Some(new) = &options.name {
        taken(catalog, new)?;
        login.name.clone_from(new);
        let own = catalog.principals.permissions.iter_mut().filter(|own| same_name(&own.grantee, name));
        own.for_each(|own| own.grantee.clone_from(new));
    }
    catalog.logins[at] = login;
    Ok(())
}

/// What a statement says of a login.
fn said(login: &mut Login, catalog: &Catalog, options: &LoginOptions) -> Result<(), SqlError> {
    match &options.password {
        Some(Password::Plain(password)) => {
            let salt = login
                .sid
                .iter()
                .fold(17_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
            login.hash = Some(hashed(password, salt.to_le_bytes()));
        }
        Some(Password::Hashed(hash)) if hash.len() == 70 && hash.starts_with(&[2, 0]) => {
            login.hash = Some(hash.clone())
        }
        Some(Password::Hashed(_)) => {
            return Err(SqlError::new(
                15_021,
                "Invalid value given for parameter PASSWORD. Specify a valid parameter value.",
            ));
        }
        None => {}
    }
    if let Some(database) = &options.database {
        if catalog.named(database).is_none() {
            let text = format!(
                "The database '{database}' does not exist. Supply a valid database name. To see available databases, use sys.databases."
            );
            return Err(SqlError::new(15_010, text));
        }
        login.database.clone_from(database);
    }
    if let Some(language) = &options.language {
        login.language.clone_from(language);
    }
    login.checks_policy = options.checks_policy.unwrap_or(login.checks_policy);
    login.checks_expiration = options.checks_expiration.unwrap_or(login.checks_expiration);
    if login.checks_expiration && !login.checks_policy {
        return Err(SqlError::new(
            15_122,
            "The CHECK_EXPIRATION option cannot be used when CHECK_POLICY is OFF.",
        ));
    }
    login.is_disabled = options.disabled.unwrap_or(login.is_disabled);
    Ok(())
}

/// 15151.
pub(super) fn missing(verb: &str, what: &str, name: &str) -> SqlError {
    let text = format!(
        "Cannot {verb} the {what} '{name}', because it does not exist or you do not have permission."
    );
    SqlError::new(15_151, text)
}

fn blob(bytes: &[u8]) -> Value {
    Value::Blob(bytes.to_vec())
}

/// Whether a session is shown a login: its own and `sa`, or all with the right to see definitions.
fn sees(session: &Session, catalog: &Catalog, name: &str) -> bool {
    let login = &session.client.login;
    same_name(name, login) || same_name(name, "sa") || catalog.allows(login, "VIEW ANY DEFINITION")
}

/// The logins that a session is shown, `sa` among them where the administrator has another name.
fn shown(session: &Session, catalog: &Catalog) -> Vec<Login> {
    let mut logins: Vec<Login> =
        catalog.logins.iter().filter(|login| sees(session, catalog, &login.name)).cloned().collect();
    if catalog.login("sa").is_none() {
        let made = session.instance.clock.now();
        let sa = Login {
            sid: vec![1],
            is_disabled: true,
            roles: vec![Role::SysAdmin.name().to_owned()],
            ..Login::new(1, "sa", "", b"sa", made)
        };
        logins.insert(0, sa);
    }
    logins
}

/// `sys.server_principals`.
pub(super) fn principals(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let role = |(id, name): (i64, &str), sid: &[u8], made: Value, owner: Value, is_fixed: bool| {
        let head = [text(name), Value::Integer(id), blob(sid), text("R"), text("SERVER_ROLE"), bit(false)];
        let tail = [made.clone(), made, Value::Null, Value::Null, Value::Null, owner, bit(is_fixed)];
        [&head[..], &tail[..]].concat()
    };
    let fixed = |(id, name): &(i64, &str)| {
        let sid = [u8::try_from(*id).unwrap_or_default()];
        role((*id, name), &sid, date(session.now), Value::Integer(1), *name != "public")
    };
    let mut rows: Vec<Row> = FIXED.iter().map(fixed).collect();
    for own in &catalog.principals.roles {
        let owner = catalog.principal_id(&own.owner).map_or(Value::Null, Value::Integer);
        rows.push(role((own.id, &own.name), &own.id.to_le_bytes(), date(own.made), owner, false));
    }
    for login in shown(session, &catalog) {
        let (kind, kind_name) =
            if login.hash.is_some() { ("S", "SQL_LOGIN") } else { ("U", "WINDOWS_LOGIN") };
        let at = date(login.made);
        rows.push(vec![
            text(&login.name),
            Value::Integer(login.id),
            blob(&login.sid),
            text(kind),
            text(kind_name),
            bit(login.is_disabled),
            at.clone(),
            at,
            text(&login.database),
            text(&login.language),
            Value::Null,
            Value::Null,
            bit(false),
        ]);
    }
    rows
}

/// `sys.sql_logins`. Hashes are shown to those who control the server.
pub(super) fn sql_logins(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let sees_hashes = catalog.allows(&session.client.login, "CONTROL SERVER");
    let row = |login: Login| {
        let at = date(login.made);
        let hash = login.hash.as_ref().filter(|_| sees_hashes).map_or(Value::Null, |hash| blob(hash));
        vec![
            text(&login.name),
            Value::Integer(login.id),
            blob(&login.sid),
            text("S"),
            text("SQL_LOGIN"),
            bit(login.is_disabled),
            at.clone(),
            at,
            text(&login.database),
            text(&login.language),
            Value::Null,
            bit(login.checks_policy),
            bit(login.checks_expiration),
            hash,
        ]
    };
    shown(session, &catalog).into_iter().filter(|login| login.hash.is_some()).map(row).collect()
}

/// `sys.server_role_members`.
pub(super) fn members(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let mut rows = Vec::new();
    for login in shown(session, &catalog) {
        let ids = login.roles.iter().filter_map(|role| Some(catalog.server_role(role)?.0));
        rows.extend(ids.map(|role| vec![Value::Integer(role), Value::Integer(login.id)]));
    }
    rows
}

/// The four letters of a right, where the server has them.
pub(super) fn code(right: &str) -> &'static str {
    const CODES: &[(&str, &str)] = &[
        ("CONNECT SQL", "COSQ"),
        ("VIEW SERVER STATE", "VWSS"),
        ("VIEW ANY DEFINITION", "VWAD"),
        ("VIEW ANY DATABASE", "VWDB"),
        ("ALTER ANY DATABASE", "ALDB"),
        ("CREATE ANY DATABASE", "CRDB"),
        ("ALTER ANY CONNECTION", "ALCO"),
        ("ALTER ANY LOGIN", "ALLG"),
        ("CONTROL SERVER", "CL  "),
        ("ADMINISTER BULK OPERATIONS", "ADBO"),
        ("ALTER SETTINGS", "ALST"),
        ("VIEW SERVER PERFORMANCE STATE", "VSPS"),
        ("VIEW SERVER SECURITY STATE", "VSSS"),
        ("VIEW ANY SECURITY DEFINITION", "VASD"),
        ("IMPERSONATE ANY LOGIN", "IAL "),
        ("CONNECT ANY DATABASE", "CADB"),
        ("SELECT ALL USER SECURABLES", "SUS "),
        ("ALTER ANY SERVER ROLE", "ALSR"),
        ("CREATE SERVER ROLE", "CRSR"),
        ("ALTER ANY CREDENTIAL", "ALCD"),
        ("IMPERSONATE", "IM  "),
        ("CONNECT", "CO  "),
        ("CONTROL", "CL  "),
        ("VIEW DEFINITION", "VW  "),
        ("ALTER", "AL  "),
        ("SELECT", "SL  "),
        ("INSERT", "IN  "),
        ("UPDATE", "UP  "),
        ("DELETE", "DL  "),
        ("EXECUTE", "EX  "),
        ("REFERENCES", "RF  "),
        ("BACKUP DATABASE", "BADB"),
        ("BACKUP LOG", "BALO"),
        ("CREATE TABLE", "CRTB"),
        ("CREATE SCHEMA", "CRSM"),
        ("CREATE CERTIFICATE", "CRCF"),
        ("VIEW DATABASE STATE", "VWDS"),
        ("CHECKPOINT", "CP  "),
        ("ALTER ANY USER", "ALUS"),
    ];
    CODES.iter().find(|(name, _)| *name == right).map_or("", |(_, code)| code)
}

/// The rights that hold at the server.
pub(super) const SERVER_RIGHTS: [&str; 20] = [
    "ALTER ANY CREDENTIAL",
    "CONNECT SQL",
    "VIEW SERVER STATE",
    "VIEW ANY DEFINITION",
    "VIEW ANY DATABASE",
    "ALTER ANY DATABASE",
    "CREATE ANY DATABASE",
    "ALTER ANY CONNECTION",
    "ALTER ANY LOGIN",
    "CONTROL SERVER",
    "ADMINISTER BULK OPERATIONS",
    "ALTER SETTINGS",
    "VIEW SERVER PERFORMANCE STATE",
    "VIEW SERVER SECURITY STATE",
    "VIEW ANY SECURITY DEFINITION",
    "IMPERSONATE ANY LOGIN",
    "CONNECT ANY DATABASE",
    "SELECT ALL USER SECURABLES",
    "ALTER ANY SERVER ROLE",
    "CREATE SERVER ROLE",
];

/// The words of a state.
pub(super) const fn state_name(state: char) -> &'static str {
    match state {
        'D' => "DENY",
        'W' => "GRANT_WITH_GRANT_OPTION",
        _ => "GRANT",
    }
}

/// `sys.server_permissions`, with what every server gives to all.
pub(super) fn permissions(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let row = |class: i64, major: i64, grantee: i64, right: &str, state: char| {
        let class_name = match class {
            101 => "SERVER_PRINCIPAL",
            105 => "ENDPOINT",
            _ => "SERVER",
        };
        vec![
            Value::Integer(class),
            text(class_name),
            Value::Integer(major),
            Value::Integer(0),
            Value::Integer(grantee),
            Value::Integer(1),
            text(code(right)),
            text(right),
            text(&state.to_string()),
            text(state_name(state)),
        ]
    };
    let mut rows = vec![row(100, 0, 2, "VIEW ANY DATABASE", 'G')];
    rows.extend((2..=4).map(|endpoint| row(105, endpoint, 2, "CONNECT", 'G')));
    let administrator = catalog.logins.first().map_or(1, |login| login.id);
    rows.push(row(100, 0, administrator, "CONNECT SQL", 'G'));
    for own in &catalog.principals.permissions {
        let Some(grantee) = catalog.principal_id(&own.grantee) else { continue };
        let said = row(own.class, own.major, grantee, &own.right, own.state);
        // What every server gives may be given once more.
        if !rows.contains(&said) {
            rows.push(said);
        }
    }
    rows
}
