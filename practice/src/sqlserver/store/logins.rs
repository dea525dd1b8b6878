//! Who may log in, and what the roles of the server let them do. Main type: [`Login`].

use serde::{Deserialize, Serialize};

/// A fixed role of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The variants carry the names of the roles.
pub enum Role {
    SysAdmin,
    DbCreator,
}

impl Role {
    /// The role of that name, case not counting.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "sysadmin" => Some(Self::SysAdmin),
            "dbcreator" => Some(Self::DbCreator),
            _ => None,
        }
    }
}

/// A SQL login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// The roles that it is a member of.
    pub roles: Vec<Role>,
}

impl Login {
    /// Whether it is a member of a role; an administrator is one of every role.
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.roles.contains(&Role::SysAdmin)
    }
}
