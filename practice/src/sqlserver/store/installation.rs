//! What kind of SQL Server this one plays: [`Installation`].

use std::path::PathBuf;

use serde::Deserialize;

use super::database::DATABASE_VERSION;

/// `EngineEdition` of Standard.
pub const STANDARD: i64 = 2;
/// `EngineEdition` of Enterprise and Developer.
pub const ENTERPRISE: i64 = 3;
/// `EngineEdition` of Express.
pub const EXPRESS: i64 = 4;
/// `EngineEdition` of Azure SQL Database.
pub const AZURE_DATABASE: i64 = 5;
/// `EngineEdition` of Azure SQL Managed Instance.
pub const MANAGED_INSTANCE: i64 = 8;

/// The version, the edition and the surroundings of a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Installation {
    /// The major version: 16 is 2022.
    pub major: u8,
    /// `SERVERPROPERTY('EngineEdition')`.
    pub engine: i64,
    /// Where blobs whose URL begins like this lie: a URL device is a file below that folder.
    pub urls: Vec<(String, PathBuf)>,
    /// What each volume has free.
    pub free_bytes: i64,
    /// What `sys.fn_hadr_backup_is_preferred_replica` says.
    pub is_preferred_replica: bool,
    /// Names of databases that are secondaries of an availability group.
    pub secondaries: Vec<String>,
    /// Names of databases that are snapshots of others.
    pub snapshots: Vec<String>,
    /// Whether its login is a member of sysadmin.
    pub is_sysadmin: bool,
}

impl Default for Installation {
    fn default() -> Self {
        Self {
            major: 16,
            engine: ENTERPRISE,
            urls: Vec::new(),
            free_bytes: 256 << 30,
            is_preferred_replica: true,
            secondaries: Vec::new(),
            snapshots: Vec::new(),
            is_sysadmin: true,
        }
    }
}

impl Installation {
    /// The build below the major version.
    #[must_use]
    pub const fn build(&self) -> i64 {
        match self.major {
            ..14 => 7000,
            14 => 3456,
            15 => 4385,
            16 => 4236,
            _ => 1000,
        }
    }

    /// `SERVERPROPERTY('ProductVersion')`.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}.0.{}.2", self.major, self.build())
    }

    /// `SERVERPROPERTY('Edition')`.
    #[must_use]
    pub const fn edition(&self) -> &'static str {
        match self.engine {
            STANDARD => "Standard Edition (64-bit)",
            EXPRESS => "Express Edition (64-bit)",
            AZURE_DATABASE | MANAGED_INSTANCE => "SQL Azure",
            _ => "Developer Edition (64-bit)",
        }
    }

    /// The version of the databases that it makes.
    #[must_use]
    pub const fn database_version(&self) -> i64 {
        match self.major {
            ..14 => 852,
            14 => 869,
            15 => 904,
            _ => DATABASE_VERSION,
        }
    }

    /// The level of compatibility of the databases that it makes.
    #[must_use]
    pub const fn compatibility(&self) -> i64 {
        self.major as i64 * 10
    }
}
