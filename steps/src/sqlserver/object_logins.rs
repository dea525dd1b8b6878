//! Who may enter a server and what they may do there: logins, roles and permissions as [`Item`]s.

use drydock_step::StepError;

use super::answer::{Row, present};
use super::object_batch::Batch;
use super::object_script::{Item, Part};
use super::session::Session;
use super::sql::{Identifier, bracketed, quoted};

/// Logins but those that every server has of itself. `has_connect` tells whether the right to connect, which CREATE LOGIN gives, is there.
const LOGINS: &str = "SELECT p.name, p.sid, CAST(p.type AS nvarchar(2)) AS type, p.is_disabled, p.default_database_name, p.default_language_name, \
    l.password_hash, l.is_policy_checked, l.is_expiration_checked, \
    (SELECT COUNT(*) FROM sys.server_permissions AS c WHERE c.class = 100 AND c.grantee_principal_id = p.principal_id AND c.permission_name = N'CONNECT SQL') AS has_connect, \
    CAST(SERVERPROPERTY(N'MachineName') AS nvarchar(128)) AS machine \
    FROM sys.server_principals AS p LEFT JOIN sys.sql_logins AS l ON l.principal_id = p.principal_id \
    WHERE p.type IN (N'S', N'U', N'G', N'C', N'K', N'E', N'X') AND p.principal_id > 1 ORDER BY p.name";

/// Roles that somebody made.
const ROLES: &str = "SELECT r.name, o.name AS owner FROM sys.server_principals AS r LEFT JOIN sys.server_principals AS o ON o.principal_id = r.owning_principal_id \
    WHERE r.type = N'R' AND r.is_fixed_role = 0 AND r.name <> N'public' ORDER BY r.name";

/// Who is in which role.
const MEMBERS: &str = "SELECT r.name AS role, m.name AS member FROM sys.server_role_members AS x \
    JOIN sys.server_principals AS r ON r.principal_id = x.role_principal_id JOIN sys.server_principals AS m ON m.principal_id = x.member_principal_id \
    WHERE m.principal_id > 1 ORDER BY r.name, m.name";

/// Permissions on the server (100), on logins and roles (101) and on endpoints (105).
const PERMISSIONS: &str = "SELECT x.class, x.permission_name, CAST(x.state AS nvarchar(2)) AS state, g.name AS grantee, \
    t.name AS principal, CAST(t.type AS nvarchar(2)) AS principal_type, e.name AS endpoint \
    FROM sys.server_permissions AS x JOIN sys.server_principals AS g ON g.principal_id = x.grantee_principal_id \
    LEFT JOIN sys.server_principals AS t ON x.class = 101 AND t.principal_id = x.major_id \
    LEFT JOIN sys.endpoints AS e ON x.class = 105 AND e.endpoint_id = x.major_id \
    WHERE g.principal_id > 1 ORDER BY g.name, x.class, x.permission_name, x.state";

/// Whether a principal is one of the server's own: it is on every server, or belongs to a certificate that is.
pub(super) fn is_own(name: &str) -> bool {
    let name = name.to_uppercase();
    name.starts_with("##")
        || ["NT SERVICE\\", "NT AUTHORITY\\", "BUILTIN\\"].iter().any(|begin| name.starts_with(begin))
}

/// Whether a login is an account of this machine, which no other machine knows.
pub(super) fn of_machine(login: &str, machine: Option<&str>) -> bool {
    let machine = machine.unwrap_or_default();
    login.split_once('\\').is_some_and(|(domain, _)| domain.eq_ignore_ascii_case(machine))
}

/// Logins, roles, members and permissions.
///
/// # Errors
/// What the server says.
pub(super) async fn items(session: &Session) -> Result<Vec<Item>, StepError> {
    let mut items = Vec::new();
    for row in session.ask("asking for the logins", LOGINS).await?.rows() {
        login(row, &mut items)?;
    }
    let by_hand: Vec<String> =
        items.iter().filter(|item| item.by_hand.is_some()).map(|item| item.key.name.clone()).collect();
    for row in session.ask("asking for the roles of the server", ROLES).await?.rows() {
        let name = present(row.text("name")?, "name")?;
        let owner = row.text("owner")?.filter(|owner| !is_own(owner));
        let owner = owner.map_or(String::new(), |owner| format!(" AUTHORIZATION {}", bracketed(owner)));
        let batch = format!("{}CREATE SERVER ROLE {}{owner}", absent(name), bracketed(name));
        items.push(Item::new(Part::Roles, "server role", name, batch));
    }
    for row in session.ask("asking who is in the roles of the server", MEMBERS).await?.rows() {
        let (role, member) = (present(row.text("role")?, "role")?, present(row.text("member")?, "member")?);
        if !is_own(member) {
            let batch = format!("ALTER SERVER ROLE {} ADD MEMBER {}", bracketed(role), bracketed(member));
            items.push(Item::new(Part::Roles, "member", format!("{member} of {role}"), batch));
        }
    }
    for row in session.ask("asking for the permissions on the server", PERMISSIONS).await?.rows() {
        items.extend(permission(row)?);
    }
    Ok(with_their_logins(items, &by_hand))
}

/// What is of a login that somebody has to make is made by hand as well: without the login the server refuses it.
fn with_their_logins(mut items: Vec<Item>, by_hand: &[String]) -> Vec<Item> {
    let names_one = |item: &Item| by_hand.iter().any(|login| item.batch.contains(&bracketed(login)));
    for item in items.iter_mut().filter(|item| item.by_hand.is_none() && names_one(item)) {
        item.by_hand = Some("it is of a login that has to be made by hand before".to_owned());
    }
    items
}

fn absent(name: &str) -> String {
    format!("IF SUSER_ID({}) IS NULL\n", quoted(name))
}

/// A login, and the database that it begins in: that may come later than the login.
fn login(row: Row<'_>, items: &mut Vec<Item>) -> Result<(), StepError> {
    let name = present(row.text("name")?, "name")?;
    if is_own(name) {
        return Ok(());
    }
    let quoted_name = bracketed(name);
    let of_machine = of_machine(name, row.text("machine")?);
    let (batch, why) = match present(row.text("type")?, "type")? {
        "S" => {
            let on = |flag: bool| if flag { "ON" } else { "OFF" };
            let sid = present(row.hex("sid")?, "sid")?;
            let checks = format!(
                "SID = {sid}, CHECK_POLICY = {}, CHECK_EXPIRATION = {}",
                on(row.flag("is_policy_checked")?),
                on(row.flag("is_expiration_checked")?)
            );
            match row.hex("password_hash")? {
                Some(hash) => {
                    (format!("CREATE LOGIN {quoted_name} WITH PASSWORD = {hash} HASHED, {checks}"), None)
                }
                None => (
                    format!("CREATE LOGIN {quoted_name} WITH PASSWORD = N'?', {checks}"),
                    Some("the hash of its password is shown to nobody without CONTROL SERVER"),
                ),
            }
        }
        "U" | "G" => (
            format!("CREATE LOGIN {quoted_name} FROM WINDOWS"),
            of_machine.then_some("it is an account of this one machine, which no other knows"),
        ),
        "E" | "X" => (format!("CREATE LOGIN {quoted_name} FROM EXTERNAL PROVIDER"), None),
        _ => (
            format!("CREATE LOGIN {quoted_name} FROM CERTIFICATE [?]"),
            Some("it belongs to a certificate or an asymmetric key of master, which have to be there before"),
        ),
    };
    let why = Identifier::parse(name).err().map(|_| "control characters are in its name").or(why);
    let mut whole = Batch::new();
    whole.statement(batch);
    if row.number("has_connect")? == Some(0) {
        whole.statement(format!("REVOKE CONNECT SQL FROM {quoted_name}"));
    }
    if row.flag("is_disabled")? {
        whole.statement(format!("ALTER LOGIN {quoted_name} DISABLE"));
    }
    let batch = whole.whole(absent(name).trim_end());
    if let Some(why) = why {
        items.push(Item::by_hand(Part::Logins, "login", name, batch, why));
        return Ok(());
    }
    items.push(Item::new(Part::Logins, "login", name, batch));
    if let Some(database) = row.text("default_database_name")?.filter(|database| *database != "master") {
        let batch = format!(
            "IF DB_ID({}) IS NOT NULL\nALTER LOGIN {quoted_name} WITH DEFAULT_DATABASE = {}",
            quoted(database),
            bracketed(database)
        );
        items.push(Item::new(Part::Logins, "default database", format!("{database} of {name}"), batch));
    }
    if let Some(language) = row.text("default_language_name")?.filter(|language| *language != "us_english") {
        let batch = format!("ALTER LOGIN {quoted_name} WITH DEFAULT_LANGUAGE = {}", bracketed(language));
        items.push(Item::new(Part::Logins, "default language", format!("{language} of {name}"), batch));
    }
    Ok(())
}

fn permission(row: Row<'_>) -> Result<Option<Item>, StepError> {
    let grantee = present(row.text("grantee")?, "grantee")?;
    let right = present(row.text("permission_name")?, "permission_name")?;
    let state = present(row.text("state")?, "state")?;
    let on = match present(row.number("class")?, "class")? {
        // CREATE LOGIN gives the right to connect.
        100 if right == "CONNECT SQL" && state == "G" => return Ok(None),
        100 => String::new(),
        101 => {
            let Some(principal) = row.text("principal")?.filter(|principal| !is_own(principal)) else {
                return Ok(None);
            };
            let class = if row.text("principal_type")? == Some("R") { "SERVER ROLE" } else { "LOGIN" };
            format!(" ON {class}::{}", bracketed(principal))
        }
        105 => match row.text("endpoint")? {
            Some(endpoint) => format!(" ON ENDPOINT::{}", bracketed(endpoint)),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    if is_own(grantee) {
        return Ok(None);
    }
    let (verb, end) = match state {
        "D" => ("DENY", ""),
        "W" => ("GRANT", " WITH GRANT OPTION"),
        _ => ("GRANT", ""),
    };
    let batch = format!("{verb} {right}{on} TO {}{end}", bracketed(grantee));
    Ok(Some(Item::new(Part::Permissions, "permission", batch.clone(), batch)))
}
