//! What a login may do in a database, looked up in its data file. Main type: [`Standing`].

use rusqlite::{Connection, params};

use super::halt::sql_error;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::store::instance::{Instance, same_name};
use crate::sqlserver::store::logins::Role;

/// Roles that every database has are numbered from here.
pub const FIXED_ROLES: i64 = 16_384;

/// As whom a login stands in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// As its owner.
    Owner,
    /// As the user of that number.
    User(i64),
    /// As nobody: it has no user.
    Guest,
}

/// A login before an attached database.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The connection that the database is attached to.
    pub connection: &'a Connection,
    /// The server.
    pub instance: &'a Instance,
    /// The login.
    pub login: &'a str,
    /// The database.
    pub database: u32,
}

impl Standing<'_> {
    fn table(&self, name: &str) -> String {
        format!("d{}.{name}", self.database)
    }

    fn numbers(&self, sql: &str, parameter: impl rusqlite::ToSql) -> Result<Vec<i64>, SqlError> {
        let ask = || -> rusqlite::Result<Vec<i64>> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![parameter], |row| row.get(0))?;
            rows.collect()
        };
        ask().map_err(|error| sql_error(&error))
    }

    /// As whom it stands there.
    ///
    /// # Errors
    /// SQLite's.
    pub fn who(&self) -> Result<Who, SqlError> {
        let sid = {
            let catalog = self.instance.catalog();
            let owner = catalog.databases.get(&self.database).and_then(|database| database.owner.as_ref());
            let owns = owner.is_some_and(|owner| same_name(owner, self.login));
            if owns || catalog.has_role(self.login, Role::SysAdmin) {
                return Ok(Who::Owner);
            }
            catalog.sid_of(self.login).unwrap_or_default()
        };
        let table = self.table("__principals");
        let sql = format!("SELECT principal_id FROM {table} WHERE sid = ? AND type <> 'R'");
        Ok(match self.numbers(&sql, sid)?.first() {
            Some(1) => Who::Owner,
            Some(user) => Who::User(*user),
            None => Who::Guest,
        })
    }

    /// Whether it may be in the database.
    ///
    /// # Errors
    /// 916.
    pub fn enter(&self) -> Result<(), SqlError> {
        let who = self.who()?;
        let (name, any) = {
            let catalog = self.instance.catalog();
            let name = catalog.databases.get(&self.database).map(|database| database.name.clone());
            (name.unwrap_or_default(), catalog.allows(self.login, "CONNECT ANY DATABASE"))
        };
        let is_let_in = match who {
            Who::Owner => true,
            // Everybody is a guest of master, tempdb and msdb.
            Who::Guest => any || matches!(self.database, 1 | 2 | 4),
            Who::User(_) => any || self.holds(who, "CONNECT", &[(0, 0)])?,
        };
        if is_let_in {
            return Ok(());
        }
        let text = format!(
            "The server principal \"{}\" is not able to access the database \"{name}\" under the current security context.",
            self.login
        );
        Err(SqlError::new(916, text).state(2).class(14))
    }

    /// The numbers of the roles that it is in, and its user's own.
    ///
    /// # Errors
    /// SQLite's.
    pub fn identities(&self) -> Result<Vec<i64>, SqlError> {
        self.identities_of(self.who()?)
    }

    fn identities_of(&self, who: Who) -> Result<Vec<i64>, SqlError> {
        let own = match who {
            Who::Owner => 1,
            Who::User(user) => user,
            Who::Guest => 2,
        };
        let (mut found, mut at) = (vec![0, own], 1);
        let sql = format!("SELECT role FROM {} WHERE member = ?", self.table("__members"));
        while let Some(member) = found.get(at).copied() {
            for role in self.numbers(&sql, member)? {
                if !found.contains(&role) {
                    found.push(role);
                }
            }
            at += 1;
        }
        Ok(found)
    }

    /// Whether a right is held on one of these places: class and number.
    fn holds(&self, who: Who, right: &str, places: &[(i64, i64)]) -> Result<bool, SqlError> {
        let own = self.identities_of(who)?;
        let is_in = |role: i64| own.contains(&(FIXED_ROLES + role));
        let list = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let table = self.table("__permissions");
        let sql = format!("SELECT class, major, right_name, state FROM {table} WHERE grantee IN ({list})");
        let ask = || -> rusqlite::Result<Vec<(i64, i64, String, String)>> {
            let mut statement = self.connection.prepare(&sql)?;
            let rows =
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            rows.collect()
        };
        let (mut granted, mut denied) = (false, false);
        for (class, major, held, state) in ask().map_err(|error| sql_error(&error))? {
            if places.contains(&(class, major)) && (held == right || held == "CONTROL") {
                if state == "D" { denied = true } else { granted = true }
            }
        }
        let reads = right == "SELECT";
        let writes = matches!(right, "INSERT" | "UPDATE" | "DELETE");
        let by_role = is_in(0)
            || (reads && is_in(6))
            || (writes && is_in(7))
            || (is_in(3) && (right.starts_with("CREATE") || right == "ALTER"))
            || (is_in(5) && matches!(right, "BACKUP DATABASE" | "BACKUP LOG" | "CHECKPOINT"));
        let by_denial = (reads && is_in(8)) || (writes && is_in(9));
        Ok(!denied && !by_denial && (granted || by_role))
    }

    /// Whether it has a right on a certificate of the database, or in it as a whole.
    ///
    /// # Errors
    /// SQLite's.
    pub fn allows_certificate(&self, right: &str, certificate: u32) -> Result<bool, SqlError> {
        let who = self.who()?;
        Ok(who == Who::Owner || self.holds(who, right, &[(0, 0), (25, i64::from(certificate))])?)
    }

    /// Whether it has a right on a table, as its number and its schema's, or in the database as a whole.
    ///
    /// # Errors
    /// SQLite's.
    pub fn allows(&self, right: &str, table: Option<(i64, i64)>) -> Result<bool, SqlError> {
        if right == "SELECT" && self.instance.catalog().allows(self.login, "SELECT ALL USER SECURABLES") {
            return Ok(true);
        }
        let who = self.who()?;
        if who == Who::Owner {
            return Ok(true);
        }
        let mut places = vec![(0, 0)];
        if let Some((object, schema)) = table {
            places.extend([(1, object), (3, schema)]);
        }
        self.holds(who, right, &places)
    }
}
