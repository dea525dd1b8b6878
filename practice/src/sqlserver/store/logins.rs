//! Who may log in, and what the server lets them do: [`Login`], [`Principals`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

/// A fixed role of the server whose rights count here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The variants carry the names of the roles.
pub enum Role {
    SysAdmin,
    DbCreator,
}

/// The fixed roles with their numbers.
pub const FIXED: [(i64, &str); 9] = [
    (2, "public"),
    (3, "sysadmin"),
    (4, "securityadmin"),
    (5, "serveradmin"),
    (6, "setupadmin"),
    (7, "processadmin"),
    (8, "diskadmin"),
    (9, "dbcreator"),
    (10, "bulkadmin"),
];

/// The number of the first login that somebody makes; `sa` has 1.
pub const FIRST: i64 = 257;

impl Role {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "sysadmin",
            Self::DbCreator => "dbcreator",
        }
    }
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// `principal_id`.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// By which users of databases know it.
    pub sid: Vec<u8>,
    /// Its password as the server keeps it; nothing for an account of Windows.
    pub hash: Option<Vec<u8>>,
    /// The roles that it is a member of, by name.
    pub roles: Vec<String>,
    /// Whether it may not log in.
    pub is_disabled: bool,
    /// The database that it begins in.
    pub database: String,
    /// Its language.
    pub language: String,
    /// `CHECK_POLICY`.
    pub checks_policy: bool,
    /// `CHECK_EXPIRATION`.
    pub checks_expiration: bool,
    /// When it was made.
    pub made: DateTime<Utc>,
}

/// A password as the server keeps it: version 2, four bytes of salt, SHA-512 over the password in UTF-16 and the salt.
#[must_use]
pub fn hashed(password: &str, salt: [u8; 4]) -> Vec<u8> {
    let mut hash = Sha512::new();
    password.encode_utf16().for_each(|unit| hash.update(unit.to_le_bytes()));
    hash.update(salt);
    [&[2, 0], &salt[..], &hash.finalize()[..]].concat()
}

impl Login {
    /// A SQL login of this password, whose SID and salt follow from `drawn`.
    #[must_use]
    pub fn new(id: i64, name: &str, password: &str, drawn: &[u8], made: DateTime<Utc>) -> Self {
        let bytes = Sha256::digest(drawn);
        let salt = [bytes[16], bytes[17], bytes[18], bytes[19]];
        Self {
            id,
            name: name.to_owned(),
            sid: bytes[..16].to_vec(),
            hash: Some(hashed(password, salt)),
            roles: Vec::new(),
            is_disabled: false,
            database: "master".to_owned(),
            language: "us_english".to_owned(),
            checks_policy: true,
            checks_expiration: false,
            made,
        }
    }

    /// Whether this is its password.
    #[must_use]
    pub fn has_password(&self, password: &str) -> bool {
        let salt = self.hash.as_ref().and_then(|hash| <[u8; 4]>::try_from(hash.get(2..6)?).ok());
        salt.is_some_and(|salt| self.hash.as_deref() == Some(&hashed(password, salt)))
    }

    /// Whether it is a member of a role; an administrator is one of every role.
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.is_in(role.name()) || self.is_in(Role::SysAdmin.name())
    }

    /// Whether it is a member of the role of that name.
    #[must_use]
    pub fn is_in(&self, role: &str) -> bool {
        role.eq_ignore_ascii_case("public") || self.roles.iter().any(|own| own.eq_ignore_ascii_case(role))
    }
}

/// A role of the server that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRole {
    /// `principal_id`.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The login or role that owns it.
    pub owner: String,
    /// When it was made.
    pub made: DateTime<Utc>,
}

/// A right at the server that somebody gave or denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// 100 the server, 101 a login or role, 105 an endpoint.
    pub class: i64,
    /// The number of what it is on; 0 for the server.
    pub major: i64,
    /// The name of whose it is.
    pub grantee: String,
    /// The right: `VIEW SERVER STATE`.
    pub right: String,
    /// `G` granted, `W` granted with the right to grant it, `D` denied.
    pub state: char,
}

/// What there is of principals beside logins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principals {
    /// Roles that somebody made.
    pub roles: Vec<ServerRole>,
    /// Rights.
    pub permissions: Vec<Permission>,
}
