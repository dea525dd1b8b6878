//! What kind of SQL Server this one plays, and what surrounds it: [`Installation`]. A server is started with one; the file
//! `surroundings.json` in its folder, with the same keys, is laid over it and read anew whenever it is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::database::DATABASE_VERSION;
use super::functions::compare;

/// The file of what is laid over the start value.
const FILE: &str = "surroundings.json";

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

/// The operating system that a server stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Linux.
    #[default]
    Linux,
    /// Windows.
    Windows,
}

impl Platform {
    /// `host_platform`, `host_distribution` and `host_release` of `sys.dm_os_host_info`.
    #[must_use]
    pub const fn shown(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Linux => ("Linux", "Ubuntu", "22.04"),
            Self::Windows => ("Windows", "Windows Server 2022 Standard", "10.0"),
        }
    }
}

/// A volume of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Where it is mounted, as the server writes it; the longest that a path lies below counts.
    pub mount: String,
    /// Its size.
    pub total_bytes: i64,
    /// What is free of it.
    pub available_bytes: i64,
}

/// The version, the edition and the surroundings of a server.
///
/// As JSON, where all keys may be left out: `{"major": 15, "engine": 4, "urls": {"https://acct.blob.core.windows.net/c": "/tmp/blobs"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Installation {
    /// The major version: 16 is 2022.
    pub major: u8,
    /// `SERVERPROPERTY('EngineEdition')`.
    pub engine: i64,
    /// What it stands on; only what it is started with counts.
    pub platform: Platform,
    /// On Windows, where shares lie: `\\host\share` and its folder. Only what it is started with counts.
    pub shares: BTreeMap<String, PathBuf>,
    /// Where blobs whose URL begins like this lie: a URL device is a file below that folder.
    pub urls: BTreeMap<String, PathBuf>,
    /// Its volumes; a path on none of them lies on one of 512 GiB.
    pub volumes: Vec<Volume>,
    /// What is free where no volume is named.
    pub free_bytes: i64,
    /// What `sys.fn_hadr_backup_is_preferred_replica` says.
    pub is_preferred_replica: bool,
    /// Names of databases that belong to an availability group.
    pub replicas: Vec<String>,
    /// Those of them that are secondaries there; they need not be named twice.
    pub secondaries: Vec<String>,
    /// Names of databases that are mirrored.
    pub mirrored: Vec<String>,
    /// Names of databases that are published.
    pub published: Vec<String>,
    /// Names of databases that are snapshots of others.
    pub snapshots: Vec<String>,
    /// What its databases use that not every edition has: `sys.dm_db_persisted_sku_features`.
    pub edition_features: Vec<String>,
    /// Whether its login is a member of sysadmin.
    pub is_sysadmin: bool,
}

impl Default for Installation {
    fn default() -> Self {
        Self {
            major: 16,
            engine: ENTERPRISE,
            platform: Platform::Linux,
            shares: BTreeMap::new(),
            urls: BTreeMap::new(),
            volumes: Vec::new(),
            free_bytes: 256 << 30,
            is_preferred_replica: true,
            replicas: Vec::new(),
            secondaries: Vec::new(),
            mirrored: Vec::new(),
            published: Vec::new(),
            snapshots: Vec::new(),
            edition_features: Vec::new(),
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

    /// This one with what the folder's file says otherwise. A file that is no such document changes nothing: a test that wrote it sees
    /// that.
    #[must_use]
    pub fn surrounded(&self, dir: &Path) -> Self {
        let over = std::fs::read(dir.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let whole = over.and_then(|over: serde_json::Map<_, _>| {
            let mut all = serde_json::to_value(self).ok()?;
            all.as_object_mut()?.extend(over);
            serde_json::from_value(all).ok()
        });
        whole.unwrap_or_else(|| self.clone())
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

/// Whether a list of databases names one, case not counting.
#[must_use]
pub fn names(list: &[String], database: &str) -> bool {
    list.iter().any(|name| compare(name, database).is_eq())
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

    #[test]
    fn what_surrounds_it_is_laid_over_what_it_was_started_with() {
        let dir = tempfile::tempdir().unwrap();
        let express = Installation { engine: EXPRESS, ..Installation::default() };
        assert_eq!(express.surrounded(dir.path()), express);
        std::fs::write(dir.path().join(FILE), r#"{"major": 15, "mirrored": ["A"]}"#).unwrap();
        let now = express.surrounded(dir.path());
        assert_eq!((now.major, now.engine, names(&now.mirrored, "a")), (15, EXPRESS, true));
        std::fs::write(dir.path().join(FILE), r#"{"major": 15, "engine_edition": 4}"#).unwrap();
        assert_eq!(express.surrounded(dir.path()), express, "a key that nobody knows");
    }
}
