//! [`Artifact`]: a file in the artifact store, by place and content.

use serde::{Deserialize, Serialize};

/// A file as it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its place in the store, with `/` between folders, relative to the store's root.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content, 64 hexadecimal digits.
    pub sha256: String,
}

impl Artifact {
    /// Whether `other` has the same content.
    pub fn same_content(&self, other: &Artifact) -> bool {
        self.size == other.size && self.sha256.eq_ignore_ascii_case(&other.sha256)
    }
}
