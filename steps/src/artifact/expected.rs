//! An artifact as a plan names it: [`Expected`], by its path alone or with what it should be.

use drydock_step::{Field, Shape, Stored};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

const EXPECTED_FIELDS: &[Field] = &[
    Field::required("path", Shape::Text, "Its path in the store."),
    Field::optional("size", Shape::Integer, "Its length in bytes."),
    Field::optional("sha256", Shape::Text, "The SHA-256 of its bytes, 64 hexadecimal digits."),
];

/// What a plan may write for one artifact.
pub(super) const EXPECTED: Shape = Shape::Either(&Shape::Text, &Shape::Record(EXPECTED_FIELDS));

/// An artifact, and what it should be as far as that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub(super) path: String,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<String>,
}

impl<'de> Deserialize<'de> for Expected {
    /// A path, or an artifact as other kinds put them out; what else that says of itself is passed over.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Record {
            path: String,
            size: Option<u64>,
            sha256: Option<String>,
        }
        match Value::deserialize(deserializer)? {
            Value::String(path) => Ok(Self { path, size: None, sha256: None }),
            other => {
                let Record { path, size, sha256 } =
                    serde_json::from_value(other).map_err(serde::de::Error::custom)?;
                Ok(Self { path, size, sha256 })
            }
        }
    }
}

impl Expected {
    /// What is wrong with it, if anything.
    pub(super) fn compared(&self, found: &Stored) -> Option<String> {
        let wrong_hash = self.sha256.as_ref().filter(|sha256| !sha256.eq_ignore_ascii_case(&found.sha256));
        if let Some(expected) = wrong_hash {
            return Some(format!("{} has sha256 {}, expected {expected}", self.path, found.sha256));
        }
        let size = self.size.filter(|size| *size != found.size)?;
        Some(format!("{} has {} bytes, expected {size}", self.path, found.size))
    }
}
