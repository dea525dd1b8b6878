//! [`Guid`]: the identity of a backup set, a recovery fork or a database family, as its server writes it.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// An identity as text. Two are equal when they differ in the case of their letters alone, because msdb, headers and
/// tools disagree about case. The text is kept as it was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Guid(String);

impl Guid {
    /// The identity that `text` spells; any text is one.
    pub fn new(text: impl Into<String>) -> Guid {
        Guid(text.into())
    }

    /// The text as it was read.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this says nothing: empty, or all zeros as some headers write an absent one.
    pub fn is_nil(&self) -> bool {
        self.0.bytes().all(|b| matches!(b, b'0' | b'-' | b'{' | b'}'))
    }

    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl PartialEq for Guid {
    fn eq(&self, other: &Guid) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Guid {}

impl Hash for Guid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Most are 36 bytes long; the rest is hashed in pieces of this size.
        let mut piece = [0; 64];
        for bytes in self.0.as_bytes().chunks(piece.len()) {
            for (folded, byte) in piece.iter_mut().zip(bytes) {
                *folded = byte.to_ascii_lowercase();
            }
            state.write(piece.get(..bytes.len()).unwrap_or_default());
        }
        state.write_u8(0xff);
    }
}

impl PartialOrd for Guid {
    fn partial_cmp(&self, other: &Guid) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Guid {
    fn cmp(&self, other: &Guid) -> std::cmp::Ordering {
        self.folded().cmp(other.folded())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_count_and_zeros_are_nil() {
        assert_eq!(Guid::new("CBE03448-ebd3"), Guid::new("cbe03448-EBD3"));
        assert_ne!(Guid::new("fork-a"), Guid::new("fork-b"));
        assert!(Guid::new("00000000-0000-0000-0000-000000000000").is_nil());
        assert!(!Guid::new("fork-0").is_nil());
    }
}
