//! Names and texts in SQL: [`Identifier`], [`named`], [`quoted`]. Nothing else in this folder quotes.

use drydock_step::StepError;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name in bytes: the server cuts longer ones off without an error.
const LONGEST_NAME: usize = 63;

/// The name of a database, a schema or a table. Upper and lower case differ, as between double quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier(String);

impl Identifier {
    /// The name that this text is.
    ///
    /// # Errors
    /// `input`, when it is empty, longer than 63 bytes, or has control characters.
    pub fn parse(text: &str) -> Result<Self, StepError> {
        let bad =
            |why: &str| Err(StepError::new("input", format!("`{text}` is no name in PostgreSQL: {why}")));
        if text.is_empty() {
            return bad("it is empty");
        }
        if text.len() > LONGEST_NAME {
            return bad("it is longer than 63 bytes");
        }
        if text.chars().any(char::is_control) {
            return bad("control characters may not be in it");
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a name in a statement: `"octopus"`.
    pub fn named(&self) -> String {
        named(&self.0)
    }

    /// As a text in a statement: `'octopus'`.
    pub fn quoted(&self) -> String {
        quoted(&self.0)
    }
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| D::Error::custom(error.message))
    }
}

/// A name in double quotes, whatever is in it.
pub(super) fn named(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal, whatever is in it and whatever `standard_conforming_strings` is.
pub(super) fn quoted(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_quotes() {
        for (name, as_name, as_text) in [
            ("octopus", "\"octopus\"", "'octopus'"),
            ("Agents\"; DROP", "\"Agents\"\"; DROP\"", "'Agents\"; DROP'"),
            ("it's", "\"it's\"", "'it''s'"),
            ("a\\'b", "\"a\\'b\"", "E'a\\\\''b'"),
        ] {
            let name = Identifier::parse(name).unwrap();
            assert_eq!((name.named().as_str(), name.quoted().as_str()), (as_name, as_text));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (name, words) in
            [("", "it is empty"), ("a\0b", "control characters"), (&"ä".repeat(32), "longer than 63 bytes")]
        {
            let error = Identifier::parse(name).unwrap_err();
            assert!(
                error.code == "input" && error.message.ends_with(words) || error.message.contains(words),
                "{error}"
            );
        }
        assert!(Identifier::parse(&"x".repeat(63)).is_ok());
    }
}
