//! BACKUP as a statement, and the name of its file: [`BackupStatement`], [`file_name`].

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sha2::Digest;

use super::media::devices;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// The whole database.
    Full,
    /// What changed since the last full.
    Differential,
    /// The log since the last log backup.
    Log,
}

impl BackupKind {
    /// As a plan writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Differential => "differential",
            Self::Log => "log",
        }
    }

    fn verb(self) -> &'static str {
        if self == Self::Log { "BACKUP LOG" } else { "BACKUP DATABASE" }
    }

    fn extension(self) -> &'static str {
        if self == Self::Log { "trn" } else { "bak" }
    }
}

/// A BACKUP statement. Names and texts are quoted already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BackupStatement {
    /// What it holds; nothing when that is not known yet.
    pub(super) kind: Option<BackupKind>,
    /// The database.
    pub(super) database: String,
    /// The file.
    pub(super) disk: String,
    /// The set's name.
    pub(super) name: String,
    /// The set's description.
    pub(super) description: Option<String>,
    /// Beside the sequence of backups.
    pub(super) copy_only: bool,
    /// A new media header.
    pub(super) format: bool,
    /// Over what the file held.
    pub(super) init: bool,
    /// Compressed or not; the server's own setting where neither is said.
    pub(super) compression: Option<bool>,
    /// With checksums.
    pub(super) checksum: bool,
    /// After how many percent the server tells of it.
    pub(super) stats: Option<u8>,
}

impl BackupStatement {
    /// What it does, for messages.
    pub(super) fn doing(&self) -> String {
        format!("{} {}", self.kind.map_or("BACKUP", BackupKind::verb), self.database)
    }
}

impl std::fmt::Display for BackupStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut options = Vec::new();
        let mut option = |is_given: bool, text: &str| {
            if is_given {
                options.push(text.to_owned());
            }
        };
        option(self.kind == Some(BackupKind::Differential), "DIFFERENTIAL");
        option(self.copy_only, "COPY_ONLY");
        option(self.format, "FORMAT");
        option(self.init, "INIT");
        option(self.compression == Some(true), "COMPRESSION");
        option(self.compression == Some(false), "NO_COMPRESSION");
        option(self.checksum, "CHECKSUM");
        option(true, &format!("NAME = {}", self.name));
        if let Some(description) = &self.description {
            option(true, &format!("DESCRIPTION = {description}"));
        }
        if let Some(percent) = self.stats {
            option(true, &format!("STATS = {percent}"));
        }
        write!(f, "{} TO {} WITH {}", self.doing(), devices([self.disk.as_str()]), options.join(", "))
    }
}

/// The longest that the parts of a file's name may be.
const LONGEST_PARTS: (usize, usize) = (48, 80);

/// The name of a backup's file: `OctopusDB_full_20260714T031500Z_<run>_<step>_<n>.bak`. Every attempt has its own, so that no two backups
/// ever share a file. Where a name does not fit or has characters that a file's name has not, a digest of the whole keeps it distinct.
pub(super) fn file_name(database: &str, kind: BackupKind, at: DateTime<Utc>, attempt: &str) -> String {
    let (longest_database, longest_attempt) = LONGEST_PARTS;
    let (plain_database, plain_attempt) =
        (plain(database, longest_database), plain(attempt, longest_attempt));
    let lossless = plain_database == database && plain_attempt == attempt.replace('/', "_");
    let digest = if lossless {
        String::new()
    } else {
        let digest = sha2::Sha256::digest(format!("{database}\n{attempt}").as_bytes());
        digest.iter().take(4).fold("_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    };
    let time = at.format("%Y%m%dT%H%M%SZ");
    let (kind, extension) = (kind.as_str(), kind.extension());
    format!("{plain_database}_{kind}_{time}_{plain_attempt}{digest}.{extension}")
}

/// The text with `_` for each character that a file's name should not have.
fn plain(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '_' };
    text.chars().map(plain).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(kind: BackupKind) -> BackupStatement {
        BackupStatement {
            kind: Some(kind),
            database: "[OctopusDB]".into(),
            disk: r"N'D:\x.bak'".into(),
            name: "N'drydock r1/full/1'".into(),
            description: None,
            copy_only: false,
            format: true,
            init: true,
            compression: None,
            checksum: true,
            stats: None,
        }
    }

    #[test]
    fn each_kind_and_option_has_its_words() {
        let check = |statement: &BackupStatement, expected: &str| assert_eq!(statement.to_string(), expected);
        check(
            &statement(BackupKind::Full),
            r"BACKUP DATABASE [OctopusDB] TO DISK = N'D:\x.bak' WITH FORMAT, INIT, CHECKSUM, NAME = N'drydock r1/full/1'",
        );
        let differential = BackupStatement {
            compression: Some(true),
            stats: Some(10),
            description: Some("N'nightly'".into()),
            ..statement(BackupKind::Differential)
        };
        check(
            &differential,
            r"BACKUP DATABASE [OctopusDB] TO DISK = N'D:\x.bak' WITH DIFFERENTIAL, FORMAT, INIT, COMPRESSION, CHECKSUM, NAME = N'drydock r1/full/1', DESCRIPTION = N'nightly', STATS = 10",
        );
        let log = BackupStatement {
            copy_only: true,
            format: false,
            init: false,
            checksum: false,
            compression: Some(false),
            ..statement(BackupKind::Log)
        };
        check(
            &log,
            r"BACKUP LOG [OctopusDB] TO DISK = N'D:\x.bak' WITH COPY_ONLY, NO_COMPRESSION, NAME = N'drydock r1/full/1'",
        );
    }

    #[test]
    fn no_two_attempts_share_a_file() {
        let at = DateTime::from_timestamp(1_784_000_000, 0).unwrap();
        let name = |database: &str, attempt: &str| file_name(database, BackupKind::Log, at, attempt);
        assert_eq!(name("OctopusDB", "01J8/log/1"), "OctopusDB_log_20260714T033320Z_01J8_log_1.trn");
        let lossy = [
            name("a b", "r/log/1"),
            name("a_b", "r/log/1"),
            name("a:b", "r/log/1"),
            name("a_b", "r/log[x]/1"),
            name("a_b", "r/log[y]/1"),
            name("a_b", "r/log/2"),
            name(&"x".repeat(100), "r/log/1"),
            name(&"x".repeat(101), "r/log/1"),
            name("a_b", &format!("r/{}/1", "s".repeat(200))),
            name("a_b", &format!("r/{}/2", "s".repeat(200))),
        ];
        let mut distinct = lossy.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), lossy.len(), "{lossy:?}");
        assert!(lossy.iter().all(|name| name.len() < 180 && name.is_ascii()), "{lossy:?}");
    }
}
