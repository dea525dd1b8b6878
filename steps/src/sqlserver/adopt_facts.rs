//! A database as another server takes it over: [`DatabaseNow`], and its users without a login, [`Orphan`].

use drydock_step::StepError;
use indexmap::IndexMap;

use super::answer::present;
use super::session::Session;
use super::sql::{Identifier, quoted};

/// What a database takes along, and what it finds where it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatabaseNow {
    /// `ONLINE`, `RESTORING` and their like.
    pub(super) state: String,
    /// `MULTI_USER`, `SINGLE_USER` or `RESTRICTED_USER`.
    pub(super) user_access: String,
    /// The login that owns it; nothing where the server has no login of that SID.
    pub(super) owner: Option<String>,
    /// The version whose rules it follows, times ten.
    pub(super) compatibility_level: i64,
    /// Whether what is in it may reach beyond it with its owner's rights.
    pub(super) trustworthy: bool,
    /// Whether its Service Broker delivers.
    pub(super) broker_enabled: bool,
    /// The identity of its Service Broker.
    pub(super) broker: Option<String>,
}

impl DatabaseNow {
    /// Of the database of this name; nothing when there is none.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn ask(session: &Session, name: &Identifier) -> Result<Option<Self>, StepError> {
        let sql = format!(
            "SELECT state_desc, user_access_desc, SUSER_SNAME(owner_sid) AS owner, CAST(compatibility_level AS int) AS compatibility_level, \
             is_trustworthy_on, is_broker_enabled, service_broker_guid FROM sys.databases WHERE name = {}",
            name.quoted()
        );
        let answer = session.ask(&format!("asking for database {name}"), &sql).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        Ok(Some(Self {
            state: present(row.text("state_desc")?, "state_desc")?.to_owned(),
            user_access: row.text("user_access_desc")?.unwrap_or_default().to_owned(),
            owner: row.text("owner")?.map(str::to_owned),
            compatibility_level: row.number("compatibility_level")?.unwrap_or_default(),
            trustworthy: row.flag("is_trustworthy_on")?,
            broker_enabled: row.flag("is_broker_enabled")?,
            broker: row.guid("service_broker_guid")?.map(|guid| guid.as_str().to_owned()),
        }))
    }
}

/// A user whose SID no login of the server has. Users without a login, and those of Windows, who may come by a group, are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Orphan {
    /// The user.
    pub(super) user: String,
    /// Its SID, as `0x…`.
    pub(super) sid: String,
    /// The login that it is to have.
    pub(super) login: Option<String>,
    /// Why there is none.
    pub(super) why: Option<String>,
}

/// Whether this login is shown all logins: to others every user looks like an orphan.
///
/// # Errors
/// What the server says.
pub(super) async fn sees_logins(session: &Session) -> Result<bool, StepError> {
    let sql = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, N'VIEW ANY DEFINITION') AS may";
    session.ask("asking what this login may see", sql).await?.first()?.flag("may")
}

/// The orphans of a database, each with the login of its name or of `logins`, where that one is free.
///
/// # Errors
/// What the server says; `adopt.login` for a login of `logins` that is not there.
pub(super) async fn orphans(
    session: &Session,
    database: &Identifier,
    logins: &IndexMap<String, String>,
) -> Result<Vec<Orphan>, StepError> {
    let inside = database.bracketed();
    let sql = format!(
        "SELECT u.name, u.sid FROM {inside}.sys.database_principals AS u LEFT JOIN sys.server_principals AS s ON s.sid = u.sid \
         WHERE u.authentication_type_desc = N'INSTANCE' AND u.principal_id > 4 AND s.sid IS NULL ORDER BY u.name"
    );
    let answer = session.ask(&format!("asking for orphaned users of {database}"), &sql).await?;
    let mut found = Vec::new();
    for row in answer.rows() {
        let user = present(row.text("name")?, "name")?;
        let said = logins.get(user);
        let wanted = said.map_or(user, String::as_str);
        let sql = format!(
            "SELECT l.name, t.name AS taken_by FROM sys.server_principals AS l LEFT JOIN {inside}.sys.database_principals AS t ON t.sid = l.sid \
             WHERE l.type IN (N'S', N'U', N'G', N'E', N'X') AND l.name = {}",
            quoted(wanted)
        );
        let answer = session.ask(&format!("asking for a login for user {user}"), &sql).await?;
        let login = answer.rows().next();
        let (login, why) = match login {
            None if said.is_some() => {
                let message =
                    format!("`logins` gives user {user} the login {wanted}, which the server has not");
                return Err(StepError::new("adopt.login", message)
                    .help("make it first: `sqlserver.restore_objects` brings logins back with their SIDs"));
            }
            None => (None, Some(format!("the server has no login {wanted}"))),
            Some(login) => match login.text("taken_by")? {
                Some(other) => (None, Some(format!("the login {wanted} is that of user {other}"))),
                None => (Some(present(login.text("name")?, "name")?.to_owned()), None),
            },
        };
        let sid = present(row.hex("sid")?, "sid")?;
        found.push(Orphan { user: user.to_owned(), sid, login, why });
    }
    Ok(found)
}
