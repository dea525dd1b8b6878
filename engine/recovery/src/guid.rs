//! [`Guid`]: the identity of a backup set, a recovery fork or a database family, as its server writes it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The letters of a GUID in its usual form, `cbe03448-ebd3-0000-0000-000000000001`.
const LENGTH: usize = 36;

/// An identity as text. Two are equal when they differ in the case of their letters alone, because msdb, headers and
/// tools disagree about case. The text is kept as it was read.
#[derive(Clone)]
pub struct Guid(Text);

/// In the usual form the number is compared and no memory is asked for: histories have hundreds of thousands.
#[derive(Clone)]
enum Text {
    Usual { id: u128, letters: [u8; LENGTH] },
    Other(Box<str>),
}

impl Guid {
    /// The identity that `text` spells; any text is one.
    pub fn new(text: impl AsRef<str>) -> Guid {
        let text = text.as_ref();
        let usual = || {
            let letters: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
            Some(Text::Usual { id: number(&letters)?, letters })
        };
        Guid(usual().unwrap_or_else(|| Text::Other(text.into())))
    }

    /// The text as it was read.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Digits, hyphens and the letters a to f are what made it usual.
            Text::Usual { letters, .. } => std::str::from_utf8(letters).unwrap_or_default(),
            Text::Other(text) => text,
        }
    }

    /// Whether this says nothing: empty, or all zeros as some headers write an absent one.
    pub fn is_nil(&self) -> bool {
        match &self.0 {
            Text::Usual { id, .. } => *id == 0,
            Text::Other(text) => text.bytes().all(|b| matches!(b, b'0' | b'-' | b'{' | b'}')),
        }
    }

    fn folded(&self) -> impl Iterator<Item = u8> {
        self.as_str().bytes().map(|b| b.to_ascii_lowercase())
    }
}

/// The number that these letters spell in the usual form.
fn number(letters: &[u8; LENGTH]) -> Option<u128> {
    let mut id: u128 = 0;
    for (at, letter) in letters.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *letter != b'-' {
                return None;
            }
            continue;
        }
        id = id << 4 | u128::from((*letter as char).to_digit(16)?);
    }
    Some(id)
}

impl PartialEq for Guid {
    fn eq(&self, other: &Guid) -> bool {
        match (&self.0, &other.0) {
            (Text::Usual { id, .. }, Text::Usual { id: other, .. }) => id == other,
            (Text::Other(text), Text::Other(other)) => text.eq_ignore_ascii_case(other),
            _ => false,
        }
    }
}

impl Eq for Guid {}

impl Hash for Guid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Text::Usual { id, .. } => state.write_u128(*id),
            Text::Other(text) => {
                text.bytes().for_each(|b| state.write_u8(b.to_ascii_lowercase()));
                state.write_u8(0xff);
            }
        }
    }
}

impl PartialOrd for Guid {
    fn partial_cmp(&self, other: &Guid) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Guid {
    fn cmp(&self, other: &Guid) -> Ordering {
        match (&self.0, &other.0) {
            // Hexadecimal letters at the same places sort as the numbers that they spell.
            (Text::Usual { id, .. }, Text::Usual { id: other, .. }) => id.cmp(other),
            _ => self.folded().cmp(other.folded()),
        }
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({:?})", self.as_str())
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Letters;

        impl Visitor<'_> for Letters {
            type Value = Guid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Guid, E> {
                Ok(Guid::new(text))
            }
        }

        deserializer.deserialize_str(Letters)
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
        let upper = Guid::new("CBE03448-EBD3-0000-0000-00000000000F");
        assert_eq!(upper, Guid::new("cbe03448-ebd3-0000-0000-00000000000f"));
        assert_eq!(upper.as_str(), "CBE03448-EBD3-0000-0000-00000000000F");
        assert_eq!(serde_json::to_string(&upper).unwrap(), "\"CBE03448-EBD3-0000-0000-00000000000F\"");
    }

    #[test]
    fn all_forms_sort_as_their_letters() {
        let mut texts = vec![
            "cbe03448-ebd3-0000-0000-000000000001",
            "CBE03448-EBD3-0000-0000-000000000000",
            "{cbe03448-ebd3-0000-0000-000000000001}",
            "cbe03448+ebd3-0000-0000-000000000001",
            "gbe03448-ebd3-0000-0000-000000000001",
            "é-03448-ebd3-0000-0000-000000000001",
            "fork-a",
            "",
        ];
        let mut guids: Vec<Guid> = texts.iter().map(Guid::new).collect();
        guids.sort();
        texts.sort_by_key(|text| text.to_ascii_lowercase());
        assert_eq!(guids.iter().map(Guid::as_str).collect::<Vec<_>>(), texts);
    }
}
