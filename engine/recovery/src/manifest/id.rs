//! [`PointId`] and [`MarkName`]: what a recovery point and its mark are called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The identity of a point or log point: a ULID, so that ids sort by the time at which they were given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PointId(String);

/// The name of a marked transaction: `dd_` and a ULID, 29 of the 32 characters that a mark may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MarkName(String);

/// Why a text is no [`PointId`] or [`MarkName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 26 characters of Crockford's base 32.
    #[error(
        "{text:?} is not a point's id: an id is a ULID, 26 characters of 0-9 and A-Z without I, L, O, U, the first at most 7"
    )]
    NotAUlid {
        /// The text as it was given.
        text: String,
    },
    /// Without the prefix of our marks.
    #[error("{text:?} is not the name of one of our marks: those are dd_ and a ULID")]
    NotAMark {
        /// The text as it was given.
        text: String,
    },
}

impl PointId {
    /// The id that a text spells, in any case of letters.
    ///
    /// # Errors
    /// When it is no ULID.
    pub fn parse(text: &str) -> Result<PointId, IdError> {
        let upper = text.to_ascii_uppercase();
        let is_digit =
            |byte: u8| byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !b"ILOU".contains(&byte));
        let fits = upper.bytes().next().is_some_and(|first| (b'0'..=b'7').contains(&first));
        if upper.len() == 26 && upper.bytes().all(is_digit) && fits {
            Ok(PointId(upper))
        } else {
            Err(IdError::NotAUlid { text: text.to_owned() })
        }
    }

    /// The id's 26 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of this point's mark.
    pub fn mark(&self) -> MarkName {
        MarkName(format!("dd_{}", self.0))
    }
}

impl MarkName {
    /// The mark's name that a text spells.
    ///
    /// # Errors
    /// When it is not `dd_` and a ULID.
    pub fn parse(text: &str) -> Result<MarkName, IdError> {
        let id = text.strip_prefix("dd_").and_then(|id| PointId::parse(id).ok());
        id.map(|id| id.mark()).ok_or_else(|| IdError::NotAMark { text: text.to_owned() })
    }

    /// The name as the server knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PointId {
    type Error = IdError;

    fn try_from(text: String) -> Result<PointId, IdError> {
        PointId::parse(&text)
    }
}

impl TryFrom<String> for MarkName {
    type Error = IdError;

    fn try_from(text: String) -> Result<MarkName, IdError> {
        MarkName::parse(&text)
    }
}

impl From<PointId> for String {
    fn from(id: PointId) -> String {
        id.0
    }
}

impl From<MarkName> for String {
    fn from(name: MarkName) -> String {
        name.0
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MarkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ulid_is_an_id_and_names_its_mark() {
        let id = PointId::parse("01k0abcdefghjkmnpqrstvwxyz").expect("a ULID");
        assert_eq!(id.mark().as_str(), "dd_01K0ABCDEFGHJKMNPQRSTVWXYZ");
        assert_eq!(MarkName::parse("dd_01K0ABCDEFGHJKMNPQRSTVWXYZ"), Ok(id.mark()));
        for text in ["", "01K0", "01K0ABCDEFGHJKMNPQRSTVWXYI", "81K0ABCDEFGHJKMNPQRSTVWXYZ"] {
            assert_eq!(PointId::parse(text), Err(IdError::NotAUlid { text: text.to_owned() }));
        }
        let nightly = MarkName::parse("nightly").expect_err("not ours").to_string();
        assert_eq!(nightly, "\"nightly\" is not the name of one of our marks: those are dd_ and a ULID");
    }
}
