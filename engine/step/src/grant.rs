//! A right that a step needs at its target, as an administrator gives it: [`Grant`].

use serde::Serialize;

/// For which work an identity exists. Backups and restores have identities apart: who can read everything should not also be able to
/// overwrite it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// It takes backups.
    Backup,
    /// It restores.
    Restore,
    /// Whatever the plan is for.
    Plan,
}

/// Where a right is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GrantPlace {
    /// At the server.
    Server,
    /// In this database.
    Database(String),
    /// In a database whose name is known only during the run.
    Unknown(String),
}

/// Stands in a statement for the identity, quoted as a name.
pub const LOGIN: &str = "{login}";

/// A right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Whose it is.
    pub duty: Duty,
    /// Where it is given.
    pub place: GrantPlace,
    /// The statement that gives it, with [`LOGIN`] where the identity stands. Giving it twice changes nothing.
    pub statement: String,
}

impl Grant {
    /// A right at the server.
    pub fn at_server(duty: Duty, statement: &str) -> Self {
        Self { duty, place: GrantPlace::Server, statement: statement.to_owned() }
    }

    /// A right in a database.
    pub fn within(duty: Duty, database: &str, statement: &str) -> Self {
        Self { duty, place: GrantPlace::Database(database.to_owned()), statement: statement.to_owned() }
    }
}
