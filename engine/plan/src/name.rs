//! Names of the plan language, validated once at the door: [`Name`], and [`Digest`].

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// A name of a step, parameter, target or output: `[a-z][a-z0-9_]{0,62}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name: {why}")]
pub struct NameError {
    /// The text.
    pub text: String,
    /// The reason, in words.
    pub why: &'static str,
    /// The nearest text that is a name, when there is one.
    pub suggestion: Option<String>,
}

impl Name {
    /// The name that this text is.
    ///
    /// # Errors
    /// When the text does not match `[a-z][a-z0-9_]{0,62}`; the error has a suggestion where a near name exists.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > 63 {
            "it is longer than 63 characters"
        } else if text.contains('-') {
            "a `-` would be a subtraction in an expression"
        } else if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            "it must start with a letter from a to z"
        } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            "only a to z, 0 to 9 and `_` may be in it"
        } else {
            return Ok(Self(text.into()));
        };
        Err(NameError { text: text.to_owned(), why, suggestion: near_name(text) })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text with everything that may not be in a name replaced, when that gives a name.
fn near_name(text: &str) -> Option<String> {
    if !text.is_ascii() {
        return None;
    }
    let mapped: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .take(63)
        .collect();
    mapped.starts_with(|c: char| c.is_ascii_lowercase()).then_some(mapped)
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The sha256 over the bytes of a plan and all that it was read with, as 64 lower-case hex characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_the_door() {
        for good in ["a", "restore_sql", "x9", &"a".repeat(63)] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        let cases = [
            ("", "it is empty", None),
            ("my-step", "a `-` would be a subtraction in an expression", Some("my_step")),
            ("9a", "it must start with a letter from a to z", None),
            ("Agent", "it must start with a letter from a to z", Some("agent")),
            ("a b", "only a to z, 0 to 9 and `_` may be in it", Some("a_b")),
        ];
        for (text, why, suggestion) in cases {
            let error = Name::parse(text).unwrap_err();
            assert_eq!((error.why, error.suggestion.as_deref()), (why, suggestion), "{text}");
        }
    }
}
