//! BACKUP as a statement: [`BackupStatement`].

use serde::Deserialize;

use super::backup_options::{Compression, Encryption};
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
    /// The last of the log, after which the database takes no more changes and waits to be restored.
    Tail,
}

impl BackupKind {
    /// As a plan writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Differential => "differential",
            Self::Log => "log",
            Self::Tail => "tail",
        }
    }

    /// Whether it holds log and no data.
    pub(super) fn is_log(self) -> bool {
        matches!(self, Self::Log | Self::Tail)
    }

    /// msdb's letter for it.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Full => 'D',
            Self::Differential => 'I',
            Self::Log | Self::Tail => 'L',
        }
    }

    fn verb(self) -> &'static str {
        if self.is_log() { "BACKUP LOG" } else { "BACKUP DATABASE" }
    }
}

/// A BACKUP statement. Names and texts are quoted already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BackupStatement {
    /// What it holds; nothing when that is not known yet.
    pub(super) kind: Option<BackupKind>,
    /// The database.
    pub(super) database: String,
    /// The files, one a stripe.
    pub(super) disks: Vec<String>,
    /// Copies of them.
    pub(super) mirrors: Vec<Vec<String>>,
    /// The set's name.
    pub(super) name: String,
    /// The set's description.
    pub(super) description: Option<String>,
    /// Beside the sequence of backups.
    pub(super) copy_only: bool,
    /// Also of a database that cannot be opened.
    pub(super) no_truncate: bool,
    /// A new media header.
    pub(super) format: bool,
    /// Over what the file held.
    pub(super) init: bool,
    /// Compressed or not; the server's own setting where neither is said.
    pub(super) compression: Option<Compression>,
    /// With checksums.
    pub(super) checksum: bool,
    /// Encrypted.
    pub(super) encryption: Option<Encryption>,
    /// The credential of a URL, in brackets or quotes as it stands.
    pub(super) credential: Option<String>,
    /// Bytes a transfer.
    pub(super) max_transfer_size: Option<u64>,
    /// Buffers.
    pub(super) buffer_count: Option<u32>,
    /// Bytes a block.
    pub(super) block_size: Option<u64>,
    /// After how many percent the server tells of it.
    pub(super) stats: Option<u8>,
}

impl BackupStatement {
    /// What it does, for messages.
    pub(super) fn doing(&self) -> String {
        format!("{} {}", self.kind.map_or("BACKUP", BackupKind::verb), self.database)
    }

    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        let mut word = |is_given: bool, text: &str| options.extend(is_given.then(|| text.to_owned()));
        word(self.kind == Some(BackupKind::Differential), "DIFFERENTIAL");
        word(self.kind == Some(BackupKind::Tail), "NORECOVERY");
        word(self.no_truncate, "NO_TRUNCATE");
        word(self.copy_only, "COPY_ONLY");
        word(self.format, "FORMAT");
        word(self.init, "INIT");
        options.extend(self.compression.map(Compression::clause));
        options.extend(self.checksum.then(|| "CHECKSUM".to_owned()));
        options.extend(self.encryption.as_ref().map(Encryption::clause));
        options.push(format!("NAME = {}", self.name));
        let valued = |name: &str, value: Option<String>| value.map(|value| format!("{name} = {value}"));
        options.extend(valued("DESCRIPTION", self.description.clone()));
        options.extend(valued("CREDENTIAL", self.credential.clone()));
        options.extend(valued("BLOCKSIZE", self.block_size.map(|n| n.to_string())));
        options.extend(valued("BUFFERCOUNT", self.buffer_count.map(|n| n.to_string())));
        options.extend(valued("MAXTRANSFERSIZE", self.max_transfer_size.map(|n| n.to_string())));
        options.extend(valued("STATS", self.stats.map(|n| n.to_string())));
        options
    }
}

impl std::fmt::Display for BackupStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = |disks: &Vec<String>| devices(disks.iter().map(String::as_str));
        write!(f, "{} TO {}", self.doing(), listed(&self.disks))?;
        for mirror in &self.mirrors {
            write!(f, " MIRROR TO {}", listed(mirror))?;
        }
        write!(f, " WITH {}", self.options().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(kind: BackupKind) -> BackupStatement {
        BackupStatement {
            kind: Some(kind),
            database: "[OctopusDB]".into(),
            disks: vec![r"N'D:\x.bak'".into()],
            name: "N'drydock r1/full/1'".into(),
            format: true,
            init: true,
            checksum: true,
            ..BackupStatement::default()
        }
    }

    #[track_caller]
    fn check(statement: &BackupStatement, expected: &str) {
        assert_eq!(statement.to_string(), expected);
    }

    #[test]
    fn each_kind_and_option_has_its_words() {
        check(
            &statement(BackupKind::Full),
            r"BACKUP DATABASE [OctopusDB] TO DISK = N'D:\x.bak' WITH FORMAT, INIT, CHECKSUM, NAME = N'drydock r1/full/1'",
        );
        let differential = BackupStatement {
            compression: Some(Compression::Plain(true)),
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
            compression: Some(Compression::Plain(false)),
            ..statement(BackupKind::Log)
        };
        check(
            &log,
            r"BACKUP LOG [OctopusDB] TO DISK = N'D:\x.bak' WITH COPY_ONLY, NO_COMPRESSION, NAME = N'drydock r1/full/1'",
        );
        let tail = BackupStatement { no_truncate: true, ..statement(BackupKind::Tail) };
        check(
            &tail,
            r"BACKUP LOG [OctopusDB] TO DISK = N'D:\x.bak' WITH NORECOVERY, NO_TRUNCATE, FORMAT, INIT, CHECKSUM, NAME = N'drydock r1/full/1'",
        );
    }

    #[test]
    fn stripes_mirrors_keys_and_sizes_have_theirs() {
        let all = BackupStatement {
            disks: vec!["N'/a_1of2'".into(), "N'/a_2of2'".into()],
            mirrors: vec![vec!["N'/b_1of2'".into(), "N'/b_2of2'".into()]],
            encryption: serde_json::from_value(json!({ "algorithm": "aes_128", "certificate": "c" })).ok(),
            max_transfer_size: Some(4_194_304),
            buffer_count: Some(50),
            block_size: Some(65_536),
            ..statement(BackupKind::Full)
        };
        check(
            &all,
            "BACKUP DATABASE [OctopusDB] TO DISK = N'/a_1of2', DISK = N'/a_2of2' MIRROR TO DISK = N'/b_1of2', DISK = N'/b_2of2' WITH FORMAT, INIT, CHECKSUM, ENCRYPTION (ALGORITHM = AES_128, SERVER CERTIFICATE = [c]), NAME = N'drydock r1/full/1', BLOCKSIZE = 65536, BUFFERCOUNT = 50, MAXTRANSFERSIZE = 4194304",
        );
        let url = BackupStatement {
            disks: vec!["N'https://acct.blob.core.windows.net/c/x.bak'".into()],
            credential: Some("N'key'".into()),
            ..statement(BackupKind::Full)
        };
        check(
            &url,
            "BACKUP DATABASE [OctopusDB] TO URL = N'https://acct.blob.core.windows.net/c/x.bak' WITH FORMAT, INIT, CHECKSUM, NAME = N'drydock r1/full/1', CREDENTIAL = N'key'",
        );
    }
}
