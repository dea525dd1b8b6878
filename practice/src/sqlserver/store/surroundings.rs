//! What surrounds the server and can be set from outside while it runs: its volumes, its version, what its databases belong to. Main
//! type: [`Surroundings`], the file `surroundings.json` in the server's folder, which is read anew whenever it is asked.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The file's name.
pub const FILE: &str = "surroundings.json";

/// A volume of files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Where it is mounted; the longest that a path lies below counts.
    pub mount: PathBuf,
    /// Its size.
    pub total_bytes: i64,
    /// What is free of it.
    pub available_bytes: i64,
}

/// What surrounds a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Surroundings {
    /// Its volumes; a path on none of them lies on one of 512 GiB.
    pub volumes: Vec<Volume>,
    /// What `ProductVersion` says instead of the version that it is.
    pub product_version: Option<String>,
    /// What `EngineEdition` says: 3 is Enterprise and Developer, 4 Express.
    pub engine_edition: Option<i64>,
    /// Databases that belong to an availability group.
    pub replicas: Vec<String>,
    /// Databases that are mirrored.
    pub mirrored: Vec<String>,
    /// Databases that are published.
    pub published: Vec<String>,
}

impl Surroundings {
    /// Of the server in this folder. A file that is no such document counts as none: a test that wrote it sees that nothing changes.
    #[must_use]
    pub fn read(dir: &Path) -> Self {
        let text = std::fs::read(dir.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The volume that holds a path.
    #[must_use]
    pub fn volume_of(&self, path: &Path) -> Option<&Volume> {
        let holding = self.volumes.iter().filter(|volume| path.starts_with(&volume.mount));
        holding.max_by_key(|volume| volume.mount.as_os_str().len())
    }

    /// The major version of the server.
    #[must_use]
    pub fn major(&self) -> i64 {
        let major = self.product_version.as_ref().and_then(|version| version.split('.').next()?.parse().ok());
        major.unwrap_or(16)
    }
}

/// Whether a list of databases names one, case not counting.
#[must_use]
pub fn names(list: &[String], database: &str) -> bool {
    list.iter().any(|name| super::instance::same_name(name, database))
}
