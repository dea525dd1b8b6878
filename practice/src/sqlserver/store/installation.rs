//! What kind of SQL Server this one plays: [`Installation`].

use std::collections::BTreeMap;
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
///
/// As JSON, where all keys may be left out: `{"major": 15, "engine": 4, "urls": {"https://acct.blob.core.windows.net/c": "/tmp/blobs"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Installation {
    /// The major version: 16 is 2022.
    pub major: u8,
    /// `SERVERPROPERTY('EngineEdition')`.
    pub engine: i64,
    /// Where blobs whose URL begins like this lie: a URL device is a file below that folder.
    pub urls: BTreeMap<String, PathBuf>,
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
            urls: BTreeMap::new(),
            free_bytes: 256 << 30,
            is_preferred_replica: true,
            secondaries: Vec::new(),
            snapshots: Vec::new(),
            is_sysadmin: true,
        }
    }
}

/// Why a text is no installation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kind of SQL Server is no JSON mapping of its keys: {0}")]
pub struct NoInstallation(String);

impl Installation {
    /// Reads a JSON mapping.
    ///
    /// # Errors
    /// [`NoInstallation`], with the key that is wrong.
    pub fn parse(text: &str) -> Result<Self, NoInstallation> {
        serde_json::from_str(text).map_err(|error| NoInstallation(error.to_string()))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_a_developer_edition_of_2022() {
        assert_eq!(Installation::parse("{}"), Ok(Installation::default()));
        let older = Installation::parse(r#"{"major": 15, "engine": 4}"#).unwrap();
        assert_eq!((older.version().as_str(), older.edition()), ("15.0.4385.2", "Express Edition (64-bit)"));
        assert_eq!((older.database_version(), older.compatibility()), (904, 150));
        let error = Installation::parse(r#"{"edition": "Express"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `edition`, expected one of `major`"), "{error}");
    }
}
