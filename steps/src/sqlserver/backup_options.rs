//! What a plan may ask of a backup beside its kind: [`Compression`], [`Encryption`], [`Stripes`], [`BlockSize`], [`TransferSize`].

use drydock_step::{ByteCount, Field, Shape};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::sql::Identifier;

/// The keys of `compression` where it is no boolean.
pub(super) const COMPRESSION: &[Field] = &[
    Field::required(
        "algorithm",
        Shape::OneOf(&["ms_xpress", "qat_deflate", "zstd"]),
        "`ms_xpress` and `qat_deflate` since SQL Server 2022, `zstd` since 2025.",
    ),
    Field::optional("level", Shape::OneOf(&["low", "medium", "high"]), "How hard zstd works."),
];

/// The keys of `encryption`.
pub(super) const ENCRYPTION: &[Field] = &[
    Field::optional(
        "algorithm",
        Shape::OneOf(&["aes_128", "aes_192", "aes_256", "triple_des_3key"]),
        "The cipher.",
    )
    .or("\"aes_256\""),
    Field::required("certificate", Shape::Text, "A certificate in `master` of the server."),
];

/// How a backup is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Or not, by the server's own algorithm.
    Plain(bool),
    /// By this one.
    By(Algorithm, Option<Level>),
}

/// An algorithm of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// The one that servers have always had.
    MsXpress,
    /// Intel QuickAssist.
    QatDeflate,
    /// Zstandard.
    Zstd,
}

/// How hard zstd works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they say it")]
pub enum Level {
    Low,
    Medium,
    High,
}

impl Compression {
    /// As an option of BACKUP.
    pub(super) fn clause(self) -> String {
        match self {
            Self::Plain(true) => "COMPRESSION".into(),
            Self::Plain(false) => "NO_COMPRESSION".into(),
            Self::By(algorithm, level) => {
                let level = level.map_or(String::new(), |level| format!(", LEVEL = {}", level.word()));
                format!("COMPRESSION (ALGORITHM = {}{level})", algorithm.word())
            }
        }
    }

    /// Whether anything is compressed.
    pub(super) fn compresses(self) -> bool {
        self != Self::Plain(false)
    }

    /// The first major version that understands it, and its name; nothing where all do.
    pub(super) fn since(self) -> Option<(u8, &'static str)> {
        match self {
            Self::Plain(_) => None,
            Self::By(Algorithm::Zstd, _) => Some((17, "SQL Server 2025")),
            Self::By(..) => Some((16, "SQL Server 2022")),
        }
    }
}

impl Algorithm {
    fn word(self) -> &'static str {
        match self {
            Self::MsXpress => "MS_XPRESS",
            Self::QatDeflate => "QAT_DEFLATE",
            Self::Zstd => "ZSTD",
        }
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByAlgorithm {
    algorithm: Algorithm,
    level: Option<Level>,
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Value::Bool(is) = value {
            return Ok(Self::Plain(is));
        }
        let ByAlgorithm { algorithm, level } = serde_json::from_value(value).map_err(D::Error::custom)?;
        if level.is_some() && algorithm != Algorithm::Zstd {
            return Err(D::Error::custom("only `zstd` has a `level`"));
        }
        Ok(Self::By(algorithm, level))
    }
}

/// What a backup is encrypted with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    #[serde(default)]
    algorithm: Cipher,
    /// The certificate.
    pub(super) certificate: Identifier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cipher {
    #[serde(rename = "aes_128")]
    Aes128,
    #[serde(rename = "aes_192")]
    Aes192,
    #[default]
    #[serde(rename = "aes_256")]
    Aes256,
    #[serde(rename = "triple_des_3key")]
    TripleDes,
}

impl Encryption {
    /// As an option of BACKUP.
    pub(super) fn clause(&self) -> String {
        let cipher = match self.algorithm {
            Cipher::Aes128 => "AES_128",
            Cipher::Aes192 => "AES_192",
            Cipher::Aes256 => "AES_256",
            Cipher::TripleDes => "TRIPLE_DES_3KEY",
        };
        format!("ENCRYPTION (ALGORITHM = {cipher}, SERVER CERTIFICATE = {})", self.certificate.bracketed())
    }
}

/// Over how many files a set is striped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stripes(pub(super) usize);

impl<'de> Deserialize<'de> for Stripes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        match usize::try_from(number) {
            Ok(number @ 1..=64) => Ok(Self(number)),
            _ => Err(D::Error::custom(format!("a set has 1 to 64 stripes, not {number}"))),
        }
    }
}

/// `BLOCKSIZE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize(pub(super) u64);

impl<'de> Deserialize<'de> for BlockSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ByteCount(bytes) = ByteCount::deserialize(deserializer)?;
        match bytes {
            512..=65_536 if bytes.is_power_of_two() => Ok(Self(bytes)),
            _ => Err(D::Error::custom("a block is 512B, 1KiB, 2KiB, 4KiB, 8KiB, 16KiB, 32KiB or 64KiB")),
        }
    }
}

/// `MAXTRANSFERSIZE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferSize(pub(super) u64);

/// The unit of transfers, and the largest one to a file and to S3.
const UNIT: u64 = 64 << 10;
pub(super) const LARGEST_TO_DISK: u64 = 4 << 20;
const LARGEST: u64 = 20 << 20;

impl<'de> Deserialize<'de> for TransferSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ByteCount(bytes) = ByteCount::deserialize(deserializer)?;
        if bytes == 0 || bytes > LARGEST || !bytes.is_multiple_of(UNIT) {
            return Err(D::Error::custom(
                "a transfer is a multiple of 64KiB, at most 4MiB to a file and 20MiB to S3",
            ));
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_have_their_words() {
        for (given, clause) in [
            (json!(true), "COMPRESSION"),
            (json!(false), "NO_COMPRESSION"),
            (json!({ "algorithm": "ms_xpress" }), "COMPRESSION (ALGORITHM = MS_XPRESS)"),
            (json!({ "algorithm": "qat_deflate" }), "COMPRESSION (ALGORITHM = QAT_DEFLATE)"),
            (json!({ "algorithm": "zstd", "level": "high" }), "COMPRESSION (ALGORITHM = ZSTD, LEVEL = HIGH)"),
        ] {
            assert_eq!(serde_json::from_value::<Compression>(given).unwrap().clause(), clause);
        }
        let encryption: Encryption = serde_json::from_value(json!({ "certificate": "a]b" })).unwrap();
        assert_eq!(encryption.clause(), "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = [a]]b])");
    }

    #[test]
    fn what_no_server_takes_is_refused() {
        fn refused<T: serde::de::DeserializeOwned + std::fmt::Debug>(given: Value, words: &str) {
            let error = serde_json::from_value::<T>(given).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        refused::<Compression>(
            json!({ "algorithm": "ms_xpress", "level": "low" }),
            "only `zstd` has a `level`",
        );
        refused::<Compression>(json!({ "algorithm": "lz4" }), "unknown variant `lz4`");
        refused::<Compression>(json!("yes"), "invalid type");
        refused::<Encryption>(json!({ "algorithm": "aes_256" }), "missing field `certificate`");
        refused::<Stripes>(json!(0), "1 to 64 stripes, not 0");
        refused::<Stripes>(json!(65), "1 to 64 stripes, not 65");
        refused::<BlockSize>(json!("3KiB"), "a block is 512B");
        refused::<TransferSize>(json!("100KiB"), "a multiple of 64KiB");
        refused::<TransferSize>(json!("32MiB"), "at most 4MiB");
    }
}
