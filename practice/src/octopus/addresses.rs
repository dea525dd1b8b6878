//! Where Octopus finds its stores. Main type: [`Addresses`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The stores of one Octopus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Agents, procedures, episodes, documents.
    pub sqlserver: SqlServerAddress,
    /// The vectors of each agent.
    pub qdrant: QdrantAddress,
}

/// How to reach the SQL Server; the connection is always encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlServerAddress {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// SQL login.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The certificate to trust, a PEM file.
    pub ca: PathBuf,
}

/// How to reach Qdrant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QdrantAddress {
    /// `http://host:port` of each node; any of them answers for all.
    pub nodes: Vec<String>,
    /// The key that may do everything.
    pub api_key: String,
}
