//! A server's `backup_manifest`, as far as a restore needs it: [`BackupManifest`]. Versions 1 (13 to 16) and 2 (from 17 on).

use drydock_step::StepError;
use serde::Deserialize;

/// What WAL a backup needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WalRange {
    /// The timeline.
    pub(super) timeline: u32,
    /// Where recovery begins.
    #[serde(rename = "Start-LSN")]
    pub(super) start_lsn: String,
    /// From where on the data are consistent.
    #[serde(rename = "End-LSN")]
    pub(super) end_lsn: String,
}

/// A `backup_manifest`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct BackupManifest {
    #[serde(rename = "PostgreSQL-Backup-Manifest-Version")]
    version: u64,
    #[serde(rename = "System-Identifier")]
    system_identifier: Option<u64>,
    #[serde(rename = "WAL-Ranges")]
    wal_ranges: Vec<WalRange>,
}

impl BackupManifest {
    /// Reads one.
    ///
    /// # Errors
    /// `postgres.base`, when it is none that is known.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, StepError> {
        let refused = |why: String| {
            StepError::new("postgres.base", format!("its backup_manifest cannot be read: {why}"))
                .help("take a new base backup; with a server newer than 18, a newer Drydock")
        };
        let read: Self = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        match (read.version, read.wal_ranges.as_slice()) {
            (1 | 2, [_, ..]) => Ok(read),
            (1 | 2, []) => Err(refused("it names no WAL".into())),
            (version, _) => Err(refused(format!("version {version} is not known"))),
        }
    }

    /// What initdb gave the cluster; from version 2 on.
    pub(super) fn system_identifier(&self) -> Option<String> {
        self.system_identifier.map(|id| id.to_string())
    }

    /// The first and the last WAL that it needs: they are of several timelines where a standby was promoted meanwhile.
    pub(super) fn wal(&self) -> Option<(&WalRange, &WalRange)> {
        let by = |range: &&WalRange| range.timeline;
        Some((self.wal_ranges.iter().min_by_key(by)?, self.wal_ranges.iter().max_by_key(by)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_and_others_are_refused() {
        let of = |text: &str| BackupManifest::parse(text.as_bytes());
        let range = r#"{ "Timeline": 1, "Start-LSN": "0/4000028", "End-LSN": "0/4000120" }"#;
        let one =
            format!(r#"{{ "PostgreSQL-Backup-Manifest-Version": 1, "Files": [], "WAL-Ranges": [{range}] }}"#);
        let found = of(&one).unwrap();
        let (first, last) = found.wal().unwrap();
        assert_eq!(
            (first.timeline, first.start_lsn.as_str(), last.end_lsn.as_str()),
            (1, "0/4000028", "0/4000120")
        );
        assert_eq!(found.system_identifier(), None);
        let two = one.replace("\": 1, \"F", "\": 2, \"System-Identifier\": 7575000000000000001, \"F");
        assert_eq!(of(&two).unwrap().system_identifier().as_deref(), Some("7575000000000000001"));
        for (text, words) in [
            (one.replace("Version\": 1", "Version\": 3"), "version 3 is not known"),
            (one.replace(range, ""), "it names no WAL"),
            ("half".into(), "expected value"),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.code == "postgres.base" && error.message.contains(words), "{error}");
        }
    }
}
