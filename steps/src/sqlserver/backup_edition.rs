//! What a server's version and edition allow of a backup: [`Edition`], and what is [`Wanted`] of it.

use drydock_step::{PreflightFinding, StepError};

use super::backup_inputs::BackupInputs;
use super::backup_options::Compression;
use super::backup_statement::BackupKind;
use super::finding::fatal;
use super::paths::ServerPath;
use super::server::ServerFacts;
use super::target::SqlServerConnection;

/// `EngineEdition` of Enterprise and its like, of Azure SQL Database, and of Managed Instance.
const ENTERPRISE: i64 = 3;
const AZURE_DATABASE: i64 = 5;
const MANAGED_INSTANCE: i64 = 8;

const EDITION: &str = "SELECT CAST(SERVERPROPERTY(N'EngineEdition') AS int) AS edition, CAST(SERVERPROPERTY(N'Edition') AS nvarchar(128)) AS name";

/// What the plan wants, where it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The kind.
    pub(super) kind: BackupKind,
    /// Outside of the sequence.
    pub(super) copy_only: bool,
    /// Also of a damaged database.
    pub(super) no_truncate: bool,
    /// Compressed, or how.
    pub(super) compression: Option<Compression>,
    /// Encrypted.
    pub(super) encrypts: bool,
    /// With copies.
    pub(super) mirrors: bool,
    /// To a URL.
    pub(super) to_url: bool,
}

impl Wanted {
    /// What the inputs say; nothing while the kind is not known.
    pub(super) fn of(inputs: &BackupInputs, folders: &[ServerPath]) -> Option<Self> {
        let is = |flag: Option<&bool>| flag.copied().unwrap_or(false);
        Some(Self {
            kind: *inputs.kind.value()?,
            copy_only: is(inputs.copy_only.value()),
            no_truncate: is(inputs.no_truncate.value()),
            compression: inputs.compression.value().copied().flatten(),
            encrypts: inputs.encryption.value().is_some_and(Option::is_some),
            mirrors: inputs.mirror.value().is_some_and(|mirrors| !mirrors.is_empty()),
            to_url: folders.first().is_some_and(ServerPath::is_url),
        })
    }
}

/// What the server's edition is.
pub(super) struct Edition {
    engine: i64,
    name: String,
}

impl Edition {
    /// This server's.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn ask(server: &SqlServerConnection) -> Result<Self, StepError> {
        let answer = server.session().ask("asking for the server's edition", EDITION).await?;
        let row = answer.first()?;
        let name = row.text("name")?.unwrap_or_default().to_owned();
        Ok(Self { engine: row.number("edition")?.unwrap_or(ENTERPRISE), name })
    }

    /// What this edition and version cannot do.
    pub(super) fn findings(&self, wanted: Wanted, server: &ServerFacts) -> Vec<PreflightFinding> {
        let mut findings = Vec::new();
        let own = "the service makes its own backups; restore from those, or export the data";
        if self.engine == AZURE_DATABASE {
            let message = "this is Azure SQL Database, which has no BACKUP";
            return vec![fatal("sqlserver.40510", message, own)];
        }
        let to_own_url = wanted.kind == BackupKind::Full && wanted.copy_only && wanted.to_url;
        if self.engine == MANAGED_INSTANCE && !to_own_url {
            let message =
                "this is Azure SQL Managed Instance, which takes only copy-only full backups to a URL";
            let help = format!("say `type: full`, `copy_only: true` and a URL for `to`; for all else {own}");
            findings.push(fatal("sqlserver.41904", message, help));
        }
        let compresses = wanted.compression.is_some_and(Compression::compresses);
        if compresses && server.is_express {
            let message = "this is an Express edition, which cannot compress backups";
            findings.push(fatal("sqlserver.1844", message, "leave `compression` out, or say false"));
        }
        if wanted.encrypts && server.is_express {
            let message = "this is an Express edition, which cannot encrypt backups";
            findings.push(fatal("sqlserver.1844", message, "leave `encryption` out"));
        }
        if let Some((major, name)) = wanted.compression.and_then(Compression::since)
            && server.major() < major
        {
            let message = format!("this compression needs {name}, and this server is {}", server.version);
            findings.push(fatal("backup.version", message, "say `compression: true`"));
        }
        if wanted.mirrors && self.engine != ENTERPRISE {
            let message = format!("this is {}, and only Enterprise editions mirror backups", self.name);
            let help = "leave `mirror` out, and copy the files afterwards";
            findings.push(fatal("sqlserver.3218", message, help));
        }
        findings
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::sqlserver::paths::PathStyle;

    fn server(version: &str, is_express: bool) -> ServerFacts {
        ServerFacts {
            name: "SQL01".into(),
            version: version.into(),
            session_id: 51,
            style: PathStyle::Posix,
            data_path: None,
            log_path: None,
            is_sysadmin: true,
            is_express,
            is_standard: false,
            offset_minutes: 0,
            time_zone: None,
        }
    }

    /// A compressed backup of this kind.
    pub(in crate::sqlserver) fn wanted(kind: BackupKind) -> Wanted {
        Wanted {
            kind,
            copy_only: false,
            no_truncate: false,
            compression: Some(Compression::Plain(true)),
            encrypts: false,
            mirrors: false,
            to_url: false,
        }
    }

    /// The codes of findings, and whether they are fatal.
    pub(in crate::sqlserver) fn codes(found: &[PreflightFinding]) -> Vec<(&str, bool)> {
        found.iter().map(|finding| (finding.code.as_str(), finding.fatal)).collect()
    }

    #[test]
    fn what_a_version_or_an_edition_cannot_do_is_found_before() {
        let zstd = serde_json::from_value(json!({ "algorithm": "zstd" })).unwrap();
        let xpress = serde_json::from_value(json!({ "algorithm": "ms_xpress" })).unwrap();
        let full = wanted(BackupKind::Full);
        let copy = Wanted { copy_only: true, to_url: true, ..full };
        for (engine, version, express, wanted, expected) in [
            (3, "16.0.1", false, Wanted { compression: Some(zstd), ..full }, &[("backup.version", true)][..]),
            (3, "17.0.1", false, Wanted { compression: Some(zstd), ..full }, &[]),
            (3, "15.0.1", false, Wanted { compression: Some(xpress), ..full }, &[("backup.version", true)]),
            (3, "16.0.1", false, Wanted { compression: Some(xpress), mirrors: true, ..full }, &[]),
            (2, "16.0.1", false, Wanted { mirrors: true, ..full }, &[("sqlserver.3218", true)]),
            (
                4,
                "16.0.1",
                true,
                Wanted { encrypts: true, ..full },
                &[("sqlserver.1844", true), ("sqlserver.1844", true)],
            ),
            (5, "12.0.1", false, full, &[("sqlserver.40510", true)]),
            (8, "16.0.1", false, full, &[("sqlserver.41904", true)]),
            (8, "16.0.1", false, copy, &[]),
        ] {
            let found = Edition { engine, name: "X".into() }.findings(wanted, &server(version, express));
            assert_eq!(codes(&found), expected, "{engine} {version}");
        }
    }
}
