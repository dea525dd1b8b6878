//! Users and roles of databases and what they may do there: changed, and looked up. They live in the database's data file, so that a backup
//! takes them along. Main functions: [`change`], [`permit`].

use super::halt::Done;
use super::logins::{SERVER_RIGHTS, missing};
use super::rights::{FIXED_ROLES, Who};
use super::session::Session;
use super::tables::{self, alias};
use super::view_rows::date;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{ObjectName, PermissionChange, Securable, UserChange};
use crate::sqlserver::query::compiler::literal;
use crate::sqlserver::store::instance::same_name;
use crate::sqlserver::store::logins::{Permission, Role};
use crate::sqlserver::store::machine::BUILT_IN;
use crate::sqlserver::value::Value;

/// 262.
#[must_use]
pub fn denied(session: &Session, id: u32, right: &str) -> SqlError {
    let name = super::view_rows::database_name(session, id);
    SqlError::new(262, format!("{right} permission denied in database '{name}'.")).class(14)
}

/// The number and the kind of a principal of the database.
fn principal(session: &Session, id: u32, name: &str) -> Result<Option<(i64, bool)>, SqlError> {
    let sql = format!("SELECT principal_id, type FROM {}.__principals WHERE name = ? COLLATE ci", alias(id));
    let row = session.all(&sql, &[Value::Text(name.to_owned())])?.into_iter().next();
    Ok(match row.as_deref() {
        Some([Value::Integer(number), Value::Text(kind)]) => Some((*number, kind == "R")),
        _ => None,
    })
}

/// The name of a user or role of a database.
///
/// # Errors
/// SQLite's.
pub fn name_of(session: &Session, id: u32, number: i64) -> Result<Option<String>, SqlError> {
    let sql = format!("SELECT name FROM {}.__principals WHERE principal_id = {number}", alias(id));
    Ok(match session.single(&sql, &[])? {
        Some(Value::Text(name)) => Some(name),
        _ => None,
    })
}

/// The number of a user or role of the current database.
///
/// # Errors
/// SQLite's.
pub fn number_of(session: &mut Session, name: &str) -> Result<Option<i64>, SqlError> {
    let id = session.current;
    session.attach(id)?;
    Ok(principal(session, id, name)?.map(|(number, _)| number))
}

/// Whether the session's login is in a role of the current database; nothing when there is no such role.
///
/// # Errors
/// SQLite's.
pub fn is_member(session: &mut Session, role: &str) -> Result<Option<bool>, SqlError> {
    let id = session.current;
    session.attach(id)?;
    let Some((number, true)) = principal(session, id, role)? else { return Ok(None) };
    let who = session.who(id)?;
    // The owner is in db_owner, whatever the table of members says.
    let owns = who == Who::Owner && number == FIXED_ROLES;
    Ok(Some(owns || session.identities(id)?.contains(&number)))
}

/// `CREATE USER` and its like.
///
/// # Errors
/// 15023, 15007, 15063, 15151; 15247 without the right.
pub fn change(session: &mut Session, change: &UserChange) -> Done<()> {
    if let UserChange::Owner { database, login } = change {
        return owner(session, database, login);
    }
    let id = session.current;
    session.attach(id)?;
    if !session.allows(id, "ALTER ANY USER", None)? {
        return Err(SqlError::new(15_247, "User does not have permission to perform this action.").into());
    }
    let exists = |session: &Session, name: &str| match principal(session, id, name)? {
        None => Ok(()),
        Some(_) => {
            let text = format!("User, group, or role '{name}' already exists in the current database.");
            Err(SqlError::new(15_023, text))
        }
    };
    let found = |session: &Session, verb: &str, what: &str, name: &str| {
        principal(session, id, name)?.ok_or_else(|| missing(verb, what, name))
    };
    let made = match date(session.now) {
        Value::Text(made) => literal(&made),
        _ => "NULL".to_owned(),
    };
    let statement = match change {
        UserChange::Create { name, login, schema } => {
            exists(session, name)?;
            return create(session, id, (name, login.as_deref(), schema.as_deref().unwrap_or("dbo")), &made);
        }
        UserChange::Alter { name, login, new, schema } => {
            let (number, _) = found(session, "alter", "user", name)?;
            let mut set = Vec::new();
            if let Some(login) = login {
                set.push(format!("sid = x'{}', authentication = 1", hex(&free_sid(session, id, login)?)));
            }
            if let Some(new) = new {
                exists(session, new)?;
                set.push(format!("name = {}", literal(new)));
            }
            set.extend(schema.as_ref().map(|schema| format!("schema = {}", literal(schema))));
            format!("UPDATE {{d}}.__principals SET {} WHERE principal_id = {number}", set.join(", "))
        }
        UserChange::Drop { name, is_role, if_exists } => {
            let what = if *is_role { "role" } else { "user" };
            let number = match principal(session, id, name)? {
                Some((number, role)) if role == *is_role && number > 4 && number < FIXED_ROLES => number,
                None if *if_exists => return Ok(()),
                _ => return Err(missing("drop", what, name).into()),
            };
            let statements = [
                format!("DELETE FROM {{d}}.__principals WHERE principal_id = {number}"),
                format!("DELETE FROM {{d}}.__members WHERE member = {number} OR role = {number}"),
                format!("DELETE FROM {{d}}.__permissions WHERE grantee = {number}"),
            ];
            return apply(session, id, &statements);
        }
        UserChange::CreateRole(name) => {
            exists(session, name)?;
            let number = next(session, id)?;
            format!(
                "INSERT INTO {{d}}.__principals VALUES ({number}, {}, 'R', NULL, NULL, 0, {made})",
                literal(name)
            )
        }
        UserChange::Member { role, member, is_added } => {
            let (role, _) = found(session, "alter", "role", role)?;
            let (member, _) = found(session, "add", "principal", member)?;
            let mut statements =
                vec![format!("DELETE FROM {{d}}.__members WHERE role = {role} AND member = {member}")];
            statements
                .extend(is_added.then(|| format!("INSERT INTO {{d}}.__members VALUES ({role}, {member})")));
            return apply(session, id, &statements);
        }
        UserChange::Owner { .. } => return Ok(()),
    };
    apply(session, id, &[statement])
}

/// `CREATE USER`: its name, its login where it has one, its schema.
fn create(
    session: &mut Session,
    id: u32,
    (name, login, schema): (&str, Option<&str>, &str),
    made: &str,
) -> Done<()> {
    let sid = match login {
        Some(login) => free_sid(session, id, login)?,
        None => session.instance.guids.next().as_bytes().to_vec(),
    };
    let kind = if login.is_some_and(|login| login.contains('\\')) { "U" } else { "S" };
    let (number, authentication) = (next(session, id)?, i64::from(login.is_some()));
    let (name, schema, sid) = (literal(name), literal(schema), hex(&sid));
    let row = format!("({number}, {name}, '{kind}', x'{sid}', {schema}, {authentication}, {made})");
    let connect = format!("INSERT INTO {{d}}.__permissions VALUES (0, 0, {number}, 'CONNECT', 'G')");
    apply(session, id, &[format!("INSERT INTO {{d}}.__principals VALUES {row}"), connect])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs statements about a database's own tables; `{d}` is its alias.
fn apply(session: &mut Session, id: u32, statements: &[String]) -> Done<()> {
    session.atomically(|session| {
        session
            .change_schema(id, |d| statements.iter().map(|statement| statement.replace("{d}", d)).collect())
    })
}

fn next(session: &Session, id: u32) -> Result<i64, SqlError> {
    let sql = format!(
        "SELECT max(principal_id) FROM {}.__principals WHERE principal_id < {FIXED_ROLES}",
        alias(id)
    );
    Ok(match session.single(&sql, &[])? {
        Some(Value::Integer(last)) => last + 1,
        _ => 5,
    })
}

/// The SID of a login that has no user in the database yet.
fn free_sid(session: &Session, id: u32, login: &str) -> Result<Vec<u8>, SqlError> {
    let sid = session.instance.catalog().sid_of(login);
    let sid = sid.ok_or_else(|| {
        SqlError::new(15_007, format!("'{login}' is not a valid login or you do not have permission."))
    })?;
    let sql = format!("SELECT 1 FROM {}.__principals WHERE sid = ?", alias(id));
    if session.single(&sql, &[Value::Blob(sid.clone())])?.is_some() {
        return Err(SqlError::new(15_063, "The login already has an account under a different user name."));
    }
    Ok(sid)
}

/// `ALTER AUTHORIZATION ON DATABASE`.
fn owner(session: &mut Session, database: &str, login: &str) -> Done<()> {
    let id = session
        .instance
        .catalog()
        .named(database)
        .map(|own| own.id)
        .ok_or_else(|| missing("find", "database", database))?;
    session.attach(id)?;
    let (may, sid) = {
        let catalog = session.instance.catalog();
        let me = &session.client.login;
        let owns = catalog
            .databases
            .get(&id)
            .and_then(|own| own.owner.as_ref())
            .is_some_and(|owner| same_name(owner, me));
        let major = catalog.principal_id(login).unwrap_or_default();
        let plays = same_name(me, login) || catalog.allows_on(me, "IMPERSONATE", 101, major);
        (catalog.has_role(me, Role::SysAdmin) || (owns && plays), catalog.sid_of(login))
    };
    let sid = sid.filter(|_| may).ok_or_else(|| missing("find", "principal", login))?;
    let sql = format!("SELECT 1 FROM {}.__principals WHERE sid = ? AND principal_id > 1", alias(id));
    if session.single(&sql, &[Value::Blob(sid)])?.is_some() {
        let text = "The proposed new database owner is already a user or aliased in the database.";
        return Err(SqlError::new(15_110, text).into());
    }
    let mut catalog = session.instance.catalog();
    let name = catalog.login(login).map_or_else(|| login.to_owned(), |own| own.name.clone());
    if let Some(own) = catalog.databases.get_mut(&id) {
        own.owner = (!same_name(&name, "sa")).then_some(name);
    }
    Ok(session.instance.save(&catalog)?)
}

/// `GRANT`, `DENY` and `REVOKE`.
///
/// # Errors
/// 15151 for who or what is not there; 4613, 4617 and their like without the right.
pub fn permit(session: &mut Session, change: &PermissionChange) -> Done<()> {
    let of_server = match &change.on {
        Some(Securable { class, .. }) => matches!(class.as_str(), "LOGIN" | "SERVER ROLE" | "ENDPOINT"),
        None => change.rights.iter().any(|right| SERVER_RIGHTS.contains(&right.as_str())),
    };
    if of_server { permit_at_server(session, change) } else { permit_inside(session, change) }
}

fn permit_at_server(session: &Session, change: &PermissionChange) -> Done<()> {
    if session.current != 1 {
        let text = "Permissions at the server scope can only be granted when the current database is master.";
        return Err(SqlError::new(4621, text).into());
    }
    let mut catalog = session.instance.catalog();
    if !catalog.allows(&session.client.login, "CONTROL SERVER")
        && !catalog.login(&session.client.login).is_some_and(|own| own.is_in("securityadmin"))
    {
        return Err(SqlError::new(4613, "Grantor does not have GRANT permission.").into());
    }
    let (class, major) = match &change.on {
        None => (100, 0),
        Some(Securable { class, name }) => {
            let id = if class == "ENDPOINT" {
                let own = catalog.machine.endpoints.iter().find(|own| same_name(&own.name, &name.name));
                let built_in = || BUILT_IN.iter().find(|(_, built_in, ..)| same_name(built_in, &name.name));
                own.map(|own| own.id).or_else(|| built_in().map(|(id, ..)| *id))
            } else {
                catalog.principal_id(&name.name)
            };
            let id = id.ok_or_else(|| missing("find", &class.to_lowercase(), &name.name))?;
            (if class == "ENDPOINT" { 105 } else { 101 }, id)
        }
    };
    for grantee in &change.grantees {
        catalog.principal_id(grantee).ok_or_else(|| missing("find", "login", grantee))?;
        for right in &change.rights {
            let held = |own: &Permission| {
                own.class == class
                    && own.major == major
                    && own.right == *right
                    && same_name(&own.grantee, grantee)
            };
            catalog.principals.permissions.retain(|own| !held(own));
            if let Some(state) = change.state {
                let (grantee, right) = (grantee.clone(), right.clone());
                catalog.principals.permissions.push(Permission { class, major, grantee, right, state });
            }
        }
    }
    Ok(session.instance.save(&catalog)?)
}

fn permit_inside(session: &mut Session, change: &PermissionChange) -> Done<()> {
    let id = session.current;
    session.attach(id)?;
    if session.who(id)? != Who::Owner && is_member(session, "db_owner")? != Some(true) {
        return Err(SqlError::new(4613, "Grantor does not have GRANT permission.").into());
    }
    let (class, major) = match &change.on {
        None => (0, 0),
        Some(Securable { class, name }) => place(session, id, class, name)?,
    };
    let mut statements = Vec::new();
    for grantee in &change.grantees {
        let found = principal(session, id, grantee)?;
        let (grantee, _) = found.ok_or_else(|| missing("find", "user", grantee))?;
        for right in &change.rights {
            let right = literal(right);
            statements.push(format!(
                "DELETE FROM {{d}}.__permissions WHERE class = {class} AND major = {major} AND grantee = {grantee} AND right_name = {right}"
            ));
            statements.extend(change.state.map(|state| {
                format!(
                    "INSERT INTO {{d}}.__permissions VALUES ({class}, {major}, {grantee}, {right}, '{state}')"
                )
            }));
        }
    }
    apply(session, id, &statements)
}

/// The class and the number of what a right is on.
fn place(session: &mut Session, id: u32, class: &str, name: &ObjectName) -> Result<(i64, i64), SqlError> {
    let missing_one = || {
        let text = format!(
            "Cannot find the {} '{}', because it does not exist or you do not have permission.",
            class.to_lowercase(),
            name.name
        );
        SqlError::new(15_151, text)
    };
    match class {
        "DATABASE" => Ok((0, 0)),
        "SCHEMA" => {
            let sql = format!("SELECT schema_id FROM {}.__schemas WHERE name = ? COLLATE ci", alias(id));
            match session.single(&sql, &[Value::Text(name.name.clone())])? {
                Some(Value::Integer(schema)) => Ok((3, schema)),
                _ => Err(missing_one()),
            }
        }
        "CERTIFICATE" => {
            let catalog = session.instance.catalog();
            let found = catalog.secured.certificates.iter().find(|own| same_name(&own.name, &name.name));
            found.filter(|_| id == 1).map(|own| (25, i64::from(own.id))).ok_or_else(missing_one)
        }
        "USER" | "ROLE" => {
            principal(session, id, &name.name)?.map(|(number, _)| (4, number)).ok_or_else(missing_one)
        }
        _ => Ok((1, tables::find(session, name)?.ok_or_else(missing_one)?.object)),
    }
}

/// `EXECUTE AS`.
///
/// # Errors
/// 15406 for a login, 15517 for a user that cannot be played.
pub fn impersonate(session: &mut Session, name: &str, is_user: bool) -> Done<()> {
    let refused = if is_user {
        let text = format!(
            "Cannot execute as the database principal because the principal \"{name}\" does not exist, this type of principal cannot be impersonated, or you do not have permission."
        );
        SqlError::new(15_517, text)
    } else {
        let text = format!(
            "Cannot execute as the server principal because the principal \"{name}\" does not exist, this type of principal cannot be impersonated, or you do not have permission."
        );
        SqlError::new(15_406, text)
    };
    if session.transaction.open {
        return Err(SqlError::not_understood("EXECUTE AS inside a transaction").into());
    }
    let login = if is_user {
        let id = session.current;
        session.attach(id)?;
        let sql =
            format!("SELECT sid FROM {}.__principals WHERE name = ? COLLATE ci AND type <> 'R'", alias(id));
        match session.single(&sql, &[Value::Text(name.to_owned())])? {
            Some(Value::Blob(sid)) => session.instance.catalog().login_of(&sid),
            _ => None,
        }
    } else {
        session.instance.catalog().login(name).map(|own| own.name.clone())
    };
    let login = login.ok_or_else(|| refused.clone())?;
    let may = {
        let catalog = session.instance.catalog();
        let major = catalog.principal_id(&login).unwrap_or_default();
        same_name(&login, &session.client.login)
            || catalog.allows_on(&session.client.login, "IMPERSONATE", 101, major)
    };
    if !may {
        return Err(refused.into());
    }
    let before = std::mem::replace(&mut session.client.login, login);
    session.played.push(before);
    become_somebody(session);
    Ok(session.detach_all()?)
}

/// `REVERT`.
///
/// # Errors
/// SQLite's.
pub fn revert(session: &mut Session) -> Done<()> {
    if let Some(login) = session.played.pop() {
        session.client.login = login;
        become_somebody(session);
        session.detach_all()?;
    }
    Ok(())
}

fn become_somebody(session: &Session) {
    let mut catalog = session.instance.catalog();
    if let Some(entry) = catalog.sessions.get_mut(&session.id) {
        entry.login.clone_from(&session.client.login);
    }
}
