//! How the server is set up on its machine: options, linked servers, endpoints. Main type: [`Machine`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An option of `sp_configure`.
#[derive(Debug, Clone, Copy)]
pub struct ConfigOption {
    /// `configuration_id`.
    pub id: i64,
    /// Its name.
    pub name: &'static str,
    /// What it is unless somebody sets it.
    pub default: i64,
    /// The least value.
    pub minimum: i64,
    /// The greatest value.
    pub maximum: i64,
    /// Whether RECONFIGURE is enough.
    pub is_dynamic: bool,
    /// Whether it is seen only with `show advanced options`.
    pub is_advanced: bool,
}

const fn option(
    id: i64,
    name: &'static str,
    (default, minimum, maximum): (i64, i64, i64),
    is_dynamic: bool,
    is_advanced: bool,
) -> ConfigOption {
    ConfigOption { id, name, default, minimum, maximum, is_dynamic, is_advanced }
}

/// The option that shows the others.
pub const SHOWS: &str = "show advanced options";

/// Options of 2022, those that administrators set.
pub const OPTIONS: &[ConfigOption] = &[
    option(101, "recovery interval (min)", (0, 0, 32_767), true, true),
    option(103, "user connections", (0, 0, 32_767), false, true),
    option(109, "fill factor (%)", (0, 0, 100), false, true),
    option(115, "nested triggers", (1, 0, 1), true, false),
    option(117, "remote access", (1, 0, 1), false, false),
    option(124, "default language", (0, 0, 9999), true, false),
    option(505, "network packet size (B)", (4096, 512, 32_767), true, true),
    option(518, SHOWS, (0, 0, 1), true, false),
    option(1520, "remote query timeout (s)", (600, 0, 2_147_483_647), true, false),
    option(1538, "cost threshold for parallelism", (5, 0, 32_767), true, true),
    option(1539, "max degree of parallelism", (0, 0, 32_767), true, true),
    option(1543, "min server memory (MB)", (0, 0, 2_147_483_647), true, true),
    option(1544, "max server memory (MB)", (2_147_483_647, 128, 2_147_483_647), true, true),
    option(1562, "clr enabled", (0, 0, 1), true, false),
    option(1568, "default trace enabled", (1, 0, 1), true, true),
    option(1576, "remote admin connections", (0, 0, 1), true, false),
    option(1577, "common criteria compliance enabled", (0, 0, 1), false, true),
    option(1579, "backup compression default", (0, 0, 1), true, false),
    option(1581, "optimize for ad hoc workloads", (0, 0, 1), true, true),
    option(1584, "backup checksum default", (0, 0, 1), true, false),
    option(1597, "backup compression algorithm", (0, 0, 2), true, false),
    option(16_386, "Database Mail XPs", (0, 0, 1), true, true),
    option(16_390, "xp_cmdshell", (0, 0, 1), true, true),
];

/// A linked server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// `server_id`.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What its creator said of it: product, provider, data source, location, provider string, catalog.
    pub said: Vec<Option<String>>,
    /// Options that are not as they are at first.
    pub options: BTreeMap<String, String>,
    /// Who logs in how: the local login, whether as itself, the remote name.
    pub logins: Vec<(Option<String>, bool, Option<String>)>,
}

/// An endpoint over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `endpoint_id`.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// 0 STARTED, 1 STOPPED, 2 DISABLED.
    pub state: i64,
    /// Its port.
    pub port: i64,
    /// The address it listens on, or all.
    pub ip: Option<String>,
    /// 2 TSQL, 3 SERVICE_BROKER, 4 DATABASE_MIRRORING.
    pub kind: i64,
    /// 1 PARTNER, 2 WITNESS, 3 ALL.
    pub role: Option<i64>,
    /// `connection_auth_desc`.
    pub authentication: Option<String>,
    /// The certificate by which it is known.
    pub certificate: Option<String>,
    /// `encryption_algorithm_desc`.
    pub algorithm: Option<String>,
    /// Whether what is not encrypted is refused.
    pub is_encrypted: bool,
}

/// The endpoints that every server has: number, name, protocol with its name, whether it is the administrators' own.
pub const BUILT_IN: [(i64, &str, (i64, &str), bool); 4] = [
    (1, "Dedicated Admin Connection", (2, "TCP"), true),
    (2, "TSQL Local Machine", (4, "SHARED_MEMORY"), false),
    (3, "TSQL Named Pipes", (3, "NAMED_PIPES"), false),
    (4, "TSQL Default TCP", (2, "TCP"), false),
];

/// What is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Values of options that somebody set, by name.
    pub configured: BTreeMap<String, i64>,
    /// Those that are in use.
    pub running: BTreeMap<String, i64>,
    /// Linked servers.
    pub linked: Vec<Linked>,
    /// Endpoints that somebody made.
    pub endpoints: Vec<Endpoint>,
}

impl Machine {
    /// What an option is set to, and what is in use.
    #[must_use]
    pub fn option(&self, option: &ConfigOption) -> (i64, i64) {
        let of = |values: &BTreeMap<String, i64>| values.get(option.name).copied().unwrap_or(option.default);
        (of(&self.configured), of(&self.running))
    }

    /// RECONFIGURE.
    pub fn reconfigure(&mut self) {
        for (name, value) in &self.configured {
            if OPTIONS.iter().any(|option| option.name == name && option.is_dynamic) {
                self.running.insert(name.clone(), *value);
            }
        }
    }

    /// What a restart does.
    pub fn restarted(&mut self) {
        self.running.clone_from(&self.configured);
    }
}
